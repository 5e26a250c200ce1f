package produce

import "sync"

// spares are batches out of use, whose memory serves again: that of a batch grows with
// its records, which costs more than to fill it. A sync.Pool would be empty after every
// other collection of garbage, and those come fast where much is sent.
type spares struct {
	limit int // bytes

	mu    sync.Mutex // guards all below
	list  []*batch
	bytes int
}

// take returns an empty batch, the one that was used last if there is one.
func (s *spares) take() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.list)
	if n == 0 {
		return new(batch)
	}
	b := s.list[n-1]
	s.list[n-1] = nil
	s.list = s.list[:n-1]
	s.bytes -= b.largest
	return b
}

// give keeps b, which is empty, if there is room for what it has been.
func (s *spares) give(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+b.largest > s.limit {
		return
	}
	s.list = append(s.list, b)
	s.bytes += b.largest
}
