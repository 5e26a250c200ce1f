package log

// tidy sorts the names of a log's directory, and finishes what a crash has left
// undone: files that are not complete or not needed any more are removed, whichever
// way round the crash left them. known: the log has been begun.
func (o *opening) tidy(names []string) (known bool, err error) {
	l := o.log
	sealed := map[Offset]bool{}
	for _, name := range names {
		if base, ok := parseSegment(name); ok {
			o.segments = append(o.segments, &segment{base: base, path: segmentPath(l.dir, base), size: -1, digest: newDigest()})
		}
		if base, ok := parseName(name, sealSuffix); ok {
			sealed[base] = true
		}
		known = known || name == slotFile || name == epochsFile
		o.recovery.Lost = o.recovery.Lost || name == lostFile
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
	}
	return known, l.removeSegments(gone)
}
