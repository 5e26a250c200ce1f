package log

import "errors"

// OffsetAt returns the first record at time t or later, in milliseconds since the
// Unix epoch, among those from the start of the log up to upTo, exclusively. ok is
// false if there is none. Times need not rise with offsets: those behind the record
// that is returned may be earlier. It overlaps anything.
func (l *Log) OffsetAt(t int64, upTo Offset) (off Offset, ok bool, err error) {
	for {
		off, ok, err = l.findTime(t, upTo)
		// What a reader had in hand may have been removed under it; then it looks again.
		if !errors.Is(err, ErrOutOfRange) && !errors.Is(err, errMoved) {
			return off, ok, err
		}
	}
}

func (l *Log) findTime(t int64, upTo Offset) (Offset, bool, error) {
	start, end := l.Start(), min(upTo, l.End())
	l.mu.Lock()
	segments, closed := l.state.segments, l.state.closed
	l.mu.Unlock()
	if closed {
		return 0, false, ErrClosed
	}
	for i, s := range segments {
		if s.base >= end {
			break
		}
		to := end
		if i+1 < len(segments) {
			to = min(to, segments[i+1].base)
		}
		from, found, err := l.timeHint(s, t)
		if err != nil {
			return 0, false, err
		}
		if !found || to <= start {
			continue
		}
		off, ok, err := l.scanTimes(t, max(from, start), to)
		if err != nil || ok {
			return off, ok, err
		}
	}
	return 0, false, nil
}

// timeHint returns where in a segment to begin to look for time t; false if all of
// it is earlier.
func (l *Log) timeHint(s *segment, t int64) (from Offset, found bool, err error) {
	_, d, err := l.describe(s)
	if err != nil || d.maxTime < t {
		return 0, false, err
	}
	l.mu.Lock()
	s.pin()
	l.mu.Unlock()
	defer l.done(s)
	file, size, err := l.open(s)
	if l.gone(s, err) {
		return 0, false, errMoved
	}
	if err != nil {
		return 0, false, err
	}
	_, times, err := l.loadIndex(s, file, size)
	return findTime(times, s.base, t) + 1, true, err
}

// scanTimes looks at the records from an offset on, up to another.
func (l *Log) scanTimes(t int64, from, to Offset) (Offset, bool, error) {
	for from < to {
		data, err := l.Read(from, to, seekStep)
		if err != nil {
			return 0, false, err
		}
		if len(data) == 0 {
			break // the batch that holds from ends behind to
		}
		for len(data) > 0 {
			var b Batch
			if b, data, err = SplitBatch(data); err != nil {
				return 0, false, err
			}
			if off, ok, err := b.offsetAt(t, from); err != nil || ok {
				return off, ok, err
			}
			from = b.Next()
		}
	}
	return 0, false, nil
}

// offsetAt returns the first record of b at from or behind, and at t or later.
func (b Batch) offsetAt(t int64, from Offset) (Offset, bool, error) {
	if b.Count() == 0 || b.MaxTimestamp() < t {
		return 0, false, nil
	}
	for r, err := range b.Records() {
		if err != nil {
			return 0, false, err
		}
		if r.Offset >= from && r.Timestamp >= t {
			return r.Offset, true, nil
		}
	}
	return 0, false, nil
}
