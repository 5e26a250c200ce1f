package log_test

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// newWorldOfZeros is newWorld for a log that is flushed often enough to write
// zeros ahead: after each append, at shorter ticks of the clock.
func newWorldOfZeros(t *testing.T, seed int64) *world {
	w := newWorld(t, seed)
	w.cfg.ZerosAhead, w.cfg.Now, w.flushes = 500, ticking(50*time.Millisecond), true
	return w
}

// checkNoZeros checks the files of a log that is closed.
func (w *world) checkNoZeros() {
	fsys := w.fsys
	if fsys == nil {
		fsys = w.disk
	}
	for name, zeros := range zerosBehind(w.t, fsys, crashDir) {
		require.Zero(w.t, zeros, name)
	}
}

// zerosBehind returns how many zeros stand behind the batches of each segment
// file, where nothing else does.
func zerosBehind(t require.TestingT, fsys log.FS, dir string) map[string]int {
	names, err := fsys.ReadDir(dir)
	require.NoError(t, err)
	zeros := map[string]int{}
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		f, err := fsys.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		data := make([]byte, size)
		if size > 0 {
			_, err = f.ReadAt(data, 0)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
		for len(data) > 0 && bytes.ContainsAny(data[:min(len(data), log.BatchOverhead)], "\x02") { // the magic
			_, data, err = log.SplitBatch(data)
			require.NoError(t, err, name)
		}
		require.Empty(t, bytes.Trim(data, "\x00"), name)
		zeros[name] = len(data)
	}
	return zeros
}

func lastSegment(t *testing.T, fsys log.FS, dir string) string {
	names := slices.Sorted(maps.Keys(zerosBehind(t, fsys, dir)))
	return names[len(names)-1]
}

const firstSegment = "00000000000000000000.log"

// flushed appends and flushes values one by one.
func flushed(t *testing.T, l *log.Log, values ...string) {
	t.Helper()
	for _, v := range values {
		appendTo(t, l, 0, v)
		_, err := l.Flush()
		require.NoError(t, err)
	}
}

func TestZerosAreAheadOfALogThatIsFlushedOftenAndLittle(t *testing.T) {
	some := make([]string, 20)
	for i := range some {
		some[i] = strings.Repeat("x", i)
	}
	for _, c := range []struct {
		name  string
		cfg   log.Config
		do    func(t *testing.T, l *log.Log)
		zeros bool
	}{
		{name: "little and often", zeros: true, do: func(t *testing.T, l *log.Log) { flushed(t, l, some...) }},
		{name: "none wanted", cfg: log.Config{ZerosAhead: -1}, do: func(t *testing.T, l *log.Log) { flushed(t, l, some...) }},
		{name: "once or twice", do: func(t *testing.T, l *log.Log) { flushed(t, l, "a", "b") }},
		{name: "not flushed", do: func(t *testing.T, l *log.Log) { appendTo(t, l, 0, some...) }},
		{name: "much at once", do: func(t *testing.T, l *log.Log) {
			for range some {
				flushed(t, l, strings.Repeat("x", 20_000))
			}
		}},
		{name: "much between", do: func(t *testing.T, l *log.Log) {
			for _, v := range some {
				flushed(t, l, v, strings.Repeat("x", 20_000))
			}
		}},
		{name: "seldom", do: func(t *testing.T, l *log.Log) {
			for _, v := range some {
				flushed(t, l, v)
				time.Sleep(2 * time.Second)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := log.NewMemFS()
				l := open(t, fsys, "d", c.cfg)
				c.do(t, l)
				zeros := zerosBehind(t, fsys, "d")[firstSegment]
				require.Equal(t, c.zeros, zeros > 0, "%d zeros", zeros)
				require.LessOrEqual(t, zeros, 64<<10) // the first step
				require.NoError(t, l.Close())
				require.Zero(t, zerosBehind(t, fsys, "d")[firstSegment])
			})
		})
	}
}

func TestZerosAheadKeepWithinTheirBoundAndTheSegment(t *testing.T) {
	fsys := log.NewMemFS()
	l := open(t, fsys, "d", log.Config{SegmentBytes: 300_000, ZerosAhead: 100_000})
	most := 0
	for i := range 1000 {
		flushed(t, l, strings.Repeat("x", 1000))
		if i%7 != 0 {
			continue
		}
		active := 0
		for _, zeros := range zerosBehind(t, fsys, "d") {
			require.True(t, zeros == 0 || active == 0, "a sealed segment has zeros")
			active = max(active, zeros)
		}
		f, err := fsys.Open(filepath.Join("d", lastSegment(t, fsys, "d")))
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		require.LessOrEqual(t, size, int64(300_000))
		most = max(most, active)
	}
	require.LessOrEqual(t, most, 100_000)
	require.Greater(t, most, 90_000, "the steps grow")
}

