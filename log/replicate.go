package log

import "fmt"

// Replicate writes a leader's batches as they are, and returns the new end. They
// are checked, must follow the end without a hole, and their epochs must not
// fall; otherwise nothing is written. No batches are no error.
//
// The bytes must never change, whether the call succeeds or not: from some length
// on they are kept for readers as they are.
func (l *Log) Replicate(batches []byte) (end Offset, err error) {
	return l.replicate(batches, Batch.Check)
}

// ReplicateChecked is [Log.Replicate] of batches of which the caller has checked each
// with [Batch.Check], a moment ago: the bytes, which may be many, are not gone through
// again. That they follow the end is looked at all the same.
func (l *Log) ReplicateChecked(batches []byte) (end Offset, err error) {
	return l.replicate(batches, func(Batch) error { return nil })
}

func (l *Log) replicate(batches []byte, check func(Batch) error) (end Offset, err error) {
	end = l.End()
	var room [1]epochStart // as nearly always
	starts, next, err := l.checkRun(room[:0], batches, end, check)
	if err != nil || len(batches) == 0 {
		return end, err
	}
	before := l.state.epochs
	for len(batches) > 0 {
		// One write a segment: a batch that does not fit begins the next one.
		run := l.fit(batches)
		last := Batch(nil)
		for rest := run; len(rest) > 0; {
			last, rest, _ = SplitBatch(rest)
		}
		if err = l.prepare(starts, len(run), last.Last()); err == nil {
			err = l.write(run, l.End(), last.Next(), keepEpochs)
		}
		if err != nil {
			l.forgetEpochs(before, starts)
			return l.End(), err
		}
		batches = batches[len(run):]
	}
	return next, nil
}

// forgetEpochs takes back the epochs that were to begin in batches that could not
// be written. A disk that has them knows of epochs without batches, which is no
// harm.
func (l *Log) forgetEpochs(before, starts epochs) {
	for _, s := range starts {
		if s.start < l.End() {
			before = before.assign(s.epoch, s.start)
		}
	}
	l.setEpochs(before)
}

// checkRun checks batches that are to follow end, and appends the epochs that begin
// in them to starts.
func (l *Log) checkRun(starts epochs, batches []byte, end Offset, check func(Batch) error) (_ epochs, next Offset, err error) {
	last, _ := l.epochs().at(end - 1) // removed or not
	next = end
	for rest := batches; len(rest) > 0; {
		var b Batch
		if b, rest, err = SplitBatch(rest); err != nil {
			return nil, 0, err
		}
		if err := check(b); err != nil {
			return nil, 0, err
		}
		switch {
		case b.First() != next:
			return nil, 0, fmt.Errorf("%w: offset %d where %d follows", ErrOutOfOrder, b.First(), next)
		case b.Epoch() < last || b.Epoch() < 0:
			return nil, 0, fmt.Errorf("%w: epoch %d after %d", ErrOutOfOrder, b.Epoch(), last)
		}
		if b.Epoch() != last || len(starts) == 0 {
			starts = append(starts, epochStart{b.Epoch(), next})
			last = b.Epoch()
		}
		next = b.Next()
	}
	return starts, next, nil
}

// fit returns the batches that go into one segment: the active one, or, if the
// first of them does not fit there, the next.
func (l *Log) fit(batches []byte) []byte {
	base, size := l.End(), int64(0)
	if a := l.active; a != nil {
		base, size = a.base, a.size
	}
	n := int64(0)
	for rest := batches; len(rest) > 0; {
		var b Batch
		b, rest, _ = SplitBatch(rest)
		if !l.fits(base, size, len(b), b.Last()) {
			if n > 0 {
				return batches[:n]
			}
			base, size = b.First(), 0
		}
		n += int64(len(b))
		size += int64(len(b))
	}
	return batches
}
