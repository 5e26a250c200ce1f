package log

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// A Roomer is an [FS] that can tell how much may still be written.
type Roomer interface {
	// Room returns the bytes that are free for this process on the disk that holds a
	// directory. It overlaps anything.
	Room(dir string) (int64, error)
}

// A Space keeps part of a disk free, for what a log must write even when it takes no
// more records: checkpoints, the flushed end, a clean stop. Logs that share one by
// [Config] refuse to append, before they write, what would leave less; the error
// matches [ErrFull]. They go on by themselves when there is room again.
//
// How much is left is asked for each time that half of it may have been used, and
// whenever there is too little. On a disk that is no [Roomer] nothing is refused
// before the disk itself does.
type Space struct {
	fsys    Roomer // nil: not to be had
	dir     string
	reserve int64
	left    atomic.Int64 // bytes that may be appended before it is asked again
}

// NewSpace returns a space that keeps reserve bytes free on the disk that holds dir.
func NewSpace(fsys FS, dir string, reserve int64) *Space {
	s := &Space{dir: dir, reserve: reserve}
	s.fsys, _ = fsys.(Roomer)
	return s
}

// mostUnasked is how much is appended at most without asking: others write too.
const mostUnasked = 16 << 20

// take says that n bytes are going to be written, or why they must not be.
func (s *Space) take(n int) error {
	if s == nil || s.fsys == nil || s.left.Add(-int64(n)) >= 0 {
		return nil
	}
	room, err := s.fsys.Room(s.dir)
	if err != nil {
		return err
	}
	free := room - s.reserve - int64(n)
	if free < 0 {
		s.left.Store(0)
		return &FullError{Dir: s.dir, Room: room, Reserve: s.reserve}
	}
	s.left.Store(min(free/2, mostUnasked))
	return nil
}

// Ample reports whether there is room to spare for records: half as much as is kept
// free. On a disk that is no [Roomer] there is. It asks the disk.
func (s *Space) Ample() bool {
	if s == nil || s.fsys == nil {
		return true
	}
	room, err := s.fsys.Room(s.dir)
	return err == nil && room-s.reserve >= s.reserve/2
}

// A FullError says that a disk has too little room. It matches [ErrFull], and
// syscall.ENOSPC as the error of a disk that has none does.
type FullError struct {
	Dir     string
	Room    int64 // bytes that are free
	Reserve int64 // bytes that are to stay free
}

func (e *FullError) Error() string {
	return fmt.Sprintf("log: disk of %s is full: %d bytes are free, %d of them reserved", e.Dir, e.Room, min(e.Reserve, e.Room))
}

// Is makes errors.Is(err, ErrFull) true.
func (e *FullError) Is(target error) bool {
	return target == ErrFull || target == error(errNoSpace)
}

// NoRoom reports whether err says that there was no room for what was to be written: what
// was there is whole, and another attempt may succeed. If that came out of a sync, the
// disk has failed.
func NoRoom(err error) bool {
	return (errors.Is(err, errNoSpace) || errors.Is(err, errQuota)) && !errors.Is(err, ErrFailed)
}
