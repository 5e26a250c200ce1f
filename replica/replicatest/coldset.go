package replicatest

import (
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A coldSet is what a process keeps for the cold fetches of one follower: an entry at each
// partition that is named in none of them again until there is news of it.
type coldSet struct {
	p        *process
	follower partition.BrokerID
	kept     *replica.ColdSet[*parked]
	waiting  func(there bool) // the fetch under way
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
	s := &serving{p: p, Serving: replica.Serving{Follower: req.From, Number: req.Number(), Budget: int(req.MaxBytes)}}
	for _, part := range req.Partitions {
		if at := p.fetched(req, part); at.Settled() || !at.Read {
			s.parts = append(s.parts, at)
		} else {
			k.keep(s.Number, at, part)
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
func (k *coldSet) keep(at replica.FetchNumber, s served, part replica.FetchPartition) {
	e := &parked{
		set: k, c: s.c, epoch: s.epoch, cold: &part,
		Parked: replica.Parked{
			Follower: k.follower, Number: at, High: part.HighWatermark, End: part.Fetch, Cold: true, Start: part.Start,
		},
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
	if !k.kept.Ring(e.cold.ID, e) {
		return
	}
	if end := k.waiting; end != nil {
		k.p.w.at(0, k.p.b, disk, "woken", func() { end(!k.kept.Gone()) })
	}
}

// leave forgets a partition that another request asks for.
func (k *coldSet) leave(e *parked) {
	k.kept.Leave(e.cold.ID, e)
}

// take returns the partitions of which there is news, and keeps them no more.
func (k *coldSet) take() (list []served) {
	for _, e := range k.kept.Take() {
		e.c.unpark(e)
		list = append(list, served{c: e.c, epoch: e.epoch, Served: replica.ServeCold(e.cold, &e.Parked)})
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
