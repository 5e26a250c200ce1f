package log

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"sort"
)

// Index format: Kafka's .index
//
// Entries of 8 bytes, rising strictly in both fields, big-endian, no header:
//
//	offset    int32  last offset of a batch, less the first offset of the segment
//	position  int32  of that batch in the segment
//
// There is one entry at most for every Config.IndexInterval bytes. The file is a
// hint: it is not synced, it may lag behind its segment, and a crash may leave
// anything in it. An entry is believed only once the batch that it points at
// bears it out; otherwise the segment is scanned.
const indexEntrySize = 8

type indexEntry struct {
	offset   int32
	position int32
}

// An index is the index of one segment, in memory. The log's mutex guards it;
// entries are only added, so that a copy of the slice stays true.
type index struct {
	entries []indexEntry
	loaded  bool // entries has all that is to be had
	saved   int  // entries that the file holds
	clean   bool // the file holds nothing behind them
	rebuilt bool // entries come from the segment itself
}

// note adds the batch from pos on, whose last offset is last, if it lies far
// enough behind the entry before.
func (x *index) note(base, last Offset, pos int64, interval int) {
	at := int64(0)
	if n := len(x.entries); n > 0 {
		at = int64(x.entries[n-1].position)
	}
	if pos-at < int64(interval) || last-base > math.MaxInt32 || pos > math.MaxInt32 {
		return
	}
	x.entries = append(x.entries, indexEntry{int32(last - base), int32(pos)})
}

// cut drops the entries from a position on.
func (x *index) cut(pos int64) {
	n := sort.Search(len(x.entries), func(i int) bool { return int64(x.entries[i].position) >= pos })
	x.entries = x.entries[:n:n]
	if x.saved > n || !x.clean {
		x.saved, x.clean = min(x.saved, n), false
	}
}

// forget frees the memory of a sealed segment's index whose file has it all.
func (x *index) forget() {
	if x.loaded && x.clean && x.saved == len(x.entries) {
		*x = index{}
	}
}

// findEntry returns the last entry at off or before; false if there is none.
func findEntry(entries []indexEntry, base, off Offset) (indexEntry, bool) {
	i := sort.Search(len(entries), func(i int) bool { return base+Offset(entries[i].offset) > off })
	if i == 0 {
		return indexEntry{}, false
	}
	return entries[i-1], true
}

// readIndex reads the index file of a segment of the given size, as far as it
// makes sense. whole tells whether that was all of the file.
func readIndex(fsys FS, s *segment, size int64) (entries []indexEntry, whole bool, err error) {
	b, err := readWhole(fsys, s.indexPath(), math.MaxInt32)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	last := indexEntry{-1, 0}
	for ; len(b) >= indexEntrySize; b = b[indexEntrySize:] {
		e := indexEntry{int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))}
		if e.offset <= last.offset || e.position <= last.position || int64(e.position) >= size {
			return entries, false, nil
		}
		entries, last = append(entries, e), e
	}
	return entries, len(b) == 0, nil
}

// loadIndex returns the entries of a segment that is in use, reading its file
// the first time.
func (l *Log) loadIndex(s *segment, size int64) ([]indexEntry, error) {
	l.mu.Lock()
	entries, loaded, cuts := s.index.entries, s.index.loaded, l.state.cuts
	l.mu.Unlock()
	if loaded {
		return entries, nil
	}
	entries, whole, err := readIndex(l.fsys, s, size)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case s.index.loaded:
	case l.state.cuts != cuts:
		return entries, nil // what was read may be of before the cut: it is not for keeping
	default:
		s.index = index{entries: entries[:len(entries):len(entries)], loaded: true, saved: len(entries), clean: whole}
	}
	return s.index.entries, nil
}

// saveIndex writes the new entries of a segment behind those in its file. Who
// calls holds the right of acquire.
func (l *Log) saveIndex(s *segment) error {
	l.mu.Lock()
	x := s.index
	l.mu.Unlock()
	if !x.loaded || x.saved == len(x.entries) {
		return nil
	}
	f, err := l.fsys.Open(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		f, err = l.fsys.Create(s.indexPath())
	}
	if err != nil {
		return err
	}
	b := make([]byte, 0, (len(x.entries)-x.saved)*indexEntrySize)
	for _, e := range x.entries[x.saved:] {
		b = binary.BigEndian.AppendUint32(b, uint32(e.offset))
		b = binary.BigEndian.AppendUint32(b, uint32(e.position))
	}
	_, err = f.WriteAt(b, int64(x.saved)*indexEntrySize)
	if err == nil && !x.clean {
		err = f.Truncate(int64(len(x.entries)) * indexEntrySize)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.index.saved, s.index.clean = len(x.entries), true
	return nil
}

// removeIndex drops the file of a segment's index, if there is one.
func (l *Log) removeIndex(s *segment) error {
	err := l.fsys.Remove(s.indexPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// name is what errors call a segment.
func (s *segment) name() string { return filepath.Base(s.path) }
