package log_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// An entry is a batch as a test remembers it: each has a value of its own.
type entry struct {
	first, next log.Offset
	epoch       log.Epoch
	value       string
}

// A world is a log on a disk that crashes, and what the log must hold.
type world struct {
	t    *testing.T
	disk *logtest.Disk
	rng  *rand.Rand
	cfg  log.Config
	log  *log.Log

	start   log.Offset
	entries []entry
	synced  log.Offset // all below was called flushed
	epoch   log.Epoch
	serial  int
	// What the call under way may make of the log, if it does not return.
	adding []entry      // these may follow
	cutTo  log.Offset   // or it may end here already; -1: no cut is under way
	reset  []log.Offset // or it may be empty, here
}

const crashDir = "data/orders-0"

func newWorld(t *testing.T, seed int64) *world {
	clock := time.Unix(0, 0)
	w := &world{t: t, disk: logtest.NewDisk(log.NewMemFS()), rng: rand.New(rand.NewSource(seed)), cutTo: -1}
	w.cfg = log.Config{SegmentBytes: 1200, IndexInterval: 200, MaxBatchBytes: 4000, TailBytes: 2000, Now: func() time.Time {
		clock = clock.Add(300 * time.Millisecond)
		return clock
	}}
	return w
}

func (w *world) open() (log.Recovery, error) {
	l, rec, err := log.Open(w.disk, crashDir, w.cfg)
	w.log = l
	return rec, err
}

func (w *world) end() log.Offset {
	if n := len(w.entries); n > 0 {
		return w.entries[n-1].next
	}
	return w.start
}

func (w *world) batch() (log.Batch, string) {
	var b log.Builder
	w.serial++
	value := fmt.Sprintf("%d-%0*d", w.serial, w.rng.Intn(3)*w.rng.Intn(200), 7)
	for range 1 + w.rng.Intn(4) {
		b.Append(1000, nil, []byte(value), nil)
	}
	return b.Build(), value
}

func (w *world) append() error {
	if w.rng.Intn(4) == 0 {
		w.epoch++
	}
	b, value := w.batch()
	e := entry{w.end(), w.end() + log.Offset(b.Count()), w.epoch, value}
	w.adding = []entry{e}
	first, err := w.log.Append(w.epoch, b)
	if err == nil {
		require.Equal(w.t, e.first, first)
		w.entries = append(w.entries, e)
	}
	return err
}

func (w *world) replicate() error {
	var data []byte
	var adding []entry
	end := w.end()
	for range 1 + w.rng.Intn(6) {
		if w.rng.Intn(4) == 0 {
			w.epoch++
		}
		b, value := w.batch()
		b.Place(end, w.epoch)
		adding = append(adding, entry{end, b.Next(), w.epoch, value})
		end = b.Next()
		data = append(data, b...)
	}
	w.adding = adding
	got, err := w.log.Replicate(data)
	if err == nil {
		require.Equal(w.t, end, got)
		w.entries = append(w.entries, adding...)
	}
	return err
}

func (w *world) truncate() error {
	to := w.synced - 8 + log.Offset(w.rng.Intn(int(w.end()-w.synced)+10))
	to = max(to, w.start)
	n := len(w.entries)
	for n > 0 && w.entries[n-1].next > to {
		n--
	}
	cut := w.start
	if n > 0 {
		cut = w.entries[n-1].next
	}
	w.cutTo = cut
	err := w.log.Truncate(to)
	if err == nil {
		w.entries, w.synced = w.entries[:n:n], min(w.synced, cut)
	}
	return err
}

func (w *world) resetTo() error {
	to := log.Offset(w.rng.Intn(int(w.end()) + 100))
	w.cutTo = w.start
	w.reset = []log.Offset{w.start, to}
	err := w.log.Reset(to)
	if err == nil {
		w.start, w.entries, w.synced = to, nil, to
	}
	return err
}

func (w *world) flush() error {
	end, err := w.log.Flush()
	if err == nil {
		require.Equal(w.t, w.end(), end)
		w.synced = end
	}
	return err
}

func (w *world) reopen() error {
	err := w.log.Close()
	if err == nil {
		w.synced = w.end()
		var rec log.Recovery
		if rec, err = w.open(); err == nil {
			require.False(w.t, rec.Lost)
		}
	}
	return err
}

