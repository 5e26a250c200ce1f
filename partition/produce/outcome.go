package produce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

const (
	firstBackoff = 5 * time.Millisecond
	maxBackoff   = 250 * time.Millisecond
)

// An outcome is what has become of one batch.
type outcome struct {
	first log.Offset
	epoch log.Epoch
	err   *Error // nil: it stands at first
}

// A trial is what the attempts of one batch have shown so far. It is pure: the
// rule of which outcome is known is here and nowhere else.
type trial struct {
	unknown bool  // an attempt may have written the batch, or may yet do so
	unclean bool  // an attempt broke, so that somebody may still hold the bytes
	last    error // what the last attempt met
}

// A verdict is what one attempt means for the batch.
type verdict int

const (
	again   verdict = iota // try once more, after a while
	written                // it stands where the answer says
	refused                // no attempt will ever be taken
)

// judge takes in the end of one attempt.
func (t *trial) judge(resp partition.ProduceResponse, err error) verdict {
	switch {
	case err != nil:
		t.last, t.unclean = err, true
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.last = errNoAnswer
		}
		t.unknown = t.unknown || !errors.Is(err, ErrNotSent)
		return again
	case resp.Code == partition.OK:
		return written
	}
	t.last = resp.Code.Err()
	t.unknown = t.unknown || resp.Code.OutcomeUnknown()
	if resp.Code.Retriable() || resp.Code.OutcomeUnknown() {
		return again
	}
	return refused
}

// fail returns the error of a batch that is given up for a reason; nil: for what
// the last attempt met.
func (t *trial) fail(topic string, part partition.PartitionID, reason error) *Error {
	err := reason
	switch {
	case reason == nil:
		err = t.last
	case t.last != nil:
		err = fmt.Errorf("%w: %w", reason, t.last)
	}
	return &Error{Topic: topic, Partition: part, Unknown: t.unknown, Err: err}
}

// because returns a copy of e that matches reason too.
func (e *Error) because(reason error) *Error {
	if errors.Is(e.Err, reason) {
		return e
	}
	return &Error{Topic: e.Topic, Partition: e.Partition, Unknown: e.Unknown, Err: fmt.Errorf("%w: %w", reason, e.Err)}
}
