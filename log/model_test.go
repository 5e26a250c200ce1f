package log_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/samsalog/samsa/log"
)

// drawn lets rapid choose what a world draws, so that it can look for less that
// fails, too.
type drawn struct{ t *rapid.T }

func (d drawn) Int63() int64 { // of which rand takes the upper half
	return int64(rapid.Int32Range(0, math.MaxInt32).Draw(d.t, "choice")) << 32
}

func (drawn) Seed(int64) {}

// TestLogIsWhatASliceIs takes actions in any order, crashes among them, and compares
// with the model after each. A new call of the log is one more line in actions.
func TestLogIsWhatASliceIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 0)
		w.draw(drawn{t}, rapid.Int64().Draw(t, "how to look"))
		w.cfg.SegmentBytes = int64(rapid.IntRange(1, 3000).Draw(t, "segment"))
		w.cfg.IndexInterval = rapid.IntRange(1, 600).Draw(t, "interval")
		w.cfg.Memory = log.NewMemory(rapid.IntRange(1, 3000).Draw(t, "tail"))
		_, err := w.open()
		require.NoError(t, err)
		steps := map[string]func(*rapid.T){"": func(t *rapid.T) {
			w.t = t
			w.check(done)
			w.bounds()
		}}
		for _, a := range actions() {
			steps[a.name] = func(t *rapid.T) {
				w.t = t
				require.NoError(t, w.take(a))
			}
		}
		for _, c := range crashes {
			steps[c.name] = func(t *rapid.T) {
				w.t = t
				w.crash(c)
			}
		}
		t.Repeat(steps)
		require.NoError(t, w.log.Close())
		require.Empty(t, w.disk.Handles())
	})
}

// crash stops the machine between two calls, and opens the log again.
func (w *world) crash(c crash) {
	w.disk.Fail(errDied)
	_ = w.log.Close()
	require.NoError(w.t, c.run(w.disk, w.rng))
	rec, err := w.open()
	require.NoError(w.t, err)
	if rec.Lost {
		require.NoError(w.t, w.log.Reported())
	}
	w.check(crashed)
	w.epoch = max(w.epoch, w.log.LastEpoch(), 0)
}

// bounds reads where there is nothing.
func (w *world) bounds() {
	for _, from := range []log.Offset{w.start - 1, w.end() + 1} {
		_, err := w.log.Read(from, math.MaxInt64, 100)
		require.Equal(w.t, &log.RangeError{Want: from, First: w.start, Next: w.end()}, err)
	}
	_, ok := w.log.EpochAt(w.end())
	require.False(w.t, ok)
}
