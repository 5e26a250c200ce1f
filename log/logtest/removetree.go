package logtest

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/samsalog/samsa/log"
)

// RemoveTree removes a directory with all that is in it, as somebody does who knows nothing
// of what keeps it. One that is not there is no error.
func RemoveTree(fsys log.FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		remove := fsys.Remove
		if _, err := fsys.ReadDir(path); err == nil {
			remove = func(path string) error { return RemoveTree(fsys, path) }
		}
		if err := remove(path); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}
