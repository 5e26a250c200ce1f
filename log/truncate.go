package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Truncate drops the batches that hold end or lie behind it: the log ends at end,
// or at the start of the batch that holds it. It is durable when Truncate
// returns, in an order that lets no crash bring back what was cut. At or behind
// the end of the log it drops what is known of epochs that have no batch
// (KAFKA-10706). Before the start it is a [*RangeError]; see [Log.Reset].
func (l *Log) Truncate(end Offset) error {
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	if end < l.Start() {
		return &RangeError{Want: end, First: l.Start(), Next: l.End()}
	}
	end = min(end, l.End())
	if end < l.End() {
		place, err := l.findCut(end)
		if err != nil {
			return err
		}
		end = place.end
		if err := l.soil(end); err != nil {
			return err
		}
		if err := l.cut(place); err != nil {
			return l.fail(err)
		}
	}
	l.setEpochs(l.epochs().truncateEnd(end))
	if l.unsaved {
		if err := l.saveEpochs(); err != nil {
			return err
		}
	}
	if !l.producers.truncateEnd(end) {
		return l.recallProducers(-1)
	}
	return nil
}

// soil says that no compaction has seen the keys from an offset on. What is written
// there next would else count as compacted, and a tombstone might go before what it
// deletes.
func (l *Log) soil(from Offset) error {
	b := l.bounds
	b.cleaned = min(b.cleaned, from)
	return l.saveBounds(b)
}

// findCut returns the place of the batch that holds end, which lies before the end of the
// log. It checks all before it in that segment, whose digest it makes anew.
func (l *Log) findCut(end Offset) (flushPlace, error) {
	l.mu.Lock()
	st := &l.state
	s := st.segments[findSegment(st.segments, end)]
	s.pin()
	e := st.epochs
	l.mu.Unlock()
	defer l.done(s)
	file, size, err := l.open(s)
	if err != nil {
		return flushPlace{}, err
	}
	w := newWalk(file, size, s.base, e)
	for {
		p := flushPlace{end: w.next, segment: s, pos: w.pos, digest: w.digest}
		if w.next == end {
			return p, nil
		}
		if w.pos == size { // what is missing may have been acknowledged: that is no cut
			return p, &CorruptError{File: s.name(), At: w.pos, Offset: w.next, Reason: "the file ends before the next segment begins"}
		}
		if _, err := w.step(); err != nil {
			return flushPlace{}, place(err, s.name(), w.pos, w.next)
		}
		if w.next > end {
			return p, nil
		}
	}
}

// cut makes the log end at p: first for readers, then the flushed-end file, then
// the segments, newest first.
func (l *Log) cut(p flushPlace) error {
	s := p.segment
	l.mu.Lock()
	st := &l.state
	st.cuts++
	n := findSegment(st.segments, s.base) + 1
	gone := st.segments[n:]
	st.segments = st.segments[:n:n]
	st.tail.cut(s, p.pos, p.end)
	st.hints = hints{}
	s.size, s.ahead = p.pos, 0
	s.digest, s.digested, s.sealed, s.seal = p.digest, true, false, nil
	s.index.cut(p.pos, int64(p.end-s.base))
	s.pin()
	l.active = s
	st.epochs = st.epochs.truncateEnd(p.end) // with the end, so that none begins behind it
	l.end.Store(int64(p.end))
	l.flushed.Store(min(l.flushed.Load(), int64(p.end)))
	if l.place.end >= p.end {
		l.place = p
	}
	files := l.retire(gone)
	if w := st.warm; w != nil && (w.dead || w == s) {
		st.warm = nil
	}
	l.mu.Unlock()
	defer l.done(s)

	if err := l.lowerSlot(p); err != nil {
		return errors.Join(err, closeAll(files))
	}
	if err := errors.Join(closeAll(files), l.removeSegments(gone)); err != nil {
		return err
	}
	file, _, err := l.open(s)
	if err != nil {
		return err
	}
	if err := file.Truncate(p.pos); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return errors.Join(l.unseal(s), l.cutSnapshots(p.end))
}

