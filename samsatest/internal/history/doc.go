// Package history names what is wrong with what the clients of a partitioned log
// have seen, in time that grows with the length of the history alone, so that it
// serves runs of any length.
//
// A [History] is told, in the order in which things happened, what senders sent and
// were answered, what readers were given, and what operators were shown. A method
// that is told of something when it begins comes before whatever may result from it.
// Each returns what cannot be, as a [*Violation]; what only the end can show is found
// by [History.End], which is told what stands in the logs when all is over.
//
// The promises that it holds a system to are these.
//
//   - An acknowledged record stands at its place for good, unless its sender
//     asked for less than that. One whose send failed for certain stands nowhere. Any
//     other may stand there or not.
//   - Nothing makes a sender's attempts one: a record may stand as often as it was
//     tried to be sent, and no more often.
//   - Acknowledged records of one sender stand in each log in the order in which
//     they were sent.
//   - What was read at a place never changes, and lies below the high watermark.
//   - A reader is given one offset after another. A group goes past nothing that
//     it has not processed, and does not come back to what it has committed.
//   - A commit that was accepted is not taken back.
package history
