package log

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// A Locker is an [FS] that can give a directory to one holder alone. Whoever wraps
// an FS that is one passes Lock on; in an FS that is none, nobody is kept out.
type Locker interface {
	// Lock takes a directory that exists, or returns a [*LockedError] at once if
	// somebody has it, be it in this process or, where the disk is shared by
	// several, in another. The lock is held until unlock is called or the process is
	// gone, however it ends. unlock overlaps anything; again: no effect. All other
	// calls of the FS go on as if there were no lock.
	Lock(dir string) (unlock func() error, err error)
}

// LockDir locks a directory, which it makes, durably, if there is none. With an FS
// that is no [Locker] that is all, and unlock does nothing.
func LockDir(fsys FS, dir string) (unlock func() error, err error) {
	if err := makeDir(fsys, dir); err != nil {
		return nil, err
	}
	if locker, ok := fsys.(Locker); ok {
		return locker.Lock(dir)
	}
	return func() error { return nil }, nil
}

// makeDir makes a directory, and makes its name and those of the new ones above it
// durable. It leaves one that is there alone.
func makeDir(fsys FS, dir string) error {
	if _, err := fsys.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made := missing(fsys, dir)
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, m := range made {
		if err := fsys.SyncDir(filepath.Dir(m)); err != nil {
			return err
		}
	}
	return nil
}
