package log

import (
	"errors"
	"fmt"
)

// Append writes a leader's batch at the end of the log, in its epoch, and returns
// the offset of its first record. b stays as it is: offset and epoch go into the
// copy. Whoever calls has checked b; only its length is looked at again.
//
// An epoch older than the last matches [ErrOutOfOrder], as do more records than there
// are offsets left, and a batch above the limit [ErrTooLarge]. An error that does not
// match [ErrFailed] left the log as it was, and may pass: a disk may have room again.
func (l *Log) Append(epoch Epoch, b Batch) (first Offset, err error) {
	whole, rest, err := SplitBatch(b)
	if err != nil {
		return 0, err
	}
	count := Offset(whole.lastDelta()) + 1
	switch {
	case len(rest) > 0:
		return 0, badBatch("bytes behind the batch")
	case count < 1:
		return 0, badBatch("counts")
	case len(b) > l.cfg.MaxBatchBytes+BatchOverhead:
		return 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	if last := l.state.epochs.last(); epoch < last || epoch < 0 {
		return 0, fmt.Errorf("%w: epoch %d after %d", ErrOutOfOrder, epoch, last)
	}
	first = l.End()
	if first+count < 0 {
		return 0, fmt.Errorf("%w: no offset is left for %d records from %d on", ErrOutOfOrder, count, first)
	}
	before := l.state.epochs
	if err = l.prepare(epochs{{epoch, first}}, len(b), first+count-1); err == nil {
		err = l.write(b, first, first+count, epoch)
	}
	if err != nil {
		l.setEpochs(before)
		return 0, err
	}
	return first, nil
}

// fits tells whether n bytes up to an offset may go into a segment of that size.
// An empty one takes whatever comes.
func (l *Log) fits(base Offset, size int64, n int, last Offset) bool {
	const most = 1<<31 - 1 // what an entry of the index can say
	return size == 0 || size+int64(n) <= l.cfg.SegmentBytes && last-base <= most
}

// prepare makes the log ready for n bytes up to an offset: the epochs that begin
// in them are durable, and there is a segment that takes them.
func (l *Log) prepare(starts epochs, n int, last Offset) error {
	e, active := l.state.epochs, l.active // the writer alone changes these, and reads them without the mutex
	fresh := len(starts) > 1 || len(starts) == 1 && e.last() != starts[0].epoch
	room := active != nil && l.fits(active.base, active.size, n, last)
	if !fresh && room && !l.unsaved && !l.unsynced {
		return l.cfg.Space.take(n) // as nearly always; write looks whether the log is usable
	}
	l.mu.Lock()
	err := l.state.usable()
	l.mu.Unlock()
	if err == nil {
		err = l.cfg.Space.take(n)
	}
	if err != nil {
		return err
	}
	if fresh {
		e = e.truncateStart(l.base())
		for _, s := range starts {
			e = e.assign(s.epoch, s.start)
		}
		l.setEpochs(e)
	}
	if err := l.syncFound(); err != nil {
		return err
	}
	switch {
	case active == nil:
		err = l.begin(l.End())
	case !room:
		err = l.roll()
	}
	if err != nil {
		return err
	}
	if l.unsaved || l.unsynced {
		return l.saveEpochs()
	}
	return nil
}

// base returns the first offset of the oldest segment, which the start may lie behind.
func (l *Log) base() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.state.segments) == 0 {
		return l.End()
	}
	return l.state.segments[0].base
}

// begin makes the files of a log that has none: the flushed end first.
func (l *Log) begin(base Offset) error {
	if err := l.acquire(); err != nil { // the flushed end is not the writer's own
		return err
	}
	defer l.release()
	if l.slots == nil {
		if err := l.syncNames(); err != nil {
			return err
		}
		w, err := createSlots(l.fsys, l.dir, startSlot(base), l.cfg.Now())
		if err != nil {
			return l.failFinal(err)
		}
		l.slots = w
	}
	if l.slots.last.end != base { // an earlier attempt got this far, and no further
		if err := errors.Join(l.slots.write(startSlot(base)), l.slots.sync(l.cfg.Now())); err != nil {
			return l.fail(err)
		}
	}
	return l.addSegment(base)
}

// syncNames makes durable the names of directories that Open left for later.
func (l *Log) syncNames() error {
	for _, dir := range l.unnamed {
		if err := syncOld(l.fsys, dir); err != nil {
			return l.fail(err)
		}
	}
	l.unnamed = nil
	return nil
}

