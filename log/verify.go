package log

import (
	"errors"
	"math"
)

// A Report is what [Verify] found.
type Report struct {
	Start, End Offset // of what is sound from the start of the log on
	Batches    int64  // sound ones
	Bytes      int64  // of those
	// Damage is what Open, or a read, reports too: what was acknowledged is not
	// there as it was written.
	Damage []*CorruptError
	// Hints are index files, seals and snapshots of producers that do not fit. They
	// cost time and no data: the log makes them again.
	Hints []*CorruptError
}

// Verify reads everything in the directory of a log that nobody appends to, and
// holds each byte against the checksum that covers it. It changes nothing, and takes
// as long as it takes to read the log. The error is one of the disk, or [ErrNewer];
// damage is none.
func Verify(fsys FS, dir string) (Report, error) {
	x, err := inspect(fsys, dir)
	if err != nil {
		return Report{}, err
	}
	if x.bounds.reset {
		return Report{Start: x.bounds.start, End: x.bounds.start}, nil
	}
	var r Report
	for _, err := range []error{x.badBounds, x.badEpochs, x.badSlot} {
		if err == nil || len(x.segments) == 0 {
			continue
		}
		if bad, ok := errors.AsType[*CorruptError](err); ok {
			r.Damage = append(r.Damage, bad)
		}
	}
	r.Damage = append(r.Damage, x.damage()...)
	if n := x.sound(); n > 0 {
		r.Start, r.End = max(x.segments[0].base, x.bounds.start), x.walks[n-1].next
	}
	for _, w := range x.walks {
		r.Batches += w.batches
		r.Bytes += w.pos
	}
	r.Hints, err = x.hints()
	return r, err
}

// damage returns what is bad in the segments, oldest first.
func (x *inspection) damage() []*CorruptError {
	var all []*CorruptError
	add := func(e *CorruptError) { all = append(all, e) }
	for i, s := range x.segments {
		w, last := x.walks[i], i+1 == len(x.segments)
		bad, isCorrupt := errors.AsType[*CorruptError](x.whys[i])
		switch {
		case x.whys[i] == nil && !last && x.segments[i+1].base != w.next:
			add(&CorruptError{File: s.name(), At: w.pos, Offset: w.next, Reason: "the next segment does not follow"})
		case x.whys[i] == nil || last && w.next >= x.flushed():
			continue // sound, or torn above the flushed end
		case isCorrupt:
			add(bad)
		default:
			add(&CorruptError{File: s.name(), At: w.pos, Offset: w.next, Reason: x.whys[i].Error()})
		}
	}
	n := len(x.segments)
	switch {
	case n == 0 && x.slot.sequence > 1:
		add(&CorruptError{File: slotFile, Offset: x.slot.end, Reason: "the segments are missing"})
	case n == 0:
	case x.missingFront():
		add(&CorruptError{File: x.segments[0].name(), Offset: x.front(), Reason: "an earlier segment is missing"})
	case x.whys[n-1] == nil && x.walks[n-1].next < x.flushed():
		s, w := x.segments[n-1], x.walks[n-1]
		add(&CorruptError{File: s.name(), At: w.pos, Offset: w.next, Reason: "the log ends below its flushed end"})
	}
	return all
}

// front returns the offset that the oldest segment must hold; -1 if that is not
// known.
func (x *inspection) front() Offset {
	switch {
	case x.bounds.start > 0:
		return x.bounds.start
	case x.badEpochs == nil && len(x.epochs) > 0:
		return x.epochs[0].start
	}
	return -1
}

func (x *inspection) missingFront() bool {
	front := x.front()
	return front >= 0 && x.segments[0].base > front
}

// hints returns the files beside sound segments that do not fit them.
func (x *inspection) hints() ([]*CorruptError, error) {
	var all []*CorruptError
	for i, s := range x.segments {
		w := x.walks[i]
		if !s.sealed || x.whys[i] != nil || i+1 == len(x.segments) {
			continue
		}
		index, found, err := readSealed(x.fsys, s, w.pos)
		var reason string
		switch {
		case err != nil:
			return nil, err
		case found == nil:
			reason = "the seal does not fit"
		case found.digest != w.digest || found.end != w.next:
			reason = "the seal is of other batches"
		case !index.loaded:
			reason = "an index does not fit its seal"
		default:
			continue
		}
		seal := *s
		seal.path = s.sealPath()
		all = append(all, &CorruptError{File: seal.name(), At: 0, Offset: min(s.base, math.MaxInt64), Reason: reason})
	}
	for _, at := range x.snapshots {
		_, err := readProducers(x.fsys, x.dir, at)
		if bad, ok := errors.AsType[*CorruptError](err); ok {
			all = append(all, bad)
		} else if err != nil {
			return nil, err
		}
	}
	return all, nil
}
