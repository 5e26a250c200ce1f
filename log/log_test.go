package log_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

func batchOf(values ...string) log.Batch {
	var b log.Builder
	for i, v := range values {
		b.Append(int64(1000+i), nil, []byte(v), nil)
	}
	return b.Build()
}

func open(t testing.TB, fsys log.FS, dir string, cfg log.Config) *log.Log {
	t.Helper()
	l, _, err := log.Open(fsys, dir, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appendTo(t testing.TB, l *log.Log, epoch log.Epoch, values ...string) {
	t.Helper()
	for _, v := range values {
		_, err := l.Append(epoch, batchOf(v))
		require.NoError(t, err)
	}
}

func values(t testing.TB, l *log.Log, from log.Offset) []string {
	t.Helper()
	var out []string
	for from < l.End() {
		data, err := l.Read(from, l.End(), 100)
		require.NoError(t, err)
		require.NotEmpty(t, data)
		for len(data) > 0 {
			var b log.Batch
			b, data, err = log.SplitBatch(data)
			require.NoError(t, err)
			for r, err := range b.Records() {
				require.NoError(t, err)
				if r.Offset >= from {
					out = append(out, string(r.Value))
				}
			}
			from = b.Next()
		}
	}
	return out
}

func TestLogIsAsTheModelHasIt(t *testing.T) {
	base := time.Now().UnixNano()
	for name, fsys := range map[string]func(t *testing.T) (log.FS, string){
		"memory":    func(*testing.T) (log.FS, string) { return log.NewMemFS(), "" },
		"real disk": func(t *testing.T) (log.FS, string) { return log.OS(), t.TempDir() },
	} {
		for i := range int64(2) {
			seed := base + i
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				under, dir := fsys(t)
				w := newWorld(t, seed)
				w.disk = logtest.NewDisk(in{under, dir})
				_, err := w.open()
				require.NoError(t, err)
				for range 300 {
					require.NoError(t, w.step())
					w.check(done)
				}
				require.NoError(t, w.log.Close())
			})
		}
	}
}

// in is a disk whose names are those of a directory on another.
type in struct {
	log.FS
	dir string
}

func (d in) Open(name string) (log.File, error)   { return d.FS.Open(filepath.Join(d.dir, name)) }
func (d in) Create(name string) (log.File, error) { return d.FS.Create(filepath.Join(d.dir, name)) }
func (d in) Remove(name string) error             { return d.FS.Remove(filepath.Join(d.dir, name)) }
func (d in) MkdirAll(dir string) error            { return d.FS.MkdirAll(filepath.Join(d.dir, dir)) }
func (d in) SyncDir(dir string) error             { return d.FS.SyncDir(filepath.Join(d.dir, dir)) }
func (d in) ReadDir(dir string) ([]string, error) { return d.FS.ReadDir(filepath.Join(d.dir, dir)) }
func (d in) Rename(from, to string) error {
	return d.FS.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}

func TestAFlippedBitBelowTheFlushedEndIsReportedAndNothingIsCut(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	for range 300 {
		w := newWorld(t, rng.Int63())
		_, err := w.open()
		require.NoError(t, err)
		for len(w.entries) < 20 {
			require.NoError(t, w.append())
		}
		require.NoError(t, w.flush())
		if rng.Intn(2) == 0 {
			require.NoError(t, w.log.Close())
		} else {
			w.disk.Fail(errors.New("killed"))
			_ = w.log.Close()
			w.disk.Revive()
		}
		var segments []string
		names, err := w.disk.ReadDir(crashDir)
		require.NoError(t, err)
		for _, name := range names {
			if filepath.Ext(name) == ".log" {
				segments = append(segments, filepath.Join(crashDir, name))
			}
		}
		name := segments[rng.Intn(len(segments))]
		f, err := w.disk.Open(name)
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		at := rng.Int63n(size)
		require.NoError(t, w.disk.FlipBit(name, at, uint(rng.Intn(8))))

		if _, err = w.open(); err == nil {
			require.Equal(t, w.end(), w.log.End(), "byte %d of %s", at, name)
			for from := w.log.Start(); from < w.log.End() && err == nil; {
				var data []byte
				if data, err = w.log.Read(from, w.log.End(), 200); err == nil {
					for len(data) > 0 {
						b, rest, serr := log.SplitBatch(data)
						require.NoError(t, serr)
						data, from = rest, b.Next()
					}
				}
			}
		}
		require.ErrorIs(t, err, log.ErrCorrupt, "byte %d of %s", at, name)
	}
}

