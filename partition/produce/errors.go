package produce

import (
	"errors"
	"fmt"

	"github.com/samsalog/samsa/partition"
)

// Conditions a caller may test for with [errors.Is].
var (
	// ErrOutcomeUnknown: the batch has left and no final answer came. The record may
	// be in the log, or may yet come to be. Every other error means that it is not.
	ErrOutcomeUnknown = errors.New("outcome unknown")

	// ErrTimeout: the delivery timeout passed.
	ErrTimeout = errors.New("delivery timeout passed")

	// ErrClosed: the producer is closed.
	ErrClosed = errors.New("producer is closed")

	// ErrTooLarge: the record does not fit into a batch of its topic, or into the buffer.
	ErrTooLarge = errors.New("record too large")

	// ErrNotSent is for a [Cluster] to say that an attempt certainly reached nobody.
	ErrNotSent = errors.New("not sent")

	// errNoAnswer stands in texts for an attempt that was cut short: the end of the
	// attempt's own context must not be taken for that of a caller's.
	errNoAnswer = errors.New("no answer")
)

// An Error says what became of a record that was not confirmed. It matches
// ErrOutcomeUnknown if, and only if, Unknown is set.
type Error struct {
	Topic     string
	Partition partition.PartitionID
	Unknown   bool  // an attempt was made that may have succeeded
	Err       error // why there were no more attempts, and what the last one met
}

func (e *Error) Error() string {
	if e.Unknown {
		return fmt.Sprintf("produce %s/%d: %v: %v", e.Topic, e.Partition, ErrOutcomeUnknown, e.Err)
	}
	return fmt.Sprintf("produce %s/%d: %v", e.Topic, e.Partition, e.Err)
}

// Is makes errors.Is(err, ErrOutcomeUnknown) true where the outcome is unknown.
func (e *Error) Is(target error) bool { return e.Unknown && target == ErrOutcomeUnknown }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
