package log_test

import (
	"fmt"
	"math/rand"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// smallSegments hold about eight of the batches that timed makes.
var smallSegments = log.Config{SegmentBytes: 800, IndexInterval: 150, Memory: log.NewMemory(300)}

// timed makes a batch of records with these times and values that tell them.
func timed(times ...int64) log.Batch {
	var b log.Builder
	for _, t := range times {
		b.Append(t, nil, fmt.Appendf(nil, "at %d", t), nil)
	}
	return b.Build()
}

func fill(t testing.TB, l *log.Log, batches int) {
	for i := range batches {
		_, err := l.Append(max(log.Epoch(i/20), l.LastEpoch()), timed(int64(1000+10*i), int64(1005+10*i)))
		require.NoError(t, err)
	}
}

func files(t testing.TB, fsys log.FS, suffix string) []string {
	names, err := fsys.ReadDir("d")
	require.NoError(t, err)
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, suffix) })
}

// reopened closes a log in one of the ways in which it can end, and opens it again.
func reopened(t testing.TB, d *logtest.Disk, l *log.Log, how string, cfg log.Config) *log.Log {
	switch how {
	case "closed":
		require.NoError(t, l.Close())
	case "killed":
		d.Fail(logtest.ErrCrashed)
		_ = l.Close()
		d.Revive()
	case "power failed":
		_, err := l.Flush()
		require.NoError(t, err)
		d.Fail(logtest.ErrCrashed)
		_ = l.Close()
		require.NoError(t, d.PowerFail(nil))
	}
	return open(t, d, "d", cfg)
}

var endings = []string{"closed", "killed", "power failed"}

func TestDeleteBeforeMovesTheStartToTheBatchAndRemovesWholeSegments(t *testing.T) {
	for _, how := range endings {
		t.Run(how, func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			l := open(t, d, "d", smallSegments)
			fill(t, l, 50)
			before := files(t, d, ".log")
			_, err := l.Flush()
			require.NoError(t, err)

			require.NoError(t, l.DeleteBefore(61), "in the middle of a batch")
			require.Equal(t, log.Offset(60), l.Start())
			require.NoError(t, l.DeleteBefore(40), "below the start")
			require.Equal(t, log.Offset(60), l.Start())
			require.ErrorIs(t, l.DeleteBefore(101), log.ErrOutOfRange)
			_, err = l.Read(59, 100, 100)
			require.ErrorIs(t, err, log.ErrOutOfRange)
			require.Less(t, len(files(t, d, ".log")), len(before))
			require.Equal(t, "at 1300", values(t, l, 60)[0])

			l = reopened(t, d, l, how, smallSegments)
			require.Equal(t, log.Offset(60), l.Start())
			require.Equal(t, log.Offset(100), l.End())
			require.Len(t, values(t, l, 60), 40)
			for _, suffix := range []string{".index", ".timeindex", ".sum"} {
				require.LessOrEqual(t, len(files(t, d, suffix)), len(files(t, d, ".log")), "orphans")
			}

			require.NoError(t, l.DeleteBefore(l.End()))
			require.Equal(t, l.End(), l.Start())
			require.Len(t, files(t, d, ".log"), 1, "the newest stays")
			l = reopened(t, d, l, how, smallSegments)
			require.Equal(t, log.Offset(100), l.Start())
			fill(t, l, 1)
			require.Len(t, values(t, l, 100), 2)
		})
	}
}

func TestDeleteBeforeSurvivesACrashAtEveryChangeOfTheDisk(t *testing.T) {
	for _, mode := range crashModes {
		for n := 1; ; n++ {
			d := logtest.NewDisk(log.NewMemFS())
			l := open(t, d, "d", smallSegments)
			fill(t, l, 60)
			if n%2 == 0 {
				_, err := l.Flush()
				require.NoError(t, err)
			}
			d.Crash(n)
			err := l.DeleteBefore(90)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, logtest.ErrCrashed)
			_ = l.Close()
			switch mode {
			case "killed":
				d.Revive()
			case "all unsynced lost":
				require.NoError(t, d.PowerFail(nil))
			default:
				require.NoError(t, d.PowerFail(rand.New(rand.NewSource(int64(n)))))
			}
			l, _, err = log.Open(d, "d", smallSegments)
			require.NoError(t, err, "%s, change %d", mode, n)
			require.Contains(t, []log.Offset{0, 90}, l.Start())
			if end := l.End(); end > l.Start() {
				require.Len(t, values(t, l, l.Start()), int(end-l.Start()))
			}
			fill(t, l, 1)
			require.NoError(t, l.Close())
		}
	}
}

// The first thing that a follower notes of a log may be what others have removed.
func TestNoteRemovedOfANewLogSurvivesAPowerFailure(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "data/orders-0", smallSegments)
	require.NoError(t, l.NoteRemoved(7))
	_ = l.Close()
	require.NoError(t, d.PowerFail(nil))
	l = open(t, d, "data/orders-0", smallSegments)
	require.Equal(t, log.Offset(7), l.RemovedBelow())
}

