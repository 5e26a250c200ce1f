// Package consume is the consumer's shell: it reads partitions, as a member of a
// group or by name, and keeps track of what has been processed.
//
// A [Consumer] asks a [Cluster] for one attempt at a time of what it needs, and
// repeats attempts by itself: transient faults are never handed to the caller.
//
// # What a caller may rely on
//
//   - Asking for the next record says that the last one is processed: it is then
//     finished, and will be committed in the background and on the way out. Leaving
//     the loop by break, return or a panic says that the current record is not: the
//     next loop begins with it, unless [Consumer.Commit] has said otherwise.
//     [Consumer.Poll] follows the same rule with a batch for a record.
//   - Nothing is committed that is not finished, but by Commit.
//   - The records of a partition come in order, without a gap and without a repeat,
//     until the loop is left, [Consumer.Seek] moves it, the partition is revoked, or
//     its records are gone; then Config.Start says where to go on.
//   - When the context ends the loop ends, without an error, and what is finished is
//     still committed: that takes 5 s at most.
//   - A record is delivered only while this member's lease lasts, so never by two
//     members at once. A partition is given back when the loop has come back from its
//     records and they have been committed. A loop that does not come back within
//     the rebalance timeout loses all partitions, and its commits are refused.
//
// # What it does not promise
//
// A record may come twice: after a loop that was left, after partitions were lost,
// after a crash. It is delivered at least once.
package consume
