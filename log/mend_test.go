package log_test

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A log that a crash caught within a reset is sound: it is to be forgotten.
func TestALookAtALogThatIsBeingReset(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 20)
	_, err := l.Flush()
	require.NoError(t, err)
	d.Inject(logtest.Fault{Op: logtest.Remove, Every: 1, Err: errDied})
	require.ErrorIs(t, l.Reset(1000), errDied)
	_ = l.Close()
	d.Revive()

	v, _, err := log.View(d, "d", smallSegments)
	require.NoError(t, err)
	require.Equal(t, []log.Offset{1000, 1000}, []log.Offset{v.Start(), v.End()})
	require.NoError(t, v.Close())
	r, err := log.Verify(d, "d")
	require.NoError(t, err)
	require.Equal(t, log.Report{Start: 1000, End: 1000}, r)
	fixed, err := log.Repair(d, "d", smallSegments)
	require.NoError(t, err)
	require.Equal(t, log.Repairs{End: 1000}, fixed)
	l, found, err := log.Open(d, "d", smallSegments)
	require.NoError(t, err)
	require.False(t, found.Lost)
	require.EqualValues(t, 1000, l.Start())
	require.NoError(t, l.Close())
	require.Empty(t, d.Handles())
}

// A bit of a header decides nothing that is for good, before the checksum was asked.
func TestDeleteBeforeDoesNotTrustAHeader(t *testing.T) {
	cfg := log.Config{SegmentBytes: 800}
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", cfg)
	fill(t, l, 30)
	require.NoError(t, l.Close())
	names := files(t, d, ".log")
	require.NoError(t, d.FlipBit("d/"+names[0], 26, 2)) // its last offset is 5, and not 1
	l = open(t, d, "d", cfg)
	err := l.DeleteBefore(4)
	bad, ok := errors.AsType[*log.CorruptError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []any{names[0], int64(0), log.Offset(0)}, []any{bad.File, bad.At, bad.Offset})
	require.Zero(t, l.Start())
	require.NoError(t, l.Close())

	// What is damaged leaves with its segment, as before.
	require.NoError(t, d.FlipBit("d/"+names[1], 26, 2))
	l = open(t, d, "d", cfg)
	next, err := strconv.ParseInt(strings.TrimSuffix(names[1], ".log"), 10, 64)
	require.NoError(t, err)
	require.NoError(t, l.DeleteBefore(log.Offset(next)))
	require.EqualValues(t, next, l.Start())
	require.Equal(t, names[1:], files(t, d, ".log"))
}

// Of a sealed segment that has lost its end, a cut would make a log that is shorter than
// what it was asked for: what is missing may have been acknowledged.
func TestACutIntoWhatIsMissingIsDamage(t *testing.T) {
	cfg := log.Config{SegmentBytes: 800}
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", cfg)
	fill(t, l, 30)
	require.NoError(t, l.Close())
	name := files(t, d, ".log")[0]
	f, err := d.Open("d/" + name)
	require.NoError(t, err)
	n := int64(len(timed(1000, 1005)))
	require.NoError(t, f.Truncate(2*n))
	require.NoError(t, f.Close())
	l = open(t, d, "d", cfg)
	before := files(t, d, "")
	err = l.Truncate(8)
	bad, ok := errors.AsType[*log.CorruptError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []any{name, 2 * n, log.Offset(4)}, []any{bad.File, bad.At, bad.Offset})
	require.EqualValues(t, 60, l.End())
	require.Equal(t, before, files(t, d, ""))
	require.NoError(t, l.Truncate(4), "up to there it is sound")
	require.EqualValues(t, 4, l.End())
	appendTo(t, l, 9, "x")
	require.Len(t, values(t, l, 0), 5)
}

