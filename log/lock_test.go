package log_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// syncedDirs notes which directories were synced.
type syncedDirs struct {
	log.FS
	dirs []string
}

func (s *syncedDirs) SyncDir(dir string) error {
	s.dirs = append(s.dirs, filepath.ToSlash(dir))
	return s.FS.SyncDir(dir)
}

func TestLockDirMakesTheDirectoryDurably(t *testing.T) {
	fsys := &syncedDirs{FS: log.NewMemFS()} // no Locker
	require.NoError(t, fsys.MkdirAll("a"))
	for _, synced := range [][]string{{".", "a", "a/b"}, {"a/b"}} { // whoever made it may have died before
		fsys.dirs = nil
		unlock, err := log.LockDir(fsys, "a/b/c")
		require.NoError(t, err, "nothing is locked")
		names, err := fsys.ReadDir("a/b/c")
		require.NoError(t, err)
		require.Empty(t, names)
		require.Equal(t, synced, fsys.dirs)
		require.NoError(t, unlock())
	}
}

// A process that dies within it leaves names that only it and the next one have seen.
func TestADirectoryIsDurableOnceItIsLockedOrHasABatch(t *testing.T) {
	for name, use := range map[string]func(d *logtest.Disk) error{
		"LockDir": func(d *logtest.Disk) error {
			unlock, err := log.LockDir(d, "a/b/c")
			if err != nil {
				return err
			}
			return errors.Join(log.WriteFile(d, "a/b/c/f", 1, 1, nil), unlock())
		},
		"Open": func(d *logtest.Disk) error {
			l, _, err := log.Open(d, "a/b/c", log.Config{})
			if err != nil {
				return err
			}
			defer l.Close()
			if _, err := l.Append(0, batchOf("x")); err != nil {
				return err
			}
			_, err = l.Flush()
			return err
		},
	} {
		for n := 1; ; n++ {
			d := logtest.NewDisk(log.NewMemFS())
			d.Crash(n)
			first := use(d)
			d.Revive()
			if first != nil {
				require.NoError(t, use(d), "%s, change %d", name, n)
			}
			require.NoError(t, d.PowerFail(nil))
			names, err := d.ReadDir("a/b/c")
			require.NoError(t, err, "%s, change %d", name, n)
			require.NotEmpty(t, names)
			if first == nil {
				break
			}
		}
	}
}

func TestLockDirFailsWithTheDisk(t *testing.T) {
	broken := fmt.Errorf("broken")
	for _, op := range []logtest.Op{logtest.Read, logtest.Mkdir, logtest.SyncDir, logtest.Lock} {
		disk := logtest.NewDisk(log.NewMemFS())
		disk.FailNth(op, 1, broken)
		_, err := log.LockDir(disk, "a/b")
		require.ErrorIs(t, err, broken, "%b", op)
		require.Equal(t, op == logtest.SyncDir, errors.Is(err, log.ErrFailed), "what was not synced once may never be")
		unlock, err := log.LockDir(disk, "a/b")
		require.NoError(t, err)
		require.NoError(t, unlock())
	}
}

// osLocker returns the system's disk, which on some systems locks nothing.
func osLocker(t *testing.T) log.FS {
	if _, ok := log.OS().(log.Locker); !ok {
		t.Skip("no locks on " + runtime.GOOS)
	}
	return log.OS()
}

func TestTheLockFileNamesTheHolder(t *testing.T) {
	fsys, dir := osLocker(t), filepath.Join(t.TempDir(), "a", "b")
	unlock, err := log.LockDir(fsys, dir)
	require.NoError(t, err)
	name := filepath.Join(dir, "lock")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), fmt.Sprintf("process %d", os.Getpid())), "%s", text)
	_, err = log.LockDir(fsys, dir)
	require.EqualError(t, err, fmt.Sprintf("log: directory %s is locked by %s", dir, strings.TrimSpace(string(text))))

	info, err := os.Stat(name)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	require.NoError(t, unlock())
	left, err := os.Stat(name)
	require.NoError(t, err, "it stays")
	require.True(t, os.SameFile(info, left))
	require.Zero(t, left.Size(), "and names nobody")
}

// A holder that nobody is named by is one that has just come.
func TestALockedDirectoryWhoseHolderIsNotKnown(t *testing.T) {
	fsys, dir := osLocker(t), t.TempDir()
	unlock, err := log.LockDir(fsys, dir)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(dir, "lock"), 0))
	_, err = log.LockDir(fsys, dir)
	require.EqualError(t, err, fmt.Sprintf("log: directory %s is locked by another holder", dir))
	require.NoError(t, unlock())
}

// holderEnv makes the test binary a process that locks the directory it names, and
// keeps no unlock: the collector closes files that nobody refers to.
const holderEnv = "SAMSA_TEST_LOCK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderEnv); dir != "" {
		_, err := log.LockDir(log.OS(), dir)
		for range 3 {
			runtime.GC()
			runtime.Gosched()
		}
		fmt.Println("locked:", err)
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or the test is gone
		return
	}
	os.Exit(m.Run())
}

// otherProcess starts a process that locks dir, and returns what came of it.
func otherProcess(t *testing.T, dir string) (*exec.Cmd, string) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holderEnv+"="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(strings.TrimPrefix(said, "locked: "))
}

func TestALockEndsWithItsProcess(t *testing.T) {
	fsys, dir := osLocker(t), t.TempDir()
	other, said := otherProcess(t, dir)
	require.Equal(t, "<nil>", said)
	_, err := log.LockDir(fsys, dir)
	require.ErrorIs(t, err, log.ErrLocked)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", other.Process.Pid))

	require.NoError(t, other.Process.Kill())
	_ = other.Wait() // it was killed
	unlock, err := log.LockDir(fsys, dir)
	require.NoError(t, err)

	_, said = otherProcess(t, dir)
	require.Contains(t, said, fmt.Sprintf("is locked by process %d", os.Getpid()), "not by the one that was killed")
	require.NoError(t, unlock())
	_, said = otherProcess(t, dir)
	require.Equal(t, "<nil>", said)
}
