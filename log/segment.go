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
	// ahead is where the zeros end that follow the batches; at most size: there
	// are none.
	ahead int64
	// dirty: it has bytes that no Sync covers.
	dirty bool
	index index
	// digest is that of all its batches, if digested.
	digest   digest
	digested bool
	// sealed: its seal is on the disk, as far as is known; seal is what it says, once
	// it was read and found to fit.
	sealed bool
	seal   *seal
}

const segmentSuffix = ".log"

func segmentPath(dir string, base Offset) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentSuffix))
}

// The names of the files beside a segment's.
func (s *segment) indexPath() string { return s.beside(indexSuffix) }
func (s *segment) timesPath() string { return s.beside(timesSuffix) }
func (s *segment) sealPath() string  { return s.beside(sealSuffix) }

func (s *segment) beside(suffix string) string {
	return strings.TrimSuffix(s.path, segmentSuffix) + suffix
}

// name is what errors call a segment.
func (s *segment) name() string { return filepath.Base(s.path) }

// parseSegment tells whether a file name is that of a segment.
func parseSegment(name string) (Offset, bool) { return parseName(name, segmentSuffix) }

// parseName takes an offset of 20 digits off a file name with that suffix.
func parseName(name, suffix string) (Offset, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
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

// close closes the file of a segment that nobody reads.
func (s *segment) close() error {
	f := s.file
	s.file = nil
	return f.Close()
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
		// A compaction that has it open may have renamed it in this moment.
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.file != nil && s.size >= 0 {
			return s.file, s.size, nil
		}
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
