package logtest

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// absent returns path and the directories above it that do not exist.
func (d *Disk) absent(path string) []string {
	var dirs []string
	for {
		if _, err := d.under.ReadDir(path); !errors.Is(err, fs.ErrNotExist) {
			return dirs
		}
		dirs = append(dirs, path)
		path = filepath.Dir(path)
	}
}

// freshIn returns the directories in another one whose names are not durable.
func (d *Disk) freshIn(name string) []string {
	var dirs []string
	for path := range d.fresh {
		if filepath.Dir(path) == filepath.Clean(name) {
			dirs = append(dirs, path)
		}
	}
	return dirs
}

// failTrees takes the directories whose names were not synced, with all that is in
// them, however well that was: there is no way to it any more.
func (d *Disk) failTrees(cut powerCut) error {
	for _, path := range slices.Sorted(maps.Keys(d.fresh)) { // those above come first
		if !d.fresh[path] || cut.stays() {
			continue
		}
		if err := d.removeTree(path); err != nil {
			return err
		}
	}
	clear(d.fresh)
	return nil
}

func (d *Disk) removeTree(path string) error {
	names, err := d.under.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.under.Remove(path) // a file
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.removeTree(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	delete(d.dirs, path)
	delete(d.fresh, path)
	return d.under.Remove(path)
}

// cloneFresh copies what is fresh below a directory.
func (d *Disk) cloneFresh(dir string, c *Disk) {
	for path := range d.fresh {
		if path == dir || strings.HasPrefix(path, dir+string(filepath.Separator)) || dir == "." {
			c.fresh[path] = true
		}
	}
}