// A log that is led from its end on knows nothing of tombstones behind it, and that
// outlives the power.
func TestLowerRemovedEndsWithTheLog(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 5)
	_, err := l.Flush()
	require.NoError(t, err)
	end := l.End()
	require.NoError(t, l.NoteRemoved(end-1))
	before := d.Mutations()
	require.NoError(t, l.LowerRemoved(0))
	require.Equal(t, end-1, l.RemovedBelow())
	require.Equal(t, before, d.Mutations(), "there is nothing to write")
	require.NoError(t, l.NoteRemoved(end+7))
	require.NoError(t, l.LowerRemoved(end+9))
	require.Equal(t, end+7, l.RemovedBelow(), "it is not raised")
	require.NoError(t, l.LowerRemoved(end+3))
	require.Equal(t, end+3, l.RemovedBelow())
	require.NoError(t, l.LowerRemoved(0))
	require.Equal(t, end, l.RemovedBelow())
	l = reopened(t, d, l, "power failed", smallSegments)
	require.Equal(t, end, l.RemovedBelow())
}

// A process that dies may leave the recovery point unsynced, so that whoever reads it
// next must not remove what lies below it before it is synced.
func TestDeleteBeforeMakesSureOfTheRecoveryPointThatOpenFound(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 50)
	_, err := l.Flush()
	require.NoError(t, err)

	l = reopened(t, d, l, "killed", smallSegments)
	require.NoError(t, l.DeleteBefore(90))
	l = reopened(t, d, l, "power failed", smallSegments)
	require.Equal(t, log.Offset(90), l.Start())
	require.Len(t, values(t, l, 90), 10)
}

func TestExpiredByAgeAndBySize(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 60) // times 1000 to 1595
	now := time.UnixMilli(2000)
	expired := func(keep log.Retention, upTo log.Offset) log.Offset {
		t.Helper()
		start, _, err := l.Expired(now, keep, upTo)
		require.NoError(t, err)
		return start
	}
	everything := log.Offset(120)
	require.Equal(t, log.Offset(0), expired(log.Retention{}, everything))
	require.Equal(t, log.Offset(0), expired(log.Retention{Age: time.Second}, everything))
	require.Equal(t, log.Offset(0), expired(log.Retention{Bytes: 1 << 20}, everything))

	start := expired(log.Retention{Age: 700 * time.Millisecond}, everything) // older than 1300
	require.Greater(t, start, log.Offset(40))
	require.LessOrEqual(t, start, log.Offset(60), "what is younger stays")
	require.Equal(t, start, expired(log.Retention{Age: 700 * time.Millisecond}, start))
	require.Less(t, expired(log.Retention{Age: 700 * time.Millisecond}, start-1), start, "not beyond upTo")

	total, err := l.Size()
	require.NoError(t, err)
	start = expired(log.Retention{Bytes: 2000}, everything)
	require.NoError(t, l.DeleteBefore(start))
	left, err := l.Size()
	require.NoError(t, err)
	require.GreaterOrEqual(t, left, int64(2000), "at least")
	require.Less(t, left, min(total, int64(2000+800)))
	require.Equal(t, start, expired(log.Retention{Bytes: 2000}, everything))
}

func TestAnIdleLogExpiresAsAWholeOnceItHasRolled(t *testing.T) {
	for _, how := range endings {
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", smallSegments)
		fill(t, l, 20)
		l = reopened(t, d, l, how, smallSegments)
		keep, now := log.Retention{Age: time.Second}, time.UnixMilli(100_000)
		start, roll, err := l.Expired(now, keep, 40)
		require.NoError(t, err)
		require.True(t, roll)
		require.Less(t, start, log.Offset(40))
		require.NoError(t, l.Roll())
		require.NoError(t, l.Roll(), "an empty segment is not left behind")
		start, roll, err = l.Expired(now, keep, 40)
		require.NoError(t, err)
		require.False(t, roll)
		require.Equal(t, log.Offset(40), start)
		require.NoError(t, l.DeleteBefore(start))
		l = reopened(t, d, l, how, smallSegments)
		require.Equal(t, []log.Offset{40, 40}, []log.Offset{l.Start(), l.End()})
		require.Len(t, files(t, d, ".log"), 1)
	}
}

