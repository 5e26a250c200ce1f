package produce

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAWaitServesUntilSomethingEndsIt(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(one, other context.CancelFunc, p *Producer)
		over bool
	}{
		{"nothing", func(_, _ context.CancelFunc, _ *Producer) { time.Sleep(time.Second - 1) }, false},
		{"one context of two", func(one, _ context.CancelFunc, _ *Producer) { one() }, false},
		{"both contexts", func(one, other context.CancelFunc, _ *Producer) { one(); other() }, true},
		{"the limit", func(_, _ context.CancelFunc, _ *Producer) { time.Sleep(time.Second) }, true},
		{"the producer", func(_, _ context.CancelFunc, p *Producer) { p.giveUp() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, Config{}, newFake())
				q := &queue{producer: p}
				one, endOne := context.WithCancel(t.Context())
				other, endOther := context.WithCancel(t.Context())
				defer endOne()
				defer endOther()
				b := &batch{contexts: []context.Context{one, other}}
				first := q.begin(b, time.Second)
				tt.end(endOne, endOther, p)
				synctest.Wait()
				require.Equal(t, tt.over, first.Err() != nil)
				q.end()

				// What has to do with the first is of no concern to the second.
				second := q.begin(&batch{lasting: true}, time.Second)
				if tt.name == "nothing" {
					require.Same(t, first, second)
				}
				endOne()
				endOther()
				time.Sleep(time.Second - 1)
				synctest.Wait()
				require.Equal(t, p.ctx.Err() != nil, second.Err() != nil)
				time.Sleep(1)
				synctest.Wait()
				require.Error(t, second.Err(), "its own limit")
				q.end()
				require.Nil(t, q.wait)
			})
		})
	}
}

// Whoever just misses the end of a wait does not end the next one.
func TestAWaitThatIsAboutToEndIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{producer: start(t, Config{}, newFake())}
		ctx, cancel := context.WithCancel(t.Context())
		first := q.begin(&batch{contexts: []context.Context{ctx}}, time.Second)
		cancel() // its function has a goroutine of its own, which may not have run yet
		q.end()
		second := q.begin(&batch{lasting: true}, time.Second)
		synctest.Wait()
		require.NotSame(t, first, second)
		require.NoError(t, second.Err())
		q.end()
	})
}

func TestSparesAreBounded(t *testing.T) {
	s := spares{limit: 1000}
	for _, n := range []int{400, 700, 600, 100} {
		s.give(&batch{largest: n})
	}
	require.Equal(t, []int{400, 600}, []int{s.list[0].largest, s.list[1].largest})
	require.Equal(t, 600, s.take().largest, "the one that was used last")
	require.Equal(t, 400, s.take().largest)
	require.Zero(t, s.take().largest)
	require.Zero(t, s.bytes)
}

// Where a batch was full the next one has its room from the start.
func TestABatchBehindAFullOneDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.delay = time.Second
		p := start(t, Config{BatchBytes: 10_000}, f)
		rec := Record{Topic: "t", Value: make([]byte, 1000)}
		done := ReceiverFunc(func(Placed, error) {})
		p.Send(t.Context(), rec, done)
		synctest.Wait() // it has left
		for range 12 {
			p.Send(t.Context(), rec, done)
		}
		q := (*(*p.topics.Load())["t"].queues.Load())[0]
		require.Len(t, q.full, 1)
		require.Equal(t, q.full[0].builder.Size(), q.open.largest)
		require.Less(t, q.open.builder.Size(), q.open.largest)
	})
}

