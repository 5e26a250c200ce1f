package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A number orders the requests of one follower.
type number struct {
	broker   partition.BrokerEpoch
	sequence int64
}

func numberOf(req replica.FetchRequest) number { return number{req.BrokerEpoch, req.Sequence} }

func (n number) before(m number) bool {
	return n.broker < m.broker || n.broker == m.broker && n.sequence < m.sequence
}

// A coldSet is what a process keeps for the cold fetches of one follower: an entry at each
// partition that is named in none of them again until there is news of it.
type coldSet struct {
	p        *process
	follower partition.BrokerID
	kept     *replica.ColdSet[*parked]
	waiting  func(there bool) // the fetch under way
}

// A coldPart is a partition that is kept for a follower.
type coldPart struct {
	part  replica.FetchPartition
	start log.Offset // that the follower has, or was asked to have
}

// nextCold returns the set that a cold fetch goes on with or begins; nil: it does not come
// after the newest, and changes nothing.
func (p *process) nextCold(req replica.FetchRequest) *coldSet {
	k := p.cold[req.From]
	var kept *replica.ColdSet[*parked]
	if k != nil {
		kept = k.kept
	}
	switch kept.Next(&req) {
	case replica.ColdLost:
		return nil
	case replica.ColdGoesOn:
		return k
	case replica.ColdBegins:
	}
	if k != nil {
		k.drop()
	}
	k = &coldSet{p: p, follower: req.From, kept: replica.NewColdSet[*parked](&req)}
	p.cold[req.From] = k
	return k
}

// serveCold answers a cold fetch whose partitions' roles are known.
func (p *process) serveCold(k *coldSet, req replica.FetchRequest, answer func(*fetchAnswer)) {
	s := &serving{p: p, follower: req.From, number: numberOf(req), budget: int(req.MaxBytes)}
	for _, part := range req.Partitions {
		if at := p.fetched(req, part); at.settled() || !at.read {
			s.parts = append(s.parts, at)
		} else {
			k.keep(s.number, at, part)
		}
	}
	limit := time.Duration(req.MaxWaitMs) * time.Millisecond
	if len(s.parts) > 0 {
		limit = 0
	}
	k.wait(limit, func(there bool) {
		if !there {
			if p.cold[k.follower] == k {
				delete(p.cold, k.follower)
			}
			k.drop()
			answer(lostFetch())
			return
		}
		s.parts = append(s.parts, k.take()...)
		s.gather(true)
		k.kept.Answered(p.w.clock())
		answer(s.fetchAnswer())
	})
}

func lostFetch() *fetchAnswer { return &fetchAnswer{resp: replica.FetchResponse{Lost: true}} }

// keep parks a fetch of one partition until there is news of it.
func (k *coldSet) keep(at number, s served, part replica.FetchPartition) {
	e := &parked{
		set: k, follower: k.follower, number: at, c: s.c, epoch: s.epoch, high: part.HighWatermark, end: part.Fetch,
		cold: &coldPart{part: part, start: part.Start},
	}
	if k.kept.Keep(part.ID, e) {
		e.c.park(e)
	}
}

// wait waits until there is something to tell; false: nobody is there to tell it to.
func (k *coldSet) wait(limit time.Duration, done func(there bool)) {
	if k.kept.Gone() || k.kept.HasNews() || limit <= 0 {
		done(!k.kept.Gone())
		return
	}
	over := false
	k.waiting = func(there bool) {
		if !over {
			over, k.waiting = true, nil
			done(there)
		}
	}
	end := k.waiting
	k.p.w.atUnless(&over, limit, k.p.b, disk, "wait over", func() { end(!k.kept.Gone()) })
}

// ring notes that there is news of a partition.
func (k *coldSet) ring(e *parked) {
	if !k.kept.Ring(e.cold.part.ID, e) {
		return
	}
	if end := k.waiting; end != nil {
		k.p.w.at(0, k.p.b, disk, "woken", func() { end(!k.kept.Gone()) })
	}
}

// leave forgets a partition that another request asks for.
func (k *coldSet) leave(e *parked) {
	k.kept.Leave(e.cold.part.ID, e)
}

// take returns the partitions of which there is news, and keeps them no more.
func (k *coldSet) take() (list []served) {
	for _, e := range k.kept.Take() {
		c := e.cold
		e.c.unpark(e)
		list = append(list, served{
			c: e.c, epoch: e.epoch, from: c.part.Fetch, max: int(c.part.MaxBytes), removed: c.part.Removed, read: true,
			answer: replica.FetchAnswer{ID: c.part.ID, HighWatermark: e.high, Start: c.start, End: e.end},
		})
	}
	return list
}

// drop takes all entries out.
func (k *coldSet) drop() {
	for _, e := range k.kept.Drop() {
		e.c.unpark(e)
	}
	if end := k.waiting; end != nil {
		end(false)
	}
}

// expireCold forgets the sets whose follower has asked for nothing for a session.
func (p *process) expireCold() {
	then := p.w.clock().Add(-session)
	for _, b := range p.w.brokers {
		if k := p.cold[b.id]; k != nil && k.kept.IdleSince(then) {
			delete(p.cold, b.id)
			k.drop()
		}
	}
}

// A parked entry is one request that waits at one partition.
type parked struct {
	s         *serving
	set       *coldSet           // in its place: for a cold fetch
	follower  partition.BrokerID // NoBroker: a reader
	number    number             // of a follower's request
	c         *copyOf
	epoch     log.Epoch
	high, end log.Offset
	cold      *coldPart // with set
}

func (p *parked) ripe() bool {
	if r := p.c.role; !r.leads || r.epoch != p.epoch || p.c.high > p.high {
		return true
	}
	return p.follower != partition.NoBroker && p.c.log.End() > p.end || p.cold != nil && p.c.log.Start() > p.cold.start
}

func (p *parked) ring() {
	if p.set != nil {
		p.set.ring(p)
		return
	}
	p.s.ring()
}

// park leaves an entry until it is ripe. A follower has one at a partition, of its newest
// request.
func (c *copyOf) park(e *parked) {
	if e.follower != partition.NoBroker {
		if slices.ContainsFunc(c.parked, func(q *parked) bool { return q.follower == e.follower && e.number.before(q.number) }) {
			e.leave()
			return
		}
		c.dropParked(func(q *parked) bool { return q.follower == e.follower && q != e })
	}
	c.parked = append(c.parked, e)
	if e.ripe() {
		e.ring()
	}
}

// dropParked takes entries out whose place is another's.
func (c *copyOf) dropParked(gone func(*parked) bool) {
	c.parked = slices.DeleteFunc(c.parked, func(q *parked) bool {
		if gone(q) {
			q.leave()
			return true
		}
		return false
	})
}

func (p *parked) leave() {
	if p.set != nil {
		p.set.leave(p)
	}
}

// unparkOlder takes out what an older request of a follower has left.
func (c *copyOf) unparkOlder(follower partition.BrokerID, than number) {
	c.dropParked(func(q *parked) bool { return q.follower == follower && q.number.before(than) })
}

func (c *copyOf) unpark(e *parked) {
	c.parked = slices.DeleteFunc(c.parked, func(q *parked) bool { return q == e })
}

func (c *copyOf) wakeParked() {
	c.parked = slices.DeleteFunc(c.parked, func(p *parked) bool {
		ripe := p.ripe()
		if ripe {
			p.ring()
		}
		return ripe
	})
}
