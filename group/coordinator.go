package group

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// An Input is one thing that has happened to a group. The set is closed: Loaded,
// Tick, Heartbeat, Commit, Changed and Forget are all there are.
type Input interface{ input() }

type (
	// Loaded: all records of the group have been given to Load. It comes once, and first.
	Loaded struct{}

	// Heartbeat: a member has spoken. Topics are those of Names(Request.Topics) that there
	// are, by rising name. The answer, now or later, carries Token.
	Heartbeat struct {
		Token   uint64
		Request HeartbeatRequest
		Topics  []Topic
	}

	// Commit: somebody wants to commit. It is answered at once.
	Commit struct {
		Token   uint64
		Request offsets.CommitRequest
	}

	// Changed: the topics of Names(nil) are now these, by rising name.
	Changed struct{ Topics []Topic }

	// Forget: nobody waits for the answer with Token any more.
	Forget struct{ Token uint64 }
)

func (Loaded) input()    {}
func (Tick) input()      {}
func (Heartbeat) input() {}
func (Commit) input()    {}
func (Changed) input()   {}
func (Forget) input()    {}

// An Output is what the shell of a coordinator must do now, in the order of the
// fields. The zero Output is nothing.
type Output struct {
	// Records are to be appended as one batch. The coordinator's state is already what
	// they say: if they cannot be appended, it must be thrown away, and loaded anew.
	Records []Record

	// Replies may be sent when these records, and all before them, are committed: they
	// may tell of what an earlier step has written.
	Replies []Reply

	// Wake is when Tick must come, at the latest. Zero: never.
	Wake time.Time
}

// A Reply answers one request: a HeartbeatResponse or an offsets.CommitResponse.
type Reply struct {
	Token    uint64
	Response any
}

// A Config holds what a coordinator goes by.
type Config struct {
	// Interval is how long a heartbeat is parked at most. It is less for a member with
	// a short session.
	//
	// Zero means 3 s.
	Interval time.Duration

	// Session is after how long a silence a member is fenced, if it does not say.
	//
	// Zero means 30 s.
	Session time.Duration

	// Rebalance is how long a member may take to give up partitions, if it does not say.
	//
	// Zero means 60 s.
	Rebalance time.Duration

	// Retention is how long the commits of a group without members are kept.
	//
	// Zero means 7 days.
	Retention time.Duration

	// Assignor says who shall hold what.
	//
	// Nil means Uniform.
	Assignor Assignor
}

func (c Config) withDefaults() Config {
	or := func(d *time.Duration, zero time.Duration) {
		if *d <= 0 {
			*d = zero
		}
	}
	or(&c.Interval, defaultInterval)
	or(&c.Session, 30*time.Second)
	or(&c.Rebalance, 60*time.Second)
	or(&c.Retention, offsets.Retention)
	if c.Assignor == nil {
		c.Assignor = Uniform{}
	}
	return c
}

// A Coordinator is the deciding half of one group's coordinator (KIP-848). It does
// no I/O, reads no clock, starts no goroutine and draws no random numbers.
//
// All that must outlive it is in the records that it writes; loading those makes
// an equal one. What is not in them is soft: when members were last heard, and
// which heartbeats are parked.
//
// A Coordinator is not safe for concurrent use: whoever calls Step owns it.
type Coordinator struct {
	cfg   Config
	group string

	// What the records say. member.record, target and current are of it too.
	epoch       GroupEpoch
	targetEpoch GroupEpoch
	changed     int64 // of EpochRecord
	topics      []Topic
	commits     offsets.Table

	members map[string]*member
	order   []string // the ids of members, rising
	owners  map[partition.ID]string

	// Of the step under way.
	now   time.Time
	view  []Topic // the topics as they are; nil: not looked at
	dirty bool    // the group epoch must rise, and a new target be computed
	out   Output
}

// NewCoordinator returns the coordinator of a group without records.
func NewCoordinator(group string, cfg Config) *Coordinator {
	return &Coordinator{
		cfg: cfg.withDefaults(), group: group,
		members: map[string]*member{}, owners: map[partition.ID]string{},
	}
}

