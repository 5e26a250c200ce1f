package logtest_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (log.FS, string){
		"OS":              func(t *testing.T) (log.FS, string) { return log.OS(), t.TempDir() },
		"MemFS":           func(*testing.T) (log.FS, string) { return log.NewMemFS(), "data" },
		"Disk over MemFS": func(*testing.T) (log.FS, string) { return logtest.NewDisk(log.NewMemFS()), "/data" },
		"Disk over OS":    func(t *testing.T) (log.FS, string) { return logtest.NewDisk(log.OS()), t.TempDir() },
	} {
		t.Run(name, func(t *testing.T) { logtest.RunFS(t, open) })
	}
}

func create(t *testing.T, d log.FS, name, contents string, sync bool) log.File {
	f, err := d.Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(contents), 0)
	require.NoError(t, err)
	if sync {
		require.NoError(t, f.Sync())
	}
	return f
}

func contents(t *testing.T, d log.FS, name string) string {
	f, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); !errors.Is(err, io.EOF) {
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	return string(b)
}

func newDisk(t *testing.T) *logtest.Disk {
	d := logtest.NewDisk(log.NewMemFS())
	require.NoError(t, d.MkdirAll("d"))
	require.NoError(t, d.SyncDir("."))
	return d
}

// A directory goes with all that is in it, however well that was synced, unless its own
// name was.
func TestPowerFailTakesDirectoriesWhoseNamesWereNotSynced(t *testing.T) {
	for _, named := range []bool{false, true} {
		d := logtest.NewDisk(log.NewMemFS())
		require.NoError(t, d.MkdirAll("a"))
		require.NoError(t, d.SyncDir("."))
		require.NoError(t, d.MkdirAll("a/b/c"))
		f, err := d.Create("a/b/c/f")
		require.NoError(t, err)
		require.NoError(t, errors.Join(f.Sync(), f.Close(), d.SyncDir("a/b/c"), d.SyncDir("a/b")))
		if named {
			require.NoError(t, d.SyncDir("a"))
		}
		copied, err := d.Clone("a", log.NewMemFS())
		require.NoError(t, err)
		for _, d := range []*logtest.Disk{d, copied} {
			require.NoError(t, d.PowerFail(nil))
			names, err := d.ReadDir("a/b/c")
			if !named {
				require.ErrorIs(t, err, fs.ErrNotExist)
				names, err = d.ReadDir("a")
				require.NoError(t, err)
				require.Empty(t, names)
				require.Zero(t, d.Used())
				continue
			}
			require.NoError(t, err)
			require.Equal(t, []string{"f"}, names)
		}
	}
}

func TestPowerFailTakesWhatWasNotSynced(t *testing.T) {
	d := newDisk(t)
	a := create(t, d, "d/a", "old", true)
	create(t, d, "d/gone", "x", true)
	require.NoError(t, d.SyncDir("d"))
	create(t, d, "d/unnamed", "x", true)
	_, err := a.WriteAt([]byte("newer"), 1)
	require.NoError(t, err)
	require.NoError(t, d.Remove("d/gone"))
	require.NoError(t, d.PowerFail(nil))
	require.Equal(t, "old", contents(t, d, "d/a"))
	require.Equal(t, "x", contents(t, d, "d/gone"))
	require.Equal(t, "(none)", contents(t, d, "d/unnamed"))
	_, err = a.WriteAt([]byte("zombie"), 0)
	require.ErrorIs(t, err, logtest.ErrCrashed)
}

func TestPowerFailUndoesARenameInOneStep(t *testing.T) {
	for seed := range int64(50) {
		d := newDisk(t)
		create(t, d, "d/a", "old", true)
		require.NoError(t, d.SyncDir("d"))
		create(t, d, "d/a.tmp", "new", true)
		require.NoError(t, d.Rename("d/a.tmp", "d/a"))
		require.NoError(t, d.PowerFail(rand.New(rand.NewSource(seed))))
		require.Contains(t, []string{"old", "new"}, contents(t, d, "d/a"), "seed %d", seed)
	}
}

