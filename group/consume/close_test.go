package consume

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestTheWayOutIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		began := time.Now()
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 2 {
				f.with(func() {
					f.silent = true
					f.fault = func(what string) (partition.Code, error) {
						if what == "commit" {
							return 0, errors.New("broken link")
						}
						return partition.OK, nil
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				err := c.Commit(ctx, rec)
				cancel()
				require.ErrorIs(t, err, ErrOutcomeUnknown)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				break
			}
		}
		require.Equal(t, 6*time.Second, time.Since(began))
		require.ErrorIs(t, c.Close(t.Context()), context.DeadlineExceeded)
		require.Equal(t, 11*time.Second, time.Since(began))
	})
}

func TestCloseEndsALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 3)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		done := make(chan error)
		var last error
		var first Record
		go func() {
			for rec, err := range c.Records(t.Context()) {
				if err == nil && rec.Offset == 0 {
					first = rec
				}
				if last = err; err == nil && rec.Offset == 2 {
					time.Sleep(2 * time.Second)
					if err := c.Commit(t.Context(), first); err != nil {
						t.Errorf("a body that Close waits for may commit: %v", err)
					}
				}
			}
			close(done)
		}()
		synctest.Wait()
		require.NoError(t, c.Close(t.Context()))
		<-done
		require.ErrorIs(t, last, ErrClosed)
		require.EqualValues(t, 3, f.committed(at(0)))
		_, err := c.Poll(t.Context(), 1)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, c.Commit(t.Context()), ErrClosed)
		require.ErrorIs(t, c.Commit(t.Context(), first), ErrClosed)
		require.NoError(t, c.Close(t.Context()))
	})
}

// A Close that gives up on a loop body says nothing of its partitions beside it.
func TestCloseThatDoesNotGetTheBodyBack(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.write(at(0), 3)
			f.assign(at(0))
			cfg := inGroup()
			var inBody atomic.Bool
			cfg.OnRevoked = func([]Place) { require.False(t, inBody.Load()) }
			c := start(t, cfg, f)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range c.Records(t.Context()) {
					inBody.Store(true)
					time.Sleep(time.Minute)
					inBody.Store(false)
				}
			}()
			synctest.Wait()
			require.True(t, inBody.Load())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_ = c.Close(ctx)
			require.True(t, inBody.Load())
			<-done
		})
	}
}

// One that closes while nobody processes anything is told, however little time there is.
func TestCloseTellsAnIdleLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.assign(at(0))
		cfg := inGroup()
		var told []Place
		cfg.OnRevoked = func(places []Place) { told = places }
		c := start(t, cfg, f)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range c.Records(t.Context()) {
				if !errors.Is(err, ErrClosed) {
					t.Error("a record", err)
				}
			}
		}()
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = c.Close(ended)
		require.Len(t, told, 1)
		<-done
	})
}
