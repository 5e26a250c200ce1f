package log

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"sort"
)

// Index format: Kafka's .index
//
// Entries of 8 bytes, rising strictly in both fields, big-endian, no header:
//
//	offset    int32  last offset of a batch, less the first offset of the segment
//	position  int32  of that batch in the segment
//
// There is one entry at most for every Config.IndexInterval bytes.
//
// Neither this file nor the time index has a checksum of its own. They are hints:
// believed as far as a checksum elsewhere bears them out, that of the seal for a
// sealed segment, that of the flushed-end file for what lies below the recovery
// point of the active one. What is not borne out is made anew from the batches.
const (
	indexSuffix    = ".index"
	indexEntrySize = 8
)

type indexEntry struct {
	offset   int32
	position int32
}

// An index is what is known in memory of where one segment's batches lie, and when
// they were made. The log's mutex guards it; entries are only added, so that a copy
// of a slice stays true.
type index struct {
	entries []indexEntry
	times   []timeEntry
	loaded  bool // entries and times have all that is to be had
	whole   bool // they reach back to the start of the segment

	// What the files hold of them, and whether nothing lies behind it there.
	savedEntries, savedTimes int
	clean                    bool
	// What of them was summed so far, for the flushed-end file.
	sums indexSums
}

// indexSums are the checksums of the first entries of both files.
type indexSums struct {
	entries, times       int
	entriesCRC, timesCRC uint32
}

// notSummed stands for the checksum of an index that is not whole; that of an empty
// one is 0.
const notSummed = ^uint32(0)

// note adds the batch from pos on if it lies far enough behind the entry before. d
// is the segment's digest, that batch included.
func (x *index) note(last, pos int64, d digest, interval int) {
	at := int64(0)
	if n := len(x.entries); n > 0 {
		at = int64(x.entries[n-1].position)
	}
	if pos-at < int64(interval) || last > math.MaxInt32 || pos > math.MaxInt32 {
		return
	}
	x.entries = append(x.entries, indexEntry{int32(last), int32(pos)})
	if n := len(x.times); d.maxTime != noTime && (n == 0 || x.times[n-1].time < d.maxTime && x.times[n-1].offset < d.maxAt) {
		x.times = append(x.times, timeEntry{d.maxTime, d.maxAt})
	}
}

// cut drops the entries from a position on, where the segment has come to offset
// end, less its first.
func (x *index) cut(pos, end int64) {
	n := x.entriesBelow(pos)
	x.entries = x.entries[:n:n]
	m := x.timesBelow(end)
	x.times = x.times[:m:m]
	if x.savedEntries > n || x.savedTimes > m || !x.clean {
		x.savedEntries, x.savedTimes, x.clean = min(x.savedEntries, n), min(x.savedTimes, m), false
	}
	if x.sums.entries > n || x.sums.times > m {
		x.sums = indexSums{}
	}
}

func (x *index) entriesBelow(pos int64) int {
	return sort.Search(len(x.entries), func(i int) bool { return int64(x.entries[i].position) >= pos })
}

func (x *index) timesBelow(end int64) int {
	return sort.Search(len(x.times), func(i int) bool { return int64(x.times[i].offset) >= end })
}

// sum returns the checksums of the entries below a place. Places rise from call to
// call, or everything is summed again.
func (x *index) sum(pos, end int64) indexSums {
	n, m := x.entriesBelow(pos), x.timesBelow(end)
	if x.sums.entries > n || x.sums.times > m {
		x.sums = indexSums{}
	}
	s := &x.sums
	s.entriesCRC = updateChecksum(s.entriesCRC, appendEntries(nil, x.entries[s.entries:n]))
	s.timesCRC = updateChecksum(s.timesCRC, appendTimes(nil, x.times[s.times:m]))
	s.entries, s.times = n, m
	return *s
}

// forget frees the memory of a sealed segment's index whose files have it all.
func (x *index) forget() {
	if x.loaded && x.clean && x.savedEntries == len(x.entries) && x.savedTimes == len(x.times) {
		*x = index{}
	}
}

func appendEntries(b []byte, entries []indexEntry) []byte {
	for _, e := range entries {
		b = binary.BigEndian.AppendUint32(b, uint32(e.offset))
		b = binary.BigEndian.AppendUint32(b, uint32(e.position))
	}
	return b
}

// parseEntries reads entries up to a position, as far as they make sense.
func parseEntries(b []byte, below int64) []indexEntry {
	var entries []indexEntry
	last := indexEntry{-1, 0}
	for ; len(b) >= indexEntrySize; b = b[indexEntrySize:] {
		e := indexEntry{int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))}
		if e.offset <= last.offset || e.position <= last.position || int64(e.position) >= below {
			break
		}
		entries, last = append(entries, e), e
	}
	return entries
}

// findEntry returns the last entry at off or before; false if there is none.
func findEntry(entries []indexEntry, base, off Offset) (indexEntry, bool) {
	i := sort.Search(len(entries), func(i int) bool { return base+Offset(entries[i].offset) > off })
	if i == 0 {
		return indexEntry{}, false
	}
	return entries[i-1], true
}

