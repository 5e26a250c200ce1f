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
}

// WriteLabel writes the file of a partition's directory.
func WriteLabel(fsys log.FS, dir string, l Label) error {
	return writePartition(fsys, dir, label{l.ID, l.Topic, l.Behind})
}

// ReadLabel reads it. The error matches fs.ErrNotExist if dir is no partition's.
func ReadLabel(fsys log.FS, dir string) (Label, error) {
	l, err := readPartition(fsys, dir)
	return Label{l.id, l.topic, l.behind}, err
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

// WriteCode tells a producer what became of a batch that a log did not take. But for
// StorageFailed, certainly nothing was written, and the log may be used further.
func WriteCode(err error) partition.Code { return writeCode(err) }

// ReadCode tells a reader or follower why there are no records.
func ReadCode(err error) partition.Code { return readCode(err) }

// IsFull reports whether an error says that there was no room.
func IsFull(err error) bool { return isFull(err) }

// CheckBatch is what a leader demands of a batch that is not a peer's.
func CheckBatch(b log.Batch, largest int) partition.Code { return checkBatch(b, largest) }
