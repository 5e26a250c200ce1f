package transport_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/transport"
)

// A pair is two nodes of a network in a bubble: a calls b. A request of kind 2 is
// parked until its context ends; others are answered with their head.
type pair struct {
	*testing.T
	network *transport.Network
	a, b    transport.Node
	handled atomic.Int32 // requests that have reached a node

	mu     sync.Mutex // guards causes
	causes []error    // why parked requests ended
}

const (
	quick transport.Kind = 1
	park  transport.Kind = 2
)

func inPair(t *testing.T, run func(p *pair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{T: t, network: transport.NewNetwork()}
		p.a = p.join("a")
		p.b = p.join("b")
		run(p)
		require.NoError(t, p.a.Close())
		require.NoError(t, p.b.Close())
	})
}

func (p *pair) join(addr transport.Addr) transport.Node {
	n, err := p.network.Join(addr, p.handle)
	require.NoError(p, err)
	return n
}

func (p *pair) handle(ctx context.Context, _ transport.Addr, req transport.Frame) (transport.Frame, error) {
	p.handled.Add(1)
	if req.Kind == park {
		<-ctx.Done()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.causes = append(p.causes, context.Cause(ctx))
	}
	return transport.Frame{Head: req.Head}, nil
}

// A result is what became of a call, and when.
type result struct {
	answer transport.Frame
	err    error
	after  time.Duration
	done   chan struct{}
}

func (r *result) isDone() bool {
	synctest.Wait()
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// call calls in the background, with a deadline a minute away.
func (p *pair) call(n transport.Node, to transport.Addr, kind transport.Kind) *result {
	r, start := &result{done: make(chan struct{})}, time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r.answer, r.err = n.Call(ctx, to, transport.Frame{Kind: kind, Head: []byte("hello")})
		r.after = time.Since(start)
		close(r.done)
	}()
	synctest.Wait()
	return r
}

func (p *pair) wantAnswer(r *result, after time.Duration) {
	p.Helper()
	p.waitFor(r)
	require.NoError(p, r.err)
	require.Equal(p, "hello", string(r.answer.Head))
	require.Equal(p, after, r.after)
}

func (p *pair) wantError(r *result, want error, after time.Duration) {
	p.Helper()
	p.waitFor(r)
	require.ErrorIs(p, r.err, want)
	require.Equal(p, transport.Frame{}, r.answer)
	require.Equal(p, after, r.after)
}

func (p *pair) waitFor(r *result) {
	p.Helper()
	select {
	case <-r.done:
	case <-time.After(2 * time.Minute):
		p.Fatal("the call does not end")
	}
}

func TestCut(t *testing.T) {
	t.Run("a request is lost, and stays so when the link has healed", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("a", "b")
			r := p.call(p.a, "b", quick)
			p.network.Heal()
			p.wantError(r, context.DeadlineExceeded, time.Minute)
			require.Zero(t, p.handled.Load())
			p.wantAnswer(p.call(p.a, "b", quick), 0)
		})
	})
	t.Run("it is one way: the other direction loses the answer", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("b", "a")
			p.wantError(p.call(p.a, "b", quick), context.DeadlineExceeded, time.Minute)
			require.EqualValues(t, 1, p.handled.Load())
		})
	})
	t.Run("an answer is lost if the cut comes while the request is handled", func(t *testing.T) {
		inPair(t, func(p *pair) {
			entered, leave := make(chan struct{}), make(chan struct{})
			c, err := p.network.Join("c", func(context.Context, transport.Addr, transport.Frame) (transport.Frame, error) {
				close(entered)
				<-leave
				return transport.Frame{}, nil
			})
			require.NoError(t, err)
			r := p.call(p.a, "c", quick)
			<-entered
			p.network.Cut("c", "a")
			close(leave)
			synctest.Wait()
			p.network.Heal()
			p.wantError(r, context.DeadlineExceeded, time.Minute)
			require.NoError(t, c.Close())
		})
	})
	t.Run("a refusal is lost too", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("nobody", "a")
			p.wantError(p.call(p.a, "nobody", quick), context.DeadlineExceeded, time.Minute)
		})
	})
	t.Run("the caller's Close ends the wait", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("a", "b")
			lost := p.call(p.a, "b", quick)
			p.network.Heal()
			p.network.Cut("b", "a")
			unanswered := p.call(p.a, "b", quick)
			require.NoError(t, p.a.Close())
			p.wantError(lost, transport.ErrClosed, 0)
			p.wantError(unanswered, transport.ErrClosed, 0)
		})
	})
	t.Run("that the other node has gone is known unless the way back is cut", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("a", "b")
			lost := p.call(p.a, "b", quick)
			p.network.Detach("b")
			p.wantError(lost, transport.ErrBroken, 0)

			b := p.join("b")
			p.network.Cut("b", "a")
			isolated := p.call(p.a, "b", quick)
			require.NoError(t, b.Close())
			p.wantError(isolated, context.DeadlineExceeded, time.Minute)
		})
	})
	t.Run("a handler ends with its node though its caller does not learn of it", func(t *testing.T) {
		inPair(t, func(p *pair) {
			r := p.call(p.a, "b", park)
			p.network.Cut("b", "a")
			require.NoError(t, p.b.Close())
			require.Len(t, p.causes, 1)
			require.ErrorIs(t, p.causes[0], transport.ErrClosed)
			p.wantError(r, context.DeadlineExceeded, time.Minute)
		})
	})
	t.Run("other links are as before", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("a", "b")
			p.wantAnswer(p.call(p.a, "a", quick), 0)
			p.wantAnswer(p.call(p.b, "b", quick), 0)
		})
	})
}

