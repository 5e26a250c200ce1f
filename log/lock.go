package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
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
// that is no [Locker] nobody is kept out, and unlock does nothing. A sync that failed
// is [ErrFailed]: another call of this process would take for durable what is not.
func LockDir(fsys FS, dir string) (unlock func() error, err error) {
	made, _, err := missing(fsys, dir)
	if err == nil && len(made) > 0 {
		err = MakeDir(fsys, dir)
	}
	if err != nil {
		return nil, err
	}
	unlock = func() error { return nil }
	if locker, ok := fsys.(Locker); ok {
		if unlock, err = locker.Lock(dir); err != nil {
			return nil, err
		}
	}
	if len(made) == 0 { // whoever made it may have died before it was durable
		if err := syncOld(fsys, dir); err != nil {
			return nil, errors.Join(err, unlock())
		}
	}
	return unlock, nil
}

// MakeDir makes a directory and those above it that are missing, durably: one after
// the other, from the highest on, and none before the name of the one above it is
// synced. So a process that died within it has left one name at most unsynced, which
// is synced here, too. A sync that failed is [ErrFailed].
func MakeDir(fsys FS, dir string) error {
	made, there, err := missing(fsys, dir)
	if err != nil {
		return err
	}
	if err := syncOld(fsys, there); err != nil {
		return err
	}
	for _, m := range made {
		if err := fsys.MkdirAll(m); err != nil {
			return err
		}
		if err := syncName(fsys, m); err != nil {
			return err
		}
	}
	return nil
}

// makeParent makes the directories above one, if they are missing. The name of the
// lowest, if it was there, is left for later.
func makeParent(fsys FS, dir string) (unnamed []string, err error) {
	up := filepath.Dir(dir)
	made, _, err := missing(fsys, up)
	if err != nil {
		return nil, err
	}
	if len(made) == 0 {
		return []string{up}, nil
	}
	return nil, MakeDir(fsys, up)
}

// missing returns dir and the directories above it that do not exist, the highest
// first, and the one that they are to be in, which does.
func missing(fsys FS, dir string) (dirs []string, in string, err error) {
	for path := filepath.Clean(dir); ; path = filepath.Dir(path) {
		_, err := fsys.ReadDir(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path:
			dirs = append(dirs, path)
			continue
		case err != nil && !errors.Is(err, fs.ErrPermission): // that it is there is enough
			return nil, "", err
		}
		slices.Reverse(dirs)
		return dirs, path, nil
	}
}

// syncName makes durable that there is a directory. The highest one always is there.
func syncName(fsys FS, dir string) error {
	up := filepath.Dir(dir)
	if up == dir {
		return nil
	}
	return syncDir(fsys, up)
}

// syncOld is syncName of a directory that was there. One above it that this process
// may not open is none in which it, or one before it, has made any.
func syncOld(fsys FS, dir string) error {
	err := syncName(fsys, dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
