package log

import (
	"errors"
	"fmt"
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
// [*CorruptError] and nothing is touched. A file of a later version is
// [ErrNewer].
//
// Open does not lock the directory. Who cannot be sure to be alone with it calls
// [LockDir] before, and unlocks after [Log.Close].
func Open(fsys FS, dir string, cfg Config) (*Log, Recovery, error) {
	l := &Log{fsys: fsys, dir: dir, cfg: cfg.withDefaults()}
	l.changed.L = &l.mu
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		l.missing = missing(fsys, dir)
		err = fsys.MkdirAll(dir)
	}
	if err != nil {
		return nil, Recovery{}, err
	}
	if len(l.missing) == 0 {
		l.missing = []string{dir} // whoever made it may not have synced its name
	}
	o := opening{log: l, recovery: Recovery{CutAt: -1}}
	if err := o.run(names); err != nil {
		o.abandon()
		return nil, Recovery{}, err
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
// bytes: later ones report a loss of their own alone. It overlaps anything.
func (l *Log) Reported() error {
	err := l.fsys.Remove(filepath.Join(l.dir, lostFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return l.fsys.SyncDir(l.dir)
}

// missing returns dir and the directories above it that do not exist, the
// highest first.
func missing(fsys FS, dir string) []string {
	var dirs []string
	for {
		dirs = append([]string{dir}, dirs...)
		up := filepath.Dir(dir)
		if _, err := fsys.ReadDir(up); up == dir || !errors.Is(err, fs.ErrNotExist) {
			return dirs
		}
		dir = up
	}
}

// An opening is the recovery of one log. It has the log to itself.
type opening struct {
	log      *Log
	recovery Recovery
	segments []*segment
	epochs   epochs
	// noEpochs is why the epoch checkpoint cannot be used; nil if it can.
	noEpochs error
	bytes    bool // some segment has bytes that are not zeros
	touched  bool // files were changed
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
	known := false
	for _, name := range names {
		if base, ok := parseSegment(name); ok {
			o.segments = append(o.segments, &segment{base: base, path: segmentPath(l.dir, base), size: -1})
		}
		known = known || name == slotFile || name == epochsFile
		o.recovery.Lost = o.recovery.Lost || name == lostFile
	}
	if len(o.segments) == 0 && !known {
		return nil
	}
	if err := o.readEpochs(); err != nil {
		return err
	}
	w, err := openSlots(l.fsys, l.dir, l.cfg.Now())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoSlot) {
		return o.unborn("no valid slot")
	}
	if err != nil {
		return err
	}
	l.slots = w
	if len(o.segments) == 0 {
		if w.last.sequence > 1 {
			return &CorruptError{File: slotFile, Offset: w.last.end, Reason: "the segments are missing"}
		}
		return o.unborn("no segment")
	}
	return o.scan()
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
	if err := l.removeSegments(o.segments); err != nil {
		return err
	}
	o.segments, l.unsaved = nil, true
	return nil
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
	sc := scanner{file: f, size: size, step: scanStep}
	return sc.zeros(0)
}

const scanStep = 256 << 10

// A tip is where a scan has come to: the end of the log, when it is over.
type tip struct {
	i    int // of the segment
	pos  int64
	next Offset
	rest bool // bytes that are not zeros follow in this segment
	why  error
}

// scan checks the batches from the recovery point on, cuts what is torn, and
// completes the log.
func (o *opening) scan() error {
	mark := o.log.slots.last
	first := findSegment(o.segments, mark.from)
	t := tip{i: first, pos: int64(mark.at), next: mark.from}
	if first < 0 {
		// Only a reset leaves this behind: one empty segment, of another offset.
		s := o.segments[0]
		empty, err := o.isEmpty(s)
		if err != nil {
			return err
		}
		if !empty || len(o.segments) > 1 {
			return &CorruptError{File: s.name(), Offset: mark.from, Reason: "an earlier segment is missing"}
		}
		mark.end = s.base
		t = tip{next: s.base}
	} else if o.segments[first].base == mark.from {
		t.pos = 0
	}
	o.bytes = t.pos > 0 || first > 0
	from := t
	if err := o.follow(&t); err != nil {
		return err
	}
	s := o.segments[t.i]
	switch {
	case t.next < mark.end && t.why != nil:
		return place(t.why, s.name(), t.pos, t.next)
	case t.next < mark.end:
		return &CorruptError{File: s.name(), At: t.pos, Offset: t.next, Reason: fmt.Sprintf("the log ends below its flushed end, %d", mark.end)}
	case o.bytes && o.noEpochs != nil:
		return o.noEpochs
	case errors.Is(t.why, ErrUnsupported):
		return place(t.why, s.name(), t.pos, t.next) // sound, and not ours to cut
	}
	if err := o.cut(t); err != nil {
		return err
	}
	return o.complete(from, t, mark)
}

// follow moves t over good batches, segment by segment.
func (o *opening) follow(t *tip) error {
	for {
		s := o.segments[t.i]
		if err := o.openSegment(s); err != nil {
			return err
		}
		if err := o.followSegment(s, t); err != nil {
			return err
		}
		if t.rest || t.i+1 == len(o.segments) || o.segments[t.i+1].base != t.next {
			return nil
		}
		s.size = t.pos
		t.i, t.pos = t.i+1, 0
	}
}

func (o *opening) openSegment(s *segment) error {
	f, err := o.log.fsys.Open(s.path)
	if err != nil {
		return err
	}
	s.file = f
	s.size, err = f.Size()
	return err
}

// followSegment moves t to the end of the good batches of one segment.
func (o *opening) followSegment(s *segment, t *tip) error {
	if t.pos > s.size {
		t.pos, t.why = s.size, ErrShort
		return nil
	}
	if t.pos > 0 { // below the recovery point the file knows best
		entries, _, err := readIndex(o.log.fsys, s, t.pos)
		if err != nil {
			return err
		}
		s.index.entries, s.index.saved = entries[:len(entries):len(entries)], len(entries)
	}
	s.index.loaded = true
	sc := scanner{file: s.file, size: s.size, step: scanStep}
	for t.pos < s.size {
		b, err := sc.batch(t.pos)
		if err == nil {
			err = errors.Join(b.fits(t.next, o.epochs), b.Check())
		}
		if err != nil {
			return o.judge(&sc, t, err)
		}
		o.bytes = true
		s.index.note(s.base, b.Last(), t.pos, o.log.cfg.IndexInterval)
		n := int64(len(b))
		t.pos, t.next = t.pos+n, b.Next()
		o.recovery.Scanned += n
	}
	return nil
}

// judge tells the zeros behind a log from a bad batch.
func (o *opening) judge(sc *scanner, t *tip, err error) error {
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrShort) && !errors.Is(err, ErrUnsupported) {
		return err
	}
	zeros, zerr := sc.zeros(t.pos)
	if zerr != nil {
		return zerr
	}
	if !zeros {
		t.rest, t.why, o.bytes = true, err, true
	}
	return nil
}

// cut removes what lies behind t, newest first.
func (o *opening) cut(t tip) error {
	l := o.log
	gone := o.segments[t.i+1:]
	lost := t.rest
	for _, s := range gone {
		empty, err := o.isEmpty(s)
		if err != nil {
			return err
		}
		lost = lost || !empty
	}
	if lost && !o.recovery.Lost {
		// A crash after the cut leaves nothing to see, so the loss is noted before it.
		if err := WriteFile(l.fsys, filepath.Join(l.dir, lostFile), lostMagic, lostVersion, nil); err != nil {
			return err
		}
		o.recovery.Lost = true
	}
	if err := l.removeSegments(gone); err != nil {
		return err
	}
	o.segments = o.segments[:t.i+1]
	s := o.segments[t.i]
	if len(gone) > 0 || t.rest {
		o.recovery.CutAt, o.touched = t.next, true
	}
	if s.size == t.pos {
		return nil
	}
	// Zeros may stay away from the disk for now: they come back as zeros.
	s.size = t.pos
	if err := s.file.Truncate(t.pos); err != nil || !t.rest {
		return err
	}
	return s.file.Sync()
}

// complete fills in the log. What was scanned above the flushed end may lie in
// the page cache alone, so it is synced before it is called flushed; and so may
// the name of an empty segment, which a reset leaves.
func (o *opening) complete(from, t tip, mark slot) error {
	l := o.log
	active := o.segments[t.i]
	active.size = t.pos
	start := o.segments[0].base
	if t.next > mark.end || t.next == start || o.touched {
		l.cfg.Flushes.enter()
		defer l.cfg.Flushes.leave()
		for _, s := range o.segments[from.i : t.i+1] {
			if err := s.file.Sync(); err != nil {
				return err
			}
		}
		l.unsynced = true
		if err := l.syncDir(); err != nil {
			return err
		}
	}
	for _, s := range o.segments[from.i:t.i] {
		if err := s.file.Close(); err != nil {
			return err
		}
		s.file = nil
	}
	l.saved, l.unsaved, l.unsynced = o.epochs, true, true
	l.state.segments = o.segments
	l.start.Store(int64(start))
	l.end.Store(int64(t.next))
	l.flushed.Store(int64(t.next))
	if o.noEpochs == nil {
		l.setEpochs(o.epochs.truncateStart(start).truncateEnd(t.next))
	}
	l.place = flushPlace{end: t.next, segment: active, pos: t.pos}
	if t.next > mark.end {
		return l.mark(false)
	}
	return nil
}