func TestDelay(t *testing.T) {
	t.Run("each way takes its time", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Delay("a", "b", 2*time.Second)
			p.network.Delay("b", "a", 3*time.Second)
			r := p.call(p.a, "b", quick)
			time.Sleep(2*time.Second - 1)
			synctest.Wait()
			require.Zero(t, p.handled.Load())
			time.Sleep(1)
			synctest.Wait()
			require.EqualValues(t, 1, p.handled.Load())
			p.wantAnswer(r, 5*time.Second)
			p.wantAnswer(p.call(p.b, "a", quick), 5*time.Second)
			p.wantError(p.call(p.b, "nobody", quick), transport.ErrRefused, 0)
			p.network.Delay("a", "b", 0)
			p.wantAnswer(p.call(p.a, "b", quick), 3*time.Second)
			p.network.Heal()
			p.wantAnswer(p.call(p.a, "b", quick), 0)
		})
	})
	t.Run("a deadline passes on the way there and back", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Delay("a", "b", time.Hour)
			p.wantError(p.call(p.a, "b", quick), context.DeadlineExceeded, time.Minute)
			require.Zero(t, p.handled.Load())
			p.network.Heal()
			p.network.Delay("b", "a", time.Hour)
			p.wantError(p.call(p.a, "b", quick), context.DeadlineExceeded, time.Minute)
			require.EqualValues(t, 1, p.handled.Load())
		})
	})
	t.Run("what is on its way is lost when the link is cut", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Delay("a", "b", time.Second)
			r := p.call(p.a, "b", quick)
			p.network.Cut("a", "b")
			p.wantError(r, context.DeadlineExceeded, time.Minute)
			require.Zero(t, p.handled.Load())
		})
	})
	t.Run("what was lost when it was sent does not arrive though the link heals before it would", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Cut("a", "b")
			p.network.Delay("a", "b", time.Second)
			r := p.call(p.a, "b", quick)
			p.network.Heal()
			p.wantError(r, context.DeadlineExceeded, time.Minute)
			require.Zero(t, p.handled.Load())
		})
	})
	t.Run("a request whose link breaks on its way is not handled", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Delay("a", "b", time.Second)
			r := p.call(p.a, "b", quick)
			p.network.Break("a", "b")
			p.wantError(r, transport.ErrBroken, time.Second)
			require.Zero(t, p.handled.Load())
		})
	})
	t.Run("a request on its way to a node that goes is refused, or handled by the next", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Delay("a", "b", time.Second)
			refused := p.call(p.a, "b", quick)
			require.NoError(t, p.b.Close())
			p.wantError(refused, transport.ErrRefused, time.Second)
			r := p.call(p.a, "b", quick)
			p.b = p.join("b")
			p.wantAnswer(r, time.Second)
		})
	})
	t.Run("an answer on its way is lost with the node that sent it", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Delay("b", "a", time.Second)
			p.network.Delay("a", "b", time.Nanosecond)
			r := p.call(p.a, "b", park)
			time.Sleep(1)
			p.network.Break("a", "b")
			p.wantError(r, transport.ErrBroken, time.Second+1)
		})
	})
}

