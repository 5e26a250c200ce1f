package control

import (
	"maps"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

func offsetOf(e partition.BrokerEpoch) log.Offset { return log.Offset(e) }

// settle looks at the dirty partitions, in a fixed order, as far as the entry has room.
func (p *plan) settle() {
	for _, id := range slices.SortedFunc(maps.Keys(p.c.dirty), partition.ID.Compare) {
		if p.full() {
			return
		}
		delete(p.c.dirty, id)
		if p.isTouched(id) {
			continue // it will be dirty again when the entry is applied, or dropped
		}
		if s, ok := p.c.table.Partition(id); ok {
			p.repair(id, s)
		} else {
			delete(p.c.ballots, id)
		}
	}
}

// stands reports whether a broker leads anything, or is in an ISR.
func (c *Controller) stands(b partition.BrokerID) bool {
	for _, s := range c.table.All() {
		if s.Leader == b || slices.Contains(s.ISR, b) {
			return true
		}
	}
	return false
}

// repair takes inactive brokers out of the ISR and elects a leader where one is
// missing or has gone (rules C1 to C3).
func (p *plan) repair(id partition.ID, s *partition.State) {
	isr := p.fit(id, s)
	if mutate.On("no rescan") {
		isr = s.ISR
	}
	if p.change(id, s, partition.Change{ISR: isr}) {
		return
	}
	b := p.c.ballots[id]
	if b != nil && b.by != nil && b.epoch == s.PartitionEpoch {
		return // an operator's request sees to it
	}
	if s.Leader != partition.NoBroker || len(s.ISR) > 0 || len(s.ELR) > 0 || len(s.LastKnownELR) == 0 {
		delete(p.c.ballots, id)
		return
	}
	if b == nil || b.epoch != s.PartitionEpoch {
		b = newBallot(s, s.LastKnownELR)
		p.c.ballots[id] = b
	}
	winner, ok := b.winner(p, s)
	if !ok {
		return
	}
	p.change(id, s, partition.Change{ISR: []partition.BrokerID{winner}, Balanced: true})
	p.tell(Event{Kind: BalancedElection, Broker: winner, Partition: id})
}

// fit returns the members of a partition's ISR that may stay in it: those that are
// active and, if MinISR are left, have room. One that is about to stop stays where
// nobody else is, until it goes.
func (p *plan) fit(id partition.ID, s *partition.State) []partition.BrokerID {
	if free := those(s.ISR, p.roomy); len(free) >= max(1, min(p.minISR(id), len(s.Replicas))) {
		return free
	}
	if active := those(s.ISR, p.active); len(active) > 0 {
		return active
	}
	return those(s.ISR, p.unfenced)
}

// able returns who may lead a partition of that ISR: those with room if there are any,
// else those that are active, and in the ISR itself else those about to stop.
func (p *plan) able(s *partition.State, isr []partition.BrokerID) func(partition.BrokerID) bool {
	complete := isr
	if len(isr) == 0 {
		complete = slices.Concat(s.ISR, s.ELR)
	}
	switch {
	case slices.ContainsFunc(complete, p.roomy):
		return p.roomy
	case len(isr) == 0, slices.ContainsFunc(isr, p.active):
		return p.active
	}
	return p.unfenced
}

func those(ids []partition.BrokerID, may func(partition.BrokerID) bool) []partition.BrokerID {
	return slices.DeleteFunc(slices.Clone(ids), func(b partition.BrokerID) bool { return !may(b) })
}

// change carries out c, with all that follows for reassignment, ELR and leader. It
// reports whether there is anything to change. MinISR and Active are filled in.
func (p *plan) change(id partition.ID, s *partition.State, c partition.Change) bool {
	next, added := p.foresee(id, s, c)
	if sameButEpoch(next, *s) {
		return false
	}
	p.changePartition(id, next, added)
	return true
}

// foresee returns what change would make of a partition, and whom it would add.
func (p *plan) foresee(id partition.ID, s *partition.State, c partition.Change) (partition.State, []partition.BrokerID) {
	last := *s // without those who are no candidates, however much room they have
	last.ISR = those(s.ISR, func(b partition.BrokerID) bool { return !slices.Contains(c.Discard, b) })
	c.MinISR, c.Active = p.minISR(id), p.able(&last, c.ISR)
	next, added := s.Change(c)
	if next.Leader == partition.NoBroker && len(next.ISR) > 0 {
		c.Active = p.able(s, next.ISR) // a reassignment has taken those that were better
		next, added = s.Change(c)
	}
	return next, added
}

// outdate raises the partition epoch alone, so that a proposal that has been
// refused is refused for good: another sending of it may be on its way, and arrive
// when its members are eligible, but its leader no longer counts them.
func (p *plan) outdate(id partition.ID, s *partition.State) {
	next := *s
	next.PartitionEpoch++
	p.changePartition(id, next, nil)
}

func (p *plan) minISR(id partition.ID) int {
	topic, _ := p.c.table.TopicByID(id.Topic)
	return topic.Config.MinISR
}

// sameButEpoch compares all but the partition epoch.
func sameButEpoch(a, b partition.State) bool {
	return a.Leader == b.Leader && a.Epoch == b.Epoch && a.Recovering == b.Recovering && a.LossyEpoch == b.LossyEpoch &&
		slices.Equal(a.Replicas, b.Replicas) && slices.Equal(a.ISR, b.ISR) &&
		slices.Equal(a.Origin, b.Origin) && slices.Equal(a.Target, b.Target) &&
		slices.Equal(a.ELR, b.ELR) && slices.Equal(a.LastKnownELR, b.LastKnownELR)
}
