package transport

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// A Network joins nodes of one process. Make it with [NewNetwork]; it needs no
// closing, and holds nothing once its nodes have closed.
//
// A call runs the handler of the node called on the goroutine of the caller, so
// a call takes as long as its handler does, also when its ctx ends or its link
// breaks: handlers must heed their context, as [Handler] demands. A handler may
// call other nodes, and its own. It must not close its own node, nor wait for
// somebody who does: Close waits for it.
//
// The other methods of Network are faults, to be set at any time and from any
// goroutine. A fault speaks of addresses, not of nodes: it may be set before a
// node joins, and stays when another takes the address, a pause apart. The empty
// address stands for all nodes that have none.
type Network struct {
	mu  sync.Mutex // held while now is replaced
	now atomic.Pointer[layout]
}

// A layout is what the network looks like at one time. It is never changed, but
// replaced, so that a call reads it without a lock.
type layout struct {
	nodes   map[Addr]*node
	faults  *faults       // nil: none
	changed chan struct{} // closed when this layout has been replaced
}

// NewNetwork returns a network without nodes or faults.
func NewNetwork() *Network {
	n := new(Network)
	n.now.Store(&layout{changed: make(chan struct{})})
	return n
}

// Join implements [Transport]. Any text is an address. An address is free again
// when its node has closed or been detached.
func (n *Network) Join(addr Addr, handler Handler) (Node, error) {
	switch {
	case addr == "" && handler != nil:
		return nil, fmt.Errorf("transport: join: a handler needs an address")
	case addr != "" && handler == nil:
		return nil, fmt.Errorf("transport: join %q: an address needs a handler", addr)
	}
	m := &node{network: n, addr: addr, handler: handler, gone: make(chan struct{}), idle: make(chan struct{})}
	if addr == "" {
		return m, nil
	}
	inUse := false
	n.change(func(l *layout) {
		if inUse = l.nodes[addr] != nil; inUse {
			return
		}
		l.nodes = cloned(l.nodes)
		l.nodes[addr] = m
	})
	if inUse {
		return nil, fmt.Errorf("%w: %q", ErrInUse, addr)
	}
	return m, nil
}

// leave frees the address of m. A node that is paused can only be closed from
// outside, as a stopped process can only be killed, so the pause ends with it.
func (n *Network) leave(m *node) {
	if m.addr == "" {
		return
	}
	n.change(func(l *layout) {
		if l.nodes[m.addr] != m {
			return
		}
		l.nodes = cloned(l.nodes)
		delete(l.nodes, m.addr)
		l.faults = l.faults.with(func(f *faults) { delete(f.paused, m.addr) })
	})
}

// change replaces the layout by a copy that edit has altered, and wakes the calls
// that wait for a change. What edit alters it must copy first.
func (n *Network) change(edit func(*layout)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.now.Load()
	next := &layout{nodes: old.nodes, faults: old.faults, changed: make(chan struct{})}
	edit(next)
	n.now.Store(next)
	close(old.changed)
}

// cloned returns a copy of m that can be written to, also if m is nil.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return make(map[K]V)
	}
	return maps.Clone(m)
}
