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
//   - Records leave at the front, whole segments at a time: [Log.Expired] says
//     which, [Log.DeleteBefore] removes them. [Log.Compact] leaves of each key the
//     newest record, and no hole in the offsets. Each is durable, or as if it had
//     not begun, after a crash at any moment; readers never wait for it.
//   - [Log.OffsetAt] finds a record by its time, and [Log.CheckProducer] tells a
//     batch that comes again, also after a restart.
//   - Indexes are helps. One is believed as far as a checksum bears it out, that of a
//     sealed segment or that beside the flushed end, and made again where none does.
//     So opening reads what lies above the recovery point, 4 MiB at most beside what
//     was not flushed, at any size of the log.
//   - Memory is bounded by [Memory] for what is kept for readers, syncs under way by
//     [FlushLimit], the disk by [Space], each among the logs that share it.
//
// [View] reads the directory of a log that another process has open, [Verify] holds
// every byte against its checksum, [Log.Scrub] does so piece by piece while the log is in
// use, and [Repair] gives up, on purpose and by setting it aside, what is damaged. Where a
// peer has a copy, [SetAside] makes room for another one.
//
// # What it does not promise
//
// A Log has one writer: Append, Replicate, BeginEpoch, Roll, Truncate, Reset and
// CheckProducer are called one at a time, and so is Compact, by itself. All other
// calls may overlap them and each other. [Open]
// keeps no other process, and no other Log, from opening the same directory:
// whoever owns it, or a directory above it, takes [LockDir] for that.
//
// On Windows files are opened so that they can be renamed and removed while somebody
// reads them, which compaction and removal rely on everywhere; directories are not
// synced there, as their changes are journalled.
//
// Batches are Kafka's RecordBatch v2, described in format.go. Each of the other
// files has its format beside its codec.
package log
