package transporttest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/samsalog/samsa/transport"
)

// A parked handler says when it runs, waits for the end of its context, and says
// why that ended.
type parked struct {
	runs chan struct{}
	ends chan error
}

func newParked() *parked {
	return &parked{runs: make(chan struct{}, 1), ends: make(chan error, 1)}
}

func (p *parked) handle(ctx context.Context, _ transport.Addr, _ transport.Frame) (transport.Frame, error) {
	p.runs <- struct{}{}
	<-ctx.Done()
	p.ends <- context.Cause(ctx)
	return transport.Frame{Head: []byte("too late")}, nil
}

// call calls on a goroutine of its own, and returns where the error will be.
func call(ctx context.Context, n transport.Node, to transport.Addr) <-chan error {
	out := make(chan error, 1)
	go func() {
		_, err := n.Call(ctx, to, transport.Frame{Kind: 1})
		out <- err
	}()
	return out
}

// wantUnknown fails unless err matches want and leaves open whether the request
// was handled.
func (s *suite) wantUnknown(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("error = %v, want one that matches %q", err, want)
	}
	if _, remote := errors.AsType[*transport.RemoteError](err); remote || errors.Is(err, transport.ErrRefused) {
		s.Errorf("error %v says that the outcome is known", err)
	}
}

func (s *suite) endedBefore() {
	b := s.freeAddr()
	s.join(b, func(context.Context, transport.Addr, transport.Frame) (transport.Frame, error) {
		s.Error("it was handled")
		return transport.Frame{}, nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.join("", nil).Call(ctx, b, transport.Frame{Kind: 1})
	if !errors.Is(err, context.Canceled) {
		s.Errorf("error = %v, want context.Canceled", err)
	}
}

func (s *suite) cancelled() {
	b, p := s.freeAddr(), newParked()
	s.join(b, p.handle)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := call(ctx, s.join("", nil), b)
	await(s, "the handler to run", p.runs)
	cancel()
	s.wantUnknown(await(s, "the call to end", result), context.Canceled)
	if cause := await(s, "the handler's ctx to end", p.ends); !errors.Is(cause, context.Canceled) {
		s.Errorf("cause = %v, want context.Canceled", cause)
	}
}

func (s *suite) deadline() {
	b, p := s.freeAddr(), newParked()
	s.join(b, p.handle)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	s.wantUnknown(await(s, "the call to end", call(ctx, s.join("", nil), b)), context.DeadlineExceeded)
	await(s, "the handler's ctx to end", p.ends)
}

func (s *suite) ctxAfterAnswer() {
	b := s.freeAddr()
	ended := make(chan (<-chan struct{}), 1)
	s.join(b, func(ctx context.Context, _ transport.Addr, _ transport.Frame) (transport.Frame, error) {
		ended <- ctx.Done()
		return transport.Frame{}, nil
	})
	s.mustCall(s.join("", nil), b, transport.Frame{Kind: 1})
	await(s, "the handler's ctx to end", await(s, "the handler", ended))
}

func (s *suite) calleeCloses() {
	b := s.freeAddr()
	runs, ends, leave := make(chan struct{}, 1), make(chan error, 1), make(chan struct{})
	callee := s.join(b, func(ctx context.Context, _ transport.Addr, _ transport.Frame) (transport.Frame, error) {
		runs <- struct{}{}
		<-ctx.Done()
		ends <- context.Cause(ctx)
		<-leave // a handler that takes its time
		return transport.Frame{}, nil
	})
	result := call(context.Background(), s.join("", nil), b)
	await(s, "the handler to run", runs)
	closed := make(chan error, 1)
	go func() { closed <- callee.Close() }()
	if cause := await(s, "the handler's ctx to end", ends); !errors.Is(cause, transport.ErrClosed) {
		s.Errorf("cause = %v, want ErrClosed", cause)
	}
	pause := time.NewTimer(20 * time.Millisecond)
	select {
	case <-closed:
		s.Error("Close has returned while a handler runs")
		closed <- nil
	case <-pause.C:
	}
	close(leave)
	if err := await(s, "Close to return", closed); err != nil {
		s.Errorf("Close: %v", err)
	}
	s.wantUnknown(await(s, "the call to end", result), transport.ErrBroken)
}

func (s *suite) callerCloses() {
	b, p := s.freeAddr(), newParked()
	s.join(b, p.handle)
	caller := s.join(s.freeAddr(), echo)
	result := call(context.Background(), caller, b)
	await(s, "the handler to run", p.runs)
	if err := caller.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	if cause := await(s, "the handler's ctx to end", p.ends); !errors.Is(cause, transport.ErrBroken) {
		s.Errorf("cause = %v, want ErrBroken: to the handler it is the link that has gone", cause)
	}
	s.wantUnknown(await(s, "the call to end", result), transport.ErrClosed)
	s.mustCall(s.join("", nil), s.echoAddr(), transport.Frame{Kind: 1}) // others go on
}

// echoAddr joins one more node, and returns its address.
func (s *suite) echoAddr() transport.Addr {
	s.Helper()
	addr := s.freeAddr()
	s.join(addr, echo)
	return addr
}

func (s *suite) afterClose() {
	b := s.echoAddr()
	for _, n := range []transport.Node{s.join(s.freeAddr(), echo), s.join("", nil)} {
		s.mustCall(n, b, transport.Frame{Kind: 1})
		if err := n.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
		if _, err := n.Call(context.Background(), b, transport.Frame{Kind: 1}); !errors.Is(err, transport.ErrClosed) {
			s.Errorf("error = %v, want ErrClosed", err)
		}
	}
}

func (s *suite) closeTwice() {
	n := s.join(s.freeAddr(), echo)
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() { errs <- n.Close() }()
	}
	for range cap(errs) {
		if err := await(s, "Close to return", errs); err != nil {
			s.Errorf("Close: %v", err)
		}
	}
}

// closeRace has the callee close among calls: each ends in one of the ways that
// are allowed, and once Close has returned, no handler runs.
func (s *suite) closeRace() {
	for range 20 {
		b := s.freeAddr()
		var mu sync.Mutex
		closed := false
		begun := make(chan struct{}, 1)
		callee := s.join(b, func(_ context.Context, _ transport.Addr, req transport.Frame) (transport.Frame, error) {
			select {
			case begun <- struct{}{}:
			default:
			}
			mu.Lock()
			defer mu.Unlock()
			if closed {
				s.Error("a handler runs after Close has returned")
			}
			return req, nil
		})
		caller := s.join("", nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					_, err := caller.Call(context.Background(), b, transport.Frame{Kind: 1})
					if err != nil && !errors.Is(err, transport.ErrBroken) && !errors.Is(err, transport.ErrRefused) {
						s.Errorf("error = %v, want none, ErrBroken or ErrRefused", err)
					}
				}
			})
		}
		await(s, "the calls to begin", begun)
		if err := callee.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
		mu.Lock()
		closed = true
		mu.Unlock()
		wg.Wait()
	}
}