// Whoever comes upon zeros must not take them for batches, nor lose any for them.
func TestALogWithZerosAheadIsReadCutAndOpened(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	cfg := log.Config{Memory: log.NewMemory(0), IndexInterval: 100}
	l := open(t, disk, "d", cfg)
	var want []string
	for i := range 30 {
		want = append(want, strings.Repeat("x", i))
		flushed(t, l, want[i])
	}
	require.Positive(t, zerosBehind(t, disk, "d")[firstSegment])
	require.Equal(t, want, values(t, l, 0))
	require.Equal(t, want[29:], values(t, l, 29))

	require.NoError(t, l.Truncate(20))
	require.Zero(t, zerosBehind(t, disk, "d")[firstSegment])
	flushed(t, l, want[20:]...)
	require.Positive(t, zerosBehind(t, disk, "d")[firstSegment])
	require.Equal(t, want, values(t, l, 0))

	for _, power := range []bool{false, true} {
		disk.Fail(logtest.ErrCrashed)
		_ = l.Close()
		if power {
			require.NoError(t, disk.PowerFail(nil))
		} else {
			disk.Revive()
		}
		var rec log.Recovery
		var err error
		l, rec, err = log.Open(disk, "d", cfg)
		require.NoError(t, err)
		require.False(t, rec.Lost)
		require.Equal(t, want, values(t, l, 0))
		flushed(t, l, want...)
		want = append(want, want...)
	}
	disk.Fail(logtest.ErrCrashed)
	_ = l.Close()
	disk.Revive()
	l, _, err := log.Open(disk, "d", cfg)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.Zero(t, zerosBehind(t, disk, "d")[firstSegment])
}

// A disk without room for zeros has room for the batch all the same.
func TestZerosThatCannotBeWrittenAreNoFailure(t *testing.T) {
	errFull := errors.New("no space left on device")
	disk := logtest.NewDisk(log.NewMemFS())
	l := open(t, disk, "d", log.Config{})
	flushed(t, l, "0", "1", "2", "3", "4", "5", "6", "7")
	disk.FailNth(logtest.Write, 2, errFull)
	flushed(t, l, "8")
	require.Zero(t, zerosBehind(t, disk, "d")[firstSegment])
	flushed(t, l, "9", "10", "11", "12", "13", "14", "15")
	require.Zero(t, zerosBehind(t, disk, "d")[firstSegment], "not tried again at once")
	flushed(t, l, "16")
	require.Positive(t, zerosBehind(t, disk, "d")[firstSegment])
	require.Len(t, values(t, l, 0), 17)

	disk.FailNth(logtest.Write, 1, errFull)
	_, err := l.Append(0, batchOf("17"))
	require.ErrorIs(t, err, errFull)
	require.Zero(t, zerosBehind(t, disk, "d")[firstSegment], "a write is taken back with what follows it")
	flushed(t, l, "17", "18")
	require.Positive(t, zerosBehind(t, disk, "d")[firstSegment])
}

// Where a part of the zeros cannot be cut off again, the batch goes with them, and
// if that fails too, the log has failed.
func TestZerosThatCannotBeCutOffAgain(t *testing.T) {
	errFull := errors.New("no space left on device")
	for cuts := 1; cuts <= 2; cuts++ {
		disk := logtest.NewDisk(log.NewMemFS())
		l := open(t, disk, "d", log.Config{})
		flushed(t, l, "0", "1", "2", "3", "4", "5", "6", "7")
		disk.FailNth(logtest.Write, 2, errFull)
		for n := range cuts {
			disk.FailNth(logtest.Truncate, n+1, errFull)
		}
		_, err := l.Append(0, batchOf("8"))
		require.ErrorIs(t, err, errFull)
		require.Equal(t, cuts == 2, errors.Is(err, log.ErrFailed))
		require.Len(t, values(t, l, 0), 8)
	}
}

// A closingFS closes a log in the middle of a write.
type closingFS struct {
	log.FS
	log *log.Log // nil: not yet
}

type closingFile struct {
	log.File
	fsys *closingFS
}

func (f *closingFS) Create(name string) (log.File, error) {
	file, err := f.FS.Create(name)
	return closingFile{file, f}, err
}

func (f closingFile) Close() error { return nil }

func (f closingFile) WriteAt(p []byte, off int64) (int, error) {
	l := f.fsys.log
	if f.fsys.log = nil; l == nil {
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:len(p)/2], off)
	if err == nil {
		err = l.Close()
	}
	if err == nil {
		n, err = f.File.WriteAt(p[len(p)/2:], off+int64(n))
	}
	return n, err
}

// Nobody may take the half of a batch that was cut off with the zeros for a loss.
func TestCloseInTheMiddleOfAnAppendCutsNothing(t *testing.T) {
	fsys := &closingFS{FS: log.NewMemFS()}
	l := open(t, fsys, "d", log.Config{})
	flushed(t, l, make([]string, 10)...)
	require.Positive(t, zerosBehind(t, fsys, "d")[firstSegment])
	fsys.log = l
	_, err := l.Append(0, batchOf("last"))
	require.ErrorIs(t, err, log.ErrClosed)

	l, rec, err := log.Open(fsys, "d", log.Config{})
	require.NoError(t, err)
	require.False(t, rec.Lost)
	require.Equal(t, []string{"last"}, values(t, l, 10))
	require.NoError(t, l.Close())
}
