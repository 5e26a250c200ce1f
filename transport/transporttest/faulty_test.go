package transporttest_test

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
	"github.com/samsalog/samsa/transport/transporttest"
)

func TestFaultyWithoutFaultsIsATransport(t *testing.T) {
	transporttest.Run(t, func(*testing.T) transport.Transport {
		return transporttest.NewFaulty(transport.NewNetwork(), transporttest.Plan{})
	})
}

func TestDelayedAndHealedIsATransport(t *testing.T) {
	transporttest.RunInBubble(t, func(*testing.T) transport.Transport {
		return transporttest.NewFaulty(transport.NewNetwork(), transporttest.Plan{Seed: 3, Delay: time.Microsecond})
	})
	transporttest.RunInBubble(t, func(*testing.T) transport.Transport {
		f := transporttest.NewFaulty(transport.NewNetwork(), transporttest.Plan{LoseRequest: 1, LoseAnswer: 1, Repeat: 1})
		f.Heal()
		return f
	})
}

// An outcome is what became of one call under a plan.
type outcome struct {
	handled  bool
	answered bool
	after    time.Duration
}

// play makes 300 calls, one after another, and returns what became of them, and
// how often the handler has run in all.
func play(t *testing.T, plan transporttest.Plan) (outcomes []outcome, handled int) {
	synctest.Test(t, func(t *testing.T) {
		faulty := transporttest.NewFaulty(transport.NewNetwork(), plan)
		var mu sync.Mutex
		runs := make(map[string]int)
		b, err := faulty.Join("b", func(_ context.Context, _ transport.Addr, req transport.Frame) (transport.Frame, error) {
			mu.Lock()
			defer mu.Unlock()
			runs[string(req.Head)]++
			handled++
			return req, errors.New("an error is an answer too")
		})
		require.NoError(t, err)
		a, err := faulty.Join("a", silent)
		require.NoError(t, err)
		for i := range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			start, head := time.Now(), string(rune(i))
			_, err := a.Call(ctx, "b", transport.Frame{Kind: 1, Head: []byte(head)})
			_, answered := errors.AsType[*transport.RemoteError](err)
			if !answered {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			cancel()
			mu.Lock()
			outcomes = append(outcomes, outcome{runs[head] > 0, answered, time.Since(start)})
			mu.Unlock()
		}
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
	return outcomes, handled
}

func silent(context.Context, transport.Addr, transport.Frame) (transport.Frame, error) {
	return transport.Frame{}, nil
}

func TestPlanIsKept(t *testing.T) {
	count := func(outcomes []outcome, f func(outcome) bool) (n int) {
		for _, o := range outcomes {
			if f(o) {
				n++
			}
		}
		return n
	}
	answered := func(o outcome) bool { return o.answered }
	handled := func(o outcome) bool { return o.handled }

	t.Run("lost requests are not handled", func(t *testing.T) {
		got, runs := play(t, transporttest.Plan{Seed: 1, LoseRequest: 0.5})
		require.InDelta(t, 150, runs, 50)
		require.Equal(t, runs, count(got, answered))
	})
	t.Run("requests are handled though their answers are lost", func(t *testing.T) {
		got, runs := play(t, transporttest.Plan{Seed: 1, LoseAnswer: 0.5})
		require.Equal(t, 300, runs)
		require.InDelta(t, 150, count(got, answered), 50)
		require.Equal(t, 300, count(got, handled))
	})
	t.Run("a repeated request is handled twice and answered once", func(t *testing.T) {
		got, runs := play(t, transporttest.Plan{Seed: 1, Repeat: 1, Delay: time.Second})
		require.Equal(t, 300, count(got, answered))
		require.InDelta(t, 600, runs, 5) // Close cuts off the last copies
	})
	t.Run("a lost request may still be handled by its copy", func(t *testing.T) {
		got, runs := play(t, transporttest.Plan{Seed: 1, LoseRequest: 1, Repeat: 1})
		require.Zero(t, count(got, answered))
		require.Equal(t, 300, runs)
	})
	t.Run("delays are within the plan", func(t *testing.T) {
		got, _ := play(t, transporttest.Plan{Seed: 1, Delay: time.Second})
		require.Zero(t, count(got, func(o outcome) bool { return o.after > 2*time.Second }))
		require.Greater(t, count(got, func(o outcome) bool { return o.after > time.Second }), 50)
	})
}

func TestSeedDecides(t *testing.T) {
	plan := transporttest.Plan{Seed: 7, LoseRequest: 0.2, LoseAnswer: 0.2, Repeat: 0.2, Delay: time.Second}
	first, _ := play(t, plan)
	second, _ := play(t, plan)
	require.Equal(t, first, second)
	plan.Seed++
	other, _ := play(t, plan)
	require.NotEqual(t, first, other)
}

func TestCloseEndsWhatIsLostOrRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := transporttest.NewFaulty(transport.NewNetwork(),
			transporttest.Plan{LoseRequest: 1, Repeat: 1, Delay: time.Hour})
		a, err := faulty.Join("", nil)
		require.NoError(t, err)
		result := make(chan error, 1)
		go func() {
			_, err := a.Call(context.Background(), "b", transport.Frame{Kind: 1})
			result <- err
		}()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-result, transport.ErrClosed)
		require.Zero(t, time.Since(start))
		_, err = a.Call(context.Background(), "b", transport.Frame{Kind: 1})
		require.ErrorIs(t, err, transport.ErrClosed)
	})
}

// The call is lost and its copy is not, so that the copy alone is handled.
func TestCloseAwaitsCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := transporttest.NewFaulty(transport.NewNetwork(), transporttest.Plan{LoseRequest: 1, Repeat: 1})
		var left atomic.Bool
		b, err := faulty.Join("b", func(ctx context.Context, _ transport.Addr, _ transport.Frame) (transport.Frame, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			left.Store(true)
			return transport.Frame{}, nil
		})
		require.NoError(t, err)
		a, err := faulty.Join("", nil)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.Call(ctx, "b", transport.Frame{Kind: 1})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, left.Load(), "the copy has a life of its own")
		require.NoError(t, a.Close())
		require.True(t, left.Load())
		require.NoError(t, b.Close())
	})
}