func TestPause(t *testing.T) {
	t.Run("requests wait at either end, and none is lost", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Pause("b")
			in, out := p.call(p.a, "b", quick), p.call(p.b, "a", quick)
			p.network.Heal() // is not Resume
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.Zero(t, p.handled.Load())
			p.network.Resume("b")
			p.wantAnswer(in, 10*time.Second)
			p.wantAnswer(out, 10*time.Second)
		})
	})
	t.Run("an answer waits for its sender and for its receiver", func(t *testing.T) {
		for _, paused := range []transport.Addr{"a", "b"} {
			inPair(t, func(p *pair) {
				p.network.Delay("a", "b", time.Second)
				r := p.call(p.a, "b", quick)
				time.Sleep(time.Second - 1)
				p.network.Delay("b", "a", time.Second)
				time.Sleep(1)
				synctest.Wait()
				require.EqualValues(t, 1, p.handled.Load())
				p.network.Pause(paused)
				time.Sleep(10 * time.Second)
				require.False(t, r.isDone())
				p.network.Resume(paused)
				p.wantAnswer(r, 11*time.Second)
			})
		}
	})
	t.Run("what waits is sent when the pause ends, over the link as it is then", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Pause("a")
			p.network.Cut("a", "b")
			r := p.call(p.a, "b", quick)
			time.Sleep(10 * time.Second)
			p.network.Heal()
			p.network.Delay("a", "b", time.Second)
			p.network.Resume("a")
			p.wantAnswer(r, 11*time.Second)
		})
	})
	t.Run("ctx and Close end the wait", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Pause("b")
			p.wantError(p.call(p.a, "b", quick), context.DeadlineExceeded, time.Minute)
			closed := p.call(p.a, "b", quick)
			require.NoError(t, p.a.Close())
			p.wantError(closed, transport.ErrClosed, 0)
		})
	})
	t.Run("it ends with the node", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Pause("b")
			in, out := p.call(p.a, "b", quick), p.call(p.b, "a", quick)
			p.network.Detach("b")
			p.wantError(in, transport.ErrRefused, 0)
			p.wantError(out, transport.ErrClosed, 0)
			again := p.join("b")
			p.wantAnswer(p.call(p.a, "b", quick), 0)
			require.NoError(t, again.Close())
		})
	})
	t.Run("a node that was replaced does not end the pause of the next", func(t *testing.T) {
		inPair(t, func(p *pair) {
			p.network.Detach("b")
			again := p.join("b")
			p.network.Pause("b")
			require.NoError(t, p.b.Close())
			r := p.call(p.a, "b", quick)
			time.Sleep(time.Second)
			p.network.Resume("b")
			p.wantAnswer(r, time.Second)
			require.NoError(t, again.Close())
		})
	})
}

func TestDetach(t *testing.T) {
	inPair(t, func(p *pair) {
		p.network.Detach("nobody")
		in, out := p.call(p.a, "b", park), p.call(p.b, "a", park)
		p.network.Detach("b")
		p.wantError(in, transport.ErrBroken, 0)
		p.wantError(out, transport.ErrClosed, 0)
		require.Len(t, p.causes, 2)
		for _, want := range []error{transport.ErrClosed, transport.ErrBroken} { // in either order
			require.True(t, errors.Is(p.causes[0], want) || errors.Is(p.causes[1], want), "causes %v", p.causes)
		}
		p.wantError(p.call(p.a, "b", quick), transport.ErrRefused, 0)
		p.wantError(p.call(p.b, "a", quick), transport.ErrClosed, 0)

		again := p.join("b")
		p.wantAnswer(p.call(p.a, "b", quick), 0)
		p.wantError(p.call(p.b, "a", quick), transport.ErrClosed, 0)
		require.NoError(t, p.b.Close()) // the old one does not take the address along
		p.wantAnswer(p.call(p.a, "b", quick), 0)
		require.NoError(t, again.Close())
	})
}