func TestReadersGoOnWhileTheirSegmentIsRemoved(t *testing.T) {
	l := open(t, log.OS(), filepath.Join(t.TempDir(), "d"), smallSegments)
	fill(t, l, 200)
	over := make(chan struct{})
	done := make(chan error, 2)
	for range 2 {
		go func() {
			for {
				select {
				case <-over:
					done <- nil
					return
				default:
				}
				at := l.Start()
				data, err := l.Read(at, l.End(), 200)
				if err == nil && len(data) == 0 && at < l.Start() {
					continue
				}
				if r, ok := err.(*log.RangeError); ok && r.Want < l.Start() {
					continue
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for at := log.Offset(2); at < 396; at += 2 {
		require.NoError(t, l.DeleteBefore(at))
	}
	close(over)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

func TestOffsetAtIsWhatAScanFinds(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	for i := range 60 {
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", smallSegments)
		var times []int64
		base := int64(1000)
		for range 40 + rng.Intn(40) {
			batch := make([]int64, 1+rng.Intn(3))
			for j := range batch {
				base += int64(rng.Intn(5)) - 1
				batch[j] = base + int64(rng.Intn(20))
			}
			_, err := l.Append(0, timed(batch...))
			require.NoError(t, err)
			times = append(times, batch...)
			if rng.Intn(15) == 0 {
				_, err := l.Flush()
				require.NoError(t, err)
			}
		}
		if i%3 == 0 {
			require.NoError(t, l.Truncate(log.Offset(rng.Intn(len(times)))))
			times = times[:l.End()]
		}
		check := func(l *log.Log) {
			for range 30 {
				at, upTo := 990+rng.Int63n(base-950), log.Offset(rng.Intn(len(times)+2))
				want, found := log.Offset(0), false
				for o := l.Start(); o < min(upTo, l.End()); o++ {
					// upTo bounds whole batches.
					data, err := l.Read(o, upTo, 1)
					require.NoError(t, err)
					if len(data) > 0 && times[o] >= at {
						want, found = o, true
						break
					}
				}
				got, ok, err := l.OffsetAt(at, upTo)
				require.NoError(t, err)
				require.Equal(t, found, ok, "time %d up to %d", at, upTo)
				require.Equal(t, want, got, "time %d up to %d", at, upTo)
			}
		}
		check(l)
		if l.End() > 10 {
			require.NoError(t, l.DeleteBefore(l.End()/3))
			check(l)
		}
		how := endings[i%len(endings)]
		l = reopened(t, d, l, how, smallSegments)
		check(l)
		// Whatever becomes of the hints, the answer is the same.
		require.NoError(t, l.Close())
		for _, suffix := range []string{".sum", ".index", ".timeindex"} {
			for _, name := range files(t, d, suffix) {
				switch rng.Intn(4) {
				case 0:
					require.NoError(t, d.Remove("d/"+name))
				case 1:
					// Not in the version, which would say that another program wrote it; a short
					// file has no such byte.
					_ = d.FlipBit("d/"+name, 6+rng.Int63n(30), uint(rng.Intn(8)))
				}
			}
		}
		l = open(t, d, "d", smallSegments)
		check(l)
		require.NoError(t, l.Close())
		l = open(t, d, "d", smallSegments)
		check(l)
		require.Len(t, files(t, d, ".sum"), len(files(t, d, ".log"))-1, "seals were made again")
	}
}

func TestASegmentThatIsMissingAtTheFrontIsDamage(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 60)
	require.NoError(t, l.Close())
	require.NoError(t, d.Remove("d/00000000000000000000.log"))
	_, _, err := log.Open(d, "d", smallSegments)
	require.ErrorIs(t, err, log.ErrCorrupt)
}

func TestAViewOfALiveLogTouchesNothing(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 30)
	_, err := l.Flush()
	require.NoError(t, err)
	fill(t, l, 1)
	before := d.Mutations()

	v, rec, err := log.View(d, "d", smallSegments)
	require.NoError(t, err)
	require.False(t, rec.Lost)
	require.Equal(t, log.Offset(62), v.End())
	require.Equal(t, values(t, l, 0), values(t, v, 0))
	off, ok, err := v.OffsetAt(1100, v.End())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, log.Offset(20), off)
	for call, err := range map[string]error{
		"Truncate": v.Truncate(3), "Reset": v.Reset(0), "DeleteBefore": v.DeleteBefore(10),
		"BeginEpoch": v.BeginEpoch(9), "Roll": v.Roll(), "Checkpoint": v.Checkpoint(), "NoteRemoved": v.NoteRemoved(9),
		"LowerRemoved": v.LowerRemoved(0),
	} {
		require.ErrorIs(t, err, log.ErrReadOnly, call)
	}
	_, err = v.Append(9, timed(1))
	require.ErrorIs(t, err, log.ErrReadOnly)
	_, err = v.Flush()
	require.ErrorIs(t, err, log.ErrReadOnly)
	require.NoError(t, v.Close())
	require.Equal(t, before, d.Mutations())

	// A batch that is being written is not there yet.
	f, err := d.Open("d/" + files(t, d, ".log")[len(files(t, d, ".log"))-1])
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("half a batch, or garbage"), size)
	require.NoError(t, err)
	v, _, err = log.View(d, "d", smallSegments)
	require.NoError(t, err)
	require.Equal(t, log.Offset(62), v.End())
	require.NoError(t, v.Close())
}
