package replicatest

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica"
)

// look checks what the last event has changed.
func (o *observer) look() {
	for len(o.touched) > 0 && o.w.err == nil {
		list := o.touched
		o.touched = nil
		for _, c := range list {
			c.touched = false
			o.lookAt(c)
		}
	}
	for i, p := range o.order {
		if p.dirty && o.w.err == nil {
			p.dirty = false
			o.members(o.ids[i], p)
		}
	}
}

// outdated reports whether a copy does not know yet that another history counts since an
// unclean election: what it hears and tells is of the one before, and so is its high
// watermark until it has heard of another.
func (c *copyOf) outdated(p *part) bool {
	return p.since > 0 && c.heard < p.since
}

// lookAt checks one copy (I1, I5, I8), and takes note of what it has committed.
func (o *observer) lookAt(c *copyOf) {
	m := c.mirror
	if c.p.dead || m == nil || c.p.b.mirrors[c.id] != m {
		return
	}
	p := m.part
	p.dirty = !p.gone
	start, end := c.log.Start(), c.log.End()
	m.flushed = c.log.Flushed()
	if m.end() != end || m.start != start {
		o.w.fail("mirror", "broker %d: %s is [%d, %d), and should be [%d, %d)", c.p.id, p.name, start, end, m.start, m.end())
		return
	}
	if start > c.high || c.high > end || c.log.Flushed() > end {
		o.w.fail("I8", "broker %d: %s has start %d, high watermark %d, flushed %d, end %d", c.p.id, p.name, start, c.high, c.log.Flushed(), end)
	}
	switch {
	case c.leader != nil:
		o.sound(c.leader.Check())
	case c.follower != nil:
		o.sound(c.follower.Check())
	}
	if p.gone {
		return
	}
	if m.lineage != p.lineage || c.outdated(p) {
		return // it may be of a history that was given up, until it has been compared
	}
	if c.leader != nil {
		o.lookAtLeader(c, p)
	}
	if c.high > p.hw {
		o.w.fail("I8", "broker %d takes %s for committed up to %d; it is up to %d", c.p.id, p.name, c.high, p.hw)
	}
	if to := m.matchedTo(); to < c.high {
		rule := "I5"
		if c.leader != nil {
			rule = "I1"
		}
		o.w.fail(rule, "broker %d holds %s below its high watermark %d other than committed: %s", c.p.id, p.name, c.high, m.parts())
	}
}

// sound takes what a machine says of itself. Of mistakes that are made on purpose it
// would know too much: those show by what comes of them.
func (o *observer) sound(err error) {
	if err != nil && !mutate.Any() {
		o.w.fail("R", "%v", err)
	}
}

func (o *observer) lookAtLeader(c *copyOf, p *part) {
	high := c.leader.HighWatermark()
	if high < c.led || high != c.high {
		o.w.fail("I8", "broker %d leads %s: its high watermark goes from %d to %d", c.p.id, p.name, c.led, high)
	}
	c.led = high
	if s := c.log.Start(); s > p.start {
		if s > high {
			o.w.fail("I14", "broker %d removes %s up to %d, above the high watermark %d", c.p.id, p.name, s, high)
		}
		p.start = s
	}
	if high <= p.hw {
		return
	}
	m := c.mirror
	if m.start > p.hw {
		o.w.fail("I14", "broker %d leads %s from %d on, and it was committed up to %d", c.p.id, p.name, m.start, p.hw)
		return
	}
	if to := m.matchedTo(); to < p.hw {
		o.w.fail("I1", "broker %d leads %s in epoch %d and commits up to %d without all that was committed up to %d: %s",
			c.p.id, p.name, c.leader.Epoch(), high, p.hw, m.parts())
		return
	}
	o.commit(p, m, high)
}

// commit notes what is committed from now on.
func (o *observer) commit(p *part, m *mirror, high log.Offset) {
	for i := m.matched; i < len(m.marks) && m.marks[i].next <= high; i++ {
		k := m.marks[i]
		if k.next <= p.hw {
			continue
		}
		if at, twice := p.sums[k.sum]; twice {
			o.w.fail("I16", "the batch at %d of %s is also committed at %d", at, p.name, k.first)
		}
		p.sums[k.sum] = k.first
		if op := p.ops[k.sum]; op == nil {
			o.w.fail("I16", "nobody has sent the batch that is committed at %d of %s", k.first, p.name)
		} else if op.outcome == refused {
			o.w.fail("I16", "the batch committed at %d of %s was refused: %v", k.first, p.name, op.code)
		} else if op.committed == 0 {
			op.committed = o.w.now
		}
		p.committed = append(p.committed, k)
		p.hw = k.next
		if p.compacts {
			p.supersede(k)
		}
		o.counts.Committed++
	}
	if p.hw != high {
		o.w.fail("I8", "high watermark %d of %s lies within a batch, behind %d", high, p.name, p.hw)
	}
}

