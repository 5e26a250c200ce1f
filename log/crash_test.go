package log_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log/logtest"
)

// recover brings the log back after a crash, and again, with the same result.
func (w *world) recover(mode string) {
	t := w.t
	if w.log != nil {
		_ = w.log.Close() // the dead process: its handles must do no harm
	}
	switch mode {
	case "killed":
		w.disk.Revive()
	case "all unsynced lost":
		require.NoError(t, w.disk.PowerFail(nil))
	default:
		require.NoError(t, w.disk.PowerFail(w.rng))
	}
	rec, err := w.open()
	require.NoError(t, err)
	if rec.Lost {
		require.NoError(t, w.log.Reported())
	}
	before := *w
	w.check(crashed)

	w.disk.Fail(logtest.ErrCrashed)
	_ = w.log.Close()
	if mode == "killed" {
		w.disk.Revive()
	} else {
		require.NoError(t, w.disk.PowerFail(nil)) // what recovery says is flushed, is
	}
	rec, err = w.open()
	require.NoError(t, err)
	require.False(t, rec.Lost)
	w.check(done)

	if mode == "killed" {
		// A cut that was under way may come to nothing now; no more than that.
		w.disk.Fail(logtest.ErrCrashed)
		_ = w.log.Close()
		require.NoError(t, w.disk.PowerFail(nil))
		_, err := w.open()
		require.NoError(t, err)
		if before.cutTo >= 0 && w.start == before.start {
			w.entries = before.entries
			w.forget()
		}
		w.check(crashed)
	}
	w.forget()
	w.epoch = max(w.epoch, w.log.LastEpoch(), 0)
}

var crashModes = []string{"killed", "all unsynced lost", "some unsynced lost"}

// run makes steps until the disk crashes at its n-th change, recovers, and goes
// on for a while. It tells whether the crash came.
func (w *world) run(steps, n int, mode string) bool {
	w.disk.Crash(n)
	for i := 0; ; i++ {
		if i == steps {
			w.disk.Revive()
			return false
		}
		if w.log == nil {
			if _, err := w.open(); err != nil {
				require.ErrorIs(w.t, err, logtest.ErrCrashed)
				break
			}
		}
		if err := w.step(); err != nil {
			require.ErrorIs(w.t, err, logtest.ErrCrashed)
			break
		}
	}
	w.recover(mode)
	for range 30 {
		require.NoError(w.t, w.step())
	}
	w.check(done)
	return true
}

func TestLogSurvivesACrashAtEveryChangeOfTheDisk(t *testing.T) {
	for _, mode := range crashModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			for seed := range int64(4) {
				for n := 1; ; n++ {
					w, steps := newWorld(t, seed), share(150)
					if seed == 3 {
						w, steps = newWorldOfZeros(t, seed), share(100)
					}
					ok := t.Run(fmt.Sprintf("seed %d, change %d", seed, n), func(t *testing.T) {
						w.t = t
						if !w.run(steps, n, mode) {
							n = -1
						}
					})
					if !ok || n < 0 {
						break
					}
				}
			}
		})
	}
}

func TestLogSurvivesManyCrashesInARow(t *testing.T) {
	eachSeed(t, share(300), func(t *testing.T, seed int64) {
		t.Parallel()
		w := newWorld(t, seed)
		if seed%2 == 1 {
			w = newWorldOfZeros(t, seed)
		}
		for range 8 {
			w.run(200, 1+w.rng.Intn(120), crashModes[w.rng.Intn(3)])
		}
		require.NoError(t, w.log.Close())
	})
}

func TestOpenIsWholeAfterAFailedOne(t *testing.T) {
	w := newWorldOfZeros(t, 1)
	_, err := w.open()
	require.NoError(t, err)
	for range 60 {
		require.NoError(t, w.step())
	}
	require.NoError(t, w.flush())
	for n := 1; ; n++ {
		w.disk.Fail(logtest.ErrCrashed)
		_ = w.log.Close()
		require.NoError(t, w.disk.PowerFail(w.rng))
		w.disk.Crash(n)
		if _, err := w.open(); err == nil {
			w.disk.Revive()
			break
		} else if !errors.Is(err, logtest.ErrCrashed) || errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		require.NoError(t, w.disk.PowerFail(w.rng))
		_, err := w.open()
		require.NoError(t, err)
		w.check(crashed)
	}
}