// unseal removes the seal of a segment that is going to grow again, if it has one.
// It is gone for good before the next batch is written, as saveEpochs sees to.
func (l *Log) unseal(s *segment) error {
	err := l.fsys.Remove(s.sealPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l.unsynced = true
	if err != nil {
		return err
	}
	return l.syncDir()
}

// lowerSlot makes durable that nothing from p on is flushed.
func (l *Log) lowerSlot(p flushPlace) error {
	s := l.slots.last
	if s.end <= p.end {
		return l.slots.settle(l.cfg.Now())
	}
	s.end = p.end
	if s.from > s.end {
		s = l.recoverFrom(s, p)
	}
	if err := l.slots.write(s); err != nil {
		return err
	}
	return l.slots.sync(l.cfg.Now())
}

// removeSegments removes the files of segments, newest first.
func (l *Log) removeSegments(gone []*segment) error {
	for i := len(gone) - 1; i >= 0; i-- {
		if err := l.removeFiles(gone[i]); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	l.unsynced = true
	return l.syncDir()
}

// removeFiles removes a segment and what lies beside it.
func (l *Log) removeFiles(s *segment) error {
	if err := l.removeBeside(s); err != nil {
		return err
	}
	return ignoreAbsent(l.fsys.Remove(s.path))
}

// removeBeside removes what lies beside a segment: the seal first, so that none
// speaks of files that are gone.
func (l *Log) removeBeside(s *segment) error {
	for _, name := range []string{s.sealPath(), s.indexPath(), s.timesPath()} {
		if err := ignoreAbsent(l.fsys.Remove(name)); err != nil {
			return err
		}
	}
	return nil
}

// ignoreAbsent returns err, unless it says that there is no such file.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Reset forgets everything, and goes on at start as a new log would, but for what
// [Log.RemovedBelow] returns. After a crash within it the log is as it was, or empty.
// An error that does not match [ErrFailed] left it as it was.
func (l *Log) Reset(start Offset) error {
	if start < 0 {
		return fmt.Errorf("%w: start %d", ErrOutOfOrder, start)
	}
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	b := l.bounds
	b.start, b.cleaned, b.horizon, b.reset = start, 0, noHorizon, true
	if err := l.syncNames(); err != nil {
		return err
	}
	if err := l.saveBounds(b); err != nil {
		return err
	}
	l.mu.Lock()
	st := &l.state
	old := st.segments
	st.cuts++
	st.segments, st.hints, st.warm, st.epochs = nil, hints{}, nil, nil
	st.tail.clear(false)
	files := l.retire(old)
	l.place = flushPlace{}
	l.active = nil
	l.end.Store(int64(start))
	l.flushed.Store(int64(start))
	l.start.Store(int64(start))
	l.mu.Unlock()
	l.setEpochs(nil)
	// A log that begins anew below what is left on the disk would come to it.
	old = append(l.leftover, old...)
	l.leftover = nil
	if err := errors.Join(closeAll(files), l.finishReset(old)); err != nil {
		return l.fail(err)
	}
	return nil
}

// finishReset does what the bounds say of a reset, however far an earlier attempt
// came: they are durable.
func (l *Log) finishReset(old []*segment) error {
	b := l.bounds
	begin := startSlot(b.start)
	begin.producers = b.start > 0 // who wrote below is not known here
	if err := errors.Join(l.removeSegments(old), l.cutSnapshots(-1)); err != nil {
		return err
	}
	fresh := newProducers()
	if b.start > 0 {
		fresh.setIncomplete()
	}
	l.producers.become(fresh)
	if l.slots == nil {
		w, err := createSlots(l.fsys, l.dir, begin, l.cfg.Now())
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.slots = w
		l.mu.Unlock()
	} else if err := errors.Join(l.slots.write(begin), l.slots.sync(l.cfg.Now())); err != nil {
		return err
	}
	if err := l.addSegment(b.start); err != nil {
		return err
	}
	// The epochs of what was forgotten go too. This syncs the directory.
	if err := WriteFile(l.fsys, filepath.Join(l.dir, epochsFile), epochsMagic, epochsVersion, epochs(nil).encode()); err != nil {
		return err
	}
	l.saved, l.unsaved, l.unsynced = nil, false, false
	b.reset = false
	return l.saveBounds(b)
}
