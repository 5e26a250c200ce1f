package log

import "sync"

// A Memory keeps the newest batches of the logs that share it, so that followers
// and readers at the end make no system call. When it is full, what was appended
// longest ago leaves first, whichever log it is of: an idle one keeps nothing that
// another has a use for.
//
// What was handed out stays true: memory of which somebody may hold a part is
// never written again, and the garbage collector frees it. Memory that nobody has
// read is filled anew, which spares the page faults of fresh memory: without
// readers, they take longer than the write.
type Memory struct {
	budget int

	// mu guards all below and the links of chunks. The mutex of a log may be held
	// when it is taken, and that of a tail may be taken under it; never the other
	// way round, and never the mutex of a log or of a tail beside another's.
	mu   sync.Mutex
	held int   // by all chunks
	ends chunk // of a ring: next is the chunk appended to longest ago
}

// NewMemory returns a memory of so many bytes. It takes them as they are needed.
// One of 0 keeps nothing.
func NewMemory(bytes int) *Memory {
	m := &Memory{budget: bytes}
	m.ends.prev, m.ends.next = &m.ends, &m.ends
	return m
}

const (
	memoryBytes  = 1 << 20   // of a log that shares none
	firstChunk   = 4 << 10   // of a log; each of the following has twice as much
	largestChunk = 256 << 10 // but for a run that is longer
	chunkShare   = 4         // nor more of the budget than one part in this many

	// A run longer than half of the budget would push all else out. One longer
	// than largestCopy is not copied, as that takes longer than it spares. Nothing of a
	// follower's is, since nobody reads from it before it leads. It keeps what it was
	// given, but for a run shorter than leastBorrowed: that may be a small part of
	// memory that it would keep from being freed.
	runShare      = 2
	largestCopy   = 512 << 10
	leastBorrowed = 32 << 10
)

// copies tells whether a leader's run of n bytes is to be kept, which takes a copy.
func (m *Memory) copies(n int) bool { return n <= m.budget/runShare && n <= largestCopy }

// borrows tells whether a follower's run of n bytes, which never change, is to be kept.
func (m *Memory) borrows(n int) bool { return n <= m.budget/runShare && n >= leastBorrowed }

// A run is consecutive batches of one segment.
type run struct {
	segment    *segment
	pos        int64 // of buf[0] in the segment
	first, end Offset
	buf        []byte
}

// A chunk is a piece of a Memory and what a tail keeps there. Its place in the
// ring is guarded by the memory's mutex, the rest by the tail's.
type chunk struct {
	prev, next *chunk
	tail       *tail

	run
	held     int  // bytes that it counts for; set before anybody else sees it
	lent     bool // somebody may hold a part of buf
	borrowed bool // buf is not ours to fill
	filling  bool // the writer has room in it
	touched  bool // appended to since it got its place in the ring
}

// link puts c at the end of the ring; m.mu is held.
func (m *Memory) link(c *chunk) {
	c.prev, c.next = m.ends.prev, &m.ends
	c.prev.next, c.next.prev = c, c
}

func (c *chunk) unlink() {
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
}

// reserve makes room for size bytes by dropping the oldest chunks, and returns a
// chunk that counts for them. If it is to be filled, and one that was dropped fits
// without much to spare, it comes with the memory of that one; otherwise it has
// none.
func (m *Memory) reserve(size int, fill bool) *chunk {
	m.mu.Lock()
	defer m.mu.Unlock()
	var c *chunk
	need := size
	for m.held+need > m.budget && m.ends.next != &m.ends {
		old := m.ends.next
		switch free := m.drop(old); {
		case !free:
		case fill && (c == nil || c.buf == nil) && cap(old.buf) >= size && cap(old.buf) <= 2*size:
			c, need = old, cap(old.buf)
		case c == nil:
			old.buf = nil
			c = old
		}
	}
	if c == nil {
		c = &chunk{}
	}
	c.held = need
	m.held += need
	return c
}

// drop takes the oldest chunk from its tail, unless it was appended to since it
// got its place: then it gets a new one. free tells whether it is gone, and nobody
// holds any of it. m.mu is held.
func (m *Memory) drop(c *chunk) (free bool) {
	t := c.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	c.unlink()
	if c.touched {
		c.touched = false
		m.link(c)
		return false
	}
	m.held -= c.held
	t.dropOldest() // it is c: a tail's chunks stand in the ring in their order
	return !c.lent && !c.borrowed && !c.filling
}