// newerSlots has both slots of the flushed end say that they are of version 2.
func newerSlots(d *logtest.Disk) error {
	f, err := d.Open("d/flushed")
	if err != nil {
		return err
	}
	for _, at := range []int64{0, 512} {
		b := make([]byte, 64)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[5] = 2
		binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)))
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return f.Close()
}

func TestDamageOfTheSmallFiles(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(d *logtest.Disk) error
		want   error
	}{
		"no checkpoint":    {func(d *logtest.Disk) error { return d.Remove("d/leader-epoch-checkpoint") }, log.ErrCorrupt},
		"a bad checkpoint": {func(d *logtest.Disk) error { return d.FlipBit("d/leader-epoch-checkpoint", 20, 0) }, log.ErrCorrupt},
		"a newer checkpoint": {func(d *logtest.Disk) error {
			return log.WriteFile(d, "d/leader-epoch-checkpoint", 0x534C4543, 2, []byte("what a later version has there"))
		}, log.ErrNewer},
		"a bad version of the checkpoint": {func(d *logtest.Disk) error { return d.FlipBit("d/leader-epoch-checkpoint", 5, 1) }, log.ErrCorrupt},
		"no flushed end":                  {func(d *logtest.Disk) error { return d.Remove("d/flushed") }, log.ErrCorrupt},
		"a newer flushed end":             {newerSlots, log.ErrNewer},
		"a bad version of the flushed end": {func(d *logtest.Disk) error {
			return errors.Join(d.FlipBit("d/flushed", 5, 1), d.FlipBit("d/flushed", 517, 1))
		}, log.ErrCorrupt},
		"bad slots": {func(d *logtest.Disk) error {
			return errors.Join(d.FlipBit("d/flushed", 20, 1), d.FlipBit("d/flushed", 532, 1))
		}, log.ErrCorrupt},
		"no segment": {func(d *logtest.Disk) error { return d.Remove("d/00000000000000000000.log") }, log.ErrCorrupt},
		"a bad index is no damage": {func(d *logtest.Disk) error {
			return d.FlipBit("d/00000000000000000000.index", 3, 2)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			cfg := log.Config{IndexInterval: 100}
			l := open(t, d, "d", cfg)
			appendTo(t, l, 1, "a", "b", "c", "d", "e", "f", "g", "h")
			_, err := l.Flush()
			require.NoError(t, err)
			require.NoError(t, l.Checkpoint())
			appendTo(t, l, 1, "i")
			require.NoError(t, l.Close())
			require.NoError(t, c.damage(d))
			l, _, err = log.Open(d, "d", cfg)
			if c.want == nil {
				require.NoError(t, err)
				for from := range log.Offset(9) {
					require.Len(t, values(t, l, from), 9-int(from))
				}
				return
			}
			require.ErrorIs(t, err, c.want)
		})
	}
}

// flipLast changes the last byte of the first segment of the log in "d".
func flipLast(t *testing.T, d *logtest.Disk) {
	t.Helper()
	const name = "d/00000000000000000000.log"
	f, err := d.Open(name)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, d.FlipBit(name, size-1, 0))
}

// What was found to be damage by a record of the flushed end that a killed process had
// not synced is none the less damage after a power cut.
func TestDamageStaysDamage(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 1, "a", "b")
	_, err := l.Flush()
	require.NoError(t, err)
	appendTo(t, l, 1, "c", "d")
	_, err = l.Flush()
	require.NoError(t, err)
	d.Fail(errors.New("killed"))
	d.Revive()
	flipLast(t, d)
	for range 2 {
		_, _, err = log.Open(d, "d", log.Config{})
		require.ErrorIs(t, err, log.ErrCorrupt)
		d.Fail(errors.New("killed"))
		require.NoError(t, d.PowerFail(nil))
		d.Revive()
	}
}

func TestATornTailIsCutAndReported(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 1, "a", "b")
	_, err := l.Flush()
	require.NoError(t, err)
	appendTo(t, l, 1, "c", "d")
	d.Fail(errors.New("killed"))
	d.Revive()
	flipLast(t, d)
	l, rec, err := log.Open(d, "d", log.Config{})
	require.NoError(t, err)
	require.True(t, rec.Lost)
	require.EqualValues(t, 3, rec.CutAt)
	require.Equal(t, []string{"a", "b", "c"}, values(t, l, 0))
	require.EqualValues(t, 3, l.Flushed())

	// The loss is told at every start until those who count on the log know.
	for _, reported := range []bool{false, true} {
		d.Fail(errors.New("killed"))
		require.NoError(t, d.PowerFail(nil))
		l, rec, err = log.Open(d, "d", log.Config{})
		require.NoError(t, err)
		require.True(t, rec.Lost)
		require.EqualValues(t, -1, rec.CutAt)
		if reported {
			require.NoError(t, l.Reported())
			require.NoError(t, l.Reported())
		}
	}
	d.Fail(errors.New("killed"))
	require.NoError(t, d.PowerFail(nil))
	_, rec, err = log.Open(d, "d", log.Config{})
	require.NoError(t, err)
	require.False(t, rec.Lost)
}

