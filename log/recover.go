package log

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// A tip is where a scan has come to: the end of the log, when it is over.
type tip struct {
	i      int // of the segment
	pos    int64
	next   Offset
	digest digest // of the segment, below pos
	rest   bool   // bytes that are not zeros follow in this segment
	why    error
}

// scan checks the batches from the recovery point on, cuts what is torn, and
// completes the log.
func (o *opening) scan() error {
	l := o.log
	mark := l.slots.last
	if err := o.checkFirst(); err != nil {
		return err
	}
	first := findSegment(o.segments, mark.from)
	if first < 0 {
		return &CorruptError{File: o.segments[0].name(), Offset: mark.from, Reason: "an earlier segment is missing"}
	}
	t := tip{i: first, pos: int64(mark.at), next: mark.from, digest: mark.digest}
	if o.segments[first].base == mark.from {
		t.pos, t.digest = 0, newDigest()
	} else if t.pos == 0 {
		return &CorruptError{File: filepath.Base(segmentPath("", mark.from)), Offset: mark.from, Reason: "missing"}
	}
	if t.pos > 0 && l.slots.old {
		there, err := o.leadsTo(o.segments[first], mark)
		if err != nil {
			return err
		}
		if !there {
			t.pos, t.next, t.digest = 0, o.segments[first].base, newDigest()
		}
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
	case t.next < max(mark.end, l.bounds.start):
		return &CorruptError{File: s.name(), At: t.pos, Offset: t.next, Reason: fmt.Sprintf("the log ends below its flushed end, %d", max(mark.end, l.bounds.start))}
	case o.bytes && o.noEpochs != nil:
		return o.noEpochs
	case errors.Is(t.why, ErrUnsupported):
		return place(t.why, s.name(), t.pos, t.next) // sound, and not ours to cut
	}
	if o.view {
		return o.look(t)
	}
	if err := o.cut(t); err != nil {
		return err
	}
	return o.complete(from, t, mark)
}