// However long a file has become, no more of it is read than it can have to say.
func TestSmallFilesThatHaveGrown(t *testing.T) {
	d, want := closedLog(t)
	for _, suffix := range []string{"index", "flushed"} { // both of each segment; the flushed end
		for _, name := range files(t, d, suffix) {
			f, err := d.Open("d/" + name)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(8<<20))
			require.NoError(t, f.Close())
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := log.Verify(d, "d")
	require.NoError(t, err)
	require.Empty(t, r.Damage)
	l := open(t, d, "d", smallSegments)
	require.Equal(t, want[22:], values(t, l, 22))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
}

// What a crash has left of a seal, or of a snapshot of producers, does not stay for good.
func TestUnfinishedFilesAreRemoved(t *testing.T) {
	for name, reuse := range map[string]func(d *logtest.Disk) error{
		"Open":     func(d *logtest.Disk) error { return open(t, d, "d", smallSegments).Close() },
		"SetAside": func(d *logtest.Disk) error { return log.SetAside(d, "d") },
	} {
		d := logtest.NewDisk(log.NewMemFS())
		for _, pattern := range []string{"*.sum.tmp", "*.snapshot.tmp"} {
			d.Inject(logtest.Fault{Op: logtest.Rename, Name: pattern, Every: 1, Err: errDied})
		}
		l := open(t, d, "d", smallSegments)
		var b log.Builder
		b.Identify(7, 0, 0)
		b.Append(1000, nil, []byte("v"), nil)
		_, err := l.Append(0, b.Build())
		require.NoError(t, err)
		fill(t, l, 20)
		_ = l.Close()
		d.Revive()
		require.Greater(t, len(files(t, d, ".sum.tmp")), 1, name)
		require.NotEmpty(t, files(t, d, ".snapshot.tmp"), name)
		require.NoError(t, reuse(d))
		require.Empty(t, files(t, d, ".tmp"), name)
	}
}

// One sealed segment stays open beside the active one, whatever is removed meanwhile.
func TestOneSealedSegmentStaysOpen(t *testing.T) {
	for name, remove := range map[string]func(l *log.Log) error{
		"at the front": func(l *log.Log) error { return l.DeleteBefore(2) },
		"at the end":   func(l *log.Log) error { return l.Truncate(l.End() - 30) },
	} {
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", log.Config{SegmentBytes: 800, Memory: log.NewMemory(0)})
		fill(t, l, 50)
		_, err := l.Flush()
		require.NoError(t, err)
		_, err = l.Read(2, l.End(), 100)
		require.NoError(t, err)
		require.NoError(t, remove(l), name)
		_, err = l.Read(30, l.End(), 100)
		require.NoError(t, err)
		open := slices.DeleteFunc(d.Handles(), func(n string) bool { return !strings.HasSuffix(n, ".log") })
		require.Len(t, open, 2, name)
	}
}

func TestARepairKeepsTheProducersAndWhatEarlierOnesSetAside(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	batch := func(sequence int32) log.Batch {
		var b log.Builder
		b.Identify(7, 0, sequence)
		b.Append(1000, nil, []byte("v"), nil)
		return b.Build()
	}
	for i := range int32(4) {
		_, err := l.Append(0, batch(i))
		require.NoError(t, err)
	}
	n := int64(len(batch(0)))
	aside := map[string]bool{}
	for i := int32(3); i > 1; i-- {
		require.NoError(t, l.Close())
		require.NoError(t, d.FlipBit("d/00000000000000000000.log", int64(i)*n+30, 1))
		r, err := log.Repair(d, "d", log.Config{})
		require.NoError(t, err)
		require.EqualValues(t, i, r.End)
		for _, name := range r.Aside {
			require.False(t, aside[name], "%s is taken", name)
			require.Contains(t, name, ".damaged")
			aside[name] = true
		}
		l = open(t, d, "d", log.Config{})
		first, twice, err := l.CheckProducer(batch(i - 1))
		require.NoError(t, err)
		require.True(t, twice)
		require.EqualValues(t, i-1, first)
	}
	require.Len(t, aside, 2)
}

func TestNoOffsetBehindTheLast(t *testing.T) {
	l := open(t, log.NewMemFS(), "d", log.Config{})
	require.NoError(t, l.Reset(math.MaxInt64-2))
	_, err := l.Append(0, batchOf("a", "b", "c"))
	require.ErrorIs(t, err, log.ErrOutOfOrder)
	b := batchOf("a", "b", "c")
	b.Place(math.MaxInt64-2, 0)
	_, err = l.Replicate(b)
	require.Error(t, err)
	appendTo(t, l, 0, "a")
	require.Equal(t, log.Offset(math.MaxInt64-1), l.End())
}

func TestEpochsDoNotFallThoughAllRecordsWereRemoved(t *testing.T) {
	m := log.NewMemFS()
	l := open(t, m, "d", log.Config{})
	appendTo(t, l, 5, "a", "b")
	require.NoError(t, l.DeleteBefore(2))
	b := batchOf("c")
	b.Place(2, 3)
	_, err := l.Replicate(b)
	require.ErrorIs(t, err, log.ErrOutOfOrder)
}

// Of a log that was shortened at the front, and then cut to nothing, the last epoch is that
// of what is gone, however its records lay in files.
func TestALogThatWasCutToNothingKnowsItsLastEpoch(t *testing.T) {
	for _, size := range []int64{1, 1 << 20} {
		for _, again := range []bool{false, true} {
			m, cfg := log.NewMemFS(), log.Config{SegmentBytes: size}
			l := open(t, m, "d", cfg)
			for epoch := range log.Epoch(4) {
				appendTo(t, l, epoch, "a", "b")
			}
			require.NoError(t, l.DeleteBefore(4))
			if again {
				require.NoError(t, l.Close())
				l = open(t, m, "d", cfg)
			}
			require.NoError(t, l.Truncate(4))
			require.EqualValues(t, 1, l.LastEpoch(), "segments of %d, opened again: %v", size, again)
			e, end, ok := l.EndOf(1)
			require.Equal(t, []any{log.Epoch(1), log.Offset(4), true}, []any{e, end, ok})
		}
	}
}

// An index that does not fit its seal is made again, whatever was asked first.
func TestAnIndexIsMadeAgain(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	cfg := log.Config{SegmentBytes: 2000, IndexInterval: 100, Memory: log.NewMemory(0)}
	l := open(t, d, "d", cfg)
	for range 40 {
		appendTo(t, l, 0, strings.Repeat("x", 50))
	}
	require.NoError(t, l.Close())
	require.NoError(t, d.FlipBit("d/00000000000000000000.index", 3, 1))
	l = open(t, d, "d", cfg)
	_, err := l.Size()
	require.NoError(t, err)
	_, err = l.Read(10, l.End(), 10)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	r, err := log.Verify(d, "d")
	require.NoError(t, err)
	require.Empty(t, r.Hints)
}
