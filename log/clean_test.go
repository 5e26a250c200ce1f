package log_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

var compactSegments = log.Config{SegmentBytes: 700, IndexInterval: 150, Memory: log.NewMemory(300)}

// A keyedLog is a log of keys and values, and all that was ever written to it.
type keyedLog struct {
	*log.Log
	t     require.TestingT
	rng   *rand.Rand
	all   []log.Record // by offset
	clock int64        // of the records
}

func newKeyedLog(t require.TestingT, l *log.Log, seed int64) *keyedLog {
	return &keyedLog{Log: l, t: t, rng: rand.New(rand.NewSource(seed)), clock: 1000}
}

// write appends n batches of keys that repeat; one record in eight is a tombstone.
func (k *keyedLog) write(n int) {
	for range n {
		var b log.Builder
		for range 1 + k.rng.Intn(4) {
			k.clock += int64(k.rng.Intn(10))
			key := fmt.Appendf(nil, "key %d", k.rng.Intn(12))
			value := fmt.Appendf(nil, "value %d", len(k.all))
			switch k.rng.Intn(24) {
			case 0:
				key = nil
			case 1, 2, 3:
				value = nil
			}
			b.Append(k.clock, key, value, nil)
			k.all = append(k.all, log.Record{Offset: log.Offset(len(k.all)), Timestamp: k.clock, Key: key, Value: value})
		}
		codec := []log.Compression{log.NoCompression, log.NoCompression, log.Snappy}[k.rng.Intn(3)]
		epoch := max(k.LastEpoch(), 0) + log.Epoch(k.rng.Intn(20)/19)
		_, err := k.Append(epoch, b.Compress(codec))
		require.NoError(k.t, err)
	}
}

