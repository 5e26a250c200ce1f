package log

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// An inspection is what a look at all of a log's files finds. Nothing is changed.
type inspection struct {
	fsys FS
	dir  string

	bounds    bounds
	epochs    epochs // the checkpoint's, or, if that is damaged, those of the batches
	slot      slot
	badBounds error
	badEpochs error
	badSlot   error

	segments []*segment
	walks    []*walk // of each segment, to its end or to what is bad there
	whys     []error // what is bad there; nil if nothing is

	snapshots []Offset // of producers
}

// inspect reads everything. The error is one of the disk, or [ErrNewer].
func inspect(fsys FS, dir string) (*inspection, error) {
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	x := &inspection{fsys: fsys, dir: dir}
	if err := x.readSmall(); err != nil {
		return nil, err
	}
	if x.bounds.reset {
		return x, nil // all there is is to be forgotten
	}
	o := opening{log: &Log{fsys: fsys, dir: dir, bounds: x.bounds}, view: true}
	if _, err := o.tidy(names); err != nil {
		return nil, err
	}
	x.segments, x.snapshots = o.segments, o.log.snapshots
	learned := epochs(nil)
	for _, s := range x.segments {
		w, why, err := x.walk(s, learned)
		if err != nil {
			return nil, err
		}
		learned = w.epochs
		x.walks, x.whys = append(x.walks, w), append(x.whys, why)
	}
	if x.badEpochs != nil {
		x.epochs = learned
	}
	return x, nil
}

// readSmall reads the small files, and notes which are damaged.
func (x *inspection) readSmall() error {
	x.bounds, x.badBounds = readBounds(x.fsys, x.dir)
	if x.badBounds != nil {
		x.bounds = bounds{horizon: noHorizon}
	}
	b, err := ReadFile(x.fsys, filepath.Join(x.dir, epochsFile), epochsMagic, epochsVersion)
	if err == nil {
		x.epochs, err = decodeEpochs(b)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &CorruptError{File: epochsFile, Offset: -1, Reason: "missing"}
	}
	x.badEpochs = err
	b, err = readPrefix(x.fsys, filepath.Join(x.dir, slotFile), 2*slotStride)
	if err == nil {
		x.slot, err = parseSlots(b)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoSlot) {
		err = &CorruptError{File: slotFile, Offset: -1, Reason: "no valid slot"}
	}
	x.badSlot = err
	for _, err := range []error{x.badBounds, x.badEpochs, x.badSlot} {
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	return nil
}

// walk goes through one segment. Without a checkpoint it learns the epochs of the
// batches as it goes, which must not fall.
func (x *inspection) walk(s *segment, learned epochs) (w *walk, why, err error) {
	file, err := x.fsys.Open(s.path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, nil, err
	}
	w = newWalk(file, size, s.base, x.epochs)
	if x.badEpochs != nil {
		w.epochs, w.learn = learned, true
	}
	for w.pos < size && why == nil {
		if _, err := w.step(); damaged(err) {
			why = place(err, s.name(), w.pos, w.next)
		} else if err != nil {
			return nil, nil, err
		}
	}
	return w, why, nil
}

// sound returns how many segments hold the sound beginning of the log: the last of
// them as far as its walk came.
func (x *inspection) sound() int {
	for i := range x.segments {
		if i+1 == len(x.segments) || x.whys[i] != nil || x.segments[i+1].base != x.walks[i].next {
			return i + 1
		}
	}
	return 0
}

// flushed returns what the log must reach to, as far as that is known.
func (x *inspection) flushed() Offset { return max(x.slot.end, x.bounds.start) }
