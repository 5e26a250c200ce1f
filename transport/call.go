package transport

import (
	"context"
	"fmt"
	"time"
)

// A call is one request, from when it is sent until its caller has the outcome.
//
// What travels is the request one way, and one thing the other: the answer, the
// refusal, or the news that the link has broken. Each can be lost, and then the
// call waits for its caller to give up.
type call struct {
	own    *node // of the caller
	to     Addr
	caller context.Context

	// ctx is the handler's. It ends with caller's, when own has gone, and when the
	// link has broken or the node at the other end has gone.
	ctx    context.Context
	cancel context.CancelCauseFunc

	outAt, inAt int // places in the lists of the two nodes, guarded by their mutexes
}

func (c *call) run(req Frame) (Frame, error) {
	network := c.own.network
	if network.now.Load().faults != nil {
		arrived, err := c.carry(c.own.addr, c.to, req)
		if err != nil {
			return Frame{}, err
		}
		if !arrived {
			return Frame{}, c.requestLost()
		}
		if c.ctx.Err() != nil { // broken on the way
			return c.outcome(Frame{}, nil)
		}
	}

	target := network.now.Load().nodes[c.to]
	if target == nil || !target.enter(c, 1) {
		return c.outcome(Frame{}, c.fault(ErrRefused))
	}
	answer, err := c.handle(target, req)
	if err != nil {
		answer, err = Frame{}, &RemoteError{Text: err.Error()}
	}
	return c.outcome(answer, err)
}

// handle runs the handler. A handler that panics or ends its goroutine is no
// reason for Close to wait for ever.
func (c *call) handle(target *node, req Frame) (Frame, error) {
	defer target.exit(c, 1)
	return target.handler(c.ctx, c.own.addr, req)
}

// outcome brings back what has come of the request: what the caller gets is that,
// unless something has ended the call meanwhile.
func (c *call) outcome(answer Frame, err error) (Frame, error) {
	if c.own.network.now.Load().faults != nil {
		arrived, ended := c.carry(c.to, c.own.addr, answer)
		if ended != nil {
			return Frame{}, ended
		}
		if !arrived {
			return Frame{}, c.giveUp()
		}
	}
	if c.ctx.Err() != nil {
		if ended := c.ended(); ended != nil {
			return Frame{}, ended
		}
		return Frame{}, c.fault(ErrBroken)
	}
	return answer, err
}

// requestLost waits for the end of a call whose request does not arrive: that the
// node at the other end goes can still become known.
func (c *call) requestLost() error {
	if target := c.own.network.now.Load().nodes[c.to]; target != nil && target.enter(c, 0) {
		defer target.exit(c, 0)
	}
	<-c.ctx.Done()
	_, err := c.outcome(Frame{}, nil)
	return err
}

// giveUp waits until nothing can come of the call any more.
func (c *call) giveUp() error {
	select {
	case <-c.caller.Done():
	case <-c.own.gone:
	}
	return c.ended()
}

// ended returns why the caller's side has ended the call, or nil if it has not.
func (c *call) ended() error {
	if c.own.isGone() {
		return c.fault(ErrClosed)
	}
	if err := c.caller.Err(); err != nil {
		return fmt.Errorf("transport: call of %q: %w", c.to, err)
	}
	return nil
}

func (c *call) fault(kind error) error {
	return fmt.Errorf("%w: call of %q by %q", kind, c.to, c.own.addr)
}

// carry takes a frame from one address to another, with what delays that. It
// reports whether the frame has arrived, which it has not if it was lost, or why
// the caller's side has ended the call meanwhile.
func (c *call) carry(from, to Addr, f Frame) (bool, error) {
	network := c.own.network
	if err := c.awaitResume(from, to); err != nil {
		return false, err
	}
	now := network.now.Load()
	if now.faults.loses(from, to, f) {
		return false, nil
	}
	if d := now.faults.rule(from, to).delay; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		if err := await(c, timer.C); err != nil {
			return false, err
		}
	}
	if err := c.awaitResume(from, to); err != nil {
		return false, err
	}
	return !network.now.Load().faults.rule(from, to).cut, nil
}

// awaitResume waits until neither end is paused.
func (c *call) awaitResume(from, to Addr) error {
	for {
		now := c.own.network.now.Load()
		if !now.faults.pauses(from, to) {
			return nil
		}
		if err := await(c, now.changed); err != nil {
			return err
		}
	}
}

// await waits for ready, or for the caller's side to end the call.
func await[T any](c *call, ready <-chan T) error {
	select {
	case <-ready:
		return nil
	case <-c.caller.Done():
	case <-c.own.gone:
	}
	return c.ended()
}
