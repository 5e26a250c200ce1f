package log

import (
	"errors"
	"io"
	"sort"
)

// Read returns whole batches from the one that holds from on, as far as they lie
// in one piece: at most maxBytes, but one batch at least, and only such whose
// offsets are all below upTo. It is empty if there is none, such as from the end
// on. Call again from where it stopped.
//
// An offset before the start or behind the end is a [*RangeError]; bytes on the
// disk that are not what was written are a [*CorruptError]. The bytes returned
// never change, and may be kept.
func (l *Log) Read(from, upTo Offset, maxBytes int) ([]byte, error) {
	return l.readInto(nil, from, upTo, maxBytes)
}

// ReadInto is [Log.Read] of at most len(buf) bytes for readers that go through
// the log and keep nothing: bytes from the disk are put into buf, but for a batch
// that is longer, so that no memory is taken from one call to the next. The bytes
// returned are those of buf, or never change.
func (l *Log) ReadInto(buf []byte, from, upTo Offset) ([]byte, error) {
	return l.readInto(buf, from, upTo, len(buf))
}

func (l *Log) readInto(buf []byte, from, upTo Offset, maxBytes int) ([]byte, error) {
	for {
		r, data, err := l.plan(from, upTo, maxBytes, true)
		if err != nil || r.segment == nil {
			return data, err
		}
		data, err = l.readDisk(&r, buf)
		if l.finish(&r, err == nil) {
			return data, err
		}
	}
}

// Scrub reads what is flushed from the disk, past what is kept in memory, and checks
// it: the batches from the one that holds from on, as many as buf has room for, but one
// at least. It returns where the next call goes on; that is from when nothing follows.
// The errors are those of [Log.Read]. It overlaps anything.
func (l *Log) Scrub(from Offset, buf []byte) (Offset, error) {
	for {
		r, _, err := l.plan(from, l.Flushed(), len(buf), false)
		if err != nil || r.segment == nil {
			return from, err
		}
		_, err = l.readDisk(&r, buf)
		if l.finish(&r, err == nil) {
			return max(from, r.next), err
		}
	}
}

// A reading is a read of one segment's file. What it begins with is a moment of
// the log; if a cut begins before it has ended, it begins anew.
type reading struct {
	segment  *segment
	from, to Offset // to is where the segment, the log, or the caller's bound ends
	edge     Offset // where the segment or the log ends: no batch reaches over it
	limit    int
	epochs   epochs
	cuts     int

	// Where the batch lies that holds from; pos is -1 until that is known.
	pos   int64
	first Offset
	// Where the batches end that were read.
	next    Offset
	nextPos int64
}

// plan serves a read from memory, if it may, or returns what to read from the disk:
// then the reading has a segment.
func (l *Log) plan(from, upTo Offset, maxBytes int, memory bool) (reading, []byte, error) {
	l.mu.Lock()
	st := &l.state
	start, end := l.Start(), l.End()
	switch {
	case st.closed:
		l.mu.Unlock()
		return reading{}, nil, ErrClosed
	case from < start || from > end:
		l.mu.Unlock()
		return reading{}, nil, &RangeError{Want: from, First: start, Next: end}
	}
	to, edge := min(upTo, end), end
	if from >= to {
		l.mu.Unlock()
		return reading{}, nil, nil
	}
	if memory {
		if c, ok := st.tail.lend(from); ok {
			entries := c.segment.index.entries
			l.mu.Unlock()
			return reading{}, c.read(from, to, maxBytes, entries), nil
		}
	}
	defer l.mu.Unlock()
	i := findSegment(st.segments, from)
	s := st.segments[i]
	if i+1 < len(st.segments) {
		edge = st.segments[i+1].base
		to = min(to, edge)
	}
	s.pin()
	r := reading{
		segment: s, from: from, to: to, edge: edge, limit: maxBytes, epochs: st.epochs, cuts: st.cuts,
		pos: st.hints.find(s, from), first: from,
	}
	if r.pos >= 0 {
		r.limit = wholeBatches(s.index.entries, r.pos, maxBytes)
	}
	return r, nil, nil
}

// finish ends a reading; false says that it is void: a cut has come, or another file
// has taken the place of the segment.
func (l *Log) finish(r *reading, good bool) bool {
	l.done(r.segment)
	l.mu.Lock()
	defer l.mu.Unlock()
	if (l.state.cuts != r.cuts || r.segment.dead && !good) && !l.state.closed {
		return false
	}
	if good && r.nextPos > 0 {
		l.state.hints.move(r.from, hint{offset: r.next, segment: r.segment, pos: r.nextPos})
	}
	return true
}

