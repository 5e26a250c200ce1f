package log

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
)

// OS returns the disk of the operating system. Directories are made for their
// owner alone (0700), and so are files (0600). It is a [Locker] on Linux, macOS,
// the BSDs, illumos and Windows; on other systems nothing is locked. The lock of a
// directory is on the file "lock" in it, which stays there. On Linux, macOS, FreeBSD,
// DragonFly and Windows it is a [Roomer] too.
func OS() FS { return osFS{} }

type osFS struct{}

// Open opens a file for reading alone if this process may not write it, which is
// enough for [View] and [Verify].
func (osFS) Open(name string) (File, error) {
	f, err := openOS(name, os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errReadOnly) {
		return openOS(name, os.O_RDONLY)
	}
	return f, err
}

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func openOS(name string, flag int) (File, error) {
	f, err := openFile(name, flag)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }
func (osFS) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o700) }

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir does nothing on Windows, where a directory cannot be synced and its
// changes are journalled.
func (osFS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error { return datasync(f.File) }
