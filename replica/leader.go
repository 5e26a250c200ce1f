package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// A LeaderConfig is what a leader begins with, at the moment at which it begins
// its epoch. No field has a default.
type LeaderConfig struct {
	ID        partition.ID
	Self      partition.BrokerID
	SelfEpoch partition.BrokerEpoch
	MinISR    int           // more than the replicas means all of them
	Synced    bool          // what counts is what is flushed; otherwise what is written
	Lag       time.Duration // how long a follower may stay behind
	State     partition.State
	Peers     []Peer // the other replicas

	Start, End, Flushed, HighWatermark log.Offset

	Removed log.Offset // below which tombstones may be missing from the log
}

// A Leader is the deciding half of a leading replica, for one leader epoch.
//
// A Leader is not safe for concurrent use: whoever calls Step owns it.
type Leader struct {
	id        partition.ID
	self      partition.BrokerID
	selfEpoch partition.BrokerEpoch
	synced    bool
	lag       time.Duration

	state  partition.State // the newest known, by its partition epoch
	minISR int

	start   log.Offset
	removed log.Offset // below which tombstones may be missing
	end     log.Offset
	flushed log.Offset
	high    log.Offset // the high watermark; it never goes down
	begin   log.Offset // the log end when the epoch began

	followers []progress // by id; a slice, so that its order is fixed
	pending   *proposal  // under way to the controller
	refused   *AlterISR  // what was last refused: not to be repeated before a Tick

	verdict FetchVerdict // of the newest fetch, for the output
}

// NewLeader returns the machine that leads in the epoch of c.State. It knows
// nothing of any follower, also if the same broker led before. The shell steps
// Flushed next.
func NewLeader(now time.Time, c LeaderConfig) *Leader {
	l := &Leader{
		id: c.ID, self: c.Self, selfEpoch: c.SelfEpoch, synced: c.Synced, lag: c.Lag,
		state: c.State, minISR: c.MinISR,
		start: c.Start, removed: c.Removed, end: c.End, begin: c.End,
		flushed:   min(c.Flushed, c.End),
		followers: followersOf(&c.State, c.Self, nil, c.End),
	}
	// Who was elected as one that may be incomplete can know of more than it holds.
	l.high = max(min(c.HighWatermark, l.held()), c.Start)
	l.meet(c.Peers)
	for i := range l.followers {
		p := &l.followers[i]
		if p.inISR = slices.Contains(c.State.ISR, p.id); p.inISR {
			p.begin(now, l.end)
		}
	}
	return l
}

// Step takes one input and returns what must be done about it.
func (l *Leader) Step(now time.Time, in Input) Output {
	var out Output
	high := l.high
	switch in := in.(type) {
	case Appended:
		l.appended(now, in.End)
	case Flushed:
		l.flushed = max(l.flushed, min(in.End, l.end))
	case Started:
		l.startAt(in.Start)
		l.removed = max(l.removed, in.Removed)
	case Fetched:
		l.startAt(in.LogStart)
		out.Fetch = l.fetched(now, in)
		out.Propose = l.propose(now, false)
	case Changed:
		l.changed(now, in)
		out.Propose = l.propose(now, false)
	case Altered:
		l.altered(now, in)
		out.Propose = l.propose(now, false)
	case AlterLost:
		l.pending.lose(now, l.lag)
	case Tick:
		l.refused = nil
		if out.Propose = l.resend(); out.Propose == nil {
			out.Propose = l.propose(now, true)
		}
	}
	l.advance(now)
	if l.high > high {
		out.HighWatermark, out.Moved = l.high, true
	}
	if out.Fetch != nil {
		l.snapshot(out.Fetch, in.(Fetched).Partition)
	}
	return out
}

// startAt takes where the log starts. A log of which more has been removed than this leader
// knows to be committed, by an earlier one, starts no further than that for now.
func (l *Leader) startAt(start log.Offset) { l.start = max(l.start, min(start, l.high)) }

// appended takes the log's new end.
func (l *Leader) appended(now time.Time, end log.Offset) {
	for i := range l.followers {
		// Who had everything until now had caught up until now, however long ago the
		// last fetch was.
		if p := &l.followers[i]; p.ack >= l.end && !p.caught.IsZero() {
			p.caught = now
		}
	}
	l.end = max(l.end, end)
}