// wholeBatches returns limit, or what of it ends with a batch, as far as the index
// tells: so that no part of a batch is read in vain, and once more with the next.
// A wrong entry costs no more than that.
func wholeBatches(entries []indexEntry, pos int64, limit int) int {
	i := sort.Search(len(entries), func(i int) bool { return int64(entries[i].position) > pos+int64(limit) }) - 1
	if i < 0 || i == len(entries)-1 || int64(entries[i].position) <= pos {
		return limit
	}
	return int(int64(entries[i].position) - pos)
}

// readDisk reads and checks the batches that r asks for, into memory of its own
// unless into has room.
func (l *Log) readDisk(r *reading, into []byte) ([]byte, error) {
	file, size, err := l.open(r.segment)
	if err != nil {
		return nil, err
	}
	if r.pos < 0 {
		if err := l.seek(r, file, size); err != nil {
			return nil, err
		}
	}
	buf, err := readBatches(into, file, r.pos, size, r.limit)
	if err != nil {
		return nil, place(err, r.segment.name(), r.pos, r.first)
	}
	n, next := 0, r.first
	for n < len(buf) {
		b, _, err := SplitBatch(buf[n:])
		if err == nil {
			err = b.fits(next, r.epochs)
		}
		if err == nil {
			err = b.Check()
		}
		if err == nil && b.Last() >= r.edge {
			err = badBatch("last offset")
		}
		if err != nil && n == 0 {
			return nil, place(err, r.segment.name(), r.pos, r.first)
		}
		if err != nil || b.Last() >= r.to {
			break // a bad batch is reported to who asks for it
		}
		n, next = n+len(b), b.Next()
	}
	r.next, r.nextPos = next, r.pos+int64(n)
	if n < cap(buf)/2 && len(into) == 0 {
		return append([]byte(nil), buf[:n]...), nil
	}
	return buf[:n:n], nil
}

// readBatches reads limit bytes from pos on, but not less than the batch there.
func readBatches(into []byte, file File, pos, size int64, limit int) ([]byte, error) {
	buf, err := readExactly(into, file, pos, min(max(int64(limit), BatchOverhead), size-pos))
	if err != nil {
		return nil, err
	}
	_, _, err = SplitBatch(buf)
	if !errors.Is(err, ErrShort) || len(buf) < BatchOverhead {
		return buf, err
	}
	n := Batch(buf).size()
	if n > size-pos {
		return nil, ErrShort
	}
	return readExactly(into, file, pos, n)
}

// readExactly reads n bytes, into memory of its own unless into has room.
func readExactly(into []byte, file File, pos, n int64) ([]byte, error) {
	if n <= 0 {
		return nil, ErrShort
	}
	buf := into
	if int64(len(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	got, err := file.ReadAt(buf, pos)
	switch {
	case int64(got) == n:
		return buf, nil
	case err == nil || errors.Is(err, io.EOF):
		return nil, ErrShort
	}
	return nil, err
}

const seekStep = 8 << 10 // a little more than lies between two index entries

// seek finds the batch that holds r.from, by the index, and by its neighbours'
// headers from there on.
func (l *Log) seek(r *reading, file File, size int64) error {
	s := r.segment
	entries, _, err := l.loadIndex(s, file, size)
	if err != nil {
		return err
	}
	sc := &scanner{file: file, size: size, want: seekStep}
	pos, first, err := anchor(r, sc, entries)
	if err != nil {
		return err
	}
	before, beforeFirst := pos, first
	for {
		b, err := sc.header(pos)
		if err == nil {
			err = b.fits(first, r.epochs)
		}
		if err != nil {
			if cause := checkAt(sc, before); cause != nil {
				err, pos, first = cause, before, beforeFirst // it led astray
			}
			return place(err, s.name(), pos, first)
		}
		if b.Last() >= r.from {
			r.pos, r.first = pos, first
			return nil
		}
		before, beforeFirst = pos, first
		pos, first = pos+b.size(), b.Next()
	}
}

// checkAt returns what is wrong with the batch at pos, as far as its own bytes tell.
func checkAt(sc *scanner, pos int64) error {
	b, err := sc.batch(pos)
	if err == nil {
		err = b.Check()
	}
	if damaged(err) {
		return err
	}
	return nil
}

// anchor returns a batch at or before r.from, by the index: the first of the segment
// if the batch that the index names is another.
func anchor(r *reading, sc *scanner, entries []indexEntry) (pos int64, first Offset, err error) {
	s := r.segment
	e, found := findEntry(entries, s.base, r.from)
	if !found {
		return 0, s.base, nil
	}
	pos = int64(e.position)
	b, err := sc.batch(pos)
	if err == nil {
		err = errors.Join(b.fits(b.First(), r.epochs), b.Check())
	}
	switch {
	case err == nil && b.Last() == s.base+Offset(e.offset):
		return pos, b.First(), nil
	case err == nil || damaged(err):
		return 0, s.base, nil
	}
	return 0, 0, err
}
