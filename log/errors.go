package log

import (
	"errors"
	"fmt"
)

// Conditions a caller may test for with [errors.Is].
var (
	// ErrClosed: the log was closed before the call, or while it waited.
	ErrClosed = errors.New("log: closed")
	// ErrFailed: a write could not be made durable, now or earlier. It is final:
	// open the log again to learn what the disk kept.
	ErrFailed = errors.New("log: failed")
	// ErrOutOfRange: an offset that the log does not hold; see [RangeError].
	ErrOutOfRange = errors.New("log: offset out of range")
	// ErrCorrupt: bytes that are not what was written; see [CorruptError].
	ErrCorrupt = errors.New("log: corrupt")
	// ErrNewer: a file of a later version of this package. Nothing was touched.
	ErrNewer = errors.New("log: written by a newer version")
	// ErrUnsupported: a batch that uses what this version cannot read, such as
	// compression by lz4.
	ErrUnsupported = errors.New("log: unsupported")
	// ErrShort: the bytes end before the batch does.
	ErrShort = errors.New("log: incomplete batch")
	// ErrTooLarge: the batch is above the limit of Config.MaxBatchBytes, or its
	// records inflate to more than their limit.
	ErrTooLarge = errors.New("log: batch too large")
	// ErrOutOfOrder: an offset does not follow the end of the log, or an epoch is
	// older than the last. Nothing was written.
	ErrOutOfOrder = errors.New("log: out of order")
	// ErrReadOnly: the log was opened by [View]. Nothing was written.
	ErrReadOnly = errors.New("log: opened for reading alone")
	// ErrFull: the disk has too little room; see [FullError]. Nothing was written.
	ErrFull = errors.New("log: disk is full")
	// ErrLocked: somebody else has the directory; see [LockedError].
	ErrLocked = errors.New("log: directory is locked")
)

// A LockedError says who has the directory that was to be locked. It matches
// [ErrLocked].
type LockedError struct {
	Dir    string
	Holder string // for people, such as "process 4711 on host"; empty if not known
}

func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another holder"
	}
	return fmt.Sprintf("log: directory %s is locked by %s", e.Dir, holder)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// A RangeError reports an offset outside what the log holds. It matches
// [ErrOutOfRange].
//
// Want below First means that the record was removed: start again from First.
// Want above Next means that it was never written here.
type RangeError struct {
	Want  Offset // the offset asked for
	First Offset // the oldest offset held
	Next  Offset // one past the newest
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("log: offset %d is not in [%d, %d)", e.Want, e.First, e.Next)
}

// Is makes errors.Is(err, ErrOutOfRange) true.
func (e *RangeError) Is(target error) bool { return target == ErrOutOfRange }

// A CorruptError says which bytes failed which check. It matches [ErrCorrupt].
type CorruptError struct {
	File   string // file name without its directory; empty for bytes in memory
	At     int64  // byte position of the batch that failed
	Offset Offset // the offset expected there; -1 if not known
	Reason string // the check that failed, such as "checksum"
}

func (e *CorruptError) Error() string {
	switch {
	case e.File == "":
		return "log: bad batch: " + e.Reason
	case e.Offset < 0:
		return fmt.Sprintf("log: %s at byte %d: %s", e.File, e.At, e.Reason)
	}
	return fmt.Sprintf("log: %s at byte %d, offset %d: %s", e.File, e.At, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// badBatch is the CorruptError of a batch that is not in a file.
func badBatch(reason string) error { return &CorruptError{Offset: -1, Reason: reason} }

// place returns err with the place of a batch filled in, if it is a
// CorruptError of a batch in memory.
func place(err error, file string, at int64, offset Offset) error {
	if e, ok := errors.AsType[*CorruptError](err); ok && e.File == "" {
		return &CorruptError{File: file, At: at, Offset: offset, Reason: e.Reason}
	}
	if errors.Is(err, ErrShort) {
		return &CorruptError{File: file, At: at, Offset: offset, Reason: "the file ends within the batch"}
	}
	return fmt.Errorf("%s at byte %d: %w", file, at, err)
}