func TestPowerFailKeepsAnyPartOfWhatWasWritten(t *testing.T) {
	seen := map[string]bool{}
	for seed := range int64(200) {
		d := newDisk(t)
		f := create(t, d, "d/a", "", true)
		require.NoError(t, d.SyncDir("d"))
		_, err := f.WriteAt(make([]byte, 512), 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("x"), 600)
		require.NoError(t, err)
		require.NoError(t, d.PowerFail(rand.New(rand.NewSource(seed))))
		c := contents(t, d, "d/a")
		switch {
		case c == "":
			seen["none"] = true
		case c[len(c)-1] == 'x':
			seen["all"] = true
		default:
			seen["hole"] = true
		}
	}
	require.Len(t, seen, 3)
}

func TestASyncCoversWhatWasWrittenBeforeItAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		f := create(t, d, "d/a", "one", true)
		require.NoError(t, d.SyncDir("d"))
		d.Delay(time.Second)
		_, err := f.WriteAt([]byte("two"), 0)
		require.NoError(t, err)
		began := time.Now()
		done := make(chan error)
		go func() { done <- f.Sync() }()
		synctest.Wait()
		_, err = f.WriteAt([]byte("three"), 0)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, d.PowerFail(nil))
		require.Equal(t, "two", contents(t, d, "d/a"))
	})
}

func TestTheDeathOfADiskFreesItsLocks(t *testing.T) {
	broken := errors.New("broken")
	for name, kill := range map[string]func(d *logtest.Disk) error{
		"Fail":      func(d *logtest.Disk) error { d.Fail(broken); return nil },
		"PowerFail": func(d *logtest.Disk) error { return d.PowerFail(nil) },
		"Crash": func(d *logtest.Disk) error {
			d.Crash(1)
			require.ErrorIs(t, d.SyncDir("d"), logtest.ErrCrashed)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			under := log.NewMemFS()
			d := logtest.NewDisk(under)
			require.NoError(t, d.MkdirAll("d"))
			require.NoError(t, d.SyncDir("."))
			dead, err := d.Lock("d")
			require.NoError(t, err)
			_, err = under.Lock("d")
			require.ErrorIs(t, err, log.ErrLocked, "it is the disk below that is locked")

			require.NoError(t, kill(d))
			free, err := under.Lock("d")
			require.NoError(t, err, "at once, not when it is revived")
			require.NoError(t, free())
			d.Revive()
			unlock, err := d.Lock("d")
			require.NoError(t, err)
			require.NoError(t, dead(), "the dead tidy up late")
			_, err = d.Lock("d")
			require.ErrorIs(t, err, log.ErrLocked)
			require.NoError(t, unlock())
		})
	}
}

func TestLocksThatADiskRefuses(t *testing.T) {
	d := newDisk(t)
	broken := errors.New("broken")
	d.FailNth(logtest.Lock, 1, broken)
	_, err := d.Lock("d")
	require.ErrorIs(t, err, broken)
	d.Fail(broken)
	_, err = d.Lock("d")
	require.ErrorIs(t, err, broken)
	d.Revive()
	unlock, err := d.Lock("d")
	require.NoError(t, err)
	require.NoError(t, unlock())

	d = logtest.NewDisk(struct{ log.FS }{log.NewMemFS()}) // which is no Locker
	for range 2 {
		unlock, err := d.Lock("d")
		require.NoError(t, err)
		require.NoError(t, unlock())
	}
}

func TestFailAndFailNth(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "d/a", "one", true)
	broken := errors.New("broken")
	d.FailNth(logtest.Sync, 2, broken)
	require.NoError(t, f.Sync())
	require.ErrorIs(t, f.Sync(), broken)
	require.NoError(t, f.Sync())

	d.Fail(broken)
	_, err := d.Open("d/a")
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, f.Sync(), broken)
	d.Revive()
	require.Error(t, f.Sync(), "a handle of a dead process works again")
	require.Equal(t, "one", contents(t, d, "d/a"))

	require.NoError(t, d.FlipBit("d/a", 0, 1))
	require.Equal(t, "mne", contents(t, d, "d/a"))

	g := create(t, d, "d/b", "", true)
	d.Crash(1)
	_, err = g.WriteAt([]byte("halfhalf"), 0)
	require.ErrorIs(t, err, logtest.ErrCrashed)
	d.Revive()
	require.Equal(t, "half", contents(t, d, "d/b"))
}
