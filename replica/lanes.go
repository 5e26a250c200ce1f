package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// Lanes decides what a broker fetches, and when, from one leader: all the partitions that
// it follows it in. There are two fetches under way at most: a hot one, which names each
// of its partitions every time, and a cold one, which stands for those that the leader
// keeps for it and names only what is new to them. Acks of what has been flushed since go
// beside both. A C is what the shell calls a copy of a partition.
//
// A partition is in one lane. How often there is news of it says in which, and it changes
// the lane when the lane that takes it next asks, so that no fetch is ever ended for it:
// until then the lane that has it serves it as well.
//
// What keeps the two from saying different things of one partition:
//
//  1. One turn. Requests of both lanes and acks are put together one at a time, from
//     [Lanes.Begin] to [Lanes.Asked]: lanes are changed, the request is numbered, and
//     copies are asked what they want in one turn. So a higher number never says less of
//     a copy, and the lane that took a partition last has the higher number.
//  2. The newest request for records counts. An answer to any other is dropped, in
//     whatever order answers come: here, and where it has been overtaken since, by
//     [Follower.Step].
//  3. A leader has one entry a partition and follower, that of the highest number. A
//     newer request takes the older one's place, of whichever lane; an older one that
//     is still being worked on finds the newer one there and leaves it. See [Lot].
//  4. The cold fetches of one set are a chain: each names the one before it. A leader
//     that does not find that one its newest, because it has restarted or an answer
//     was lost, or that was of another broker epoch, has changed nothing and says so.
//     Then, and after any cold call that fails, nothing is kept for certain, and the
//     next one begins anew and names all. See [ColdSet].
//  5. What is told is kept no more. The follower takes the answer and names the
//     partition again, with what it holds now; if meanwhile there was news the leader
//     tells it at once. What would go wrong between two fetches is therefore found by
//     the later one, as if there were one lane.
//  6. A leader keeps a partition for the role in which it judged it, and tells of any
//     change of that: a new epoch, or the same one begun again, finds the partition
//     named anew. At a new epoch the follower, too, begins as hot.
//  7. A partition whose next fetch is of use even if nothing moves is hot: one that is
//     delayed or stands still, is not in the ISR, has not removed what the leader has
//     removed, or whose last ack may be lost.
//
// A shell carries the orders out that each call gives, of calls one at a time, and takes
// each lane that has been started through its turns:
//
//	for Begin {                   // else the lane rests until it is started
//		ask each copy of the round    // in one turn from Begin to Asked
//		Asked
//		send the request              // unless the round is Idle
//		Told                          // from here on if there is a sound answer
//		say of whom it is news
//		News
//		hand it to those
//		Ended, and wait
//	}
//
// Lanes is not safe for concurrent use.
type Lanes[C any] struct {
	cfg LanesConfig

	ways     [lanes]way
	sequence int64 // of the newest request

	hot    []*Followed[C]
	next   int            // of the hot ones, to come first in the next fetch
	coming []*Followed[C] // from the cold lane into the hot one, at its next turn
	brings bool           // the hot answer at hand brings the next fetch at once, and with it all acks

	cold  map[partition.ID]*Followed[C]
	fresh []*Followed[C] // those of the cold lane that the leader does not keep
	last  int64          // the newest cold fetch, if it has been answered; 0: the next begins anew

	acks []*Followed[C] // flushed since the leader was last told
}

// A LanesConfig is what all fetches from one leader have in common. No field has a default.
type LanesConfig struct {
	Self           partition.BrokerID
	Wait           time.Duration // of a fetch, at the leader
	MaxBytes       int32         // of a fetch
	PartitionBytes int32         // of one partition in it
}

// A way is how the turns of a lane go.
type way struct {
	running bool
	ended   bool // its call, or the wait after it, has been ended since the turn began
	restraint
}

// A Followed is a copy while it follows the leader in one epoch.
type Followed[C any] struct {
	copy   C
	id     partition.ID
	pace   pace
	gone   bool
	coming bool       // it is to change to the hot lane
	cools  bool       // nothing but its pace keeps it hot
	acks   bool       // it is to be acked
	start  log.Offset // the leader's, as last told

	sequence int64          // of the newest request for its records
	kept     bool           // cold: the leader keeps it
	part     FetchPartition // of which it keeps this
}

// LanesOrders is what the shell must do now.
type LanesOrders struct {
	// Start these lanes: they have no turns, and the next one is due.
	Start [lanes]bool
	// End the call of these lanes, or the wait after it: their next turn is due.
	End [lanes]bool
}

// NewLanes returns the lanes of a broker that follows a leader in nothing yet.
func NewLanes[C any](cfg LanesConfig) *Lanes[C] {
	return &Lanes[C]{cfg: cfg, cold: make(map[partition.ID]*Followed[C])}
}

// Follow takes a copy in, which begins to follow the leader in an epoch.
func (l *Lanes[C]) Follow(now time.Time, id partition.ID, c C) (*Followed[C], LanesOrders) {
	m := &Followed[C]{copy: c, id: id}
	m.pace.enter(now, Hot)
	l.hot = append(l.hot, m)
	var do LanesOrders
	l.hasten(&do, Hot)
	return m, do
}

// Remove takes a copy out, which does not follow the leader any more, or not in that
// epoch. A lane that has nobody else has nothing to wait for.
func (l *Lanes[C]) Remove(m *Followed[C]) LanesOrders {
	var do LanesOrders
	if m.gone {
		return do
	}
	m.gone = true
	l.acks = minus(l.acks, m)
	lane := m.pace.in()
	if lane == Cold {
		delete(l.cold, m.id)
		l.fresh = minus(l.fresh, m)
	} else {
		l.hot = minus(l.hot, m)
	}
	if lane == Hot && len(l.hot) == 0 || lane == Cold && len(l.cold) == 0 {
		l.hasten(&do, lane)
	}
	return do
}

// Heat has a copy named in the next hot fetch, and that fetch go out now, because what
// the leader knows of it may be less than it would be told.
func (l *Lanes[C]) Heat(m *Followed[C]) LanesOrders {
	var do LanesOrders
	l.heat(&do, m)
	return do
}

func (l *Lanes[C]) heat(do *LanesOrders, m *Followed[C]) {
	if !m.gone && m.pace.in() == Cold {
		l.warm(m)
		l.hasten(do, Hot)
	}
}

// warm leaves a cold member to the hot lane.
func (l *Lanes[C]) warm(m *Followed[C]) {
	if !m.coming {
		m.coming = true
		l.coming = append(l.coming, m)
	}
}

// toHot moves a cold member.
func (l *Lanes[C]) toHot(now time.Time, m *Followed[C]) {
	delete(l.cold, m.id)
	m.kept, m.cools = false, false
	m.pace.enter(now, Hot)
	l.hot = append(l.hot, m)
}

// cooling reports whether a hot member is for the cold lane.
func (m *Followed[C]) cooling(now time.Time) bool { return m.cools && m.pace.wants(now) == Cold }

// start begins the turns of a lane.
func (l *Lanes[C]) start(do *LanesOrders, lane Lane) {
	if w := &l.ways[lane]; !w.running {
		w.running = true
		do.Start[lane] = true
	}
}

// hasten has the next turn of a lane come now, so that it sees other members.
func (l *Lanes[C]) hasten(do *LanesOrders, lane Lane) {
	if w := &l.ways[lane]; w.running && !do.Start[lane] {
		w.ended = true
		do.End[lane] = true
	}
	l.start(do, lane)
}

func minus[T comparable](list []T, gone T) []T {
	if i := slices.Index(list, gone); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
