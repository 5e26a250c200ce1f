// Package produce is the producer's shell: it gathers records into batches, one
// open batch a partition, and sees each batch through to its answer.
//
// A [Producer] asks a [Cluster] for two things alone: what is known of a topic,
// and one attempt to append one batch at the partition's present leader.
//
// # What a caller may rely on
//
//   - The done function of [Producer.Send] is called exactly once, whatever
//     happens, and in the order of the calls to Send within a partition. That
//     holds for a record refused early as well.
//   - One batch of a partition is on its way at a time, and the next leaves only
//     when that one has been answered or given up, so that acknowledged records
//     have the order in which they were sent.
//   - A batch is sent again until it is answered or its delivery timeout has
//     passed. An error that matches [ErrOutcomeUnknown] says that the record may
//     be in the log, or may yet come to be; any other error says that it is not,
//     and never will be.
//   - Keys, values and headers are copied before Send returns.
//   - What waits is bounded by [Config].BufferBytes: above it Send blocks until
//     there is room, or its context ends.
//
// # What it does not promise
//
// A batch that is sent again after an attempt of unknown outcome may be in the
// log twice.
//
// # Batches and goroutines
//
// A batch leaves when the batch before it has been answered, when it is full, or
// when Linger has passed: under load, batches grow by themselves. A partition has
// a goroutine only while it has batches, and a lone caller of [Producer.SendSync]
// sends its batch itself and meets no hand-off at all.
package produce
