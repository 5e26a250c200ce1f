package log_test

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// One script gives one log, whatever disk it is on, and however it is cut into
// segments, indexed and kept in memory.
func TestAScriptGivesTheSameReadsOnEveryDiskAndWithEverySize(t *testing.T) {
	disks := map[string]func(t *testing.T) log.FS{
		"OS":              func(t *testing.T) log.FS { return in{log.OS(), t.TempDir()} },
		"MemFS":           func(*testing.T) log.FS { return log.NewMemFS() },
		"Disk over MemFS": func(*testing.T) log.FS { return logtest.NewDisk(log.NewMemFS()) },
		"Disk over OS":    func(t *testing.T) log.FS { return logtest.NewDisk(in{log.OS(), t.TempDir()}) },
	}
	sizes := map[string]log.Config{
		"small segments":           {SegmentBytes: 4 << 10},
		"large segments":           {SegmentBytes: 64 << 20},
		"a dense index, no tail":   {SegmentBytes: 4 << 10, IndexInterval: 1, Memory: log.NewMemory(1)},
		"one segment, no index":    {SegmentBytes: 64 << 20, IndexInterval: 1 << 30, Memory: log.NewMemory(1)},
		"one segment, all in tail": {SegmentBytes: 64 << 20, IndexInterval: 1, Memory: log.NewMemory(64 << 20)},
		"a segment for each batch": {SegmentBytes: 1, IndexInterval: 100, Memory: log.NewMemory(300)},
	}
	eachSeed(t, 1, func(t *testing.T, seed int64) {
		var first []string
		for disk, fsys := range disks {
			for size, cfg := range sizes {
				t.Run(disk+", "+size, func(t *testing.T) {
					w := newWorld(t, seed)
					cfg.Now = w.cfg.Now
					w.fsys, w.cfg = fsys(t), cfg
					got := w.trace(share(400))
					if first == nil {
						first = got
					}
					require.Equal(t, first, got)
				})
			}
		}
	})
}

// trace runs a script and returns what reads of all offsets have given on the way.
func (w *world) trace(steps int) (seen []string) {
	_, err := w.open()
	require.NoError(w.t, err)
	for i := range steps {
		require.NoError(w.t, w.step())
		if i%50 == 0 || i == steps-1 {
			w.check(done)
		}
		if i%5 == 0 {
			seen = append(seen, w.bytes())
		}
	}
	require.NoError(w.t, w.log.Close())
	_, err = w.open()
	require.NoError(w.t, err)
	seen = append(seen, w.bytes())
	require.NoError(w.t, w.log.Close())
	return seen
}

// bytes reads each batch, one behind another or each by some offset that it holds.
func (w *world) bytes() string {
	out := fmt.Sprint(w.log.Start(), w.log.End(), w.log.Flushed(), w.log.LastEpoch(), ":")
	inside := w.eye.Intn(2)
	for _, e := range w.entries {
		from := e.first + log.Offset(inside*w.eye.Intn(int(e.next-e.first)))
		data, err := w.log.Read(from, e.next, 1)
		require.NoError(w.t, err)
		out += string(data)
	}
	return out
}

// A disk that fills up refuses what does not fit, and takes it when there is room.
// Nothing that was taken is lost, and nothing half written is seen.
func TestALogOnADiskThatFillsUpGoesOnWhenThereIsRoom(t *testing.T) {
	eachSeed(t, share(100), func(t *testing.T, seed int64) {
		t.Parallel()
		w := newWorld(t, seed)
		_, err := w.open()
		require.NoError(t, err)
		w.disk.LimitNames(w.rng.Intn(2) == 0)
		full := 0
		for range 200 {
			if w.rng.Intn(5) == 0 {
				w.disk.Limit(w.disk.Used() + w.rng.Int63n(400))
			}
			err := w.step()
			switch {
			case err == nil:
				continue
			case errors.Is(err, log.ErrFailed):
				// A cut, a reset or a slot that finds no room may end the log; what was
				// flushed stands.
				require.ErrorIs(t, err, syscall.ENOSPC)
				w.disk.Limit(-1)
				faulty{world: w}.leftover()
				return
			}
			require.ErrorIs(t, err, syscall.ENOSPC)
			full++
			w.disk.Limit(-1)
			if w.log == nil {
				_, err := w.open()
				require.NoError(t, err)
			}
			w.check(failed)
			w.forget()
		}
		w.disk.Limit(-1)
		w.check(done)
		require.NotZero(t, full)
		faulty{world: w}.leftover()
	})
}

// All who wait for a flush that fails are told, and so is who comes later.
func TestAFlushThatHangsAndFailsIsToldToAllWhoWait(t *testing.T) {
	for name, end := range map[string]func(d *logtest.Disk, release func()){
		"it fails":         func(_ *logtest.Disk, release func()) { release() },
		"the disk is gone": func(d *logtest.Disk, _ func()) { d.Fail(syscall.EIO) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := logtest.NewDisk(log.NewMemFS())
				l := open(t, d, "d", log.Config{})
				appendTo(t, l, 0, "a")
				_, err := l.Flush()
				require.NoError(t, err)
				appendTo(t, l, 0, "b")
				release := d.Inject(logtest.Fault{Op: logtest.Sync, Name: "*.log", Err: syscall.EIO, Hold: true})
				var wg sync.WaitGroup
				flush := func() {
					end, err := l.Flush()
					require.ErrorIs(t, err, log.ErrFailed)
					require.ErrorIs(t, err, syscall.EIO)
					require.EqualValues(t, 1, end)
				}
				for range 3 {
					wg.Go(flush)
				}
				synctest.Wait()
				appendTo(t, l, 0, "c") // nobody who writes waits for the flush
				require.Equal(t, []string{"a", "b", "c"}, values(t, l, 0))
				for range 3 {
					wg.Go(flush)
				}
				wg.Go(func() { require.ErrorIs(t, l.Truncate(0), log.ErrFailed) })
				synctest.Wait()
				end(d, release)
				wg.Wait()
				require.ErrorIs(t, l.Close(), log.ErrFailed)
				require.Empty(t, d.Handles())
				require.EqualValues(t, 1, l.Flushed())
				require.NoError(t, d.PowerFail(nil))
				require.Equal(t, []string{"a"}, values(t, open(t, d, "d", log.Config{}), 0))
			})
		})
	}
}
