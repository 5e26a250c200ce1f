package log

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// A Recovery says what [Open] found.
type Recovery struct {
	// Lost: bytes were cut that were not zeros, now or at an Open before of which
	// [Log.Reported] has not been called. They lay at or above the recorded
	// flushed end; but that record may be a second old.
	Lost bool
	// CutAt is where the log was cut, its end; -1 if nothing was cut.
	CutAt Offset
	// Scanned is how many bytes of batches were read and checked.
	Scanned int64
}

// Open opens the log of a directory, or makes the directory. It writes no file
// into a new one: that is done with the first batch.
//
// Batches above the recovery point are checked. From the first bad one on, what
// lies at or above the flushed end is cut; below it, the error is a
// [*CorruptError] and nothing is touched; see [Repair]. A file of a later version
// is [ErrNewer]. A sync that failed is [ErrFailed]: then another Open of this process
// would take for durable what is not.
//
// Open does not lock the directory. Who cannot be sure to be alone with it calls
// [LockDir] before, and unlocks after [Log.Close].
func Open(fsys FS, dir string, cfg Config) (*Log, Recovery, error) {
	l := newLog(fsys, dir, cfg)
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		l.unnamed, err = makeParent(fsys, dir)
		if err == nil {
			err = fsys.MkdirAll(dir)
		}
	}
	if err != nil {
		return nil, Recovery{}, l.failFinal(err)
	}
	l.unnamed = append(l.unnamed, dir) // whoever made it may not have synced its name
	return l.recover(&opening{log: l, recovery: Recovery{CutAt: -1}}, names)
}

// View opens the log of a directory for reading alone: nothing in it is written or
// locked, and another process may have it open and append. What the log holds is
// what it held when View was called; call it again to see more. Where the newest
// batches are not whole yet, the log ends before them. Calls that would write return
// [ErrReadOnly].
//
// If the other process cuts, compacts or removes what View or a later Read is looking at,
// they may return a [*CorruptError] or fs.ErrNotExist; then call View again.
func View(fsys FS, dir string, cfg Config) (*Log, Recovery, error) {
	l := newLog(fsys, dir, cfg)
	l.view, l.state.err = true, ErrReadOnly
	// Before the names: a flushed end may name none but segments that are among them.
	// What is wrong with it is found again.
	l.slots, _ = openSlots(fsys, dir, l.cfg.Now())
	names, err := fsys.ReadDir(dir)
	if err != nil {
		(&opening{log: l}).abandon()
		return nil, Recovery{}, err
	}
	return l.recover(&opening{log: l, view: true, recovery: Recovery{CutAt: -1}}, names)
}

func newLog(fsys FS, dir string, cfg Config) *Log {
	l := &Log{fsys: fsys, dir: dir, cfg: cfg.withDefaults()}
	l.changed.L = &l.mu
	l.state.tail.memory = l.cfg.Memory
	l.producers, l.synced = newProducers(), -1
	return l
}

func (l *Log) recover(o *opening, names []string) (*Log, Recovery, error) {
	if err := o.run(names); err != nil {
		if errors.Is(err, ErrCorrupt) && l.slots != nil && !o.view {
			// By what a process that was killed has left unsynced there this is damage. Were
			// it to go with the power, the next Open would take it for a torn tail, and cut.
			if serr := l.slots.sync(l.cfg.Now()); serr != nil {
				err = serr
			}
		}
		o.abandon()
		return nil, Recovery{}, l.failFinal(err)
	}
	return l, o.recovery, nil
}

// The file "lost" says that a recovery has cut bytes that were not zeros. It holds
// nothing but its head, is written before the cut, and stays until whoever counts
// on this log has been told.
const (
	lostFile    = "lost"
	lostMagic   = 0x534C5354 // "SLST"
	lostVersion = 1
)

