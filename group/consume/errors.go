package consume

import (
	"errors"
	"fmt"

	"github.com/samsalog/samsa/partition"
)

// Conditions a caller may test for with [errors.Is].
var (
	// ErrInUse: a loop, or a Poll, is under way.
	ErrInUse = errors.New("consume: another loop is under way")

	// ErrClosed: the consumer is closed.
	ErrClosed = errors.New("consume: closed")

	// ErrNotAssigned: the partition is not this consumer's, or not any more. Nothing was done.
	ErrNotAssigned = errors.New("partition is not assigned")

	// ErrOutcomeUnknown: the commit may have been made. Every other error of Commit
	// means that it has not.
	ErrOutcomeUnknown = errors.New("outcome unknown")

	errNoGroup = fmt.Errorf("consume: commit without a group: %w", partition.Unsupported)
)

// An Error says which partition cannot be read, and why.
type Error struct {
	Place Place
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("consume %v: %v", e.Place, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A CommitError says why a commit was not made, or may not have been. It matches
// ErrOutcomeUnknown if, and only if, Unknown is set.
type CommitError struct {
	Group   string
	Unknown bool
	Err     error
}

func (e *CommitError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("commit of group %s: %v: %v", e.Group, ErrOutcomeUnknown, e.Err)
	}
	return fmt.Sprintf("commit of group %s: %v", e.Group, e.Err)
}

// Is makes errors.Is(err, ErrOutcomeUnknown) true where the outcome is unknown.
func (e *CommitError) Is(target error) bool { return e.Unknown && target == ErrOutcomeUnknown }

// Unwrap returns the cause.
func (e *CommitError) Unwrap() error { return e.Err }
