package log

// A tail keeps the newest batches in memory, so that followers and readers at the
// end make no system call. What was handed out stays true: a chunk of which
// somebody may hold a part is never written again, and the garbage collector
// frees it. A chunk that nobody has read is filled anew, which spares the page
// faults of fresh memory: without readers, they take longer than the write.
type tail struct {
	chunks []chunk // oldest first; a hole is where a run was too large to keep
	held   int     // capacity of all chunks
	grow   int     // capacity of the next one
}

// A chunk is a run of batches of one segment.
type chunk struct {
	segment    *segment
	pos        int64 // of buf[0] in the segment
	first, end Offset
	buf        []byte
	lent       bool // somebody may hold a part of buf
}

const (
	firstChunk = 4 << 10
	tailShare  = 2 // a run longer than the budget by this is not kept
)

// room returns n bytes behind the last batch, which are not part of the tail
// before extend. It keeps within budget, but for what it returns. l.mu is held.
func (t *tail) room(s *segment, pos int64, first Offset, n, budget int) []byte {
	if i := len(t.chunks) - 1; i >= 0 {
		c := &t.chunks[i]
		if free := c.buf[len(c.buf):cap(c.buf)]; len(free) >= n && c.segment == s && c.pos+int64(len(c.buf)) == pos {
			return free[:n:n]
		}
	}
	size := max(n, min(max(t.grow, firstChunk), max(budget/4, firstChunk)))
	t.grow = 2 * size
	var buf []byte
	drop := 0
	for drop < len(t.chunks) && t.held+size > budget {
		c := &t.chunks[drop]
		t.held -= cap(c.buf)
		if !c.lent && cap(c.buf) >= size && cap(c.buf) > cap(buf) {
			buf = c.buf[:0]
		}
		drop++
	}
	if buf == nil {
		buf = make([]byte, 0, size)
	}
	kept := copy(t.chunks, t.chunks[drop:])
	clear(t.chunks[kept:])
	t.chunks = append(t.chunks[:kept], chunk{segment: s, pos: pos, first: first, end: first, buf: buf})
	t.held += cap(buf)
	return buf[:n:n]
}

// extend makes the n bytes that room returned last part of the tail.
func (t *tail) extend(n int, end Offset) {
	c := &t.chunks[len(t.chunks)-1]
	c.buf, c.end = c.buf[:len(c.buf)+n], end
}

// lend returns the chunk that holds off, for a reader to keep.
func (t *tail) lend(off Offset) (chunk, bool) {
	for i := len(t.chunks) - 1; i >= 0; i-- {
		if c := &t.chunks[i]; c.first <= off {
			held := off < c.end
			c.lent = c.lent || held
			return *c, held
		}
	}
	return chunk{}, false
}

// cut drops the batches from end on, where pos is the place of end in segment s.
// What stays of a chunk is not appended to: somebody may hold what was cut.
func (t *tail) cut(s *segment, pos int64, end Offset) {
	n := len(t.chunks)
	for n > 0 && t.chunks[n-1].first >= end {
		n--
		t.held -= cap(t.chunks[n].buf)
	}
	clear(t.chunks[n:])
	t.chunks = t.chunks[:n]
	if n == 0 || t.chunks[n-1].end <= end {
		return
	}
	c := &t.chunks[n-1]
	if keep := pos - c.pos; c.segment == s && keep > 0 && keep < int64(len(c.buf)) {
		t.held -= cap(c.buf) - int(keep)
		c.buf, c.end = c.buf[:keep:keep], end
		return
	}
	t.held -= cap(c.buf)
	t.chunks = t.chunks[:n-1]
}

// read returns whole batches of the chunk from the one that holds from on: at
// most limit bytes, but one batch at least, all below upTo. entries is the index
// of the segment.
func (c chunk) read(from, upTo Offset, limit int, entries []indexEntry) []byte {
	rest := c.buf
	if e, ok := findEntry(entries, c.segment.base, from); ok && int64(e.position) > c.pos && int64(e.position)-c.pos < int64(len(c.buf)) {
		// As on the disk, an entry counts if the batch is there that it names: one
		// from an index file may be of before a cut.
		b, _, err := SplitBatch(c.buf[int64(e.position)-c.pos:])
		if err == nil && b.Last() == c.segment.base+Offset(e.offset) && b.First() <= b.Last() && b.First() >= c.first {
			rest = c.buf[int64(e.position)-c.pos:]
		}
	}
	for len(rest) > 0 {
		if b := Batch(rest); b.Last() >= from {
			break
		}
		rest = rest[Batch(rest).size():]
	}
	if c.end <= upTo && len(rest) <= limit {
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
