package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// asideSuffix is that of segments which [SetAside] has set aside.
const asideSuffix = ".aside"

// SetAside makes the directory of a log that nobody has open that of a new one. The
// segments get other names, which nothing reads, and stay until [DropAside]; the other
// files of the log are removed, and files that are no log's stay. What an earlier call
// has set aside stands: a segment that would take its name goes.
//
// It is for a copy that is made anew from a peer: until that is complete, what there
// was may be all that is left of something. After a crash within it the log is
// damaged, shorter than it was, or new: whoever calls notes durably, before, that it is
// to be called again. A sync that failed is [ErrFailed], here as in DropAside: then it is
// another process that does.
func SetAside(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	var rest []string
	for _, name := range slices.Backward(names) { // the newest segment first
		_, segment := parseSegment(name)
		_, _, swap := parseSwap(name)
		switch {
		case segment || swap:
			if err := setAside(fsys, filepath.Join(dir, name), slices.Contains(names, name+asideSuffix)); err != nil {
				return err
			}
		case besideSegments(name):
			rest = append(rest, name)
		}
	}
	for _, name := range rest {
		if err := ignoreAbsent(fsys.Remove(filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	return syncDir(fsys, dir)
}

func setAside(fsys FS, path string, taken bool) error {
	if taken {
		return fsys.Remove(path)
	}
	return fsys.Rename(path, path+asideSuffix)
}

// besideSegments tells whether a file is a log's, and no segment of it.
func besideSegments(name string) bool {
	for _, suffix := range append([]string{indexSuffix, timesSuffix, sealSuffix, snapshotSuffix}, unfinished...) {
		if _, ok := parseName(name, suffix); ok {
			return true
		}
	}
	switch strings.TrimSuffix(name, tempSuffix) {
	case slotFile, epochsFile, boundsFile, lostFile:
		return true
	}
	return false
}

// DropAside removes what [SetAside] has set aside in a directory, durably, and reports
// whether there was anything. It may overlap all that is done with the log in that
// directory.
func DropAside(fsys FS, dir string) (bool, error) {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dropped := false
	for _, name := range names {
		if !strings.HasSuffix(name, asideSuffix) {
			continue
		}
		if err := ignoreAbsent(fsys.Remove(filepath.Join(dir, name))); err != nil {
			return dropped, err
		}
		dropped = true
	}
	if dropped {
		err = syncDir(fsys, dir)
	}
	return dropped, err
}
