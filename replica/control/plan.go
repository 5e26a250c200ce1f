package control

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/samsalog/samsa/partition"
)

// A plan gathers the records of one entry. Each broker, partition and topic name
// is changed at most once in it, so that every record is computed from applied
// state; the standing of brokers alone is foreseen, because the entry says it
// before it says what follows from it.
type plan struct {
	c       *Controller
	out     *Output
	records []partition.Record
	size    int

	brokers  map[partition.BrokerID]standing   // those that the entry changes, as it leaves them
	touched  map[partition.ID]*partition.State // partitions that the entry changes; nil: by a registration
	names    map[string]bool                   // topics that the entry makes, in lower case
	altered  map[partition.UUID]bool           // topics that the entry changes otherwise
	dirty    []partition.ID                    // what must be looked at again if the entry is dropped
	requests []request                         // that have records in the entry
	events   []foreseen
}

// A standing is whether a broker may lead and stand in an ISR.
type standing struct{ fenced, stopping, full bool }

// A foreseen event is one to be told if a record of the entry is not skipped.
type foreseen struct {
	record int
	Event
}

// plan answers what can be answered, and proposes the next entry if none is under way.
func (c *Controller) plan(now time.Time, out *Output) {
	if c.flight != nil || now.Before(c.stalled) {
		return
	}
	c.stalled = time.Time{}
	if !c.look && len(c.waiting) == 0 && len(c.condemned) == 0 && len(c.dirty) == 0 {
		return
	}
	c.look = false
	p := &plan{
		c:       c,
		out:     out,
		brokers: make(map[partition.BrokerID]standing),
		touched: make(map[partition.ID]*partition.State),
		names:   make(map[string]bool),
		altered: make(map[partition.UUID]bool),
	}
	p.fence()
	// Brokers first: what the others ask for depends on who is there.
	p.serve(func(r request) bool { return r.ofBroker() })
	p.serve(func(r request) bool { return !r.ofBroker() })
	p.settle()
	p.raise()
	if len(p.records) == 0 {
		return
	}
	out.Propose = p.records
	c.flight = &flight{records: len(p.records), dirty: p.dirty, requests: p.requests, events: p.events}
}

// fence carries out the sentences that still stand.
func (p *plan) fence() {
	for _, id := range slices.Sorted(maps.Keys(p.c.condemned)) {
		s := p.c.condemned[id]
		b, ok := p.c.table.Broker(id)
		if !ok || b.Fenced || b.Epoch != s.epoch {
			delete(p.c.condemned, id)
			continue
		}
		p.changeBroker(b, standing{fenced: true, stopping: b.Stopping}, s.why)
	}
}

// serve judges the waiting requests of a kind, in their order.
func (p *plan) serve(kind func(request) bool) {
	p.c.waiting = slices.DeleteFunc(p.c.waiting, func(r request) bool {
		if !kind(r) {
			return false
		}
		had := len(p.records)
		reply, done := r.judge(p)
		if done {
			p.out.Replies = append(p.out.Replies, reply)
		} else if len(p.records) > had {
			p.requests = append(p.requests, r)
		}
		return done
	})
}

// full says that the entry should take no more.
func (p *plan) full() bool { return p.size >= maxEntryBytes }

func (p *plan) add(r partition.Record, size int) {
	p.records = append(p.records, r)
	p.size += size
}

// tell has an event told once the last record has been applied.
func (p *plan) tell(e Event) { p.events = append(p.events, foreseen{len(p.records) - 1, e}) }

// changeBroker gives b another standing.
func (p *plan) changeBroker(b partition.Broker, s standing, why EventKind) {
	p.add(partition.ChangeBroker{ID: b.ID, Epoch: b.Epoch, Fenced: s.fenced, Stopping: s.stopping, Full: s.full}, 16)
	p.brokers[b.ID] = s
	p.c.soil(p.c.table.PartitionsOf(b.ID)...)
	p.tell(Event{Kind: why, Broker: b.ID, Epoch: b.Epoch})
}