// Whoever finds a batch full completes it, while another is on its way; but the records
// whose context ends before it leaves are not in what leaves.
func TestABatchIsCompletedByWhoFindsItFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.delay = time.Second
		p := start(t, Config{BatchBytes: 10_000}, f)
		var l teller
		ctx, cancel := context.WithCancel(t.Context())
		var want []string
		for i := range 22 {
			v := fmt.Sprintf("%04d%s", i, strings.Repeat("x", 1000))
			if i == 3 {
				p.Send(ctx, value(v), l.done(v))
				continue
			}
			want = append(want, v)
			p.Send(t.Context(), value(v), l.done(v))
			synctest.Wait() // the first has left
		}
		q := (*(*p.topics.Load())["t"].queues.Load())[0]
		require.Len(t, q.full, 2)
		for _, b := range q.full {
			require.NoError(t, b.data.Check())
		}
		require.Nil(t, q.open.data)
		cancel()
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, want, f.values("t", 0))
		told := l.all()
		require.ErrorIs(t, told[3].err, context.Canceled)
		require.Len(t, told, 22)
	})
}

// A counted context counts those who watch it, and how often one has begun to.
type counted struct {
	context.Context
	watched, began int
}

func (c *counted) AfterFunc(f func()) func() bool {
	c.watched, c.began = c.watched+1, c.began+1
	stop := context.AfterFunc(c.Context, f)
	return func() bool { c.watched--; return stop() }
}

// Value hides what package context would ask in place of c.
func (c *counted) Value(any) any { return nil }

// A context that comes again and again is watched on, until another comes, or none will.
func TestAContextThatComesAgainIsWatchedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{}, newFake())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		long := &counted{Context: ctx}
		send := func(ctx context.Context) {
			_, err := p.SendSync(ctx, value("v"))
			require.NoError(t, err)
		}
		send(context.Background()) // who comes first looks for the topic, too
		for n, want := range []counted{{long, 0, 1}, {long, 1, 2}, {long, 1, 2}} {
			send(long)
			require.Equal(t, []int{want.watched, want.began}, []int{long.watched, long.began}, n)
		}
		other := &counted{Context: t.Context()}
		send(other)
		require.Zero(t, long.watched)
		require.Zero(t, other.watched, "it may have come for once")
		send(long)
		send(long)
		require.Equal(t, 1, long.watched)

		cancel() // is no concern of others
		send(other)
		synctest.Wait()
		send(other)
		require.Equal(t, 1, other.watched)
		require.NoError(t, p.Close(t.Context()))
		require.Zero(t, other.watched)
	})
}

// Its owner and its client may close a producer at once; both wait until it has ended.
func TestClosesMayOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{}, newFake())
		require.NoError(t, err)
		ctx := &counted{Context: t.Context()}
		for range 3 {
			_, err := p.SendSync(ctx, value("v"))
			require.NoError(t, err)
		}
		require.Equal(t, 1, ctx.watched)
		var closing sync.WaitGroup
		for range 4 {
			closing.Go(func() { _ = p.Close(t.Context()) })
		}
		closing.Wait()
		require.Zero(t, ctx.watched)
	})
}

// What is watched on ends its own batches, and no other.
func TestAContextThatIsWatchedOnEndsItsOwnBatches(t *testing.T) {
	for _, tt := range []struct {
		name  string
		own   bool // the batch is of that context
		early bool // it ends before the batch leaves
		wait  bool // and its function has run by then
	}{
		{"its own", true, false, false},
		{"another's, under way", false, false, false},
		{"another's, just after it", false, true, false},
		{"another's, later", false, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &queue{producer: start(t, Config{}, newFake())}
				long, end := context.WithCancel(t.Context())
				for range 3 {
					q.begin(&batch{contexts: []context.Context{long}}, time.Second)
					q.end()
				}
				b := &batch{contexts: []context.Context{t.Context()}}
				if tt.own {
					b.contexts[0] = long
				}
				if tt.early {
					end()
				}
				if tt.wait {
					synctest.Wait()
				}
				ctx := q.begin(b, time.Second)
				end()
				synctest.Wait()
				require.Equal(t, tt.own, ctx.Err() != nil)
				q.end()
				q.waitNoMore()
			})
		})
	}
}
