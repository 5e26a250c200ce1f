package wire

// A Slab is memory for messages that are handed over, of which nobody knows how long
// they are kept: none is written to again, and many take theirs of one piece. The zero
// Slab is empty. Its calls must not overlap.
type Slab struct{ free []byte }

// slabBytes is the size of a piece: a message that is kept keeps so much.
const slabBytes = 4 << 10

// Writer returns a writer of the next message, which is the slab's until Take. There is
// one at a time.
func (s *Slab) Writer() Writer {
	if len(s.free) == 0 {
		s.free = make([]byte, slabBytes)
	}
	return Writer{b: s.free[:0]}
}

// Take returns the message that w has written, for good.
func (s *Slab) Take(w *Writer) []byte {
	n := len(w.b)
	switch {
	case n > 0 && n <= len(s.free) && &w.b[0] == &s.free[0]:
		s.free = s.free[n:]
	case n <= slabBytes/4:
		s.free = nil // it had too little left, and has moved
	}
	return w.b[:n:n]
}
