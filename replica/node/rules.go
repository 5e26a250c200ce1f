package node

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// What follows is for another shell of the same machines, which drives many brokers
// from one goroutine: the simulator. It keeps to the same files and judges errors of a
// disk alike.

// A Label is what the file of a partition's directory says of it; see disk.go.
type Label struct {
	ID     partition.ID
	Topic  partition.TopicConfig // no more than opening the log takes
	Behind bool                  // the copy was made anew, and has not been in the ISR since
	Since  log.Epoch             // the leader epoch that it counts from
}

// WriteLabel writes the file of a partition's directory.
func WriteLabel(fsys log.FS, dir string, l Label) error {
	return writePartition(fsys, dir, label{l.ID, l.Topic, l.Behind, l.Since})
}

// ReadLabel reads it. The error matches fs.ErrNotExist if dir is no partition's.
func ReadLabel(fsys log.FS, dir string) (Label, error) {
	l, err := readPartition(fsys, dir)
	return Label{l.id, l.topic, l.behind, l.since}, err
}

// FreeName names the directory of a new copy of a partition, in that of its broker, given
// those that are there.
func FreeName(topic string, id partition.ID, dirs map[string]partition.ID) string {
	return freeName(topic, id, dirs)
}

// RemoveDir removes the directory of a partition.
func RemoveDir(fsys log.FS, dir string) error { return removeDir(fsys, dir) }

// IsRemoved reports whether the removal of a directory has begun.
func IsRemoved(fsys log.FS, dir string) (bool, error) { return isRemoved(fsys, dir) }

// FinishRemoval removes what is left of such a directory.
func FinishRemoval(fsys log.FS, dir string) error { return finishRemoval(fsys, dir) }

// Identify reads who keeps a broker's directory, which exists, or makes it self's under
// the id fresh. It returns the directory's id.
func Identify(fsys log.FS, dir string, self partition.BrokerID, fresh partition.UUID) (partition.UUID, error) {
	return identify(fsys, dir, self, fresh)
}

// CountLife counts one more process that opens a broker's directory, durably.
func CountLife(fsys log.FS, dir string) (uint64, error) { return countLife(fsys, dir) }

// TakeCleanMark returns the broker epoch of the clean stop before, or 0, and removes
// the mark for good.
func TakeCleanMark(fsys log.FS, dir string) (partition.BrokerEpoch, error) {
	return takeCleanMark(fsys, dir)
}

// WriteCleanMark leaves the mark of a clean stop.
func WriteCleanMark(fsys log.FS, dir string, epoch partition.BrokerEpoch) error {
	return writeCleanMark(fsys, dir, epoch)
}

// NoteDamage writes in a copy's directory why it must begin anew; discarded says that
// nobody counts on it any more, and that it is being discarded.
func NoteDamage(fsys log.FS, dir string, why error, discarded bool) error {
	return writeDamage(fsys, dir, &damage{err: why, discarded: discarded})
}

// KnownDamage reads what [NoteDamage] wrote; why is nil if nothing is known.
func KnownDamage(fsys log.FS, dir string) (why error, discarded bool, err error) {
	d, err := readDamage(fsys, dir)
	if d == nil {
		return nil, false, err
	}
	return d.err, d.discarded, err
}

// ForgetDamage removes it.
func ForgetDamage(fsys log.FS, dir string) error { return removeDamage(fsys, dir) }

// FinishDiscard sets the copy aside that is being discarded. An empty log can be opened
// in its place.
func FinishDiscard(fsys log.FS, dir string) error { return finishDiscard(fsys, dir) }

// WriteCopies lists the copies that a broker has, by the names of their directories.
func WriteCopies(fsys log.FS, dir string, copies map[string]partition.ID) error {
	return writeCopies(fsys, dir, copies)
}

// ReadCopies reads that list. There may be none.
func ReadCopies(fsys log.FS, dir string) (map[string]partition.ID, error) {
	return readCopies(fsys, dir)
}

// WriteWhole notes that the list is whole.
func WriteWhole(fsys log.FS, dir string) error { return writeWhole(fsys, dir) }

// ReadWhole reports whether it is known to be.
func ReadWhole(fsys log.FS, dir string) (bool, error) { return readWhole(fsys, dir) }

// Loses reports whether an error of a read says that the disk has lost what was there.
func Loses(err error) bool { return loses(err) }

// Spoils reports whether an error of opening a copy concerns that copy alone.
func Spoils(err error) bool { return spoils(err) }

// WriteCode tells a producer what became of a batch that a log did not take. But for
// StorageFailed, certainly nothing was written, and the log may be used further.
func WriteCode(err error) partition.Code { return writeCode(err) }

// ReadCode tells a reader or follower why there are no records.
func ReadCode(err error) partition.Code { return readCode(err) }

// IsFull reports whether an error says that there was no room.
func IsFull(err error) bool { return isFull(err) }

// CheckBatch is what a leader demands of a batch that is not a peer's.
func CheckBatch(b log.Batch, largest int) partition.Code { return checkBatch(b, largest) }
