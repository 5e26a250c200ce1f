package produce

import (
	"context"
	"slices"
	"sync"
)

// A budget is the buffer's bytes. Who finds too few waits in line.
type budget struct {
	mu   sync.Mutex // guards free and line
	free int
	line []*claim
}

// A claim is a caller who waits for n bytes.
type claim struct {
	n       int
	granted chan struct{}
}

// take takes n bytes, which must not be more than the whole. It fails with the
// error of ctx, or with ErrClosed once closed has been closed.
func (b *budget) take(ctx context.Context, closed <-chan struct{}, n int) error {
	b.mu.Lock()
	if len(b.line) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	c := &claim{n: n, granted: make(chan struct{})}
	b.line = append(b.line, c)
	b.mu.Unlock()

	var err error
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-closed:
		err = ErrClosed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.line, c); i >= 0 {
		b.line = slices.Delete(b.line, i, i+1)
	} else {
		b.free += n // granted meanwhile, and not wanted any more
	}
	b.grant() // the next in line may want less
	return err
}

// give returns n bytes.
func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.grant()
}

// grant serves the head of the line while it can; the caller holds mu.
func (b *budget) grant() {
	for len(b.line) > 0 && b.free >= b.line[0].n {
		b.free -= b.line[0].n
		close(b.line[0].granted)
		b.line = slices.Delete(b.line, 0, 1)
	}
}
