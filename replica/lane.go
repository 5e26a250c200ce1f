package replica

import (
	"slices"
	"time"
)

// A Lane is one of the two fetches that a broker has with a leader. A followed
// partition is in one of them.
type Lane uint8

const (
	// Hot fetches name all their partitions each time: those that move, and those
	// whose leader has yet to hear of them.
	Hot Lane = iota
	// Cold fetches name only what is new to them. The leader keeps the rest, and tells
	// of what moves.
	Cold
)

func (l Lane) String() string {
	if l == Cold {
		return "cold"
	}
	return "hot"
}

const (
	quiet  = 500 * time.Millisecond // without news: cold
	bustle = 4                      // answers with news within quiet: hot. A lone record makes two: itself, and its commit.
)

// A Pace decides in which lane a partition is fetched, by how often there is news of
// it. The thresholds lie apart, so that none goes to and fro. The zero Pace is hot,
// and has not moved.
type Pace struct {
	lane  Lane
	since time.Time // hot: the last news; cold: the first that counts
	news  int       // cold: those since
}

// Lane returns the lane that the partition is in.
func (p *Pace) Lane() Lane { return p.lane }

// Enter puts the partition into a lane.
func (p *Pace) Enter(now time.Time, lane Lane) { *p = Pace{lane: lane, since: now} }

// Moved notes an answer with news of the partition.
func (p *Pace) Moved(now time.Time) {
	switch {
	case p.lane == Hot:
		p.since = now
	case p.news == 0 || now.Sub(p.since) > quiet:
		p.since, p.news = now, 1
	default:
		p.news++
	}
}

// Wants returns the lane that suits the partition now.
func (p *Pace) Wants(now time.Time) Lane {
	switch {
	case p.lane == Hot && now.Sub(p.since) >= quiet, p.lane == Cold && p.news < bustle:
		return Cold
	default:
		return Hot
	}
}

// MayCool reports whether a leader that only tells of news would leave nothing of
// this follower undone. Who waits, or asks for nothing, has something to ask later;
// and who is not in the ISR joins it by fetching: the leader forgets, in time, who
// had caught up.
func (f *Follower) MayCool(now time.Time) bool {
	return !f.waiting && !f.suspended && f.failed == nil && !now.Before(f.until) &&
		slices.Contains(f.state.ISR, f.self)
}