// roll begins a new segment at the end of the log. The old one is left to the
// next flush.
func (l *Log) roll() error {
	if err := l.trim(l.active); err != nil {
		return err
	}
	if err := l.addSegment(l.End()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dueAtRoll()
	return nil
}

// addSegment makes an empty segment; its name is synced before the first batch.
func (l *Log) addSegment(base Offset) error {
	s := &segment{base: base, path: segmentPath(l.dir, base), digest: newDigest(), digested: true}
	s.index = index{loaded: true, whole: true}
	if err := l.removeBeside(s); err != nil {
		return err
	}
	f, err := l.fsys.Create(s.path) // last: a file that is not in use must not be there
	if err != nil {
		return err
	}
	l.unsynced = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.state.usable(); err != nil { // nobody would close it
		return errors.Join(err, f.Close())
	}
	s.file = f
	n := len(l.state.segments)
	l.state.segments = append(l.state.segments[:n:n], s)
	l.state.unsealed = l.state.unsealed || n > 0
	l.active = s
	return nil
}

// keepEpochs tells write to take batches as they are.
const keepEpochs = NoEpoch

// write puts the bytes of batches behind the last one, on disk and in the tail.
func (l *Log) write(data []byte, first, end Offset, epoch Epoch) error {
	s := l.active
	pos := s.size
	after := pos + int64(len(data))
	l.mu.Lock()
	err, file := l.state.usable(), s.file
	fill := l.state.habit.zeros(s.ahead-after, l.cfg.ZerosAhead)
	l.state.writing = err == nil
	l.mu.Unlock()
	if err != nil {
		return err
	}

	kept := true
	switch t, m := &l.state.tail, l.cfg.Memory; {
	case epoch == keepEpochs && m.borrows(len(data)):
		t.borrow(s, pos, first, data)
		_, err = file.WriteAt(data, pos)
	case epoch != keepEpochs && m.copies(len(data)):
		buf := t.put(s, pos, first, data)
		if epoch != keepEpochs {
			Batch(buf).Place(first, epoch)
		}
		_, err = file.WriteAt(buf, pos)
	default:
		kept = false
		err = writeLarge(file, pos, data, first, epoch)
	}
	if err != nil {
		return l.undo(s, file, pos, err)
	}
	ahead := s.ahead
	if fill > 0 {
		if ahead, err = l.fill(file, after, ahead, fill); err != nil {
			return l.undo(s, file, pos, err)
		}
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.writing = false
	if err := l.state.usable(); err != nil {
		return err
	}
	if kept {
		l.state.tail.extend(len(data), end)
	}
	l.note(s, data, pos, first, epoch)
	l.noteProducers(data, first, epoch)
	s.size, s.ahead = after, ahead
	s.dirty = true
	l.end.Store(int64(end))
	return nil
}

// note takes the batches that were written at pos into the index and the digest of
// their segment; l.mu is held.
func (l *Log) note(s *segment, data []byte, pos int64, first Offset, epoch Epoch) {
	for at := int64(0); at < int64(len(data)); {
		b := Batch(data[at:])
		n := b.size()
		if epoch != keepEpochs {
			b = append(Batch(l.head[:0]), b[:BatchOverhead]...)
			b.Place(first, epoch)
		}
		s.digest.add(b, s.base)
		s.index.note(int64(b.Last()-s.base), pos+at, s.digest, l.cfg.IndexInterval)
		at += n
	}
}

// noteProducers takes in whose batches were appended; l.mu is held.
func (l *Log) noteProducers(data []byte, first Offset, epoch Epoch) {
	for len(data) > 0 {
		b := Batch(data)
		data = data[b.size():]
		if b.ProducerID() < 0 {
			continue
		}
		if epoch != keepEpochs {
			b = append(Batch(l.head[:0]), b[:BatchOverhead]...)
			b.Place(first, epoch)
		}
		l.producers.update(b[:min(int64(len(b)), b.size())], l.cfg.Now().UnixMilli())
	}
}

// writeLarge writes what would push all else out of the tail: without a copy,
// as that takes longer than another call. A batch that is to be placed has its
// header written apart, since the bytes are not ours to change.
func writeLarge(file File, pos int64, data []byte, first Offset, epoch Epoch) error {
	if epoch != keepEpochs {
		header := Batch(append([]byte(nil), data[:BatchOverhead]...))
		header.Place(first, epoch)
		if _, err := file.WriteAt(header, pos); err != nil {
			return err
		}
		data, pos = data[BatchOverhead:], pos+BatchOverhead
	}
	_, err := file.WriteAt(data, pos)
	return err
}

// undo takes back what a write that failed has left from pos on.
func (l *Log) undo(s *segment, file File, pos int64, err error) error {
	l.mu.Lock()
	unusable := l.state.usable()
	l.mu.Unlock()
	if unusable == nil {
		if undo := file.Truncate(pos); undo != nil {
			unusable = l.fail(errors.Join(err, undo))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.writing = false
	if unusable != nil {
		return unusable
	}
	s.ahead = 0
	return err
}

// BeginEpoch notes that this log's owner leads from the end on, in epoch
// (KAFKA-7415). It becomes durable with the first batch. An epoch older than the
// last matches [ErrOutOfOrder].
func (l *Log) BeginEpoch(epoch Epoch) error {
	l.mu.Lock()
	err, e := l.state.usable(), l.state.epochs
	l.mu.Unlock()
	switch {
	case err != nil:
		return err
	case epoch < e.last() || epoch < 0:
		return fmt.Errorf("%w: epoch %d after %d", ErrOutOfOrder, epoch, e.last())
	}
	l.setEpochs(e.assign(epoch, l.End()))
	return nil
}
