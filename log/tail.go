package log

import (
	"slices"
	"sort"
	"sync"
)

// A tail is what a Memory keeps of one log: its newest batches, but for what was
// too large.
type tail struct {
	memory *Memory

	mu     sync.Mutex // guards all below, and the chunks; see Memory.mu for the order
	chunks []*chunk   // oldest first; a hole is where a run was not to be kept
	grow   int        // capacity of the next one
	closed bool       // it takes no more
}

// put puts a copy of data behind the last batch and returns it. It is not part of the
// tail before extend, nor if the log was closed. One call at a time.
func (t *tail) put(s *segment, pos int64, first Offset, data []byte) []byte {
	n := len(data)
	t.mu.Lock()
	if c := t.last(); c != nil && !c.borrowed && c.segment == s && c.pos+int64(len(c.buf)) == pos {
		if free := c.buf[len(c.buf):cap(c.buf)]; len(free) >= n {
			c.filling = true
			t.mu.Unlock()
			copy(free, data)
			return free[:n:n]
		}
	}
	size := max(n, min(max(t.grow, firstChunk), largestChunk, max(t.memory.budget/chunkShare, firstChunk)))
	t.grow = 2 * size
	t.mu.Unlock()

	c := t.memory.reserve(size, true)
	switch {
	case c.buf != nil:
		copy(c.buf[:n], data)
	case size == n:
		c.buf = slices.Clone(data)[:0:n] // memory that is filled at once is not cleared first
	default:
		c.buf = make([]byte, 0, size)
		copy(c.buf[:n], data)
	}
	c.run = run{segment: s, pos: pos, first: first, end: first, buf: c.buf[:0]}
	t.push(c)
	return c.buf[:n:n]
}

// borrow makes data, which never changes, what is behind the last batch. One
// call at a time, of it and of put.
func (t *tail) borrow(s *segment, pos int64, first Offset, data []byte) {
	c := t.memory.reserve(len(data), false)
	c.run = run{segment: s, pos: pos, first: first, end: first, buf: data[:0:len(data)]}
	c.borrowed = true
	t.push(c)
}

// push adds a chunk for which memory was reserved, unless the log was closed.
func (t *tail) push(c *chunk) {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		m.held -= c.held
		return
	}
	if last := t.last(); last != nil && last.touched { // no more from now on: this is its place for good
		last.touched = false
		last.unlink()
		m.link(last)
	}
	c.tail, c.filling, c.touched = t, true, false
	t.chunks = append(t.chunks, c)
	m.link(c)
}

// extend makes the n bytes that put or borrow set apart last part of the tail,
// unless they had to leave it meanwhile.
func (t *tail) extend(n int, end Offset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.last(); c != nil && c.filling {
		c.buf, c.end = c.buf[:len(c.buf)+n], end
		c.filling, c.touched = false, true
	}
}

// last returns the newest chunk; t.mu is held.
func (t *tail) last() *chunk {
	if n := len(t.chunks); n > 0 {
		return t.chunks[n-1]
	}
	return nil
}

// dropOldest forgets the oldest chunk; t.mu is held. A log that has lost all of
// them has been idle, and begins small again.
func (t *tail) dropOldest() {
	t.chunks = slices.Delete(t.chunks, 0, 1)
	if len(t.chunks) == 0 {
		t.grow = 0
	}
}

// lend returns the run that holds off, for a reader to keep.
func (t *tail) lend(off Offset) (run, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].first > off }) - 1
	if i < 0 || off >= t.chunks[i].end {
		return run{}, false
	}
	t.chunks[i].lent = true
	return t.chunks[i].run, true
}

// cut drops the batches from end on, where pos is the place of end in segment s.
// What stays of a chunk is not appended to: somebody may hold what was cut.
func (t *tail) cut(s *segment, pos int64, end Offset) {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := t.last(); c != nil && c.first >= end; c = t.last() {
		t.dropLast()
	}
	c := t.last()
	if c == nil || c.end <= end {
		return
	}
	keep := pos - c.pos
	if c.segment != s || keep <= 0 || keep >= int64(len(c.buf)) {
		t.dropLast()
		return
	}
	c.buf, c.end, c.lent = c.buf[:keep:keep], end, true
}

// dropLast forgets the newest chunk; both mutexes are held.
func (t *tail) dropLast() {
	n := len(t.chunks) - 1
	c := t.chunks[n]
	c.unlink()
	t.memory.held -= c.held
	t.chunks[n] = nil
	t.chunks = t.chunks[:n]
}

// forget drops what lies below an offset as a whole: it was removed, or is another on
// the disk.
func (t *tail) forget(below Offset) {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.chunks) && t.chunks[n].end <= below && !t.chunks[n].filling {
		t.chunks[n].unlink()
		m.held -= t.chunks[n].held
		n++
	}
	t.chunks = slices.Delete(t.chunks, 0, n)
}

// clear drops everything; after the last time nothing more is taken.
func (t *tail) clear(last bool) {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.chunks) > 0 {
		t.dropLast()
	}
	t.grow, t.closed = 0, t.closed || last
}

// read returns whole batches of the run from the one that holds from on: at most
// limit bytes, but one batch at least, all below upTo. entries is the index of the
// segment.
func (r run) read(from, upTo Offset, limit int, entries []indexEntry) []byte {
	rest := r.buf
	if e, ok := findEntry(entries, r.segment.base, from); ok && int64(e.position) > r.pos && int64(e.position)-r.pos < int64(len(r.buf)) {
		// As on the disk, an entry counts if the batch is there that it names: one
		// from an index file may be of before a cut.
		b, _, err := SplitBatch(r.buf[int64(e.position)-r.pos:])
		if err == nil && b.Last() == r.segment.base+Offset(e.offset) && b.First() <= b.Last() && b.First() >= r.first {
			rest = r.buf[int64(e.position)-r.pos:]
		}
	}
	for len(rest) > 0 {
		if b := Batch(rest); b.Last() >= from {
			break
		}
		rest = rest[Batch(rest).size():]
	}
	if r.end <= upTo && len(rest) <= limit {
		return rest[:len(rest):len(rest)]
	}
	n := 0
	for n < len(rest) {
		b := Batch(rest[n:])
		if b.Last() >= upTo || n > 0 && n+int(b.size()) > limit {
			break
		}
		n += int(b.size())
	}
	return rest[:n:n]
}

// hints remember where the next read of a few sequential readers begins, so
// that they need no index.
type hints struct {
	places [4]hint
	next   int
}

type hint struct {
	offset  Offset
	segment *segment
	pos     int64
}

// find returns the place of off in s; -1 if it is not known.
func (h *hints) find(s *segment, off Offset) int64 {
	for _, p := range h.places {
		if p.segment == s && p.offset == off {
			return p.pos
		}
	}
	return -1
}

// move notes that the reader that was at from in s has come to h2.
func (h *hints) move(from Offset, to hint) {
	for i := range h.places {
		if p := &h.places[i]; p.segment == to.segment && (p.offset == from || p.offset == to.offset) {
			*p = to
			return
		}
	}
	h.places[h.next] = to
	h.next = (h.next + 1) % len(h.places)
}
