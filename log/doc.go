// Package log stores one partition's records in order, on one disk.
//
// A [Log] is a directory of segment files. Batches are appended at the end and
// read from any offset. Nothing here knows about topics, replicas or the
// network, and nothing here starts a goroutine: every call does its work and
// returns.
//
// # What a caller may rely on
//
//   - When [Log.Append] or [Log.Replicate] returns nil the records outlive the
//     process. They outlive a power cut once they lie below the flushed end,
//     which [Log.Flush] moves and returns; one Flush covers all that was appended
//     before it began. Who promises Synced acknowledges below the flushed end
//     and nowhere else.
//   - A leader epoch is durable in the epoch checkpoint before its first batch
//     is written.
//   - A cut made by [Log.Truncate] stays cut after any crash.
//   - After a crash [Open] cuts a torn tail at or above the recorded flushed end,
//     and says so if bytes were lost. A bad batch below it is damage: a
//     [*CorruptError] names it, and nothing is cut or skipped.
//   - Every batch that is read from a disk is checked before it is handed out.
//     What [Log.Read] returns never changes and may be kept, read-only.
//   - An error of Flush is final. The log takes no more writes, and nothing that
//     it had not yet called flushed may be believed.
//
// # What it does not promise
//
// A Log has one writer: Append, Replicate, BeginEpoch, Roll, Truncate, Reset and
// CheckProducer are called one at a time, and so is Compact, by itself. All other
// calls may overlap them and each other. [Open]
// keeps no other process, and no other Log, from opening the same directory:
// whoever owns it, or a directory above it, takes [LockDir] for that.
//
// Batches are Kafka's RecordBatch v2, described in format.go. Each of the other
// files has its format beside its codec.
package log
