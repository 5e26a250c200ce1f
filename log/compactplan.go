package log

import "math"

// A compactSegment is what the choice of what to compact looks at in a segment.
type compactSegment struct {
	base, end    Offset
	size         int64 // bytes
	maxTimestamp int64 // milliseconds since the Unix epoch
}

// A compactPolicy says what a log compacts, and when that pays.
type compactPolicy struct {
	segmentBytes int64   // what segments become when they are merged, at most
	minLag       int64   // milliseconds for which a record is not compacted
	dirtyRatio   float64 // the share of bytes not compacted yet at which a pass pays
}

// compactable returns the oldest segments, up to the first that must be left
// alone: the active one, which is the last one given; one that holds an offset at
// or above upTo, since what is not committed may yet be cut; one with a record
// younger than the minimum lag, by which a reader is promised to see every record.
func (p compactPolicy) compactable(segments []compactSegment, upTo Offset, now int64) []compactSegment {
	for i, s := range segments {
		young := p.minLag > 0 && s.maxTimestamp > now-p.minLag
		if i == len(segments)-1 || s.end > upTo || young {
			return segments[:i]
		}
	}
	return nil
}

// pays tells whether a pass over compactable segments is worth its reading and
// writing: enough of them lies above the end of the last pass, cleanTo, or a
// tombstone is due, as the statistics of that pass have it.
func (p compactPolicy) pays(segments []compactSegment, cleanTo Offset, nextHorizon, now int64) bool {
	var dirty, all int64
	for _, s := range segments {
		all += s.size
		if s.end > cleanTo {
			dirty += s.size
		}
	}
	if all == 0 {
		return false
	}
	return dirty > 0 && float64(dirty) >= p.dirtyRatio*float64(all) || nextHorizon <= now
}

// groups returns the segments that a pass rewrites, which are those that begin
// below end, as runs of neighbours, oldest first. Each run becomes one segment.
// A run of several stays within the size of a segment and the reach of an index
// entry; horizons may make what comes out a little larger.
func (p compactPolicy) groups(segments []compactSegment, end Offset) [][]compactSegment {
	var groups [][]compactSegment
	first, size := 0, int64(0)
	for i, s := range segments {
		if s.base >= end {
			segments = segments[:i]
			break
		}
		if i > first && (size+s.size > p.segmentBytes || s.end-1-segments[first].base > math.MaxInt32) {
			groups = append(groups, segments[first:i:i])
			first, size = i, 0
		}
		size += s.size
	}
	if first < len(segments) {
		groups = append(groups, segments[first:len(segments):len(segments)])
	}
	return groups
}
