package logtest_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

var errBroken = errors.New("broken")

func TestFaultsStrikeTheCallsThatTheyName(t *testing.T) {
	for name, c := range map[string]struct {
		fault logtest.Fault
		want  string // of ten calls: x fails
	}{
		"the next":              {logtest.Fault{Op: logtest.Write}, "x........."},
		"the third":             {logtest.Fault{Op: logtest.Write, Nth: 3}, "..x......."},
		"every one":             {logtest.Fault{Op: logtest.Write, Every: 1}, "xxxxxxxxxx"},
		"the second, every 3rd": {logtest.Fault{Op: logtest.Write, Nth: 2, Every: 3}, ".x..x..x.."},
		"another kind":          {logtest.Fault{Op: logtest.Sync, Every: 1}, ".........."},
		"any kind":              {logtest.Fault{Nth: 4}, "...x......"},
		"a name":                {logtest.Fault{Name: "a*", Every: 2}, "x.x.x.x.x."},
		"another name":          {logtest.Fault{Name: "*.log", Every: 1}, ".........."},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			f := create(t, d, "d/a.index", "", true)
			c.fault.Err = errBroken
			end := d.Inject(c.fault)
			got := ""
			for range 10 {
				switch n, err := f.WriteAt([]byte("x"), 0); err {
				case nil:
					got += "."
				default:
					require.Zero(t, n)
					require.ErrorIs(t, err, errBroken)
					got += "x"
				}
			}
			require.Equal(t, c.want, got)
			end()
			end()
			_, err := f.WriteAt([]byte("x"), 0)
			require.NoError(t, err)
		})
	}
	require.Panics(t, func() { newDisk(t).Inject(logtest.Fault{Name: "["}) })
}

func TestEachOfSeveralFaultsCountsAllCalls(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "d/a", "", true)
	other := errors.New("other")
	d.FailNth(logtest.Write, 2, errBroken)
	d.FailNth(logtest.Write, 2, other)
	d.FailNth(logtest.Write, 3, other)
	for _, want := range []error{nil, errBroken, other, nil} {
		_, err := f.WriteAt([]byte("x"), 0)
		require.ErrorIs(t, err, want)
	}
}

func TestFaultsEndWithTheProcess(t *testing.T) {
	for name, end := range map[string]func(d *logtest.Disk) error{
		"Revive":    func(d *logtest.Disk) error { d.Revive(); return nil },
		"PowerFail": func(d *logtest.Disk) error { return d.PowerFail(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			d.Inject(logtest.Fault{Every: 1, Err: errBroken})
			require.ErrorIs(t, d.SyncDir("d"), errBroken)
			require.NoError(t, end(d))
			require.NoError(t, d.SyncDir("d"))
		})
	}
}

func TestAShortWriteDoesOneHalf(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "d/a", "12345678", true)
	d.Inject(logtest.Fault{Op: logtest.Write, Nth: 2, Err: syscall.EIO, Short: true})
	_, err := f.WriteAt([]byte("a"), 0)
	require.NoError(t, err)
	n, err := f.WriteAt([]byte("bcde"), 1)
	require.Equal(t, 2, n)
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, "abc45678", contents(t, d, "d/a"))
	require.NoError(t, d.SyncDir("d"))
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, "12345678", contents(t, d, "d/a"))
}

func TestADiskThatLies(t *testing.T) {
	d := newDisk(t)
	a, b := create(t, d, "d/a", "old", true), create(t, d, "d/b", "old", true)
	require.NoError(t, d.SyncDir("d"))
	end := d.Lie("a")
	for _, f := range []log.File{a, b} {
		_, err := f.WriteAt([]byte("new"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
	}
	twin, err := d.Clone("d", log.NewMemFS())
	require.NoError(t, err)
	require.NoError(t, twin.PowerFail(nil))
	require.Equal(t, "old", contents(t, twin, "d/a"))
	require.Equal(t, "new", contents(t, twin, "d/b"))

	end()
	require.NoError(t, a.Sync())
	d.Lie("")
	create(t, d, "d/c", "x", true)
	require.NoError(t, d.SyncDir("d"))
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, "new", contents(t, d, "d/a"), "the lie was over")
	require.Equal(t, "(none)", contents(t, d, "d/c"))
}

func TestAFailedSyncIsNotMendedByLaterOnes(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "d/a", "old", true)
	require.NoError(t, d.SyncDir("d"))
	d.FailNth(logtest.Sync|logtest.SyncDir, 1, errBroken)
	_, err := f.WriteAt([]byte("new"), 0)
	require.NoError(t, err)
	require.ErrorIs(t, f.Sync(), errBroken)
	require.NoError(t, f.Sync())
	d.FailNth(logtest.SyncDir, 1, errBroken)
	create(t, d, "d/b", "x", true)
	require.ErrorIs(t, d.SyncDir("d"), errBroken)
	require.NoError(t, d.SyncDir("d"))
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, "old", contents(t, d, "d/a"))
	require.Equal(t, "(none)", contents(t, d, "d/b"))

	create(t, d, "d/a", "new", true) // by another process
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, "new", contents(t, d, "d/a"))
}

func TestHeldCallsWaitForTheirRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		f, other := create(t, d, "d/a", "one", true), create(t, d, "d/b", "", true)
		require.NoError(t, d.SyncDir("d"))
		release := d.Inject(logtest.Fault{Op: logtest.Sync, Name: "a", Nth: 2, Hold: true})
		_, err := f.WriteAt([]byte("two"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		_, err = f.WriteAt([]byte("three"), 0)
		require.NoError(t, err)
		began, done := time.Now(), make(chan error)
		go func() { done <- f.Sync() }()
		synctest.Wait() // it is durably blocked, so that time can pass

		require.NoError(t, f.Sync(), "it was the second that was to be held")
		require.NoError(t, other.Sync())
		_, err = f.WriteAt([]byte("four!"), 0)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		release()
		require.NoError(t, <-done)
		require.Equal(t, time.Hour, time.Since(began))
		require.NoError(t, d.PowerFail(nil))
		require.Equal(t, "three", contents(t, d, "d/a"))
	})
}

func TestHeldCallsOfEachKindGoOnOrDie(t *testing.T) {
	for name, call := range map[string]func(d *logtest.Disk, f log.File) error{
		"Write":   func(_ *logtest.Disk, f log.File) error { _, err := f.WriteAt([]byte("x"), 0); return err },
		"Read":    func(_ *logtest.Disk, f log.File) error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"Sync":    func(_ *logtest.Disk, f log.File) error { return f.Sync() },
		"SyncDir": func(d *logtest.Disk, _ log.File) error { return d.SyncDir("d") },
		"Create":  func(d *logtest.Disk, _ log.File) error { _, err := d.Create("d/b"); return err },
		"Rename":  func(d *logtest.Disk, _ log.File) error { return d.Rename("d/a", "d/b") },
	} {
		for end, c := range map[string]struct {
			do   func(d *logtest.Disk, release func())
			want error
		}{
			"released":     {func(_ *logtest.Disk, release func()) { release() }, nil},
			"revived":      {func(d *logtest.Disk, _ func()) { d.Revive() }, nil},
			"failed":       {func(d *logtest.Disk, _ func()) { d.Fail(errBroken) }, errBroken},
			"power failed": {func(d *logtest.Disk, _ func()) { _ = d.PowerFail(nil) }, logtest.ErrCrashed},
		} {
			t.Run(name+" "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDisk(t)
					f := create(t, d, "d/a", "old", true)
					release := d.Hold(0, "")
					release() // of nothing
					release = d.Hold(^logtest.Op(0), "")
					done := make(chan error, 1)
					go func() { done <- call(d, f) }()
					synctest.Wait()
					select {
					case err := <-done:
						t.Fatalf("it was not held: %v", err)
					default:
					}
					c.do(d, release)
					require.ErrorIs(t, <-done, c.want)
				})
			})
		}
	}
}

func TestBeforeIsToldOfEachCall(t *testing.T) {
	d := newDisk(t)
	var calls []string
	names := map[logtest.Op]string{
		logtest.Open: "open", logtest.Read: "read", logtest.Create: "create", logtest.Rename: "rename",
		logtest.Remove: "remove", logtest.Mkdir: "mkdir", logtest.Write: "write", logtest.Truncate: "truncate",
		logtest.Sync: "sync", logtest.SyncDir: "syncdir", logtest.Lock: "lock", logtest.Close: "close",
	}
	d.Before(func(op logtest.Op, name string) {
		calls = append(calls, fmt.Sprint(names[op], " ", name, " ", d.Mutations()))
	})
	f := create(t, d, "d/a", "x", true)
	require.NoError(t, f.Truncate(0))
	_, err := f.Size()
	require.NoError(t, err)
	require.NoError(t, d.Rename("d/a", "d/b"))
	require.NoError(t, d.SyncDir("d"))
	require.NoError(t, f.Close())
	require.NoError(t, d.Remove("d/b"))
	require.Equal(t, []string{
		"create d/a 2", "write d/a 3", "sync d/a 4", "truncate d/a 5", "read d/a 6", "rename d/a 6",
		"syncdir d 7", "close d/b 8", "remove d/b 8",
	}, calls)
	d.Before(nil)
	require.NoError(t, d.SyncDir("d"))
	require.Len(t, calls, 9)
}

