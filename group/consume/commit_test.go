package consume

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

// The iterator's promise, for each way out of the loop. The loop has asked for
// three records, 0 to 2, and has come back from two of them.
func TestPromiseOfTheIterator(t *testing.T) {
	errPanic := errors.New("of the body")
	tests := []struct {
		name      string
		leave     func(c *Consumer, ctx context.Context, cancel func())
		committed log.Offset
		next      log.Offset
	}{{
		name:      "break leaves the current record unfinished",
		leave:     func(c *Consumer, ctx context.Context, _ func()) { take(t, ctx, c, 3) },
		committed: 2, next: 2,
	}, {
		name: "panic leaves the current record unfinished",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			defer func() { require.Equal(t, errPanic, recover()) }()
			n := 0
			for range c.Records(ctx) {
				if n++; n == 3 {
					panic(errPanic)
				}
			}
		},
		committed: 2, next: 2,
	}, {
		name: "the end of the context is seen when the body has come back, so all is finished",
		leave: func(c *Consumer, ctx context.Context, cancel func()) {
			n := 0
			for _, err := range c.Records(ctx) {
				require.NoError(t, err)
				if n++; n == 3 {
					cancel()
				}
			}
			require.Equal(t, 3, n)
		},
		committed: 3, next: 3,
	}, {
		name: "commit before break says otherwise",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			for rec, err := range c.Records(ctx) {
				require.NoError(t, err)
				if rec.Offset == 2 {
					require.NoError(t, c.Commit(ctx, rec))
					break
				}
			}
		},
		committed: 3, next: 3,
	}, {
		name: "commit of nothing means what is finished",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			for rec, err := range c.Records(ctx) {
				require.NoError(t, err)
				if rec.Offset == 2 {
					require.NoError(t, c.Commit(ctx))
					break
				}
			}
		},
		committed: 2, next: 2,
	}, {
		name: "a Poll says that the one before is processed",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			recs, err := c.Poll(ctx, 2)
			require.NoError(t, err)
			require.Equal(t, []log.Offset{0, 1}, offsetsOf(recs))
			recs, err = c.Poll(ctx, 1)
			require.NoError(t, err)
			require.Equal(t, []log.Offset{2}, offsetsOf(recs))
			require.NoError(t, c.Commit(ctx))
		},
		committed: 2, next: 3,
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.write(at(0), 10)
				f.assign(at(0))
				c := start(t, inGroup(), f)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				tt.leave(c, ctx, cancel)
				require.Equal(t, tt.committed, f.committed(at(0)))
				require.Equal(t, tt.next, take(t, t.Context(), c, 1)[0].Offset)
			})
		})
	}
}

func TestWhatIsFinishedIsCommittedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 4 {
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				require.EqualValues(t, 4, f.committed(at(0)), "the record in hand is not finished")
				require.EqualValues(t, 1, f.requests[0].Partitions[0].Epoch)
				break
			}
		}
	})
}

func TestManualCommitsNothingByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		cfg := inGroup()
		cfg.Manual = true
		c := start(t, cfg, f)
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 5 {
				time.Sleep(3 * time.Second)
				break
			}
		}
		require.EqualValues(t, -1, f.committed(at(0)))
		recs, err := c.Poll(t.Context(), 100)
		require.NoError(t, err)
		require.Equal(t, []log.Offset{5, 6, 7, 8, 9}, offsetsOf(recs))
		require.NoError(t, c.Commit(t.Context(), recs[1], recs[0]))
		require.EqualValues(t, 7, f.committed(at(0)))
		require.NoError(t, c.Close(t.Context()))
		require.EqualValues(t, 7, f.committed(at(0)))
	})
}

func TestCommitOfAnEarlierRecordTakesNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		var second Record
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 1 {
				second = rec
			}
			if rec.Offset == 5 {
				require.NoError(t, c.Commit(t.Context(), second))
				require.EqualValues(t, 5, f.committed(at(0)))
				break
			}
		}
	})
}