// Step takes one input and returns what must be done about it.
func (c *Coordinator) Step(now time.Time, in Input) Output {
	c.now, c.view, c.dirty, c.out = now, nil, false, Output{}
	switch in := in.(type) {
	case Loaded:
		c.loaded()
	case Tick:
		c.tick()
	case Heartbeat:
		c.view = in.Topics
		c.heartbeat(in.Token, &in.Request)
	case Commit:
		c.commit(in.Token, &in.Request)
	case Changed:
		c.view = in.Topics
	case Forget:
		c.forget(in.Token)
	default:
		panic(fmt.Sprintf("group: input of unknown type %T", in))
	}
	c.look()
	if c.dirty {
		c.target()
	}
	c.settle()
	c.out.Wake = c.wake()
	return c.out
}

// Names returns, in rising order, the topics that the group subscribes to, and the
// added ones.
func (c *Coordinator) Names(added []string) []string {
	names := slices.Clone(added)
	for _, m := range c.order {
		names = append(names, c.members[m].record.Topics...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Gone reports whether there is nothing left of the group.
func (c *Coordinator) Gone() bool {
	return len(c.members) == 0 && c.commits.Len() == 0 && c.epoch == 0
}

// Fetch answers a request for the group's commits. As a reply of Step, the answer may
// be sent when all records so far are committed.
func (c *Coordinator) Fetch(r offsets.FetchRequest) offsets.FetchResponse {
	if r.MemberEpoch > offsets.NoMember {
		m := c.members[r.Member]
		switch {
		case m == nil:
			return offsets.FetchResponse{Code: partition.UnknownMember}
		case r.MemberEpoch > m.current.Epoch:
			return offsets.FetchResponse{Code: partition.StaleMember}
		}
	}
	return offsets.FetchResponse{Partitions: c.commits.Answer(c.group, r.Partitions)}
}

// write applies a record and has it appended.
func (c *Coordinator) write(rec Record) {
	c.apply(rec)
	c.out.Records = append(c.out.Records, rec)
}

func (c *Coordinator) reply(token uint64, response any) {
	c.out.Replies = append(c.out.Replies, Reply{Token: token, Response: response})
}

// refuse answers a heartbeat with a code.
func (c *Coordinator) refuse(token uint64, code partition.Code) {
	c.reply(token, HeartbeatResponse{Code: code})
}

// look compares the topics with what the group has noted of them.
func (c *Coordinator) look() {
	view := c.view
	if view == nil {
		view = c.topics
	}
	names := c.Names(nil)
	var topics []Topic
	for _, t := range view {
		if _, wanted := slices.BinarySearch(names, t.Name); !wanted {
			continue
		}
		for _, known := range c.topics {
			if known.ID == t.ID {
				// Partitions do not get fewer: this broker's metadata is behind.
				t.Partitions = max(t.Partitions, known.Partitions)
			}
		}
		topics = append(topics, t)
	}
	if !slices.Equal(topics, c.topics) {
		c.write(TopicsRecord{Topics: topics})
		c.dirty = true
	}
}

// target raises the group epoch and computes a target for it, in one batch.
func (c *Coordinator) target() {
	if c.epoch == math.MaxInt32 {
		return // two thousand million changes: better no new assignment than a wrong epoch
	}
	c.write(EpochRecord{Epoch: c.epoch + 1, Changed: c.now.UnixMilli()})
	subscribers := make([]Subscriber, 0, len(c.order))
	for _, id := range c.order {
		m := c.members[id]
		subscribers = append(subscribers, Subscriber{Member: id, Rack: m.record.Rack, Topics: m.record.Topics, Target: m.target})
	}
	targets, ok := assign(c.cfg.Assignor, subscribers, c.topics)
	if !ok {
		targets = keep(subscribers, c.topics)
	}
	for i, id := range c.order {
		if !slices.Equal(targets[i], c.members[id].target) {
			c.write(TargetRecord{Member: id, Partitions: targets[i]})
		}
	}
	c.write(TargetEpochRecord{Epoch: c.epoch})
}

// settle brings the members that wait as far as they can come, and answers those
// who have news. One that lets go of something may be what another waits for.
func (c *Coordinator) settle() {
	for freed := true; freed; {
		freed = false
		for _, id := range c.order {
			if m := c.members[id]; m.parked != nil && m.parked.confirmed && c.reconcile(m) {
				freed = true
			}
		}
	}
	for _, id := range c.order {
		if m := c.members[id]; m.parked != nil && m.parked.version != m.current.Version {
			c.unpark(m, c.answer(m, m.parked.version))
		}
	}
}

func (c *Coordinator) tick() {
	for _, id := range slices.Clone(c.order) {
		m := c.members[id]
		switch {
		case !c.now.Before(m.deadline), !m.revokeBy.IsZero() && !c.now.Before(m.revokeBy):
			c.remove(m)
		case m.parked != nil && !c.now.Before(m.parked.until):
			c.unpark(m, c.answer(m, m.parked.version))
		}
	}
	c.expire()
}

// expire drops what nobody has asked for in a long time.
func (c *Coordinator) expire() {
	if len(c.members) > 0 {
		return
	}
	due, next := c.commits.Expired(c.now, time.UnixMilli(c.changed), c.cfg.Retention)
	for _, k := range due {
		c.write(CommitRecord{Partition: k.Partition})
	}
	if !next.IsZero() || c.epoch == 0 || c.now.Before(time.UnixMilli(c.changed).Add(c.cfg.Retention)) {
		return
	}
	c.write(TopicsRecord{Gone: true})
	c.write(TargetEpochRecord{Gone: true})
	c.write(EpochRecord{Gone: true})
}

func (c *Coordinator) wake() time.Time {
	var at time.Time
	for _, id := range c.order {
		m := c.members[id]
		at = earlier(at, m.deadline)
		at = earlier(at, m.revokeBy)
		if m.parked != nil {
			at = earlier(at, m.parked.until)
		}
	}
	if len(c.members) > 0 {
		return at
	}
	_, next := c.commits.Expired(c.now, time.UnixMilli(c.changed), c.cfg.Retention)
	if next.IsZero() && c.epoch > 0 {
		next = time.UnixMilli(c.changed).Add(c.cfg.Retention)
	}
	return next
}

func (c *Coordinator) forget(token uint64) {
	for _, m := range c.members {
		if m.parked != nil && m.parked.token == token {
			m.parked = nil
		}
	}
}

// commit takes a commit of a member for what it holds, or of anybody for a group
// without members. A member may be a few epochs ahead of the commit, if it has held the
// partition since then (KIP-1251).
func (c *Coordinator) commit(token uint64, r *offsets.CommitRequest) {
	m, code := c.committer(r)
	if code != partition.OK {
		c.reply(token, offsets.CommitResponse{Code: code})
		return
	}
	codes := make([]partition.Code, 0, len(r.Partitions))
	for _, p := range r.Partitions {
		code := partition.OK
		switch {
		case p.Offset < 0 || p.ID.Partition < 0 || len(p.Metadata) > offsets.MaxMetadata:
			code = partition.Malformed
		case m != nil && !m.mayCommit(p.ID, r.MemberEpoch):
			code = partition.StaleMember
		default:
			c.write(CommitRecord{Partition: p.ID, Commit: &offsets.Commit{
				Offset: p.Offset, Epoch: p.Epoch, Metadata: p.Metadata, Timestamp: c.now.UnixMilli(),
			}})
		}
		codes = append(codes, code)
	}
	c.reply(token, offsets.CommitResponse{Partitions: codes})
}

// committer returns the member that a commit comes from; nil: from outside.
func (c *Coordinator) committer(r *offsets.CommitRequest) (*member, partition.Code) {
	if r.MemberEpoch <= offsets.NoMember {
		if len(c.members) > 0 {
			return nil, partition.GroupNotEmpty
		}
		return nil, partition.OK
	}
	m := c.members[r.Member]
	if m == nil {
		return nil, partition.UnknownMember
	}
	if r.Sequence != 0 && r.MemberEpoch <= m.current.Epoch {
		if r.Sequence <= m.commitSequence {
			return nil, partition.TimedOut
		}
		m.commitSequence = r.Sequence
	}
	return m, partition.OK
}
