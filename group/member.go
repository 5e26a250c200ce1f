package group

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
)

// A member is what the coordinator knows of one.
type member struct {
	// What the records say.
	record  MemberRecord
	target  []partition.ID
	current CurrentRecord

	// What is soft.
	sequence       int64          // of the newest request, at least record.Joined
	commitSequence int64          // of the newest commit
	deadline       time.Time      // fenced from here on, if silent
	revokeBy       time.Time      // fenced from here on, if still Unrevoked; zero: is not
	reported       []partition.ID // what it owned when it had taken current.Version
	silent         bool           // it has not said so yet: it may own anything
	parked         *parked
}

// A parked heartbeat waits until there is something to say.
type parked struct {
	token     uint64
	version   Version   // that the request gave
	confirmed bool      // it was the newest, so the member may be led on
	until     time.Time // answered empty from here on
}

// owns reports whether the member may still own any of the partitions.
func (m *member) owns(ids []Given) bool {
	return slices.ContainsFunc(ids, func(g Given) bool { return m.silent || contains(m.reported, g.ID) })
}

// mayCommit reports whether a commit with that epoch, for that partition, is of
// somebody who has held it ever since.
func (m *member) mayCommit(id partition.ID, epoch MemberEpoch) bool {
	since := func(g Given) bool { return g.ID == id && g.Epoch <= epoch }
	return epoch <= m.current.Epoch &&
		(slices.ContainsFunc(m.current.Assigned, since) || slices.ContainsFunc(m.current.Pending, since))
}

// session is how long the member may be silent.
func (c *Coordinator) session(m *member) time.Duration {
	return orDefault(m.record.SessionMs, c.cfg.Session)
}

// patience is when a member is fenced that is asked now to give something up. By its
// own clock it has only the rebalance timeout; but if it does not get the answer, it
// does not know, and may go on for as long as its lease.
func (c *Coordinator) patience(m *member) time.Time {
	return c.now.Add(max(c.rebalance(m), c.session(m)))
}

// rebalance is how long the member may take for a revocation.
func (c *Coordinator) rebalance(m *member) time.Duration {
	return orDefault(m.record.RebalanceMs, c.cfg.Rebalance)
}

// interval is how long the member's heartbeats are parked: short enough for three
// of them in one session, and in one revocation.
func (c *Coordinator) interval(m *member) time.Duration {
	return max(min(c.cfg.Interval, c.session(m)/3, c.rebalance(m)/3).Truncate(time.Millisecond), time.Millisecond)
}

func orDefault(ms int32, zero time.Duration) time.Duration {
	if ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return zero
}

// heartbeat deals with whatever a member says.
func (c *Coordinator) heartbeat(token uint64, r *HeartbeatRequest) {
	if code := check(r); code != partition.OK {
		c.refuse(token, code)
		return
	}
	m := c.members[r.Member]
	switch {
	case m == nil && r.Epoch == Join:
		c.join(token, c.member(r.Member), r)
	case m == nil:
		c.refuse(token, partition.UnknownMember)
	case r.Sequence < m.sequence:
		// Late: the member has said other things since, perhaps the opposite.
		c.reply(token, HeartbeatResponse{Epoch: r.Epoch})
	case r.Sequence == m.sequence:
		c.reply(token, c.answer(m, r.Version)) // repeated
	case r.Epoch == Leave:
		c.remove(m)
		c.reply(token, HeartbeatResponse{Epoch: Leave})
	case r.Epoch == Join:
		c.rejoin(m)
		c.join(token, m, r)
	case !m.bears(r):
		c.refuse(token, partition.FencedMember)
	default:
		c.beat(token, m, r)
	}
}

// check refuses what no state of the group could make right.
func check(r *HeartbeatRequest) partition.Code {
	switch {
	case r.Group == "" || r.Member == "" || len(r.Group) > maxName || len(r.Member) > maxName:
		return partition.Malformed
	case r.Sequence < 1 || r.Epoch == Join && r.Topics == nil || len(r.Topics) > maxTopics:
		return partition.Malformed
	case r.Epoch < Leave || r.Instance != "":
		return partition.Unsupported // static members
	case r.Assignor != "" && r.Assignor != "uniform" && r.Assignor != "cooperative-sticky":
		return partition.Unsupported
	}
	return partition.OK
}

// bears reports whether the request bears the member's epoch, or the one before if
// the answer with the present one may have been lost. It cannot be two behind, for
// nobody is led on who has not confirmed.
func (m *member) bears(r *HeartbeatRequest) bool {
	if r.Epoch == m.current.Epoch {
		return true
	}
	held := union(ids(m.current.Assigned), ids(m.current.Pending))
	return r.Epoch == m.current.Previous && r.Owned != nil && len(minus(sorted(r.Owned), held)) == 0
}

