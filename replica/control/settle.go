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
	isr := slices.DeleteFunc(slices.Clone(s.ISR), func(b partition.BrokerID) bool { return !p.active(b) && !mutate.On("no rescan") })
	if p.change(id, s, isr, nil) {
		return
	}
	if s.Leader != partition.NoBroker || len(s.ISR) > 0 || len(s.ELR) > 0 || len(s.LastKnownELR) == 0 {
		delete(p.c.ballots, id)
		return
	}
	b := p.c.ballots[id]
	if b == nil || b.epoch != s.PartitionEpoch {
		b = newBallot(s)
		p.c.ballots[id] = b
	}
	winner, ok := b.winner(p, s)
	if !ok {
		return
	}
	next, added := s.Change(partition.Change{
		ISR:      []partition.BrokerID{winner},
		MinISR:   p.minISR(id),
		Active:   p.active,
		Balanced: true,
	})
	p.changePartition(id, next, added)
	p.out.Events = append(p.out.Events, Event{Kind: BalancedElection, Broker: winner, Partition: id})
}

// change moves a partition to an ISR, and to replicas unless they are nil, with
// all that follows for ELR and leader. It reports whether there is anything to change.
func (p *plan) change(id partition.ID, s *partition.State, isr, replicas []partition.BrokerID) bool {
	next, added := s.Change(partition.Change{
		ISR:      isr,
		MinISR:   p.minISR(id),
		Active:   p.active,
		Replicas: replicas,
	})
	if sameButEpoch(next, *s) {
		return false
	}
	p.changePartition(id, next, added)
	return true
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
	return a.Leader == b.Leader && a.Epoch == b.Epoch &&
		slices.Equal(a.Replicas, b.Replicas) && slices.Equal(a.ISR, b.ISR) &&
		slices.Equal(a.ELR, b.ELR) && slices.Equal(a.LastKnownELR, b.LastKnownELR)
}