// Reported says that those who count on this log know that a recovery has cut
// bytes: later ones report a loss of their own alone. On a [View] it is
// [ErrReadOnly]. It overlaps anything.
func (l *Log) Reported() error {
	if l.view {
		return ErrReadOnly
	}
	err := l.fsys.Remove(filepath.Join(l.dir, lostFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(l.fsys, l.dir)
}

// An opening is the recovery of one log. It has the log to itself.
type opening struct {
	log      *Log
	view     bool // nothing may be written
	recovery Recovery
	segments []*segment
	epochs   epochs
	// noEpochs is why the epoch checkpoint cannot be used; nil if it can.
	noEpochs error
	doubt    *tip // the first batch that no sync is known to cover; nil: there is none
	bytes    bool // some segment has bytes that are not zeros
	touched  bool // files were changed
	produced bool // a batch behind the recovery point has a producer
}

func (o *opening) abandon() {
	for _, s := range o.segments {
		if s.file != nil {
			_ = s.file.Close()
		}
	}
	if w := o.log.slots; w != nil {
		_ = w.file.Close()
	}
}

func (o *opening) run(names []string) error {
	l := o.log
	var err error
	if l.bounds, err = readBounds(l.fsys, l.dir); err != nil {
		return err
	}
	l.removed.Store(int64(l.bounds.removed))
	if l.bounds != (bounds{horizon: noHorizon}) && !o.view {
		if err := o.durable(); err != nil {
			return err
		}
	}
	known, err := o.tidy(names)
	if err != nil {
		return err
	}
	if l.bounds.reset {
		if err := o.reset(); err != nil {
			return err
		}
		if o.view {
			return nil // Close closes the flushed end
		}
		known = true
	}
	if len(o.segments) == 0 && !known {
		return nil
	}
	if err := o.readEpochs(); err != nil {
		return err
	}
	if l.slots == nil {
		l.slots, err = openSlots(l.fsys, l.dir, l.cfg.Now())
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoSlot) {
		return o.unborn("no valid slot")
	}
	if err != nil {
		return err
	}
	if len(o.segments) == 0 {
		if l.slots.last.sequence > 1 {
			return &CorruptError{File: slotFile, Offset: l.slots.last.end, Reason: "the segments are missing"}
		}
		return o.unborn("no segment")
	}
	return o.scan()
}

// reset finishes what a crash has left of [Log.Reset].
func (o *opening) reset() error {
	l := o.log
	old := o.segments
	o.segments = nil
	if o.view {
		l.start.Store(int64(l.bounds.start))
		l.end.Store(int64(l.bounds.start))
		l.flushed.Store(int64(l.bounds.start))
		return nil
	}
	w, err := openSlots(l.fsys, l.dir, l.cfg.Now())
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoSlot) {
		return err
	}
	l.slots = w // nil: it is made anew
	err = l.finishReset(old)
	if err != nil && l.active != nil {
		err = errors.Join(err, l.active.close())
	}
	if err != nil {
		return err
	}
	o.segments, l.state.segments = l.state.segments, nil
	return o.segments[0].close()
}

// durable makes sure that what the directory says is not unsaid by a crash, before
// anybody is told, or anything is removed for it: a process that died may have left
// it unsynced.
func (o *opening) durable() error {
	return syncDir(o.log.fsys, o.log.dir)
}

// readEpochs reads the checkpoint. That it cannot be used is an error later, if
// there are batches.
func (o *opening) readEpochs() error {
	b, err := ReadFile(o.log.fsys, filepath.Join(o.log.dir, epochsFile), epochsMagic, epochsVersion)
	if err == nil {
		o.epochs, err = decodeEpochs(b)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.noEpochs = &CorruptError{File: epochsFile, Offset: -1, Reason: "missing"}
		return nil
	case errors.Is(err, ErrCorrupt):
		o.noEpochs = err
		return nil
	}
	return err
}

// unborn opens a directory in which the first batch was never written: a crash
// came while its files were made. With bytes in a segment that is damage.
func (o *opening) unborn(reason string) error {
	l := o.log
	for _, s := range o.segments {
		empty, err := o.isEmpty(s)
		if err != nil {
			return err
		}
		if !empty {
			return &CorruptError{File: slotFile, Offset: -1, Reason: reason}
		}
	}
	if l.slots != nil {
		if err := l.slots.file.Close(); err != nil {
			return err
		}
		l.slots = nil
	}
	gone := o.segments
	o.segments, l.unsaved = nil, true
	if o.view {
		return nil
	}
	return l.removeSegments(gone)
}

func (o *opening) isEmpty(s *segment) (bool, error) {
	f, err := o.log.fsys.Open(s.path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	sc := scanner{file: f, size: size, want: scanStep}
	return sc.zeros(0)
}
