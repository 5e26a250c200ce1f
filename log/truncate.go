package log

import (
	"errors"
	"fmt"
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
		if err := l.cut(place); err != nil {
			return l.fail(err)
		}
	}
	l.setEpochs(l.epochs().truncateEnd(end))
	if l.unsaved {
		return l.saveEpochs()
	}
	return nil
}

// findCut returns the place of the batch that holds end.
func (l *Log) findCut(end Offset) (flushPlace, error) {
	l.mu.Lock()
	st := &l.state
	s := st.segments[findSegment(st.segments, end)]
	s.pin()
	r := &reading{segment: s, from: end, epochs: st.epochs, cuts: st.cuts}
	l.mu.Unlock()
	defer l.done(s)
	file, size, err := l.open(s)
	if err != nil {
		return flushPlace{}, err
	}
	if err := l.seek(r, file, size); err != nil {
		return flushPlace{}, err
	}
	return flushPlace{end: r.first, segment: s, pos: r.pos}, nil
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
	st.warm = nil
	s.size = p.pos
	s.index.cut(p.pos)
	s.pin()
	l.end.Store(int64(p.end))
	l.flushed.Store(min(l.flushed.Load(), int64(p.end)))
	if l.place.end >= p.end {
		l.place = p
	}
	files := l.retire(gone)
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
	return file.Sync()
}

// lowerSlot makes durable that nothing from p on is flushed.
func (l *Log) lowerSlot(p flushPlace) error {
	s := l.slots.last
	if s.end <= p.end {
		return l.slots.settle(l.cfg.Now())
	}
	s.end = p.end
	if s.from > s.end {
		s.from, s.at = p.end, uint32(p.pos)
	}
	if err := l.slots.write(s); err != nil {
		return err
	}
	return l.slots.sync(l.cfg.Now())
}

// removeSegments removes the files of segments, newest first.
func (l *Log) removeSegments(gone []*segment) error {
	for i := len(gone) - 1; i >= 0; i-- {
		if err := l.fsys.Remove(gone[i].path); err != nil {
			return err
		}
		if err := l.removeIndex(gone[i]); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	l.unsynced = true
	return l.syncDir()
}

// Reset forgets everything, and goes on at start as a new log would. After a
// crash within it the log is as it was, cut somewhere, or empty.
func (l *Log) Reset(start Offset) error {
	if start < 0 {
		return fmt.Errorf("%w: start %d", ErrOutOfOrder, start)
	}
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	l.mu.Lock()
	st := &l.state
	old := st.segments
	st.cuts++
	st.segments, st.tail, st.hints, st.warm = nil, tail{}, hints{}, nil
	files := l.retire(old)
	l.place = flushPlace{}
	l.end.Store(int64(start))
	l.flushed.Store(int64(start))
	l.start.Store(int64(start))
	l.mu.Unlock()
	l.setEpochs(nil)
	if err := closeAll(files); err != nil {
		return l.fail(err)
	}
	if len(old) == 0 {
		if err := l.begin(start); err != nil {
			return err
		}
		return l.saveEpochs()
	}
	if err := l.empty(old, start); err != nil {
		return l.fail(err)
	}
	return nil
}

// empty leaves one segment of old, without batches, and gives it a new first
// offset. At every moment the disk holds a log that ends at or above the flushed
// end of its slot.
func (l *Log) empty(old []*segment, start Offset) error {
	base := old[0].base
	if err := l.lowerSlot(flushPlace{end: base}); err != nil {
		return err
	}
	if err := l.removeSegments(old[1:]); err != nil {
		return err
	}
	f, err := l.fsys.Open(old[0].path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(0), f.Sync(), f.Close(), l.removeIndex(old[0])); err != nil {
		return err
	}
	if start < base {
		if err := l.lowerSlot(flushPlace{end: start}); err != nil {
			return err
		}
	}
	s := &segment{base: start, path: segmentPath(l.dir, start)}
	s.index.loaded = true
	if start != base {
		if err := l.fsys.Rename(old[0].path, s.path); err != nil {
			return err
		}
		l.unsynced = true
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	if s.file, err = l.fsys.Open(s.path); err != nil {
		return err
	}
	l.mu.Lock()
	l.state.segments = []*segment{s}
	l.mu.Unlock()
	if err := l.slots.write(slot{end: start, from: start}); err != nil {
		return err
	}
	return l.slots.sync(l.cfg.Now())
}
