package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// A segment is one file of batches, named after its first offset. Its fields but
// the first two are guarded by the mutex of its log.
type segment struct {
	base Offset
	path string

	file File  // nil: not open
	refs int   // calls that use file now
	dead bool  // removed, or the log is closed: the last user closes file
	size int64 // bytes of batches; -1 for a sealed one that was not opened yet
	// dirty: it has bytes that no Sync covers.
	dirty bool
	index index
}

const segmentSuffix = ".log"

func segmentPath(dir string, base Offset) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentSuffix))
}

// indexPath returns the name of the segment's index.
func (s *segment) indexPath() string {
	return strings.TrimSuffix(s.path, segmentSuffix) + ".index"
}

// parseSegment tells whether a file name is that of a segment.
func parseSegment(name string) (Offset, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 10, 63)
	return Offset(base), err == nil && digits[0] != '+'
}

// findSegment returns the index of the segment that holds off: the last one that
// begins at off or before. -1 if none does.
func findSegment(segments []*segment, off Offset) int {
	return sort.Search(len(segments), func(i int) bool { return segments[i].base > off }) - 1
}

// pin keeps the file of a segment open, once it is, until done; l.mu is held.
func (s *segment) pin() { s.refs++ }

// open returns the file of a pinned segment and the bytes of batches in it.
func (l *Log) open(s *segment) (file File, size int64, err error) {
	l.mu.Lock()
	file, size = s.file, s.size
	l.mu.Unlock()
	if file != nil && size >= 0 {
		return file, size, nil
	}
	file, err = l.fsys.Open(s.path)
	if err != nil {
		return nil, 0, err
	}
	if size < 0 {
		if size, err = file.Size(); err != nil {
			return nil, 0, errors.Join(err, file.Close())
		}
	}
	l.mu.Lock()
	var extra []File
	if s.file == nil {
		s.file = file
	} else {
		extra = []File{file} // another reader was faster
	}
	if s.size < 0 {
		s.size = size
	}
	file, size = s.file, s.size
	l.mu.Unlock()
	_ = closeAll(extra)
	return file, size, nil
}

// done ends what pin began. One sealed file, the last used, stays open beside
// the active one; a handle that was only read from has nothing to lose.
func (l *Log) done(s *segment) {
	l.mu.Lock()
	s.refs--
	files := l.idle(s)
	l.mu.Unlock()
	_ = closeAll(files)
}

// idle takes the files that need not stay open now that s has one user less;
// l.mu is held.
func (l *Log) idle(s *segment) []File {
	st := &l.state
	if s.refs > 0 {
		return nil
	}
	if s.dead {
		return l.retire([]*segment{s})
	}
	if n := len(st.segments); n > 0 && s == st.segments[n-1] {
		return nil
	}
	old := st.warm
	st.warm = s
	if old == nil || old == s || old.refs > 0 || old.dead || old.dirty || old.file == nil || old == st.segments[len(st.segments)-1] {
		return nil
	}
	f := old.file
	old.file = nil
	old.index.forget()
	return []File{f}
}