// changePartition moves a partition to its next state, in which the members named
// are new in the ISR or elected.
func (p *plan) changePartition(id partition.ID, next partition.State, added []partition.BrokerID) {
	members, ok := p.members(added)
	if !ok {
		return // somebody has gone; the next entry will know
	}
	r := partition.ChangePartition{ID: id, State: next, Members: members}
	p.add(r, 48+4*(len(next.Replicas)+len(next.ISR)+len(next.ELR)+len(next.LastKnownELR))+12*len(members))
	p.touched[id] = &next
	p.dirty = append(p.dirty, id)
	if s, ok := p.c.table.Partition(id); ok {
		p.tellChanges(id, s, &next)
	}
}

// tellChanges has an operator told of what is worth it in a partition's next state.
func (p *plan) tellChanges(id partition.ID, s, next *partition.State) {
	tell := func(kind EventKind, happened bool) {
		if happened {
			p.tell(Event{Kind: kind, Broker: next.Leader, Partition: id})
		}
	}
	left := func(a, b []partition.BrokerID) bool {
		return slices.ContainsFunc(a, func(id partition.BrokerID) bool { return !slices.Contains(b, id) })
	}
	tell(ISRShrunk, slices.ContainsFunc(s.ISR, func(id partition.BrokerID) bool {
		return slices.Contains(next.Replicas, id) && !slices.Contains(next.ISR, id)
	}))
	tell(ISRExpanded, left(next.ISR, s.ISR))
	tell(ReassignBegun, s.Target == nil && next.Target != nil)
	tell(ReassignEnded, s.Target != nil && next.Target == nil)
	tell(LeaderChanged, next.Leader != s.Leader && next.Leader != partition.NoBroker)
	tell(PartitionOffline, next.Leader != s.Leader && next.Leader == partition.NoBroker)
}

// members names the present incarnations of brokers.
func (p *plan) members(ids []partition.BrokerID) ([]partition.Member, bool) {
	var members []partition.Member
	for _, id := range ids {
		b, ok := p.c.table.Broker(id)
		if !ok {
			return nil, false
		}
		members = append(members, partition.Member{ID: id, Epoch: b.Epoch})
	}
	return members, true
}

// changing says that the entry changes the broker.
func (p *plan) changing(id partition.BrokerID) bool {
	_, ok := p.brokers[id]
	return ok
}

// active says whether a broker may lead and stand in an ISR once what the entry
// says of brokers is applied.
func (p *plan) active(id partition.BrokerID) bool {
	s, ok := p.standing(id)
	return ok && !s.fenced && !s.stopping
}

// unfenced says so of one that may be about to stop.
func (p *plan) unfenced(id partition.BrokerID) bool {
	s, ok := p.standing(id)
	return ok && !s.fenced
}

// roomy says that an active broker has room for records.
func (p *plan) roomy(id partition.BrokerID) bool {
	s, ok := p.standing(id)
	return ok && s == standing{}
}

func (p *plan) standing(id partition.BrokerID) (standing, bool) {
	if s, ok := p.brokers[id]; ok {
		return s, true
	}
	b, ok := p.c.table.Broker(id)
	return standing{b.Fenced, b.Stopping, b.Full}, ok
}

// state returns what is known of a partition: its state in the entry, or the
// applied one. It is nil if there is none, or nobody can foresee it.
func (p *plan) state(id partition.ID) *partition.State {
	if s, ok := p.touched[id]; ok {
		return s
	}
	s, _ := p.c.table.Partition(id)
	return s
}

func (p *plan) isTouched(id partition.ID) bool {
	_, ok := p.touched[id]
	return ok
}

// nameTaken says that the entry makes a topic whose name differs by case at most.
func (p *plan) nameTaken(name string) bool { return p.names[strings.ToLower(name)] }