// rejoin makes a known member one that owns nothing: what it had is free as of now,
// and what it sent before is void.
func (c *Coordinator) rejoin(m *member) {
	c.unpark(m, HeartbeatResponse{Epoch: m.current.Epoch})
	c.write(CurrentRecord{Member: m.record.Member, Version: m.current.Version + 1})
}

// join raises the group epoch even for a known member, so that the epochs of its new
// life are greater than all of the old.
func (c *Coordinator) join(token uint64, m *member, r *HeartbeatRequest) {
	rec := c.says(MemberRecord{Member: r.Member}, r)
	rec.Joined = r.Sequence
	c.write(rec)
	c.dirty = true
	m.sequence, m.commitSequence = r.Sequence, 0
	m.deadline, m.revokeBy = c.now.Add(c.session(m)), time.Time{}
	m.reported, m.silent = nil, false
	// A version that is never given: a join is always answered with an assignment.
	m.parked = &parked{token: token, version: -1, confirmed: true}
}

// says returns rec with what the request says of the member.
func (c *Coordinator) says(rec MemberRecord, r *HeartbeatRequest) MemberRecord {
	if r.Topics == nil {
		return rec
	}
	topics := slices.Clone(r.Topics)
	slices.Sort(topics)
	rec.Topics = slices.Compact(topics)
	rec.Rack, rec.Client = r.Rack, r.Client
	if r.SessionMs >= 0 {
		rec.SessionMs = r.SessionMs
	}
	if r.RebalanceMs >= 0 {
		rec.RebalanceMs = r.RebalanceMs
	}
	return rec
}

// beat deals with a heartbeat of a member in good standing.
func (c *Coordinator) beat(token uint64, m *member, r *HeartbeatRequest) {
	c.unpark(m, HeartbeatResponse{Epoch: m.current.Epoch})
	rec := c.says(m.record, r)
	if !slices.Equal(rec.Topics, m.record.Topics) {
		c.dirty = true
	}
	if !equalMember(rec, m.record) {
		c.write(rec)
	}
	m.sequence = r.Sequence
	m.deadline = c.now.Add(c.session(m))
	p := &parked{token: token, version: r.Version, confirmed: r.Version == m.current.Version, until: c.now.Add(c.interval(m))}
	m.parked = p
	switch {
	case p.confirmed && r.Owned != nil:
		m.reported, m.silent = sorted(r.Owned), false
	case !p.confirmed && m.current.State == Unrevoked:
		// It learns only now what to give up, so its time begins now.
		m.revokeBy = c.patience(m)
	}
}

// answer is what a member is told who has acted on the given version.
func (c *Coordinator) answer(m *member, version Version) HeartbeatResponse {
	r := HeartbeatResponse{
		Epoch:      m.current.Epoch,
		IntervalMs: int32(c.interval(m).Milliseconds()),
		SessionMs:  int32(c.session(m).Milliseconds()),
	}
	if m.current.State == Unrevoked {
		r.RebalanceMs = int32(c.rebalance(m).Milliseconds())
	}
	if version != m.current.Version {
		r.Assignment = &Assignment{Version: m.current.Version, Partitions: ids(m.current.Assigned)}
	}
	return r
}

// unpark answers the parked heartbeat, if there is one.
func (c *Coordinator) unpark(m *member, r HeartbeatResponse) {
	if m.parked != nil {
		c.reply(m.parked.token, r)
		m.parked = nil
	}
}

// remove takes a member out of the group, because it leaves or is fenced. All that
// it held is free.
func (c *Coordinator) remove(m *member) {
	c.unpark(m, HeartbeatResponse{Code: partition.FencedMember})
	id := m.record.Member
	c.write(CurrentRecord{Gone: true, Member: id})
	c.write(TargetRecord{Gone: true, Member: id})
	c.write(MemberRecord{Gone: true, Member: id})
	c.dirty = true
}

func equalMember(a, b MemberRecord) bool {
	return a.Joined == b.Joined && slices.Equal(a.Topics, b.Topics) && a.SessionMs == b.SessionMs &&
		a.RebalanceMs == b.RebalanceMs && a.Rack == b.Rack && a.Client == b.Client
}

// ids returns the set of partitions in given.
func ids(given []Given) []partition.ID {
	set := make([]partition.ID, 0, len(given))
	for _, g := range given {
		set = append(set, g.ID)
	}
	return sorted(set)
}