func TestReplicateTakesAllOrNothing(t *testing.T) {
	at := func(first log.Offset, epoch log.Epoch, value string) log.Batch {
		b := batchOf(value)
		b.Place(first, epoch)
		return b
	}
	join := func(batches ...log.Batch) (data []byte) {
		for _, b := range batches {
			data = append(data, b...)
		}
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"a hole before the first":    {join(at(3, 5, "x")), log.ErrOutOfOrder},
		"a batch that is here":       {join(at(1, 5, "x")), log.ErrOutOfOrder},
		"a hole between two":         {join(at(2, 5, "x"), at(4, 5, "y")), log.ErrOutOfOrder},
		"an epoch before the last":   {join(at(2, 4, "x")), log.ErrOutOfOrder},
		"an epoch that falls":        {join(at(2, 6, "x"), at(3, 5, "y")), log.ErrOutOfOrder},
		"a batch cut off":            {join(at(2, 5, "x"), at(3, 5, "y")[:60]), log.ErrShort},
		"a second batch with a flip": {join(at(2, 5, "x"), flipped(at(3, 5, "y"))), log.ErrCorrupt},
	} {
		for how, replicate := range map[string]func(*log.Log, []byte) (log.Offset, error){
			"": (*log.Log).Replicate, ", checked": (*log.Log).ReplicateChecked,
		} {
			if how != "" && errors.Is(c.want, log.ErrCorrupt) {
				continue // that is what the caller has checked
			}
			t.Run(name+how, func(t *testing.T) {
				l := open(t, log.NewMemFS(), "d", log.Config{})
				appendTo(t, l, 5, "a", "b")
				end, err := replicate(l, c.data)
				require.ErrorIs(t, err, c.want)
				require.EqualValues(t, 2, end)
				require.Equal(t, []string{"a", "b"}, values(t, l, 0))
				require.EqualValues(t, 5, l.LastEpoch())
				_, err = replicate(l, join(at(2, 5, "c"), at(3, 7, "d")))
				require.NoError(t, err)
				require.Equal(t, []string{"a", "b", "c", "d"}, values(t, l, 0))
			})
		}
	}
}

func flipped(b log.Batch) log.Batch {
	b[len(b)-1] ^= 1
	return b
}

func TestReadKeepsItsBounds(t *testing.T) {
	l := open(t, log.NewMemFS(), "d", log.Config{})
	for range 5 {
		_, err := l.Append(0, batchOf("a", "b", "c"))
		require.NoError(t, err)
	}
	size := len(batchOf("a", "b", "c"))
	for _, c := range []struct {
		from, to log.Offset
		max      int
		first    log.Offset
		batches  int
	}{
		{0, 15, 1 << 20, 0, 5}, {4, 15, 1 << 20, 3, 4}, {4, 15, 0, 3, 1}, {0, 8, 1 << 20, 0, 2},
		{0, 2, 1 << 20, 0, 0}, {0, 3, 1, 0, 1}, {15, 15, 1, 0, 0}, {9, 4, 1, 0, 0}, {3, 99, 2*size + 1, 3, 2}, {3, 99, 2 * size, 3, 2},
	} {
		data, err := l.Read(c.from, c.to, c.max)
		require.NoError(t, err)
		require.Len(t, data, c.batches*size, "%+v", c)
		if c.batches > 0 {
			require.Equal(t, c.first, log.Batch(data).First())
		}
	}
	for _, from := range []log.Offset{-1, 16} {
		_, err := l.Read(from, 20, 1)
		require.Equal(t, &log.RangeError{Want: from, First: 0, Next: 15}, err)
	}
}

func TestAMarkerOfAnEpochWithoutBatchesGoesAwayByACutAtTheEnd(t *testing.T) {
	l := open(t, log.NewMemFS(), "d", log.Config{})
	appendTo(t, l, 1, "a")
	require.NoError(t, l.BeginEpoch(3))
	require.EqualValues(t, 3, l.LastEpoch())
	e, end, ok := l.EndOf(2)
	require.Equal(t, []any{log.Epoch(1), log.Offset(1), true}, []any{e, end, ok})
	require.ErrorIs(t, l.BeginEpoch(2), log.ErrOutOfOrder)
	_, err := l.Append(2, batchOf("x"))
	require.ErrorIs(t, err, log.ErrOutOfOrder)
	require.NoError(t, l.Truncate(9)) // KAFKA-10706
	require.EqualValues(t, 1, l.LastEpoch())
	appendTo(t, l, 2, "b")
}

func TestOverlappingFlushesShareTheNextSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := logtest.NewDisk(log.NewMemFS())
		l, _, err := log.Open(d, "d", log.Config{Flushes: log.NewFlushLimit(1)})
		require.NoError(t, err)
		appendTo(t, l, 0, "a")
		d.Delay(10 * time.Millisecond)
		began := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				end, err := l.Flush()
				require.NoError(t, err)
				require.EqualValues(t, 1, end)
			})
		}
		synctest.Wait()
		appendTo(t, l, 0, "b", "c") // while the first sync runs
		for range 50 {
			wg.Go(func() {
				_, err := l.Flush()
				require.NoError(t, err)
				require.EqualValues(t, 3, l.Flushed())
			})
		}
		wg.Wait()
		require.Equal(t, 20*time.Millisecond, time.Since(began))
		require.NoError(t, l.Close())
	})
}

func TestAFailedSyncIsFinal(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	l := open(t, d, "d", log.Config{})
	appendTo(t, l, 0, "a")
	_, err := l.Flush()
	require.NoError(t, err)
	appendTo(t, l, 0, "b")
	broken := errors.New("broken")
	d.FailNth(logtest.Sync, 1, broken)
	for range 2 {
		end, err := l.Flush()
		require.ErrorIs(t, err, log.ErrFailed)
		require.ErrorIs(t, err, broken)
		require.EqualValues(t, 1, end)
	}
	_, err = l.Append(0, batchOf("c"))
	require.ErrorIs(t, err, log.ErrFailed)
	require.ErrorIs(t, l.Truncate(0), log.ErrFailed)
	require.Equal(t, []string{"a", "b"}, values(t, l, 0))
	require.ErrorIs(t, l.Close(), log.ErrFailed)
}

func TestAFullDiskRefusesAndGoesOnWhenThereIsRoom(t *testing.T) {
	full := errors.New("no space")
	for _, op := range []logtest.Op{logtest.Write, logtest.Create, logtest.Rename} {
		for n := 1; n < 4; n++ {
			d := logtest.NewDisk(log.NewMemFS())
			l := open(t, d, "d", log.Config{SegmentBytes: 100})
			d.FailNth(op, n, full)
			var want []string
			for i := range 10 {
				v := fmt.Sprint("value ", i)
				_, err := l.Append(log.Epoch(i/4), batchOf(v))
				if err != nil {
					require.ErrorIs(t, err, full)
					require.NotErrorIs(t, err, log.ErrFailed)
					appendTo(t, l, log.Epoch(i/4), v)
				}
				want = append(want, v)
			}
			require.Equal(t, want, values(t, l, 0))
			require.NoError(t, l.Close())
			require.Equal(t, want, values(t, open(t, d, "d", log.Config{}), 0))
		}
	}
}

func TestANewLogTakesNothingButItsDirectory(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	require.NoError(t, log.MakeDir(d, "a"))
	before := d.Mutations()
	l := open(t, d, "a/b", log.Config{})
	require.Equal(t, before+1, d.Mutations())
	require.NoError(t, l.Close())
	require.Equal(t, before+1, d.Mutations())
	_, err := l.Append(0, batchOf("x"))
	require.ErrorIs(t, err, log.ErrClosed)
}

// Bytes that a crash brings back may be whole batches; they are still not ours.
func TestRecoveryTakesNoBatchThatDoesNotFollow(t *testing.T) {
	for name, c := range map[string]struct {
		first log.Offset
		epoch log.Epoch
		end   log.Offset
	}{
		"one that follows is kept":     {1, 1, 2},
		"an epoch that was never here": {1, 9, 1},
		"an epoch that is over":        {1, 0, 1},
		"a hole in the offsets":        {5, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := log.NewMemFS()
			l := open(t, fsys, "d", log.Config{})
			appendTo(t, l, 1, "a")
			_, err := l.Flush()
			require.NoError(t, err)
			b := batchOf("b")
			b.Place(c.first, c.epoch)
			f, err := fsys.Open("d/00000000000000000000.log")
			require.NoError(t, err)
			size, err := f.Size()
			require.NoError(t, err)
			_, err = f.WriteAt(b, size)
			require.NoError(t, err)
			l2, rec, err := log.Open(fsys, "d", log.Config{})
			require.NoError(t, err)
			require.Equal(t, c.end, l2.End())
			require.Equal(t, c.end == 1, rec.Lost)
		})
	}
}
