package quorum

import (
	"errors"
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// Conditions a caller may test for with [errors.Is].
var (
	// ErrNotLeader: this voter does not lead; the entry was not proposed.
	ErrNotLeader = errors.New("quorum: not the leader")
	// ErrBusy: too much is under way; the entry was not proposed. Try again later.
	ErrBusy = errors.New("quorum: too many entries are under way")
	// ErrTooLarge: the entry is above [MaxEntryBytes]; it was not proposed.
	ErrTooLarge = errors.New("quorum: entry too large")
	// ErrEmpty: an entry needs at least one byte; it was not proposed.
	ErrEmpty = errors.New("quorum: empty entry")
	// ErrDropped: another entry took the place of the proposed one, which will
	// never be applied anywhere.
	ErrDropped = errors.New("quorum: entry was overwritten")
	// ErrBadChange: the voters cannot be changed like that; nothing was proposed.
	ErrBadChange = errors.New("quorum: impossible change of the voters")
	// ErrNoChange: the voters are so already. It matches [ErrBadChange].
	ErrNoChange = fmt.Errorf("%w: they are so already", ErrBadChange)
	// ErrOutcomeUnknown: the entry may be applied, now or later, or never.
	ErrOutcomeUnknown = errors.New("quorum: outcome unknown")
	// ErrClosed: Run has ended. Nothing was proposed.
	ErrClosed = errors.New("quorum: closed")
	// ErrCorrupt: what the voter kept contradicts itself. It must not vote.
	ErrCorrupt = errors.New("quorum: corrupt")
	// ErrIdentity: the files belong to another broker or another directory.
	ErrIdentity = errors.New("quorum: files of another voter")
)

// A CorruptError says why a voter's files cannot be trusted. It matches
// [ErrCorrupt] and [log.ErrCorrupt]. Such a voter must not vote, or it could take back a
// promise; it may come back only under another directory id, which makes it a new voter.
type CorruptError struct {
	Reason string
	Err    error // what the log reported, or nil
}

func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("quorum: corrupt: %s: %v", e.Reason, e.Err)
	}
	return "quorum: corrupt: " + e.Reason
}

// Is makes errors.Is true of ErrCorrupt and of log.ErrCorrupt.
func (e *CorruptError) Is(target error) bool {
	return target == ErrCorrupt || target == log.ErrCorrupt
}

func (e *CorruptError) Unwrap() error { return e.Err }

// A PanicError is a broken invariant of the agreement itself, which takes this
// voter offline. The process lives.
type PanicError struct {
	Text  string
	Stack []byte
}

func (e *PanicError) Error() string { return "quorum: voter stopped itself: " + e.Text }

// An unknownError matches [ErrOutcomeUnknown], and the reason for it.
type unknownError struct{ cause error }

func (e *unknownError) Error() string        { return ErrOutcomeUnknown.Error() + ": " + e.cause.Error() }
func (e *unknownError) Is(target error) bool { return target == ErrOutcomeUnknown }
func (e *unknownError) Unwrap() error        { return e.cause }

// identityError says whose files were found. It matches [ErrIdentity].
func identityError(dir string, id partition.BrokerID, directory partition.UUID) error {
	return fmt.Errorf("%w: %s was written by voter %d in directory %s: put that directory's id back, or remove %s, "+
		"and the broker is a new voter, which is to be let in", ErrIdentity, dir, id, directory, dir)
}

// unknownEntry reports an entry of a kind that this release does not know.
func unknownEntry(index log.Offset, kind int32) error {
	return fmt.Errorf("quorum: entry %d of kind %d: %w", index, kind, partition.Unsupported)
}
