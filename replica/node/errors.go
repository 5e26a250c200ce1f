package node

import (
	"errors"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// ErrUnreachable is matched by an error of [Peers] when the other side certainly
// is not there: nobody answers at the address.
var ErrUnreachable = errors.New("node: unreachable")

// ErrSuperseded: another process has registered under this broker's id. Both
// cannot be right; this one stops.
var ErrSuperseded = errors.New("node: another process has taken this broker's id")

var (
	// errNotController: the broker that was asked does not run the controller.
	errNotController = errors.New("node: no controller")
	errShape         = errors.New("node: the answer has another shape than the request")
)

// passes reports whether a log that returned err is as it was before the call and
// may be used further: the bytes were no good, or there was no room for them. After
// any other error the disk cannot be trusted.
func passes(err error) bool { return writeCode(err) != partition.StorageFailed }

// writeCode tells a producer what became of a batch that the log did not take. But
// for StorageFailed, certainly nothing was written.
func writeCode(err error) partition.Code {
	switch {
	case errors.Is(err, log.ErrFailed):
		return partition.StorageFailed // also where there was no room: it came out of a sync
	case isFull(err):
		return partition.DiskFull
	case errors.Is(err, log.ErrTooLarge):
		return partition.BatchTooLarge
	case errors.Is(err, log.ErrUnsupported):
		return partition.Unsupported
	case errors.Is(err, log.ErrCorrupt), errors.Is(err, log.ErrShort), errors.Is(err, log.ErrOutOfOrder), errors.Is(err, log.ErrOutOfRange):
		return partition.CorruptBatch
	}
	return partition.StorageFailed
}

// isFull reports whether there was no room for what was to be written.
func isFull(err error) bool { return log.NoRoom(err) }

// readCode tells a reader or follower why there are no records.
func readCode(err error) partition.Code {
	switch {
	case errors.Is(err, log.ErrOutOfRange):
		return partition.OutOfRange
	case errors.Is(err, log.ErrClosed):
		return partition.NotLeader // the broker stops
	case errors.Is(err, log.ErrCorrupt):
		return partition.CorruptBatch
	}
	return partition.StorageFailed
}
