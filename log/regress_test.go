package log_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// Each test here is of what a random script has found once, by the shortest way.

// cutAndKilled returns a disk on which a process died within a cut of eight batches
// to two: the file is cut, but that is not synced.
func cutAndKilled(t *testing.T, cfg log.Config) *logtest.Disk {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", cfg)
	appendTo(t, l, 1, "a", "b", "c", "d", "e", "f", "g", "h")
	_, err := l.Flush()
	require.NoError(t, err)
	d.Inject(logtest.Fault{Op: logtest.Sync, Name: "*.log", Err: errDied})
	require.ErrorIs(t, l.Truncate(2), errDied)
	d.Fail(errDied)
	_ = l.Close()
	d.Revive()
	return d
}

func TestWhatACutHasLeftUnsyncedDoesNotComeBackBehindNewBatches(t *testing.T) {
	d := cutAndKilled(t, log.Config{})
	l := open(t, d, "d", log.Config{})
	require.Equal(t, []string{"a", "b"}, values(t, l, 0))
	appendTo(t, l, 1, "C") // as long as the one before, in the same epoch
	for share := range 2 {
		c, err := d.Clone("d", log.NewMemFS())
		require.NoError(t, err)
		require.NoError(t, c.PowerFailKeeping(float64(share), nil))
		require.Equal(t, []string{"a", "b", "C"}[:2+share], values(t, open(t, c, "d", log.Config{}), 0))
	}
}

func TestWhatACutHasLeftUnsyncedDoesNotComeBackBeforeANewSegment(t *testing.T) {
	cfg := log.Config{SegmentBytes: int64(9 * len(batchOf("a")))}
	d := cutAndKilled(t, cfg)
	l := open(t, d, "d", cfg)
	long := strings.Repeat("x", 10*len(batchOf("a")))
	appendTo(t, l, 1, long)
	_, err := l.Flush()
	require.NoError(t, err)
	d.Fail(errDied)
	_ = l.Close()
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, []string{"a", "b", long}, values(t, open(t, d, "d", cfg), 0))
}

func TestEpochsOfBatchesThatWereNotWrittenAreForgotten(t *testing.T) {
	at := func(first log.Offset, epoch log.Epoch) log.Batch {
		b := batchOf(fmt.Sprint(first, epoch))
		b.Place(first, epoch)
		return b
	}
	for _, op := range []logtest.Op{logtest.Write, logtest.Rename, logtest.Create} {
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", log.Config{})
		appendTo(t, l, 1, "a", "b")
		require.NoError(t, l.BeginEpoch(2))
		d.Inject(logtest.Fault{Op: op, Every: 1, Err: syscall.ENOSPC})
		_, err := l.Replicate(append(append(at(2, 3), at(3, 3)...), at(4, 6)...))
		require.ErrorIs(t, err, syscall.ENOSPC)
		_, err = l.Append(7, batchOf("x"))
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.EqualValues(t, 2, l.LastEpoch(), "%b", op)
		e, end, ok := l.EndOf(1)
		require.Equal(t, []any{log.Epoch(1), log.Offset(2), true}, []any{e, end, ok})

		// Another leader has another history.
		d.Revive()
		_, err = l.Replicate(at(2, 6))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b", "2 6"}, values(t, l, 0))
		require.NoError(t, l.Close())
		require.Equal(t, []string{"a", "b", "2 6"}, values(t, open(t, d, "d", log.Config{}), 0))
	}
}

func TestASegmentThatCouldNotBeBegunIsNotThere(t *testing.T) {
	for _, op := range []logtest.Op{logtest.Remove, logtest.Create, logtest.SyncDir} {
		cfg := log.Config{SegmentBytes: 200}
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", cfg)
		appendTo(t, l, 0, "a")
		d.FailNth(op, 1, syscall.EIO)
		long := strings.Repeat("x", 150)
		_, err := l.Append(0, batchOf(long))
		require.ErrorIs(t, err, syscall.EIO)
		if !errors.Is(err, log.ErrFailed) {
			appendTo(t, l, 0, "b", "c") // the first of them goes into the old segment
			require.NoError(t, l.Close())
			require.Equal(t, []string{"a", "b", "c"}, values(t, open(t, d, "d", cfg), 0))
		}
	}
}

func TestNoEpochBeginsBehindTheEndOfALogWhoseCutFailed(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 1, "a", "b", "c")
	appendTo(t, l, 2, "d")
	d.FailNth(logtest.Truncate, 1, syscall.EIO)
	require.ErrorIs(t, l.Truncate(1), log.ErrFailed)
	e, end, ok := l.EndOf(1)
	require.Equal(t, []any{log.Epoch(1), log.Offset(1), true}, []any{e, end, ok})
}

func TestASyncThatFailsWhileALogIsOpenedIsFinal(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 1, "a")
	_, err := l.Flush()
	require.NoError(t, err)
	appendTo(t, l, 1, "b", "c")
	d.Fail(errDied)
	d.Revive()
	name := "d/00000000000000000000.log"
	f, err := d.Open(name)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, d.FlipBit(name, size-1, 0))
	for n := 1; ; n++ {
		c, err := d.Clone(".", log.NewMemFS())
		require.NoError(t, err)
		c.FailNth(logtest.Sync|logtest.SyncDir, n, syscall.EIO)
		_, _, err = log.Open(c, "d", log.Config{})
		if err == nil {
			require.Greater(t, n, 5, "the note of the loss, the cut, what was found, the names, the flushed end")
			return
		}
		require.ErrorIs(t, err, log.ErrFailed)
		require.ErrorIs(t, err, syscall.EIO)
		require.Empty(t, c.Handles())
	}
}

