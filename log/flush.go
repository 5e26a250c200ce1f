package log

// A FlushLimit bounds how many flushes are in flight at once, among the logs
// that share it. A disk does little more with many at once, and then each takes
// longer.
type FlushLimit struct{ slots chan struct{} }

// NewFlushLimit returns a limit of n flushes at once; n below 1 counts as 1.
func NewFlushLimit(n int) *FlushLimit {
	return &FlushLimit{slots: make(chan struct{}, max(n, 1))}
}

func (f *FlushLimit) enter() {
	if f != nil {
		f.slots <- struct{}{}
	}
}

func (f *FlushLimit) leave() {
	if f != nil {
		<-f.slots
	}
}

// recoveryBytes is how far the recovery point may lie below the flushed end.
const recoveryBytes = 4 << 20

// A flushPlace is where the flushed end lies on the disk.
type flushPlace struct {
	end     Offset
	segment *segment
	pos     int64
	digest  digest // of the segment, below pos
}

// A flushGroup is those whose records the next flush covers: the first of them
// flushes when its turn comes, and wakes the others once.
type flushGroup struct {
	done chan struct{} // closed when it has flushed, or found nothing to do
}

func (g *flushGroup) end() {
	if g != nil {
		close(g.done)
	}
}

// A flushing is what a flush works on. Its memory serves again.
type flushing struct {
	dirty []*segment
	files []File
}

// Flush makes durable what was appended before the call, and returns the flushed
// end. Calls may overlap: one flushes, and those that come while it does share
// the next flush. An error is final; it matches [ErrFailed].
func (l *Log) Flush() (Offset, error) {
	target := l.End()
	for {
		l.mu.Lock()
		done, err := l.covered(target)
		if done || err != nil {
			l.mu.Unlock()
			return l.Flushed(), err
		}
		group := l.state.next
		if group == nil {
			return l.flushNext(target)
		}
		l.mu.Unlock()
		<-group.done
		if flushed := l.Flushed(); flushed >= target {
			return flushed, nil // without the mutex, which all that were woken want
		}
	}
}

// covered tells whether nothing below target waits for a flush; l.mu is held.
func (l *Log) covered(target Offset) (bool, error) {
	if err := l.state.usable(); err != nil {
		return false, err
	}
	return l.Flushed() >= min(target, l.End()), nil // a cut may have lowered the end
}

// flushNext waits for its turn, and flushes for all who have come by then. l.mu
// is held; it is not when flushNext returns.
func (l *Log) flushNext(target Offset) (Offset, error) {
	var group *flushGroup // nil: nobody can have joined it
	if l.state.busy {
		group = &flushGroup{done: make(chan struct{})}
		l.state.next = group
		for l.state.busy {
			l.changed.Wait()
		}
		l.state.next = nil
	}
	done, err := l.covered(target)
	if done || err != nil {
		l.mu.Unlock()
		group.end()
		return l.Flushed(), err
	}
	l.state.busy = true
	l.mu.Unlock()
	defer l.release()

	err = l.flushOnce()
	group.end()
	if err == nil {
		err = l.mark(false)
	}
	if err == nil && l.slots.due(l.cfg.Now()) {
		err = l.syncSlots()
	}
	if err == nil {
		err = l.sealFull()
	}
	return l.Flushed(), err
}

// Checkpoint syncs the record of the flushed end, which Flush does once a second
// at most: for a log that has fallen silent.
func (l *Log) Checkpoint() error {
	if err := l.acquire(); err != nil {
		return err
	}
	defer l.release()
	if l.slots == nil {
		return nil
	}
	return l.syncSlots()
}

// syncSlots makes the record of the flushed end durable, if it was written since.
func (l *Log) syncSlots() error {
	if !l.slots.pending() {
		return nil
	}
	if err := l.slots.sync(l.cfg.Now()); err != nil {
		return l.fail(err)
	}
	return nil
}

// flushOnce syncs all that was appended before, oldest segment first, and then
// moves the flushed end. Who calls holds the right of acquire.
func (l *Log) flushOnce() error {
	l.cfg.Flushes.enter()
	place := l.takeDirty()
	var err error
	for _, f := range l.flushing.files {
		if err = f.Sync(); err != nil {
			break
		}
	}
	l.cfg.Flushes.leave()

	var idle []File
	now := l.cfg.Now()
	l.mu.Lock()
	for _, s := range l.flushing.dirty {
		s.refs--
		idle = append(idle, l.idle(s)...)
	}
	clear(l.flushing.dirty)
	clear(l.flushing.files)
	if err == nil && place.segment != nil {
		bytes := place.pos
		if place.segment == l.place.segment {
			bytes -= l.place.pos
		}
		l.state.habit.flushed(bytes, now)
		l.place = place
		l.flushed.Store(int64(place.end))
	}
	l.mu.Unlock()
	_ = closeAll(idle)
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// takeDirty returns where the log ends now, and leaves the segments that a sync up to
// there must cover, pinned, and their files in l.flushing. Who calls holds the right of
// acquire.
func (l *Log) takeDirty() flushPlace {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.flushing
	w.dirty, w.files = w.dirty[:0], w.files[:0]
	segments := l.state.segments
	n := len(segments)
	if n == 0 {
		return flushPlace{}
	}
	first := n
	for first > 0 && (segments[first-1].dirty || first == n) {
		first--
	}
	for _, s := range segments[first:] {
		if s.dirty {
			s.dirty = false
			s.pin()
			w.dirty, w.files = append(w.dirty, s), append(w.files, s.file)
		}
	}
	a := segments[n-1]
	if a.size == 0 && n > 1 && segments[n-2].size >= 0 && segments[n-2].digested {
		a = segments[n-2] // what has no batch yet may be gone after a crash
	}
	return flushPlace{end: l.End(), segment: a, pos: a.size, digest: a.digest}
}

// mark writes down the flushed end. The recovery point follows when it lies too
// far behind, or if asked to. Who calls holds the right of acquire.
func (l *Log) mark(follow bool) error {
	s, p := l.slots.last, l.place
	if p.segment == nil || s.end == p.end && (!follow || s.from == p.end) {
		return nil
	}
	at := int64(s.at)
	if s.from == p.segment.base {
		at = 0
	}
	if follow || s.from < p.segment.base || p.pos-at > recoveryBytes {
		l.saveIndexes(s.from)
		if err := l.saveProducers(false); err != nil {
			return err
		}
		s = l.recoverFrom(s, p)
	}
	s.end = p.end
	if err := l.slots.write(s); err != nil {
		return l.fail(err)
	}
	return nil
}

// recoverFrom makes p the recovery point of a slot.
func (l *Log) recoverFrom(s slot, p flushPlace) slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.from, s.at, s.digest = p.end, uint32(p.pos), p.digest
	s.producers = l.producers.known() // if not, nor was there one at p
	x := &p.segment.index
	s.sums = indexSums{entriesCRC: notSummed, timesCRC: notSummed}
	if x.whole {
		sums := x.sum(p.pos, int64(p.end-p.segment.base))
		s.sums = indexSums{entriesCRC: sums.entriesCRC, timesCRC: sums.timesCRC}
	}
	return s
}

// saveIndexes writes the indexes of the segments from an offset on. They are
// hints: whoever misses one scans the segment, so that an error may pass.
func (l *Log) saveIndexes(from Offset) {
	l.mu.Lock()
	segments := l.state.segments
	l.mu.Unlock()
	for _, s := range segments[max(findSegment(segments, from), 0):] {
		_ = l.saveIndex(s, false)
	}
}
