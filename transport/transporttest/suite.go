package transporttest

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/transport"
)

// An Addresser is a Transport for which not any text is an address, such as one
// over TCP. Without it the suite uses names.
type Addresser interface {
	// FreeAddr returns an address that no node has, another one each time.
	FreeAddr() (transport.Addr, error)
}

// Run checks that what open returns keeps the promises of [transport.Transport].
// It is called for a new, empty transport for each case, and may register
// clean-ups with t. Run also fails if goroutines are left when the nodes of a case
// have closed.
func Run(t *testing.T, open func(t *testing.T) transport.Transport) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			runCase(t, open, c.run)
			awaitGoroutines(t, before)
		})
	}
}

// RunInBubble is [Run] with each case in a bubble of its own of testing/synctest.
// It is for transports that use nothing which stops a bubble's clock: no socket,
// and no mutex held while anything waits.
func RunInBubble(t *testing.T, open func(t *testing.T) transport.Transport) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runCase(t, open, c.run) })
		})
	}
}

var cases = []struct {
	name string
	run  func(s *suite)
}{
	{"an answer and its request arrive as they were sent", (*suite).answers},
	{"data arrives whole, large or in many pieces", (*suite).bigData},
	{"a node that only calls has no address", (*suite).anonymous},
	{"a node calls itself, and back while it is called", (*suite).nested},
	{"a handler's error is a RemoteError", (*suite).remoteError},
	{"where nobody has joined a call is refused", (*suite).refused},
	{"an address belongs to one node at a time", (*suite).addressInUse},
	{"a handler and an address go together", (*suite).badJoin},
	{"a call that has been given up before it is sent is not handled", (*suite).endedBefore},
	{"a caller that gives up gets its ctx's error and ends the handler's ctx", (*suite).cancelled},
	{"a deadline passes while the handler runs", (*suite).deadline},
	{"a handler's ctx ends when it has answered", (*suite).ctxAfterAnswer},
	{"the node called closes while it handles", (*suite).calleeCloses},
	{"the node that calls closes while it waits", (*suite).callerCloses},
	{"a closed node neither calls nor answers", (*suite).afterClose},
	{"Close may be called again, and at the same time", (*suite).closeTwice},
	{"a call under way holds up no other", (*suite).overlap},
	{"each of many callers gets its own answer", (*suite).manyCallers},
	{"calls and Close may race", (*suite).closeRace},
}

// A suite is one case as it runs.
type suite struct {
	*testing.T
	transport transport.Transport
	nodes     []transport.Node
	addrs     int
}

func runCase(t *testing.T, open func(t *testing.T) transport.Transport, run func(*suite)) {
	s := &suite{T: t, transport: open(t)}
	defer s.closeAll()
	run(s)
}

func (s *suite) closeAll() {
	for _, n := range s.nodes {
		if err := n.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
	}
}

// freeAddr returns an address that no node has.
func (s *suite) freeAddr() transport.Addr {
	s.Helper()
	a, ok := s.transport.(Addresser)
	if !ok {
		s.addrs++
		return transport.Addr(fmt.Sprintf("node-%d", s.addrs))
	}
	addr, err := a.FreeAddr()
	if err != nil {
		s.Fatalf("FreeAddr: %v", err)
	}
	return addr
}

// join makes a node that is closed at the end of the case.
func (s *suite) join(addr transport.Addr, h transport.Handler) transport.Node {
	s.Helper()
	n, err := s.transport.Join(addr, h)
	if err != nil {
		s.Fatalf("Join(%q): %v", addr, err)
	}
	s.nodes = append(s.nodes, n)
	return n
}

// patience is how long the suite waits for what must happen: long enough for a
// busy machine, and reached only by a transport that does not pass.
const patience = 30 * time.Second

// await waits for a value, or for ch to be closed.
func await[T any](s *suite, what string, ch <-chan T) (v T) {
	s.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		s.Fatalf("waited %v for %s", patience, what)
	}
	return v
}

// awaitGoroutines waits until no more goroutines run than before.
func awaitGoroutines(t *testing.T, before int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; <-tick.C {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines before, %d after:\n%s",
				before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}