func TestHandlesAreCountedUntilTheyAreClosed(t *testing.T) {
	d := newDisk(t)
	require.Empty(t, d.Handles())
	a, b := create(t, d, "d/b", "x", true), create(t, d, "d/a", "y", true)
	_, err := d.Open("d/none")
	require.Error(t, err)
	again, err := d.Open("d/a")
	require.NoError(t, err)
	require.Equal(t, []string{"d/a", "d/a", "d/b"}, d.Handles())
	d.FailNth(logtest.Close, 1, errBroken)
	require.ErrorIs(t, again.Close(), errBroken)
	require.NoError(t, a.Close())
	require.Equal(t, []string{"d/a"}, d.Handles())
	d.Fail(errBroken)
	d.Revive()
	require.Empty(t, d.Handles())
	require.Error(t, b.Close())
	_, err = b.ReadAt(make([]byte, 1), 0)
	require.Error(t, err)
}

func TestAPowerFailTearsTheLastBlockOfAnAppend(t *testing.T) {
	const synced, size = 100, 1500
	seen := map[string]int{}
	for seed := range int64(1000) {
		rng := rand.New(rand.NewSource(seed))
		d := newDisk(t)
		f := create(t, d, "d/a", string(filled(synced, 'o')), true)
		require.NoError(t, d.SyncDir("d"))
		_, err := f.WriteAt(filled(size, 'n'), synced)
		require.NoError(t, err)
		share := []float64{0.5, 1}[seed%2]
		require.NoError(t, d.PowerFailKeeping(share, rng))
		c := contents(t, d, "d/a")
		require.GreaterOrEqual(t, len(c), synced)
		require.Equal(t, string(filled(synced, 'o')), c[:synced])
		last, whole := len(c)-1, true
		for i := synced; i <= last; i++ {
			require.Contains(t, "n\x00", c[i:i+1])
			whole = whole && c[i] == 'n'
		}
		switch {
		case share == 1 && len(c) == synced+size && whole:
			seen["all of it"]++
		case share == 1 && len(c) == synced+size:
			require.Greater(t, len(c)-len(trimZeros(c)), 0)
			require.Less(t, len(c)-len(trimZeros(c)), 513)
			seen["the last block torn"]++
		case share == 1:
			require.Greater(t, len(c), synced+size-512)
			seen["the last block cut off"]++
		case len(c) == synced+size && c[last] == 0 && c[last/512*512] == 'n':
			seen["half: the last block torn"]++
		case len(c) > synced && len(c) < synced+size:
			seen["half: some size between"]++
		}
	}
	require.Len(t, seen, 5, "%v", seen)
	for outcome, times := range seen {
		require.Greater(t, times, 4, outcome)
	}
}

func trimZeros(s string) string {
	for len(s) > 0 && s[len(s)-1] == 0 {
		s = s[:len(s)-1]
	}
	return s
}

func filled(n int, c byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = c
	}
	return b
}

func TestPowerFailKeepsTheShareThatIsAskedFor(t *testing.T) {
	for share, want := range map[float64][2]string{0: {"old", "(none)"}, 1: {"new", "x"}} {
		d := newDisk(t)
		f := create(t, d, "d/a", "old", true)
		require.NoError(t, d.SyncDir("d"))
		_, err := f.WriteAt([]byte("new"), 0)
		require.NoError(t, err)
		create(t, d, "d/b", "x", false)
		require.NoError(t, d.PowerFailKeeping(share, nil))
		require.Equal(t, want[0], contents(t, d, "d/a"))
		require.Equal(t, want[1], contents(t, d, "d/b"))
		_, err = f.ReadAt(make([]byte, 1), 0)
		require.ErrorIs(t, err, logtest.ErrCrashed)
		require.NotErrorIs(t, err, io.EOF)
	}
}
