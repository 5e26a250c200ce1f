package replicatest

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// An election may give records up in two ways: unclean, when an operator has asked for it
// and nobody who is complete could lead; or balanced, when all who were the last to be
// complete have compared what they have, and the power took the same from each of them.

// An ask is one request for an unclean election that a controller has got.
type ask struct{ of partition.ID }

// asks sees a controller be asked for an unclean election. One may come of it, until it is
// answered for certain.
func (o *observer) asks(id partition.ID, answer func(any)) func(any) {
	one := &ask{id}
	o.asked[id] = append(o.asked[id], one)
	return func(v any) {
		if r, ok := v.(partition.ChangeResponse); ok && r.Code != partition.NotController && r.Code != partition.NotAttempted {
			o.asked[id] = slices.DeleteFunc(o.asked[id], func(a *ask) bool { return a == one })
		}
		answer(v)
	}
}

// elected looks at an election.
func (o *observer) elected(id partition.ID, p *part, old, st *partition.State, active map[partition.BrokerID]bool) {
	m := o.w.broker(st.Leader).mirrors[id] // nil: its disk was replaced, and nobody can know
	switch {
	case o.unclean(id, old, st):
		o.uncleanly(id, p, old, st, active)
	case len(candidatesOf(old)) > 0:
		return
	default:
		o.byBallot(id, p, old, st)
		if p.synced || m == nil || m.matchedTo() >= p.hw {
			return
		}
		o.counts.Balanced++
	}
	p.since = st.Epoch
	if m == nil {
		p.giveUp(0)
		return
	}
	to := m.matchedTo()
	if p.synced {
		to = min(to, m.flushed)
	}
	p.giveUp(min(to, p.hw))
	p.doubt(m)
	p.hw = max(p.hw, m.start) // what lies below is not missed, though it may have been given up before
	m.lineage = p.lineage
}

// uncleanly looks at an unclean election: each must have been asked for, where nobody who
// is complete was there (I2).
func (o *observer) uncleanly(id partition.ID, p *part, old, st *partition.State, active map[partition.BrokerID]bool) {
	o.counts.Unclean++
	candidates := candidatesOf(old)
	if slices.ContainsFunc(candidates, func(b partition.BrokerID) bool { return active[b] }) {
		o.w.fail("I2", "broker %d is elected for %s, incomplete as it may be, where one of %v could lead", st.Leader, p.name, candidates)
	}
	if len(o.asked[id]) == 0 {
		o.w.fail("I2", "broker %d is elected for %s, incomplete as it may be, and nobody has asked for that", st.Leader, p.name)
		return
	}
	o.asked[id] = o.asked[id][1:]
}

// byBallot looks at an election that the controller has come to by itself, where nobody is
// known to be complete: all who were the last that were must be there, none of them damaged,
// and none may have more than who is elected (I2).
func (o *observer) byBallot(id partition.ID, p *part, old, st *partition.State) {
	if !slices.Contains(old.LastKnownELR, st.Leader) {
		o.w.fail("I2", "broker %d is elected for %s by a ballot among %v", st.Leader, p.name, old.LastKnownELR)
	}
	best := o.w.broker(st.Leader).mirrors[id]
	active := o.active() // the last of them may have come in the same entry
	for _, b := range old.LastKnownELR {
		m := o.w.broker(b).mirrors[id]
		switch {
		case !active[b]:
			o.w.fail("I2", "broker %d is elected for %s by a ballot, and broker %d, which was asked too, is not there", st.Leader, p.name, b)
		case m == nil || best == nil || m.lost:
		case m.damaged:
			o.w.fail("I2", "broker %d is elected for %s by a ballot, and the copy of broker %d, which was asked too, is damaged", st.Leader, p.name, b)
		case m.matchedTo() > best.matchedTo():
			o.w.fail("I2", "broker %d is elected for %s by a ballot, with what is committed up to %d; broker %d has it up to %d",
				st.Leader, p.name, best.matchedTo(), b, m.matchedTo())
		}
	}
}

// unclean reports whether a leader was elected that nobody knows to be complete. While the
// one before such a leader has not said that it leads, a ballot may follow that nobody had
// to ask for.
func (o *observer) unclean(id partition.ID, old, st *partition.State) bool {
	elected := st.Recovering && st.Leader != partition.NoBroker && st.Leader != old.Leader && !slices.Contains(candidatesOf(old), st.Leader)
	return elected && !(old.Recovering && len(candidatesOf(old)) == 0 && len(o.asked[id]) == 0)
}

// candidatesOf are those who may be elected.
func candidatesOf(st *partition.State) []partition.BrokerID {
	if len(st.ISR) == 0 {
		return st.ELR
	}
	return st.ISR
}

// active is who may lead, as the table has it.
func (o *observer) active() map[partition.BrokerID]bool {
	active := make(map[partition.BrokerID]bool)
	for _, b := range o.table.Brokers() {
		active[b.ID] = !b.Fenced && !b.Stopping
	}
	return active
}

// giveUp ends a lineage: what is behind to is not committed any more.
func (p *part) giveUp(to log.Offset) {
	p.w.note("given up", 0, int64(to), int64(p.hw))
	p.lineage++
	if p.compacts {
		p.former = append(p.former, slices.Clone(p.committed))
	}
	for len(p.committed) > 0 && p.committed[len(p.committed)-1].next > to {
		n := len(p.committed) - 1
		delete(p.sums, p.committed[n].sum)
		p.committed = p.committed[:n]
	}
	if p.compacts {
		p.rebuild(to)
	}
	p.deleted = 0 // who was elected may have it yet
	p.hw, p.acked, p.read = to, min(p.acked, to), min(p.read, to)
	for _, b := range p.w.brokers {
		for _, m := range b.mirrors {
			if m.part == p {
				m.matched = 0
			}
		}
		if b.p != nil {
			for _, c := range b.p.copies {
				if c.mirror != nil && c.mirror.part == p {
					p.w.watch.touch(c)
				}
			}
		}
	}
}
