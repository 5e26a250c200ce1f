package log

import (
	"errors"
	"path/filepath"
	"slices"
)

// unfinished are the suffixes of files that a crash has left of what was not completed.
var unfinished = []string{cleanedSuffix, deletedSuffix, sealSuffix + tempSuffix, snapshotSuffix + tempSuffix}

// tidy sorts the names of a log's directory, and finishes what a crash has left
// undone: files that are not complete or not needed any more are removed, whichever
// way round the crash left them. known: the log has been begun.
func (o *opening) tidy(names []string) (known bool, err error) {
	l := o.log
	sealed := map[Offset]bool{}
	swaps := map[Offset]Offset{} // the first offset and the end of each finished compaction
	for _, name := range names {
		if base, ok := parseSegment(name); ok {
			o.segments = append(o.segments, &segment{base: base, path: segmentPath(l.dir, base), size: -1, digest: newDigest()})
		}
		if base, ok := parseName(name, sealSuffix); ok {
			sealed[base] = true
		}
		if at, ok := parseName(name, snapshotSuffix); ok {
			l.snapshots = append(l.snapshots, at)
		}
		if base, end, ok := parseSwap(name); ok {
			swaps[base] = end
		}
		known = known || name == slotFile || name == epochsFile
		o.recovery.Lost = o.recovery.Lost || name == lostFile
	}
	for base, end := range swaps { // there is one at most
		if err := o.finishSwap(base, end); err != nil {
			return known, err
		}
		sealed[base] = false
	}
	n := 0
	for n+1 < len(o.segments) && o.segments[n+1].base <= l.bounds.start {
		n++
	}
	gone := o.segments[:n:n]
	o.segments = o.segments[n:]
	here := map[Offset]bool{}
	for _, s := range o.segments {
		s.sealed = sealed[s.base]
		here[s.base] = true
	}
	if o.view {
		return known, nil
	}
	for _, name := range names {
		for _, suffix := range []string{indexSuffix, timesSuffix, sealSuffix} {
			if base, ok := parseName(name, suffix); ok && !here[base] {
				gone = append(gone, &segment{base: base, path: segmentPath(l.dir, base)})
			}
		}
		for _, suffix := range unfinished {
			if _, ok := parseName(name, suffix); !ok {
				continue
			}
			if err := ignoreAbsent(l.fsys.Remove(filepath.Join(l.dir, name))); err != nil {
				return known, err
			}
		}
	}
	return known, l.removeSegments(gone)
}

// finishSwap puts a finished compaction in the place of what it was made from. A
// view reads it where it is.
func (o *opening) finishSwap(base, end Offset) error {
	l := o.log
	made := &segment{base: base, path: l.swapPath(base, end), size: -1, digest: newDigest()}
	first := 0
	for first < len(o.segments) && o.segments[first].base < base {
		first++
	}
	last := first
	for last < len(o.segments) && o.segments[last].base < end {
		last++
	}
	run := o.segments[first:last]
	if !o.view {
		if err := o.durable(); err != nil {
			return err
		}
		run = append(slices.Clone(run), &segment{base: base, path: segmentPath(l.dir, base)})
		if err := errors.Join(l.finishSwap(run, made.path, base), l.removeAside(run)); err != nil {
			return err
		}
		made.path = segmentPath(l.dir, base)
	}
	o.segments = slices.Concat(o.segments[:first], []*segment{made}, o.segments[last:])
	return nil
}
