package transport

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// A node is a member of a [Network].
type node struct {
	network *Network
	addr    Addr
	handler Handler
	gone    chan struct{} // closed when the node has closed or been detached
	idle    chan struct{} // closed when it is gone and no handler runs any more

	mu      sync.Mutex // guards what follows; never held while anything waits
	closed  bool
	running int     // handlers
	out, in []*call // under way; each knows its place
}

// Close implements [Node].
func (m *node) Close() error {
	m.network.leave(m)
	m.shut()
	<-m.idle
	return nil
}

// shut ends the calls under way and lets no other begin.
func (m *node) shut() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	out, in := slices.Clone(m.out), slices.Clone(m.in)
	close(m.gone)
	if m.running == 0 {
		close(m.idle)
	}
	m.mu.Unlock()

	for _, c := range out {
		c.cancel(ErrBroken) // as the handler at the other end sees it
	}
	for _, c := range in {
		c.cancel(ErrClosed)
	}
}

func (m *node) isGone() bool {
	select {
	case <-m.gone:
		return true
	default:
		return false
	}
}

// underWay returns the calls in both directions.
func (m *node) underWay() []*call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Concat(m.out, m.in)
}

// begin takes note of a call that m makes; false if m is gone.
func (m *node) begin(c *call) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	c.outAt = len(m.out)
	m.out = append(m.out, c)
	return true
}

func (m *node) end(c *call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.out[len(m.out)-1]
	m.out[c.outAt], last.outAt = last, c.outAt
	m.out[len(m.out)-1] = nil
	m.out = m.out[:len(m.out)-1]
}

// enter takes note of a call to m, whose handler will run as often as handlers
// says; false if m is gone.
func (m *node) enter(c *call, handlers int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.running += handlers
	c.inAt = len(m.in)
	m.in = append(m.in, c)
	return true
}

func (m *node) exit(c *call, handlers int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.in[len(m.in)-1]
	m.in[c.inAt], last.inAt = last, c.inAt
	m.in[len(m.in)-1] = nil
	m.in = m.in[:len(m.in)-1]
	if m.running -= handlers; m.closed && m.running == 0 && handlers > 0 {
		close(m.idle)
	}
}

// Call implements [Node].
func (m *node) Call(ctx context.Context, to Addr, req Frame) (Frame, error) {
	if err := ctx.Err(); err != nil {
		return Frame{}, fmt.Errorf("transport: call of %q: %w", to, err)
	}
	c := &call{own: m, to: to, caller: ctx}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	if !m.begin(c) {
		return Frame{}, c.fault(ErrClosed)
	}
	defer m.end(c)
	return c.run(req)
}
