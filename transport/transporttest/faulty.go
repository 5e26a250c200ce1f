package transporttest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/transport"
)

// A Plan says how much goes wrong over a [Faulty] transport. The zero Plan is a
// faithful one. Chances are from 0, never, to 1, always.
type Plan struct {
	// Seed decides what happens to each call: the n-th from one address to another
	// meets the same fate in every run. Zero is a seed like any other.
	Seed uint64

	// LoseRequest is the chance that a request is lost: it is not handled, and its
	// caller waits until ctx ends.
	LoseRequest float64

	// LoseAnswer is the chance that the request is handled and the answer lost.
	LoseAnswer float64

	// Repeat is the chance that a request is handled a second time, as after a
	// caller that asks again: before or after the first, or beside it, and within
	// twice Delay. The answer to the copy is dropped.
	Repeat float64

	// Delay is the longest that a request, and an answer, is under way; each takes
	// a random part of it. Zero means no delay.
	Delay time.Duration
}

// A Faulty transport carries calls over another one, and lets go wrong what its
// [Plan] says. Make it with [NewFaulty].
type Faulty struct {
	under  transport.Transport
	plan   Plan
	healed atomic.Bool

	mu   sync.Mutex
	sent map[link]uint64 // calls so far
}

type link struct{ from, to transport.Addr }

// A fate is what is to happen to one call.
type fate struct {
	loseRequest, loseAnswer, repeat      bool
	requestDelay, answerDelay, copyDelay time.Duration
}

// NewFaulty returns a transport that carries calls over under, by plan.
func NewFaulty(under transport.Transport, plan Plan) *Faulty {
	return &Faulty{under: under, plan: plan, sent: make(map[link]uint64)}
}

// Heal ends the faults for all calls made from now on.
func (f *Faulty) Heal() { f.healed.Store(true) }

// Join implements [transport.Transport].
func (f *Faulty) Join(addr transport.Addr, handler transport.Handler) (transport.Node, error) {
	under, err := f.under.Join(addr, handler)
	if err != nil {
		return nil, err
	}
	n := &faultyNode{faulty: f, addr: addr, under: under}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n, nil
}

// draw decides the fate of the next call on a link. It depends on nothing else:
// not on what other goroutines do meanwhile, nor on the fates before it.
func (f *Faulty) draw(from, to transport.Addr) fate {
	f.mu.Lock()
	at := link{from, to}
	f.sent[at]++
	n := f.sent[at]
	f.mu.Unlock()

	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %d", from, to, n)
	rng := rand.New(rand.NewPCG(f.plan.Seed, h.Sum64()))
	upTo := func(d time.Duration) time.Duration {
		return time.Duration(rng.Float64() * float64(max(d, 0)))
	}
	return fate{
		loseRequest:  rng.Float64() < f.plan.LoseRequest,
		loseAnswer:   rng.Float64() < f.plan.LoseAnswer,
		repeat:       rng.Float64() < f.plan.Repeat,
		requestDelay: upTo(f.plan.Delay),
		answerDelay:  upTo(f.plan.Delay),
		copyDelay:    upTo(2 * f.plan.Delay),
	}
}

type faultyNode struct {
	faulty *Faulty
	addr   transport.Addr
	under  transport.Node
	ctx    context.Context // ends at Close
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, and copies against Close
	closed bool
	copies sync.WaitGroup
}

// Close implements [transport.Node].
func (n *faultyNode) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	err := n.under.Close()
	n.copies.Wait()
	return err
}

// Call implements [transport.Node].
func (n *faultyNode) Call(ctx context.Context, to transport.Addr, req transport.Frame) (transport.Frame, error) {
	if n.faulty.healed.Load() {
		return n.under.Call(ctx, to, req)
	}
	fate := n.faulty.draw(n.addr, to)
	if fate.repeat {
		n.repeat(fate.copyDelay, to, req)
	}
	if err := n.wait(ctx, to, fate.requestDelay, fate.loseRequest); err != nil {
		return transport.Frame{}, err
	}
	answer, err := n.under.Call(ctx, to, req)
	if _, answered := errors.AsType[*transport.RemoteError](err); err != nil && !answered {
		return answer, err
	}
	if err := n.wait(ctx, to, fate.answerDelay, fate.loseAnswer); err != nil {
		return transport.Frame{}, err
	}
	return answer, err
}

// repeat calls once more, after d, and waits for nothing.
func (n *faultyNode) repeat(d time.Duration, to transport.Addr, req transport.Frame) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.copies.Go(func() {
		if n.wait(n.ctx, to, d, false) == nil {
			_, _ = n.under.Call(n.ctx, to, req) // nobody waits for it
		}
	})
}

// wait is a frame's way: it takes d, or, if the frame is lost, until the call ends.
func (n *faultyNode) wait(ctx context.Context, to transport.Addr, d time.Duration, lost bool) error {
	var arrived <-chan time.Time
	if !lost {
		if d <= 0 {
			return nil
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		arrived = timer.C
	}
	select {
	case <-arrived:
		return nil
	case <-n.ctx.Done():
		return fmt.Errorf("%w: call of %q by %q", transport.ErrClosed, to, n.addr)
	case <-ctx.Done():
		return fmt.Errorf("transport: call of %q: %w", to, ctx.Err())
	}
}
