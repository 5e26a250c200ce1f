//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows

package log

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// The lock of a directory is one that the system keeps on the file "lock" in it,
// and drops when the process ends. The file holds a line for people, which says
// who has the lock: it is empty while nobody has, unless the last holder was killed.
// It is never removed: two could then lock a file of that name each.
const (
	lockFile    = "lock"
	maxLockFile = 512 // bytes of it that are read
)

// locked keeps the files of all locks reachable. The collector closes a file that
// nobody refers to, and would free the lock of who does not keep its unlock.
var locked sync.Map // *os.File: struct{}

// Lock implements [Locker].
func (osFS) Lock(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(f)
	switch {
	case err != nil:
		return nil, errors.Join(&os.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close())
	case !ok:
		return nil, errors.Join(&LockedError{Dir: dir, Holder: readHolder(f)}, f.Close())
	}
	writeHolder(f)
	locked.Store(f, struct{}{})
	return sync.OnceValue(func() error {
		locked.Delete(f)
		_ = f.Truncate(0) // as writeHolder
		// Closing would do, but for a process that is being started at this moment and
		// has a copy of the file until it runs its program.
		return errors.Join(freeLock(f), f.Close())
	}), nil
}

// writeHolder says who has the lock. That it cannot, as on a full disk, is no
// reason not to have it.
func writeHolder(f *os.File) {
	holder := fmt.Sprintf("process %d", os.Getpid())
	if host, err := os.Hostname(); err == nil {
		holder += " on " + host
	}
	if f.Truncate(0) == nil { // nobody is named rather than the holder before
		_, _ = f.WriteAt([]byte(holder+"\n"), 0)
	}
}

// readHolder returns what the holder has written, or nothing if it has not yet.
func readHolder(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, maxLockFile))
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
