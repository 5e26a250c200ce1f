package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
)

// A Lane is one of the fetches that a broker has under way with a leader. A followed
// partition is in one of the first two. See [Lanes].
type Lane uint8

const (
	// Hot fetches name all their partitions each time: those that move, and those
	// whose leader has yet to hear of them.
	Hot Lane = iota
	// Cold fetches name only what is new to them. The leader keeps the rest, and tells
	// of what moves.
	Cold
	// Beside both go acks of what has been flushed since.
	Beside

	lanes
)

func (l Lane) String() string {
	switch l {
	case Hot:
		return "hot"
	case Cold:
		return "cold"
	default:
		return "beside"
	}
}

const (
	quiet  = 500 * time.Millisecond // without news: cold
	bustle = 4                      // answers with news within quiet: hot. A lone record makes two: itself, and its commit.
)

// A pace decides in which lane a partition is fetched, by how often there is news of
// it. The thresholds lie apart, so that none goes to and fro. The zero pace is hot,
// and has not moved.
type pace struct {
	lane  Lane
	since time.Time // hot: the last news; cold: the first that counts
	news  int       // cold: those since
}

// in returns the lane that the partition is in.
func (p *pace) in() Lane { return p.lane }

// enter puts the partition into a lane.
func (p *pace) enter(now time.Time, lane Lane) { *p = pace{lane: lane, since: now} }

// moved notes an answer with news of the partition.
func (p *pace) moved(now time.Time) {
	switch {
	case p.lane == Hot:
		p.since = now
	case p.news == 0 || now.Sub(p.since) > quiet:
		p.since, p.news = now, 1
	default:
		p.news++
	}
}

// wants returns the lane that suits the partition now.
func (p *pace) wants(now time.Time) Lane {
	switch {
	case p.lane == Hot && now.Sub(p.since) >= quiet, p.lane == Cold && p.news < bustle:
		return Cold
	default:
		return Hot
	}
}

// MayCool reports whether a leader that only tells of news would leave nothing of
// this follower undone; start is that of the leader's log. Who waits, or asks for
// nothing, has something to ask later, and so has who has yet to remove what the leader
// has removed; and who is not in the ISR joins it by fetching: the leader forgets, in
// time, who had caught up.
func (f *Follower) MayCool(now time.Time, start log.Offset) bool {
	return !f.waiting && !f.suspended && f.failed == nil && !now.Before(f.until) &&
		f.begins() >= start && slices.Contains(f.state.ISR, f.self)
}