// readHints reads both index files of a segment with so many bytes of batches: no more of
// them than there can be entries, and a byte, by which one that is longer is told. One
// that is missing is empty.
func readHints(fsys FS, s *segment, size int64) (entries, times []byte, err error) {
	most := size / BatchOverhead // one for each batch
	for _, f := range []struct {
		name  string
		limit int64
		to    *[]byte
	}{{s.indexPath(), most*indexEntrySize + 1, &entries}, {s.timesPath(), most*timeEntrySize + 1, &times}} {
		*f.to, err = readPrefix(fsys, f.name, f.limit)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	return entries, times, nil
}

// readIndexBelow reads the index of an active segment up to the recovery point, if
// its checksums bear it out; if not, it is empty, and not whole.
func readIndexBelow(fsys FS, s *segment, pos, end int64, sums indexSums) (index, error) {
	e, t, err := readHints(fsys, s, pos)
	if err != nil {
		return index{}, err
	}
	x := index{entries: parseEntries(e, pos), times: parseTimes(t, end), loaded: true, whole: true}
	got := x.sum(pos, end)
	if sums.entriesCRC != got.entriesCRC || sums.timesCRC != got.timesCRC {
		return index{loaded: true}, nil
	}
	x.savedEntries, x.savedTimes = len(x.entries), len(x.times)
	x.entries, x.times = x.entries[:len(x.entries):len(x.entries)], x.times[:len(x.times):len(x.times)]
	return x, nil
}

// loadIndex returns the index of a segment that is in use. The first time it reads
// the files, or, if no checksum bears them out, the segment.
func (l *Log) loadIndex(s *segment, file File, size int64) (entries []indexEntry, times []timeEntry, err error) {
	l.mu.Lock()
	x, e, cuts := s.index, l.state.epochs, l.state.cuts
	size = min(size, s.size) // a cut may have come since the caller asked
	l.mu.Unlock()
	if x.loaded && x.whole {
		return x.entries, x.times, nil
	}
	if !x.loaded {
		read, seal, err := readSealed(l.fsys, s, size)
		if err != nil {
			return nil, nil, err
		}
		if read.loaded {
			return l.keepIndex(s, read, seal, cuts)
		}
	}
	return l.rebuildIndex(s, file, size, e, cuts)
}

// keepIndex takes over what was read of a sealed segment, unless a cut came since.
func (l *Log) keepIndex(s *segment, x index, found *seal, cuts int) ([]indexEntry, []timeEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case s.index.loaded && s.index.whole:
		x = s.index
	case l.state.cuts == cuts: // else what was read may be of before the cut
		s.index, s.seal, s.digest, s.digested = x, found, found.digest, true
	}
	return x.entries, x.times, nil
}

// rebuildIndex makes the index anew from the batches of the segment, up to the
// first that is bad.
func (l *Log) rebuildIndex(s *segment, file File, size int64, e epochs, cuts int) ([]indexEntry, []timeEntry, error) {
	x := index{loaded: true, whole: true}
	w := newWalk(file, size, s.base, e)
	for w.pos < size {
		at := w.pos
		b, err := w.step()
		if damaged(err) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		x.note(int64(b.Last()-s.base), at, w.digest, l.cfg.IndexInterval)
	}
	entries, times := x.entries[:len(x.entries):len(x.entries)], x.times[:len(x.times):len(x.times)]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.cuts != cuts || s.index.loaded && s.index.whole {
		return entries, times, nil
	}
	for _, e := range s.index.entries { // of batches appended meanwhile
		if int64(e.position) >= size {
			x.entries = append(x.entries, e)
		}
	}
	for _, t := range s.index.times {
		if n := len(x.times); n == 0 || t.time > x.times[n-1].time && t.offset > x.times[n-1].offset {
			x.times = append(x.times, t)
		}
	}
	s.index = x
	if n := len(l.state.segments); n > 0 && s != l.state.segments[n-1] && !s.dead {
		whole := w.pos == size && w.next == l.state.endOf(s) // a file cut short may end with a batch
		s.digest, s.digested, s.sealed, s.seal = w.digest, whole, false, nil
		l.state.unsealed = true
	}
	return entries, times, nil
}

// saveIndex writes the new entries of a segment behind those in its files, and
// syncs them if asked to. Who calls holds the right of acquire.
func (l *Log) saveIndex(s *segment, sync bool) error {
	l.mu.Lock()
	x := s.index
	l.mu.Unlock()
	if !x.loaded || !x.whole {
		return nil
	}
	entries := appendEntries(nil, x.entries[x.savedEntries:])
	times := appendTimes(nil, x.times[x.savedTimes:])
	err := errors.Join(
		l.saveHint(s.indexPath(), entries, int64(x.savedEntries)*indexEntrySize, x.clean, sync),
		l.saveHint(s.timesPath(), times, int64(x.savedTimes)*timeEntrySize, x.clean, sync),
	)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.index.savedEntries, s.index.savedTimes, s.index.clean = len(x.entries), len(x.times), true
	return nil
}

// saveHint writes b at a place of a file, where it ends then.
func (l *Log) saveHint(name string, b []byte, at int64, clean, sync bool) error {
	if len(b) == 0 && clean && !sync {
		return nil
	}
	f, err := l.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = l.fsys.Create(name)
	}
	if err != nil {
		return err
	}
	if len(b) > 0 {
		_, err = f.WriteAt(b, at)
	}
	if err == nil && !clean {
		err = f.Truncate(at + int64(len(b)))
	}
	if err == nil && sync {
		err = syncFile(f)
	}
	return errors.Join(err, f.Close())
}