// advance raises the high watermark to what everyone who counts holds.
func (l *Leader) advance(now time.Time) {
	if !l.enough() {
		return
	}
	held := l.held()
	for i := range l.followers {
		p := &l.followers[i]
		// One who is about to join holds the high watermark back as well: he could
		// never reach one that moves with each append.
		if p.counts() || p.eligible() && p.fresh(now, l.lag) {
			held = min(held, p.ack)
		}
	}
	l.high = max(l.high, held)
}

// held is what this broker itself holds.
func (l *Leader) held() log.Offset {
	if l.synced {
		return l.flushed
	}
	return l.end
}

// enough reports whether the committed ISR allows the high watermark to move. The
// ELR is asked too: it names replicas only while the controller sees fewer than
// MinISR, and the answer to a proposal may overtake the metadata that has a new
// MinISR. Moving on without those of the ELR would leave them incomplete.
func (l *Leader) enough() bool {
	if mutate.On("KIP-966") {
		return true
	}
	return len(l.state.ISR) >= l.least() && len(l.state.ELR) == 0 && len(l.state.LastKnownELR) == 0
}

func (l *Leader) least() int { return min(l.minISR, len(l.state.Replicas)) }

func (l *Leader) follower(id partition.BrokerID) *progress {
	for i := range l.followers {
		if l.followers[i].id == id {
			return &l.followers[i]
		}
	}
	return nil
}

// Epoch returns the leader epoch that the machine leads in.
func (l *Leader) Epoch() log.Epoch { return l.state.Epoch }

// HighWatermark returns the end of what is committed, as far as is known here.
func (l *Leader) HighWatermark() log.Offset { return l.high }

// Authoritative reports whether the high watermark covers all that was committed in
// earlier epochs. Until then nobody may be told where the log ends.
func (l *Leader) Authoritative() bool { return l.high >= l.begin }

// CanAppend returns OK, or why a write with these acks must be refused unwritten.
func (l *Leader) CanAppend(acks partition.Acks) partition.Code {
	if acks == partition.AcksAll && !l.enough() {
		return partition.NotEnoughReplicas
	}
	return partition.OK
}

// CommitCode returns how a write is answered that the high watermark has just passed.
func (l *Leader) CommitCode() partition.Code {
	members := 1
	for i := range l.followers {
		if l.followers[i].counts() {
			members++
		}
	}
	if members < l.least() {
		return partition.NotEnoughAfterAppend
	}
	return partition.OK
}

// RemovedCode returns OK if nobody who may lead has records below start any more, which
// have been removed here; or why that is not so yet.
func (l *Leader) RemovedCode(start log.Offset) partition.Code {
	if !l.enough() {
		return partition.NotEnoughReplicas
	}
	for i := range l.followers {
		if p := &l.followers[i]; p.counts() && p.start < start {
			return partition.NotAvailable
		}
	}
	return partition.OK
}

// ISR returns the committed in-sync set. It must not be changed.
func (l *Leader) ISR() []partition.BrokerID { return l.state.ISR }

// MaximalISR returns the committed in-sync set with those whose joining is under
// way, in rising order.
func (l *Leader) MaximalISR() []partition.BrokerID {
	ids := make([]partition.BrokerID, 0, 1+len(l.followers))
	ids = append(ids, l.self)
	for i := range l.followers {
		if l.followers[i].counts() {
			ids = append(ids, l.followers[i].id)
		}
	}
	slices.Sort(ids)
	return ids
}

// NeedsTick reports whether time alone can change anything. An idle partition,
// where everybody has everything, needs none.
func (l *Leader) NeedsTick() bool {
	if l.refused != nil || l.pending != nil && l.pending.lost || l.state.Recovering && l.pending == nil {
		return true
	}
	for i := range l.followers {
		p := &l.followers[i]
		if p.ack < l.end && (p.inISR || !p.caught.IsZero()) {
			return true
		}
	}
	return false
}

// A FollowerInfo is what a leader knows of one follower.
type FollowerInfo struct {
	ID     partition.BrokerID
	Ack    log.Offset // what counts as held there; -1: not heard of in this epoch
	Caught time.Time  // when it last had caught up; zero: not yet
	InISR  bool
}

// Followers returns what is known of each follower, by rising ID.
func (l *Leader) Followers() []FollowerInfo {
	list := make([]FollowerInfo, len(l.followers))
	for i, p := range l.followers {
		list[i] = FollowerInfo{ID: p.id, Ack: p.ack, Caught: p.caught, InISR: p.inISR}
	}
	return list
}