// put appends one record; an empty value is a tombstone.
func (k *keyedLog) put(key, value string) {
	var b log.Builder
	r := log.Record{Offset: log.Offset(len(k.all)), Timestamp: k.clock, Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	b.Append(r.Timestamp, r.Key, r.Value, nil)
	_, err := k.Append(max(k.LastEpoch(), 0), b.Build())
	require.NoError(k.t, err)
	k.all = append(k.all, r)
}

// records reads the log from an offset on, and checks that it has no holes.
func (k *keyedLog) records(from log.Offset) (all []log.Record) {
	for next := from; next < k.End(); {
		data, err := k.Read(next, k.End(), 1+k.rng.Intn(800))
		require.NoError(k.t, err)
		require.NotEmpty(k.t, data)
		for len(data) > 0 {
			var b log.Batch
			b, data, err = log.SplitBatch(data)
			require.NoError(k.t, err)
			require.NoError(k.t, b.Check())
			require.LessOrEqual(k.t, b.First(), next)
			require.Equal(k.t, next, max(b.First(), next), "a hole")
			next = b.Next()
			for r, err := range b.Records() {
				require.NoError(k.t, err)
				if r.Offset >= from {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// check compares what is read with what was written: nothing is invented, what is
// the newest of its key is there, and so is what has no key. A tombstone that is not
// there leaves nothing behind that it deleted.
func (k *keyedLog) check() (left int) {
	got := k.records(k.Start())
	newest := map[string]log.Record{}
	for _, r := range k.all {
		if r.Key != nil {
			newest[string(r.Key)] = r
		}
	}
	seen := map[log.Offset]bool{}
	for _, r := range got {
		require.Equal(k.t, k.all[r.Offset], r)
		seen[r.Offset] = true
	}
	for _, r := range k.all[k.Start():] {
		last := newest[string(r.Key)]
		switch {
		case r.Key == nil:
			require.True(k.t, seen[r.Offset], "record %d has no key", r.Offset)
		case last.Offset == r.Offset && r.Value != nil:
			require.True(k.t, seen[r.Offset], "record %d is the newest of its key", r.Offset)
		case !seen[last.Offset]:
			require.Nil(k.t, last.Value)
			require.Less(k.t, last.Offset, k.RemovedBelow())
			require.False(k.t, seen[r.Offset], "record %d is back", r.Offset)
		}
	}
	return len(got)
}

func (k *keyedLog) compact(now int64, cfg log.CompactConfig) (log.Compaction, error) {
	cfg.UpTo = k.End()
	return k.Compact(context.Background(), time.UnixMilli(now), cfg)
}

func TestCompactLeavesTheNewestOfEachKey(t *testing.T) {
	for _, how := range endings {
		t.Run(how, func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			k := newKeyedLog(t, open(t, d, "d", compactSegments), 1)
			k.put("gone", "x")
			k.put("gone", "")
			k.write(120)
			before := len(files(t, d, ".log"))
			c, err := k.compact(10_000, log.CompactConfig{TombstoneAge: time.Second})
			require.NoError(t, err)
			require.True(t, c.Ran)
			require.Less(t, c.RecordsOut, c.RecordsIn/4)
			require.Less(t, c.BytesOut, c.BytesIn)
			require.Zero(t, c.Tombstones, "they are young")
			require.Zero(t, k.RemovedBelow())
			left := k.check()

			again, err := k.compact(10_500, log.CompactConfig{TombstoneAge: time.Second})
			require.NoError(t, err)
			require.False(t, again.Ran, "there is nothing new")
			later, err := k.compact(20_000, log.CompactConfig{TombstoneAge: time.Second})
			require.NoError(t, err)
			require.True(t, later.Ran, "tombstones are due")
			require.Positive(t, later.Tombstones)
			require.Less(t, len(files(t, d, ".log")), before/2, "small segments are merged")
			require.Positive(t, k.RemovedBelow())
			require.Less(t, k.check(), left)

			removed := k.RemovedBelow()
			k.Log = reopened(t, d, k.Log, how, compactSegments)
			require.Equal(t, removed, k.RemovedBelow())
			k.check()
			r, err := log.Verify(d, "d")
			require.NoError(t, err)
			require.Empty(t, r.Damage)
			k.write(40)
			_, err = k.compact(30_000, log.CompactConfig{TombstoneAge: time.Second})
			require.NoError(t, err)
			k.check()
			v, _, err := log.View(d, "d", compactSegments)
			require.NoError(t, err)
			require.Equal(t, k.records(0), (&keyedLog{Log: v, t: t, rng: k.rng}).records(0))
			require.NoError(t, v.Close())

			// A follower takes it as it is.
			f := open(t, log.NewMemFS(), "d", compactSegments)
			for f.End() < k.End() {
				data, err := k.Read(f.End(), k.End(), 500)
				require.NoError(t, err)
				_, err = f.Replicate(data)
				require.NoError(t, err)
			}
			require.Equal(t, k.records(0), (&keyedLog{Log: f, t: t, rng: k.rng}).records(0))
		})
	}
}

func TestCompactLeavesAloneWhatItMust(t *testing.T) {
	k := newKeyedLog(t, open(t, log.NewMemFS(), "d", compactSegments), 2)
	k.write(120)
	run := func(cfg log.CompactConfig) log.Compaction {
		c, err := k.Compact(t.Context(), time.UnixMilli(k.clock), cfg)
		require.NoError(t, err)
		return c
	}
	require.False(t, run(log.CompactConfig{UpTo: 1}).Ran)
	require.False(t, run(log.CompactConfig{UpTo: k.End(), MinLag: time.Hour}).Ran)
	half := k.End() / 2
	c := run(log.CompactConfig{UpTo: half})
	require.True(t, c.Ran)
	require.LessOrEqual(t, c.CleanTo, half)
	require.Equal(t, k.all[half:], k.records(half), "what may yet be cut is as it was")
	require.False(t, run(log.CompactConfig{UpTo: half, MinDirty: 0.1}).Ran, "nothing is dirty")

	c = run(log.CompactConfig{UpTo: k.End(), Memory: 24 * 8})
	require.True(t, c.More, "memory for six keys")
	for range 200 {
		if c = run(log.CompactConfig{UpTo: k.End(), Memory: 24 * 8, MinDirty: 1e-9}); !c.Ran {
			break
		}
	}
	require.False(t, c.Ran, "it comes to an end")
	k.check()
}

// A pass comes on by a key at least, however little it may remember.
func TestCompactComesOnWithNextToNoMemory(t *testing.T) {
	k := newKeyedLog(t, open(t, log.NewMemFS(), "d", compactSegments), 4)
	k.write(30)
	cleaned := log.Offset(0)
	for {
		c, err := k.Compact(t.Context(), time.UnixMilli(k.clock), log.CompactConfig{UpTo: k.End(), Memory: 1, MinDirty: 1e-9})
		require.NoError(t, err)
		if !c.Ran {
			break
		}
		require.Greater(t, c.CleanTo, cleaned)
		cleaned = c.CleanTo
	}
	k.check()
}

func TestCompactIsThrottledAndStopped(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	k := newKeyedLog(t, open(t, d, "d", compactSegments), 3)
	k.write(120)
	total := 0
	stopped := errors.New("stopped")
	for stopAt := 1; ; stopAt++ {
		calls := 0
		_, err := k.compact(10_000, log.CompactConfig{Throttle: func(_ context.Context, bytes int) error {
			total += bytes
			if calls++; calls == stopAt {
				return stopped
			}
			return nil
		}})
		k.check()
		require.Empty(t, files(t, d, ".cleaned"))
		if err == nil {
			break
		}
		require.ErrorIs(t, err, stopped)
	}
	require.Positive(t, total)
	k.write(60)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.Compact(ctx, time.UnixMilli(10_000), log.CompactConfig{UpTo: k.End()})
	require.ErrorIs(t, err, context.Canceled)
	k.check()
}

func TestCompactSurvivesACrashAtEveryChangeOfTheDisk(t *testing.T) {
	cfg := log.CompactConfig{TombstoneAge: time.Second}
	base := logtest.NewDisk(log.NewMemFS())
	written := newKeyedLog(t, open(t, base, "d", compactSegments), 1)
	written.write(60)
	_, err := written.compact(10_000, cfg)
	require.NoError(t, err)
	written.write(60)
	base.Fail(logtest.ErrCrashed)
	_ = written.Close()
	base.Revive()
	for _, mode := range crashModes {
		for n := 1; ; n += 1 + 6/share(7) {
			d, err := base.Clone("d", log.NewMemFS())
			require.NoError(t, err)
			k := newKeyedLog(t, open(t, d, "d", compactSegments), int64(n))
			k.all, k.clock = slices.Clone(written.all), written.clock
			end := k.End()
			d.Crash(n)
			_, err = k.compact(20_000, cfg)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, logtest.ErrCrashed, "%s, change %d", mode, n)
			_ = k.Close()
			for range 2 { // the second time within the recovery of the first
				revive(t, d, mode, int64(n))
				d.Crash(1 + n%7)
				if l, _, err := log.Open(d, "d", compactSegments); err == nil {
					d.Fail(logtest.ErrCrashed)
					_ = l.Close()
				}
				revive(t, d, mode, int64(n))
				l, rec, err := log.Open(d, "d", compactSegments)
				require.NoError(t, err, "%s, change %d", mode, n)
				require.False(t, rec.Lost && mode == "killed", "what was not flushed may be lost with the power alone")
				k.Log = l
				require.LessOrEqual(t, k.End(), end)
				k.all = k.all[:k.End()]
				k.check()
				require.Empty(t, files(t, d, ".swap"))
				require.Empty(t, files(t, d, ".cleaned"))
				require.Empty(t, files(t, d, ".deleted"))
				d.Fail(logtest.ErrCrashed)
				_ = l.Close()
			}
			revive(t, d, mode, int64(n))
			k.Log = open(t, d, "d", compactSegments)
			_, err = k.compact(30_000, cfg)
			require.NoError(t, err)
			k.check()
			require.NoError(t, k.Close())
		}
	}
}

func revive(t *testing.T, d *logtest.Disk, mode string, seed int64) {
	switch mode {
	case "killed":
		d.Revive()
	case "all unsynced lost":
		require.NoError(t, d.PowerFail(nil))
	default:
		require.NoError(t, d.PowerFail(rand.New(rand.NewSource(seed))))
	}
}

func TestCompactWhoseDiskFailsLeavesALogThatIsWhole(t *testing.T) {
	broken := errors.New("input/output error")
	for n := 1; ; n += 1 + 6/share(7) {
		d := logtest.NewDisk(log.NewMemFS())
		k := newKeyedLog(t, open(t, d, "d", compactSegments), 4)
		k.write(100)
		d.FailNth(^logtest.Op(0), n, broken)
		_, err := k.compact(10_000, log.CompactConfig{})
		if err == nil && !errors.Is(err, broken) && n > 20 {
			if d.Revive(); n > 400 {
				break
			}
		}
		if !errors.Is(err, log.ErrFailed) {
			k.check()
			k.write(3)
			k.check()
		}
		_ = k.Close()
		require.Empty(t, d.Handles(), "call %d: %v", n, err)
		require.NoError(t, d.PowerFail(nil))
		k.Log = open(t, d, "d", compactSegments)
		k.all = k.all[:k.End()]
		k.check()
		require.NoError(t, k.Close())
	}
}

func TestReadersAndTheWriterGoOnWhileALogIsCompacted(t *testing.T) {
	l := open(t, log.OS(), t.TempDir(), log.Config{SegmentBytes: 2000, IndexInterval: 200, Memory: log.NewMemory(300)})
	k := newKeyedLog(t, l, 5)
	var mu sync.Mutex // guards k.all, of which readers take copies
	over := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewSource(int64(i)))
			for {
				select {
				case <-over:
					return
				default:
				}
				from := log.Offset(rng.Int63n(int64(l.End()) + 1))
				data, err := l.Read(from, l.End(), 1+rng.Intn(3000))
				if err != nil {
					t.Errorf("read at %d: %v", from, err)
					return
				}
				mu.Lock()
				all := k.all
				mu.Unlock()
				for len(data) > 0 {
					var b log.Batch
					b, data, _ = log.SplitBatch(data)
					for r, err := range b.Records() {
						if err != nil || !slices.Equal(all[r.Offset].Value, r.Value) {
							t.Errorf("record %d: %v", r.Offset, err)
							return
						}
					}
				}
			}
		})
	}
	for i := range share(60) {
		mu.Lock()
		k.write(20)
		mu.Unlock()
		_, err := k.compact(int64(20_000+i*200), log.CompactConfig{TombstoneAge: time.Second, MinDirty: 0.01})
		require.NoError(t, err)
	}
	close(over)
	wg.Wait()
	k.check()
}