// step makes one call. An error means that the disk crashed within it.
func (w *world) step() error {
	w.adding, w.cutTo, w.reset = nil, -1, nil
	var err error
	switch n := w.rng.Intn(100); {
	case n < 45:
		err = w.append()
	case n < 55:
		err = w.replicate()
	case n < 75:
		err = w.flush()
	case n < 83:
		err = w.truncate()
	case n < 88:
		w.epoch++
		err = w.log.BeginEpoch(w.epoch)
	case n < 90:
		err = w.log.Checkpoint()
	case n < 93:
		err = w.resetTo()
	case n < 97:
		err = w.reopen()
	default:
		_, err = w.log.Read(w.start, w.end(), 500)
	}
	if err == nil {
		w.adding, w.cutTo, w.reset = nil, -1, nil
	}
	return err
}

// read returns the batches of the log, by the disk or by memory as it comes.
func (w *world) read(from log.Offset) []entry {
	var got []entry
	for from < w.log.End() {
		data, err := w.log.Read(from, w.log.End(), 1+w.rng.Intn(1000))
		require.NoError(w.t, err)
		require.NotEmpty(w.t, data, "nothing at %d of %d", from, w.log.End())
		for len(data) > 0 {
			var b log.Batch
			b, data, err = log.SplitBatch(data)
			require.NoError(w.t, err)
			require.NoError(w.t, b.Check())
			var value string
			for r, err := range b.Records() {
				require.NoError(w.t, err)
				value = string(r.Value)
			}
			got = append(got, entry{b.First(), b.Next(), b.Epoch(), value})
			from = b.Next()
		}
	}
	return got
}

// check compares the log with the model, and takes over what a crash left.
func (w *world) check(crashed bool) {
	t, l := w.t, w.log
	for _, at := range w.reset {
		if crashed && l.Start() == at && l.End() == at {
			w.start, w.entries, w.synced = at, nil, at
			return
		}
	}
	require.Equal(t, w.start, l.Start())
	got := w.read(w.start)
	want := w.entries
	if crashed {
		want = append(want[:len(want):len(want)], w.adding...)
		must := w.synced
		if w.cutTo >= 0 {
			must = min(must, w.cutTo)
		}
		require.GreaterOrEqual(t, l.End(), must, "what was flushed is gone")
		require.LessOrEqual(t, len(got), len(want), "batches that nobody wrote")
		want = want[:len(got)]
		require.Equal(t, l.End(), l.Flushed())
	}
	require.Equal(t, append([]entry{}, want...), append([]entry{}, got...))
	w.checkEpochs(got)
	if crashed {
		w.entries, w.synced = got, l.Flushed()
	}
}

func (w *world) checkEpochs(got []entry) {
	for _, e := range got {
		epoch, ok := w.log.EpochAt(e.first)
		require.True(w.t, ok)
		require.Equal(w.t, e.epoch, epoch)
	}
	if n := len(got); n > 0 {
		last, end, ok := w.log.EndOf(got[n-1].epoch)
		require.True(w.t, ok)
		require.Equal(w.t, got[n-1].epoch, last)
		require.Equal(w.t, w.log.End(), end)
	}
}

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
	w.check(true)

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
	w.check(false)

	if mode == "killed" {
		// A cut that was under way may come to nothing now; no more than that.
		w.disk.Fail(logtest.ErrCrashed)
		_ = w.log.Close()
		require.NoError(t, w.disk.PowerFail(nil))
		_, err := w.open()
		require.NoError(t, err)
		if before.cutTo >= 0 && w.start == before.start && w.end() > w.start {
			w.entries, w.adding, w.cutTo, w.reset = before.entries, nil, -1, nil
		}
		w.check(true)
	}
	w.adding, w.cutTo, w.reset = nil, -1, nil
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
	w.check(false)
	return true
}

func TestLogSurvivesACrashAtEveryChangeOfTheDisk(t *testing.T) {
	const steps = 150
	for _, mode := range crashModes {
		t.Run(mode, func(t *testing.T) {
			for seed := range int64(3) {
				for n := 1; ; n++ {
					w := newWorld(t, seed)
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
	rounds := int64(300)
	if testing.Short() {
		rounds = 50
	}
	base := time.Now().UnixNano()
	for i := range rounds {
		seed := base + i
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 8 {
				w.run(200, 1+w.rng.Intn(120), crashModes[w.rng.Intn(3)])
			}
			require.NoError(t, w.log.Close())
		})
	}
}

func TestOpenIsWholeAfterAFailedOne(t *testing.T) {
	w := newWorld(t, 1)
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
		w.check(true)
	}
}