// hears sees a leader hear of a follower, from a fetch that may come late. It must not take
// the follower to hold more than it does (I9), if it has heard of its present life: what an
// earlier one held, or a log that has been cut since, proves nothing by then.
func (o *observer) hears(c *copyOf, from partition.BrokerID, n replica.FetchNumber) {
	if !n.Before(c.newest[from]) {
		c.newest[from] = n
	}
	if st, ok := o.table.Partition(c.id); !ok || st.Epoch != c.leader.Epoch() {
		return // it leads no more, and others have been told so
	}
	b, p := o.w.broker(from), c.mirror.part
	m := b.mirrors[c.id]
	if b.p == nil || b.p.epoch != c.newest[from].Broker || m == nil || m.damaged || m.lineage != p.lineage {
		return
	}
	held := m.end()
	if p.synced {
		held = m.flushed
	}
	for _, f := range c.leader.Followers() {
		if f.ID == from && f.Ack > held {
			o.w.fail("I9", "broker %d leads %s and takes broker %d to hold it up to %d, of which it has heard in its life %d: it holds up to %d, flushed %d",
				c.p.id, p.name, from, f.Ack, b.p.epoch, m.end(), m.flushed)
		}
	}
}

// members checks those who may be elected (I2, I3, I10), and that the leader counts on
// all of them (I4).
func (o *observer) members(id partition.ID, p *part) {
	st, ok := o.table.Partition(id)
	if !ok {
		return
	}
	for _, set := range [][]partition.BrokerID{st.ISR, st.ELR} {
		for _, b := range set {
			if why := o.incomplete(o.w.broker(b), id, p); why != "" {
				o.w.fail(o.ruleOf(b, st), "broker %d may lead %s: %+v, which is committed up to %d: %s", b, p.name, *st, p.hw, why)
				return
			}
		}
	}
	if st.Leader == partition.NoBroker {
		return
	}
	q := o.w.broker(st.Leader).p
	if q == nil {
		return
	}
	c := q.copy(id)
	if c == nil || c.leader == nil || c.leader.Epoch() != st.Epoch || len(c.leader.ISR()) < o.table.MinISR(id) {
		return
	}
	maximal := c.leader.MaximalISR()
	for _, set := range [][]partition.BrokerID{st.ISR, st.ELR} {
		for _, b := range set {
			if !slices.Contains(maximal, b) {
				o.w.fail("I4", "broker %d leads %s and counts on %v; %d may be elected: %+v", st.Leader, p.name, maximal, b, *st)
			}
		}
	}
}

func (o *observer) ruleOf(b partition.BrokerID, st *partition.State) string {
	switch {
	case o.w.broker(b).life > 0 && o.epochs[b] > 0 && st.Leader != b:
		return "I3"
	case st.Leader == b:
		return "I2"
	}
	return "I3"
}

// incomplete says what a broker lacks of what is committed; "" is nothing that counts.
func (o *observer) incomplete(b *broker, id partition.ID, p *part) string {
	m := b.mirrors[id]
	switch {
	case m == nil && p.hw == 0:
		return ""
	case m == nil:
		if at, _ := o.table.Broker(b.id); b.directory == (partition.UUID{}) || b.directory != at.Directory {
			return "" // its disk was replaced; nobody can know before it registers
		}
		return "it has no copy"
	case m.lost:
		return "" // likewise
	case m.damaged:
		return "it is damaged, and that was said when it registered"
	}
	held := m.end()
	if p.synced {
		held = m.flushed
	}
	switch to := m.matchedTo(); {
	case held < p.hw:
		return fmt.Sprintf("it holds up to %d, flushed %d", m.end(), m.flushed)
	case to < p.hw:
		return m.parts()
	}
	return ""
}

// acks sees an acks=all producer be told that all is well (I9).
func (o *observer) acks(c *copyOf, first, end log.Offset) {
	o.lookAt(c)
	p := c.mirror.part
	if o.w.err != nil || p.gone || c.leader != nil && c.leader.Epoch() < p.since {
		return
	}
	if end > p.hw {
		o.w.fail("I9", "broker %d acknowledges %s up to %d; it is committed up to %d", c.p.id, p.name, end, p.hw)
		return
	}
	st, _ := o.table.Partition(c.id)
	holders := 0
	for _, b := range st.Replicas {
		// A disk that was replaced, or broke, may have held it; so may a page cache that the
		// power took before anybody could know.
		at := o.w.broker(b)
		holds := func(m *mirror) bool { return m.matchedTo() >= end && (!p.synced || m.flushed >= end) }
		m := at.mirrors[c.id]
		holders += b2i(m != nil && holds(m) || slices.ContainsFunc(at.former[c.id], func(m *mirror) bool { return m.counts(c) && holds(m) }))
	}
	if holders < o.table.MinISR(c.id) {
		held := ""
		for _, b := range st.Replicas {
			if m := o.w.broker(b).mirrors[c.id]; m != nil {
				held += fmt.Sprintf("; broker %d to %d, flushed %d, alike to %d", b, m.end(), m.flushed, m.matchedTo())
			}
		}
		o.w.fail("I9", "broker %d acknowledges %s from %d to %d; %d copies hold it%s", c.p.id, p.name, first, end, holders, held)
	}
}