// The log would go on at a place where its offsets are not.
func TestASegmentThatEndsBeforeTheRecoveryPointIsDamage(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 1, "a", "b", "c")
	require.NoError(t, l.Close())
	name := "00000000000000000000.log"
	f, err := d.Open("d/" + name)
	require.NoError(t, err)
	size := int64(2 * len(batchOf("a")))
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	_, _, err = log.Open(d, "d", log.Config{})
	c, ok := errors.AsType[*log.CorruptError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []any{name, size}, []any{c.File, c.At})
}

// A segment that has no batch yet may be gone after a crash: its name is synced
// before its first batch. The recovery point must not lie in it alone.
func TestTheRecoveryPointIsNotInASegmentThatMayBeGone(t *testing.T) {
	cfg := log.Config{SegmentBytes: 200}
	long := strings.Repeat("x", 150)
	for name, roll := range map[string]func(t *testing.T, d *logtest.Disk, l *log.Log) *log.Log{
		"its checkpoint found no room": func(t *testing.T, d *logtest.Disk, l *log.Log) *log.Log {
			d.Inject(logtest.Fault{Op: logtest.Write, Name: "*.tmp", Err: syscall.ENOSPC})
			_, err := l.Append(2, batchOf(long))
			require.ErrorIs(t, err, syscall.ENOSPC)
			return l
		},
		"its process died": func(t *testing.T, d *logtest.Disk, l *log.Log) *log.Log {
			_, err := l.Flush()
			require.NoError(t, err)
			d.Inject(logtest.Fault{Op: logtest.SyncDir, Err: errDied})
			_, err = l.Append(1, batchOf(long))
			require.ErrorIs(t, err, errDied)
			d.Fail(errDied)
			_ = l.Close()
			d.Revive()
			return open(t, d, "d", cfg)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			l := open(t, d, "d", cfg)
			appendTo(t, l, 1, "a", "b")
			l = roll(t, d, l)
			require.NoError(t, l.Close())
			require.NoError(t, d.PowerFail(nil))
			require.Equal(t, []string{"a", "b"}, values(t, open(t, d, "d", cfg), 0))
		})
	}
}

// A segment that is missing is no torn tail of the one before it.
func TestAMissingSegmentAtTheRecoveryPointIsDamage(t *testing.T) {
	cfg := log.Config{SegmentBytes: 200}
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", cfg)
	appendTo(t, l, 1, "a", "b", strings.Repeat("x", 150))
	_, err := l.Flush()
	require.NoError(t, err)
	require.NoError(t, l.Truncate(2))
	require.NoError(t, l.Close())
	name := "00000000000000000002.log"
	require.NoError(t, d.Remove("d/"+name))
	before := d.Used()
	_, _, err = log.Open(d, "d", cfg)
	c, ok := errors.AsType[*log.CorruptError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, name, c.File)
	require.Equal(t, before, d.Used(), "nothing was cut")
}

func TestWhatIsFlushedAfterAResetThatWasCutShortIsThere(t *testing.T) {
	for n := 1; ; n++ {
		d := logtest.NewDisk(log.NewMemFS())
		l := open(t, d, "d", log.Config{})
		appendTo(t, l, 1, "a", "b")
		d.Crash(n)
		if l.Reset(7) == nil {
			require.Greater(t, n, 5)
			return
		}
		require.NoError(t, d.PowerFail(nil))
		l = open(t, d, "d", log.Config{})
		start := l.End()
		appendTo(t, l, 1, "c")
		_, err := l.Flush()
		require.NoError(t, err)
		require.NoError(t, d.PowerFail(nil))
		require.Equal(t, []string{"c"}, values(t, open(t, d, "d", log.Config{}), start))
	}
}

// A read that came to nothing for ever would hold its reader up for ever.
func TestABatchThatReachesIntoTheNextSegmentIsDamage(t *testing.T) {
	fsys, cfg := log.NewMemFS(), log.Config{SegmentBytes: 200, Memory: log.NewMemory(1)}
	l := open(t, fsys, "d", cfg)
	appendTo(t, l, 1, "a", "b", strings.Repeat("x", 150))
	require.NoError(t, l.Close())
	name := "00000000000000000000.log"
	f, err := fsys.Open("d/" + name)
	require.NoError(t, err)
	b := batchOf("b", "c")
	b.Place(1, 1)
	at := int64(len(batchOf("a")))
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	l = open(t, fsys, "d", cfg)
	require.EqualValues(t, 3, l.End())
	_, err = l.Read(1, 3, 1)
	c, ok := errors.AsType[*log.CorruptError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []any{name, at, log.Offset(1)}, []any{c.File, c.At, c.Offset})
}

func TestWhatCouldNotBeRemovedIsNotThereAfterAReset(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", smallSegments)
	fill(t, l, 60)
	d.FailNth(logtest.Remove, 2, syscall.EIO)
	require.ErrorIs(t, l.DeleteBefore(100), syscall.EIO)
	require.Equal(t, log.Offset(100), l.Start())
	require.NoError(t, l.Reset(10)) // below what is left on the disk
	fill(t, l, 2)
	want := values(t, l, 10)
	require.NoError(t, l.Close())
	l, rec, err := log.Open(d, "d", smallSegments)
	require.NoError(t, err)
	require.False(t, rec.Lost)
	require.Equal(t, want, values(t, l, 10))
	require.NoError(t, l.Close())
}