// leadsTo reports whether the recovery point of a slot is where it says in its segment:
// the batches below are those that were there when it was written.
func (o *opening) leadsTo(s *segment, mark slot) (there bool, err error) {
	f, err := o.log.fsys.Open(s.path)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	at := int64(mark.at)
	w := newWalk(f, min(size, at), s.base, o.epochs)
	for w.pos < at {
		if _, err := w.step(); damaged(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return w.next == mark.from && w.digest == mark.digest, nil
}

// checkFirst finds out whether segments are missing at the front: records are only
// taken away from there once the bounds say so.
func (o *opening) checkFirst() error {
	s := o.segments[0]
	start := o.log.bounds.start
	if start == 0 && len(o.epochs) > 0 {
		start = o.epochs[0].start
	} else if start == 0 {
		return nil
	}
	if s.base > start {
		return &CorruptError{File: s.name(), Offset: start, Reason: "an earlier segment is missing"}
	}
	return nil
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
		t.i, t.pos, t.digest = t.i+1, 0, newDigest()
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
		// All below the recovery point was flushed. To go on would be to append where
		// the offsets are not.
		return &CorruptError{File: s.name(), At: s.size, Offset: t.next, Reason: "the file ends before the recovery point"}
	}
	s.index = index{loaded: true, whole: true}
	if t.pos > 0 { // below the recovery point the files know best
		x, err := readIndexBelow(o.log.fsys, s, t.pos, int64(t.next-s.base), o.log.slots.last.sums)
		if err != nil {
			return err
		}
		s.index = x
	}
	w := newWalk(s.file, s.size, s.base, o.epochs)
	w.pos, w.next, w.digest = t.pos, t.next, t.digest
	for w.pos < s.size {
		at := w.pos
		b, err := w.step()
		if err != nil {
			t.pos, t.next, t.digest = w.pos, w.next, w.digest
			s.digest = t.digest
			return o.judge(&w.scanner, t, err)
		}
		o.bytes, o.produced = true, o.produced || b.ProducerID() >= 0
		if o.doubt == nil && b.First() >= o.log.slots.last.end {
			o.doubt = &tip{i: t.i, pos: at}
		}
		s.index.note(int64(b.Last()-s.base), at, w.digest, o.log.cfg.IndexInterval)
		o.recovery.Scanned += int64(len(b))
	}
	t.pos, t.next, t.digest = w.pos, w.next, w.digest
	s.digest, s.digested = t.digest, true
	return nil
}

// judge tells the zeros behind a log from a bad batch.
func (o *opening) judge(sc *scanner, t *tip, err error) error {
	if !damaged(err) {
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

// look completes a view: the log ends at t, whatever lies behind.
func (o *opening) look(t tip) error {
	l := o.log
	o.recovery.Lost = o.recovery.Lost || t.rest
	o.segments = o.segments[:t.i+1]
	for _, s := range o.segments {
		if s.file == nil {
			continue
		}
		if err := s.close(); err != nil {
			return err
		}
	}
	o.take(t)
	l.flushed.Store(int64(min(t.next, l.slots.last.end)))
	if o.noEpochs == nil {
		l.state.epochs = o.epochs
	}
	err := l.slots.file.Close()
	l.slots = nil
	return err
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
	if err := l.unseal(s); err != nil { // it is the active one now
		return err
	}
	if s.size == t.pos {
		return nil
	}
	if !t.rest {
		s.size, s.ahead = t.pos, s.size // the log goes on in its zeros
		return nil
	}
	s.size = t.pos
	if err := s.file.Truncate(t.pos); err != nil {
		return err
	}
	return syncFile(s.file)
}

// complete fills in the log. What was scanned above the flushed end may lie in
// the page cache alone, so it is synced before it is called flushed; and so may
// the name of an empty segment, which a reset leaves, and the cut of a recovery that
// died within it, whose loss would else be found, and reported, again.
func (o *opening) complete(from, t tip, mark slot) error {
	l := o.log
	l.unsure = true
	if l.slots.old { // the other slot is no second chance: this one is made durable now
		if err := l.slots.sync(l.cfg.Now()); err != nil {
			return err
		}
	}
	if t.next > mark.end || t.next == o.segments[0].base || o.touched || o.recovery.Lost {
		l.unsure = false
		l.cfg.Flushes.enter()
		defer l.cfg.Flushes.leave()
		if err := o.renew(t); err != nil {
			return err
		}
		for _, s := range o.segments[from.i : t.i+1] {
			if err := syncFile(s.file); err != nil {
				return err
			}
		}
		l.unsynced = true
		if err := l.syncDir(); err != nil {
			return err
		}
	}
	for _, s := range o.segments[from.i:t.i] {
		if err := s.close(); err != nil {
			return err
		}
	}
	l.saved, l.unsaved, l.unsynced = o.epochs, true, true
	o.take(t)
	if o.noEpochs == nil {
		l.setEpochs(o.epochs.truncateEnd(t.next).truncateStart(o.segments[0].base))
	}
	if err := o.recall(mark); err != nil {
		return err
	}
	active := o.segments[t.i]
	l.place = flushPlace{end: t.next, segment: active, pos: t.pos, digest: t.digest}
	if t.next > mark.end {
		return l.mark(false)
	}
	return nil
}

// renew writes once more what lies at or above the flushed end, up to t. A sync of it may
// have failed in another process: then there are systems that have what they could not
// write in memory still, and count it as written, so that no sync of it alone makes it
// durable.
func (o *opening) renew(t tip) error {
	if o.doubt == nil {
		return nil
	}
	buf := make([]byte, scanStep)
	for i, pos := o.doubt.i, o.doubt.pos; i <= t.i; i, pos = i+1, 0 {
		s, end := o.segments[i], o.segments[i].size
		if i == t.i {
			end = t.pos
		}
		for pos < end {
			b, err := readExactly(buf, s.file, pos, min(end-pos, scanStep))
			if err != nil {
				return err
			}
			if _, err := s.file.WriteAt(b, pos); err != nil {
				return err
			}
			pos += int64(len(b))
		}
	}
	return nil
}

// recall learns who has written to the log.
func (o *opening) recall(mark slot) error {
	l := o.log
	if err := l.cutSnapshots(l.End()); err != nil {
		return err
	}
	switch {
	case mark.producers:
		return l.recallProducers(-1)
	case o.produced:
		return l.recallProducers(mark.from)
	}
	return nil
}

// take gives the log its segments and where it begins and ends.
func (o *opening) take(t tip) {
	l := o.log
	active := o.segments[t.i]
	active.size, active.digest, active.digested = t.pos, t.digest, true
	active.sealed = false
	l.active = active
	l.state.segments = o.segments
	l.state.unsealed = slices.ContainsFunc(o.segments[:t.i], func(s *segment) bool { return !s.sealed })
	l.start.Store(int64(max(o.segments[0].base, l.bounds.start)))
	l.end.Store(int64(t.next))
	l.flushed.Store(int64(t.next))
}
