package log

import (
	"errors"
	"io/fs"
	"math"
	"slices"
	"time"
)

// A Retention says how much of a log is kept. Whole segments leave, oldest first.
type Retention struct {
	// Age is how long a record is kept, at least, by the latest time in its segment.
	//
	// Zero means for ever.
	Age time.Duration
	// Bytes is how much is kept, at least, if there is as much.
	//
	// Zero means no limit.
	Bytes int64
}

// Expired returns what of the log need not be kept any more, as the offset for
// [Log.DeleteBefore]: the start of the log if all is to stay. Nothing at or behind
// upTo, which is the high watermark of a replica, counts as expired.
//
// The newest segment never does. roll tells that its records would: if it should
// leave too, call [Log.Roll] and ask again. Expired overlaps anything.
func (l *Log) Expired(now time.Time, keep Retention, upTo Offset) (start Offset, roll bool, err error) {
	start = l.Start()
	segments, sizes, times, err := l.survey()
	if err != nil {
		return start, false, err
	}
	total := int64(0)
	for _, size := range sizes {
		total += size
	}
	oldest := now.Add(-keep.Age).UnixMilli()
	for i := range segments {
		end := l.End()
		if last := i+1 == len(segments); !last {
			end = segments[i+1].base
		} else if sizes[i] == 0 {
			break
		}
		old := keep.Age > 0 && times[i] < oldest
		large := keep.Bytes > 0 && total-sizes[i] >= keep.Bytes
		if end > upTo || !old && !large && end > start {
			break
		}
		if i+1 == len(segments) {
			return start, true, nil
		}
		start = max(start, end)
		total -= sizes[i]
	}
	return start, false, nil
}

// survey returns the segments, with their bytes and latest times.
func (l *Log) survey() (segments []*segment, sizes, times []int64, err error) {
	l.mu.Lock()
	segments = l.state.segments
	l.mu.Unlock()
	for _, s := range segments {
		size, d, err := l.describe(s)
		if err != nil {
			return nil, nil, nil, err
		}
		sizes, times = append(sizes, size), append(times, d.maxTime)
	}
	return segments, sizes, times, nil
}

// describe returns the bytes of a segment and its digest, which a seal tells of one
// that was not read. Of a damaged one the latest time is not known, and taken for as
// late as can be: it does not expire by its age, and who looks for a time looks into
// it, and hears of the damage.
func (l *Log) describe(s *segment) (size int64, d digest, err error) {
	l.mu.Lock()
	if s.digested || s.dead {
		defer l.mu.Unlock()
		return max(s.size, 0), s.digest, nil
	}
	s.pin()
	l.mu.Unlock()
	defer l.done(s)
	file, size, err := l.open(s)
	if l.gone(s, err) {
		return 0, newDigest(), nil
	}
	if err != nil {
		return 0, digest{}, err
	}
	cuts := l.cuts()
	found, err := readSeal(l.fsys, s, size)
	if err != nil {
		return 0, digest{}, err
	}
	if found == nil {
		if _, _, err := l.loadIndex(s, file, size); err != nil {
			return 0, digest{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if found != nil && l.state.cuts == cuts && !s.digested {
		s.digest, s.digested, s.seal = found.digest, true, found
	}
	d = s.digest
	if !s.digested {
		d.maxTime = math.MaxInt64
	}
	return size, d, nil
}

// gone tells whether an error is no more than that a segment was removed meanwhile.
func (l *Log) gone(s *segment, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.dead && errors.Is(err, fs.ErrNotExist)
}

// Size returns the bytes of all batches. It overlaps anything.
func (l *Log) Size() (int64, error) {
	_, sizes, _, err := l.survey()
	total := int64(0)
	for _, size := range sizes {
		total += size
	}
	return total, err
}

// Roll begins a new segment if the newest has batches. Like Append it is one of the
// writer's calls.
func (l *Log) Roll() error {
	a := l.active
	if a == nil || a.size == 0 {
		return nil
	}
	l.mu.Lock()
	err := l.state.usable()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.syncFound(); err != nil {
		return err
	}
	return l.roll()
}

// DeleteBefore removes the records below off for good, but for those in one batch
// with it: no batch is split, so the log starts with the batch that holds off then.
// Segments that lie below the start as a whole leave the disk, but never the newest.
//
// Below the start it does nothing; behind the end it is a [*RangeError]. It
// overlaps anything; reads under way go on.
func (l *Log) DeleteBefore(off Offset) error {
	if off <= l.Start() && !l.leftBelow() {
		return nil
	}
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	off, err := l.batchStart(off)
	if err != nil {
		return err
	}
	if off <= l.Start() {
		return l.dropBelow(l.Start()) // the newest segment of then may not be that now
	}
	// A crash must find a log that reaches to its start, and a recovery point in a
	// segment that is there.
	if err := l.settle(); err != nil {
		return err
	}
	// What is removed tells nobody any more who wrote it.
	if err := l.saveProducers(true); err != nil {
		return err
	}
	b := l.bounds
	b.start = off
	if err := l.saveBounds(b); err != nil {
		return err
	}
	return l.dropBelow(off)
}

// leftBelow tells whether a segment lies below the start as a whole.
func (l *Log) leftBelow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	segments := l.state.segments
	return len(segments) > 1 && segments[1].base <= l.Start()
}

// batchStart returns the first offset of the batch that holds off, which it checks: what
// the header alone says of where a batch ends may be damaged, and would move the start.
func (l *Log) batchStart(off Offset) (Offset, error) {
	switch start, end := l.Start(), l.End(); {
	case off <= start || off == end:
		return off, nil
	case off > end:
		return off, &RangeError{Want: off, First: start, Next: end}
	}
	l.mu.Lock()
	st := &l.state
	s := st.segments[findSegment(st.segments, off)]
	if s.base == off { // a segment begins with a batch
		l.mu.Unlock()
		return off, nil
	}
	s.pin()
	r := &reading{segment: s, from: off, epochs: st.epochs, cuts: st.cuts}
	l.mu.Unlock()
	defer l.done(s)
	file, size, err := l.open(s)
	if err != nil {
		return off, err
	}
	if err := l.seek(r, file, size); err != nil {
		return off, err
	}
	sc := scanner{file: file, size: size}
	b, err := sc.batch(r.pos)
	if err == nil {
		err = b.Check()
	}
	if err != nil {
		return off, place(err, s.name(), r.pos, r.first)
	}
	return r.first, nil
}

// dropBelow moves the start of the log, and removes what lies below it.
func (l *Log) dropBelow(start Offset) error {
	l.mu.Lock()
	st := &l.state
	l.start.Store(int64(start))
	n := 0
	for n+1 < len(st.segments) && st.segments[n+1].base <= start {
		n++
	}
	gone := st.segments[:n]
	st.segments = st.segments[n:]
	st.hints = hints{}
	st.tail.forget(start)
	files := l.retire(gone)
	if st.warm != nil && st.warm.dead { // one that holds the start stays open
		st.warm = nil
	}
	l.mu.Unlock()
	if n == 0 && len(l.leftover) == 0 {
		return nil
	}
	_ = closeAll(files) // nothing was written through them
	// The newest segment may have a name that no sync covers yet.
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return l.fail(err)
	}
	gone = slices.Concat(l.leftover, gone)
	for i, s := range gone {
		if err := l.removeFiles(s); err != nil {
			l.leftover = gone[i:] // for the next removal, or Open
			return err
		}
	}
	l.leftover = nil
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return l.fail(err)
	}
	return nil
}