func TestDetachedNodeAwaitsItsHandlersInClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := transport.NewNetwork()
		var left atomic.Bool
		b, err := network.Join("b", func(ctx context.Context, _ transport.Addr, req transport.Frame) (transport.Frame, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			left.Store(true)
			return req, nil
		})
		require.NoError(t, err)
		a, err := network.Join("", nil)
		require.NoError(t, err)
		result := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), "b", transport.Frame{Kind: park})
			result <- err
		}()
		synctest.Wait()
		network.Detach("b")
		require.False(t, left.Load())
		require.NoError(t, b.Close())
		require.True(t, left.Load())
		require.ErrorIs(t, <-result, transport.ErrBroken, "though the handler has answered at last")
	})
}

func TestBreak(t *testing.T) {
	inPair(t, func(p *pair) {
		there, back, self := p.call(p.a, "b", park), p.call(p.b, "a", park), p.call(p.a, "a", park)
		p.network.Cut("a", "b")
		lost := p.call(p.a, "b", quick)
		p.network.Heal()
		p.network.Break("b", "a")
		p.wantError(there, transport.ErrBroken, 0)
		p.wantError(back, transport.ErrBroken, 0)
		p.wantError(lost, transport.ErrBroken, 0)
		p.wantAnswer(p.call(p.a, "b", quick), 0)
		require.False(t, self.isDone())
		p.network.Break("a", "a")
		p.wantError(self, transport.ErrBroken, 0)
		p.network.Break("a", "nobody")
	})
}

func TestLose(t *testing.T) {
	inPair(t, func(p *pair) {
		p.network.Lose(func(from, to transport.Addr, f transport.Frame) bool {
			return from == "a" && to == "b" && f.Kind == park
		})
		p.wantError(p.call(p.a, "b", park), context.DeadlineExceeded, time.Minute)
		require.Zero(t, p.handled.Load())
		p.wantAnswer(p.call(p.a, "b", quick), 0)

		p.network.Lose(func(from, _ transport.Addr, _ transport.Frame) bool { return from == "b" })
		p.wantError(p.call(p.a, "b", quick), context.DeadlineExceeded, time.Minute)
		require.EqualValues(t, 2, p.handled.Load())
		p.network.Lose(nil)
		p.wantAnswer(p.call(p.a, "b", quick), 0)

		p.network.Lose(func(transport.Addr, transport.Addr, transport.Frame) bool { return true })
		p.network.Heal()
		p.wantAnswer(p.call(p.a, "b", quick), 0)
	})
}

// Faults come and go while calls are made: each call ends in a way that is allowed,
// and when all is well again, so is every call.
func TestFaultsOverlapCalls(t *testing.T) {
	inPair(t, func(p *pair) {
		stop := make(chan struct{})
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(p.Context(), 10*time.Millisecond)
					_, err := p.a.Call(ctx, "b", transport.Frame{Kind: quick})
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, transport.ErrBroken) {
						t.Errorf("error = %v, want none, a deadline or ErrBroken", err)
					}
					time.Sleep(time.Microsecond)
				}
			})
		}
		var faults sync.WaitGroup
		for _, set := range []func(i int){
			func(int) { p.network.Cut("a", "b") },
			func(int) { p.network.Cut("b", "a") },
			func(i int) { p.network.Delay("a", "b", time.Duration(i%3)*time.Millisecond) },
			func(int) { p.network.Pause("b") },
			func(int) { p.network.Resume("b") },
			func(int) { p.network.Break("a", "b") },
			func(int) { p.network.Lose(func(transport.Addr, transport.Addr, transport.Frame) bool { return false }) },
			func(int) { p.network.Heal() },
		} {
			faults.Go(func() {
				for i := range 200 {
					set(i)
					time.Sleep(time.Duration(i%7) * time.Microsecond)
				}
			})
		}
		faults.Wait()
		close(stop)
		calls.Wait()
		p.network.Resume("b")
		p.network.Heal()
		p.wantAnswer(p.call(p.a, "b", quick), 0)
	})
}

// A handler that panics does so on its caller's goroutine, and is no reason for
// Close to wait for ever.
func TestPanicOfAHandler(t *testing.T) {
	network := transport.NewNetwork()
	b, err := network.Join("b", func(context.Context, transport.Addr, transport.Frame) (transport.Frame, error) {
		panic("ouch")
	})
	require.NoError(t, err)
	a, err := network.Join("", nil)
	require.NoError(t, err)
	require.PanicsWithValue(t, "ouch", func() { _, _ = a.Call(t.Context(), "b", transport.Frame{Kind: quick}) })
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}
