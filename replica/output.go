package replica

import (
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// An Output is what the shell must do now, from the first field to the last: disk,
// high watermark, messages, then waiting callers. If the disk does not obey,
// nothing further is done. The zero Output is nothing.
type Output struct {
	// At most one of Truncate, Reset and Append is set. When it has been carried out,
	// and is durable where the log says so, the shell steps Moved.

	// Truncate cuts the log to this end, and its epochs too, even if the log ends
	// there already (KAFKA-10706).
	Truncate *log.Offset
	// Lossy says that the cut goes below the high watermark, which only an election
	// of an incomplete replica explains: to be logged loudly and counted.
	Lossy bool
	// Reset forgets the whole log, which begins again here; of what follows,
	// tombstones below Removed may be missing.
	Reset   *log.Offset
	Removed log.Offset

	// Lower comes before Append: what the log has of missing tombstones is lowered to it.
	Lower *log.Offset
	// Append holds whole batches, checked, to be appended as they are.
	Append []byte
	// Start is the leader's log start: what is below it may go.
	Start *log.Offset

	// HighWatermark has moved to here if Moved is set.
	HighWatermark log.Offset
	Moved         bool

	// Fetch is the verdict on a Fetched. It holds until the next step.
	Fetch *FetchVerdict
	// Propose goes to the controller now. It must not be changed.
	Propose *AlterISR
	// Ack says that the leader does not know yet how far this log is flushed, or what has
	// been removed from it: if no fetch is about to go, one with MaxBytes 0 should.
	Ack bool
	// Delay is how long the follower asks for nothing, unless the metadata changes.
	Delay time.Duration
	// Suspend says that the follower asks for nothing more in this epoch.
	Suspend bool
	// Fault says why the follower waits, if it is worth a line in a log.
	Fault error
	// Fail says that the follower stands still, and why: it must begin anew, and counts
	// as complete. The shell tells the controller by a [Discard], until metadata takes
	// the replica out of ISR and ELR, which lets it go on.
	Fail error

	// Left says that the follower is out of the ISR, in which it was: it joins by fetching,
	// also if nothing moves. See [Lanes.Heat].
	Left bool
}

// A FetchVerdict is what the leader says of one partition of a fetch. The offsets
// are of the moment before the read.
type FetchVerdict struct {
	Code           partition.Code
	Stale          bool // late or repeated: it is answered empty, with the follower's own offsets
	Diverging      bool
	DivergingEpoch log.Epoch
	DivergingEnd   log.Offset
	HighWatermark  log.Offset
	Start          log.Offset
	End            log.Offset
	Removed        log.Offset

	// Read says that the follower gets what there is from its Fetch up to End; if
	// that is nothing, and there is no News, the fetch may be parked.
	Read bool
	// News says that the follower knows a lower high watermark than this one, or has not
	// been told of what this log has removed. A fetch that is not parked for it leaves
	// followers behind by its whole wait.
	News bool
}

// A RefetchError says that a replica's log does not fit its leader's at all and
// has to be fetched from the start, while the replica counts as complete.
type RefetchError struct {
	ID    partition.ID
	End   log.Offset // of the replica's log
	Start log.Offset // of the leader's
}

func (e *RefetchError) Error() string {
	return fmt.Sprintf("replica: partition %v ends at %d and is to start again at %d, though it stands in ISR or ELR: it has to leave them first",
		e.ID, e.End, e.Start)
}

// A BadAnswerError says that what a leader sent does not follow this log. Nothing
// of it was taken.
type BadAnswerError struct {
	ID     partition.ID
	Offset log.Offset // the end of the log
	Reason string
	Err    error // may be nil
}

func (e *BadAnswerError) Error() string {
	s := fmt.Sprintf("replica: partition %v, offset %d: bad answer of the leader: %s", e.ID, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *BadAnswerError) Unwrap() error { return e.Err }
