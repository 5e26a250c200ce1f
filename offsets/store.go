package offsets

import (
	"context"

	"github.com/samsalog/samsa/log"
)

// A Store keeps the records of one coordinator: a partition of __consumer_offsets,
// or anything else that can promise the same. Append is called by one goroutine
// at a time, beside which the others may run and overlap.
type Store interface {
	// Append adds records as one batch that is there whole or not at all, in the order
	// of the calls, and returns the end behind it. They are not yet committed, and
	// after an error it is not known whether they ever will be.
	Append(records []log.Record) (end log.Offset, err error)

	// Wait returns nil when all below end is committed. An error leaves that open.
	Wait(ctx context.Context, end log.Offset) error

	// Scan gives each committed record in order, from the first. It waits until it
	// is known what is committed: nothing that was committed before the call may be missing.
	Scan(ctx context.Context, each func(log.Record) error) error
}
