package span_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/transport/span"
)

func TestASpanServesItsCallerAgain(t *testing.T) {
	var s span.Stock
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := s.Take(ctx)
	other := s.Take(ctx)
	require.NotSame(t, first, other, "both are in use")
	s.Give(first)
	require.NotSame(t, first, s.Take(context.WithValue(ctx, t, t)), "one with other values")
	require.NotSame(t, first, s.Take(t.Context()))
	require.Same(t, first, s.Take(ctx))
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Give(s.Take(ctx)) }))
}

// A list of contexts is one that nothing can be compared with.
type list []context.Context

func (l list) Deadline() (time.Time, bool) { return l[0].Deadline() }
func (l list) Done() <-chan struct{}       { return l[0].Done() }
func (l list) Err() error                  { return l[0].Err() }
func (l list) Value(key any) any           { return l[0].Value(key) }

func TestACallerOfWhomNothingCanBeKnown(t *testing.T) {
	var s span.Stock
	ctx := list{t.Context()}
	first := s.Take(ctx)
	s.Give(first)
	require.NotSame(t, first, s.Take(ctx))
	require.NotNil(t, s.Take(t.Context()), "it is held against the other")
}

func TestASpanEndsWithItsCaller(t *testing.T) {
	var s span.Stock
	ctx, cancel := context.WithCancelCause(t.Context())
	used, waiting := s.Take(ctx), s.Take(ctx)
	s.Give(waiting)
	gone := errors.New("gone")
	cancel(gone)
	require.Equal(t, gone, context.Cause(used.Ctx))
	again := s.Take(ctx)
	require.NotSame(t, waiting, again, "it has ended while it waited")
	require.Error(t, again.Ctx.Err())
}

func TestASpanThatWasEndedServesNobody(t *testing.T) {
	var s span.Stock
	p := s.Take(t.Context())
	broken := errors.New("broken")
	p.End(broken)
	require.Equal(t, broken, context.Cause(p.Ctx))
	s.Give(p)
	again := s.Take(t.Context())
	require.NotSame(t, p, again)
	require.NoError(t, again.Ctx.Err())
}

func TestAStockKeepsFewSpans(t *testing.T) {
	var s span.Stock
	var all []*span.Span
	var ends []context.CancelFunc
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all, ends = append(all, s.Take(ctx)), append(ends, cancel)
	}
	waiting := func() (n int) {
		for _, p := range all {
			if p.Ctx.Err() == nil {
				n++
			}
		}
		return n
	}
	for _, p := range all {
		s.Give(p)
	}
	require.Equal(t, 32, waiting())
	require.NoError(t, all[49].Ctx.Err(), "those used last")
	ends[30]()
	s.Give(s.Take(t.Context()))
	require.NoError(t, all[18].Ctx.Err(), "it had the place of one that has ended")
	s.Clear()
	require.Zero(t, waiting())
}
