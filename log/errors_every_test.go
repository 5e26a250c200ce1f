package log_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A faulty is a world whose disk fails now and then, with err.
type faulty struct {
	*world
	err error
	end func() // of its faults
}

// steps runs a script as long as the log takes writes, and tells whether it did to
// the end.
func (f faulty) steps(n int) bool {
	if !f.opened() {
		return false
	}
	for range n {
		err := f.step()
		if err != nil {
			f.end()
		}
		closed := f.log == nil || errors.Is(f.log.Checkpoint(), log.ErrClosed)
		switch {
		case err == nil:
			continue
		case errors.Is(err, log.ErrFailed):
			if !closed {
				f.refusesAll()
			}
			return false
		}
		require.ErrorIs(f.t, err, f.err)
		switch {
		case !closed:
			f.check(failed)
		case !f.opened():
			return false
		default:
			f.check(crashed)
		}
		f.forget()
	}
	f.end()
	f.check(done)
	return true
}

// opened opens the log until that succeeds, or a sync within it has failed.
func (f faulty) opened() bool {
	for {
		_, err := f.open()
		switch {
		case err == nil:
			return true
		case errors.Is(err, log.ErrFailed):
			return false
		}
		require.ErrorIs(f.t, err, f.err)
	}
}

// refusesAll: a log that has failed says so to each who writes, and still serves what it has.
func (f faulty) refusesAll() {
	l := f.log
	start, end, flushed := l.Start(), l.End(), l.Flushed()
	if f.cutTo < 0 {
		f.synced = l.Flushed() // it may fail behind the sync that moved it
	}
	b := batchOf("x")
	_, appendErr := l.Append(f.epoch+1, b)
	b.Place(end, f.epoch+1)
	_, replicateErr := l.Replicate(b)
	_, flushErr := l.Flush()
	for call, err := range map[string]error{
		"Append": appendErr, "Replicate": replicateErr, "Flush": flushErr,
		"BeginEpoch": l.BeginEpoch(f.epoch + 1), "Truncate": l.Truncate(l.Start()),
		"Reset": l.Reset(7), "Checkpoint": l.Checkpoint(),
	} {
		require.ErrorIs(f.t, err, log.ErrFailed, call)
	}
	require.Equal(f.t, []log.Offset{start, end, flushed}, []log.Offset{l.Start(), l.End(), l.Flushed()})
	seen := *f.world // what readers see says nothing of the disk
	seen.check(failed)
}

// leftover closes the log: nothing of it is left open. Then the power fails, and
// what was called flushed is there.
func (f faulty) leftover() {
	if f.log != nil {
		_ = f.log.Close()
		require.NoError(f.t, f.log.Close(), "the second time")
	}
	require.Empty(f.t, f.disk.Handles())
	require.NoError(f.t, f.disk.PowerFail(nil))
	rec, err := f.open()
	require.NoError(f.t, err)
	f.check(crashed)
	if rec.Lost {
		require.NoError(f.t, f.log.Reported())
	}
	f.forget()
	f.epoch = max(f.epoch, f.log.LastEpoch(), 0)
	for range 10 {
		require.NoError(f.t, f.step())
	}
	f.check(done)
	require.NoError(f.t, f.log.Close())
	require.Empty(f.t, f.disk.Handles())
}

// diskErrors are the faults that strike each call: of calls one behind another.
var diskErrors = [][]logtest.Fault{
	{{Err: syscall.EIO}},
	{{Err: syscall.ENOSPC}},
	{{Err: syscall.EIO, Short: true}},
	{{Err: syscall.ENOSPC, Short: true}, {Err: syscall.ENOSPC}}, // so that no write is undone
}

// inject makes the calls from the n-th on fail.
func inject(d *logtest.Disk, faults []logtest.Fault, n int) (end func()) {
	var ends []func()
	for i, f := range faults {
		f.Nth = n + i
		ends = append(ends, d.Inject(f))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// Every call of a script fails once, of every kind: Open, ReadAt and Close too. A
// goroutine that is left over, or waits for ever, ends the bubble.
func TestEveryCallOfADiskMayFail(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed int64) {
		var lasted, over atomic.Int64
		if !t.Run("faults", func(t *testing.T) {
			for i := range diskErrors {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { failEach(t, seed, i, &lasted, &over) })
				})
			}
		}) {
			return
		}
		require.NotZero(t, lasted.Load())
		require.NotZero(t, over.Load())
		t.Logf("the log went on after %d faults, and not after %d", lasted.Load(), over.Load())
	})
}

// failEach makes each call of a script fail, and counts what the log made of that.
func failEach(t *testing.T, seed int64, kind int, lasted, over *atomic.Int64) {
	faults := diskErrors[kind]
	for n := 1; ; n += 1 + (20-share(20))/2 {
		w := newWorld(place{t, fmt.Sprintf("call %d, faults %d", n, kind)}, seed)
		calls := 0
		w.disk.Before(func(logtest.Op, string) { calls++ })
		f := faulty{w, faults[0].Err, inject(w.disk, faults, n)}
		if f.steps(150) {
			lasted.Add(1)
		} else {
			over.Add(1)
		}
		w.disk.Before(nil)
		f.leftover()
		if calls < n {
			return
		}
	}
}
