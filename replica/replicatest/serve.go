package replicatest

import (
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// serveFetch answers a follower's fetch.
func (p *process) serveFetch(req replica.FetchRequest, answer func(*fetchAnswer)) {
	if b, ok := p.table.Broker(req.From); ok && req.BrokerEpoch < b.Epoch {
		answer(&fetchAnswer{resp: replica.FetchResponse{Code: partition.StaleBroker}})
		return
	}
	var k *coldSet
	if req.Cold {
		if k = p.nextCold(req); k == nil {
			answer(lostFetch())
			return
		}
	}
	// It waits, for a moment, for the roles that the follower has heard of before.
	p.await(newsPatience, func(last bool) bool {
		for _, part := range req.Partitions {
			if c := p.copy(part.ID); (c == nil || c.role.epoch < part.Epoch) && !last {
				return false
			}
		}
		p.w.at(0, p.b, disk, "fetches", func() {
			if k != nil {
				p.serveCold(k, req, answer)
				return
			}
			p.fetches(req, answer)
		})
		return true
	})
}

func (p *process) fetches(req replica.FetchRequest, answer func(*fetchAnswer)) {
	s := &serving{p: p, limit: time.Duration(req.MaxWaitMs) * time.Millisecond, Serving: replica.Serving{
		Follower: req.From, Number: req.Number(), Budget: int(req.MaxBytes), Least: int(req.MinBytes),
	}}
	s.answer = func() { answer(s.fetchAnswer()) }
	ackOnly := true
	for _, part := range req.Partitions {
		s.parts = append(s.parts, p.fetched(req, part))
		ackOnly = ackOnly && part.MaxBytes == 0
	}
	if ackOnly {
		s.end()
		return
	}
	s.begin()
}

// fetched hands one partition's part of a fetch to its leader machine.
func (p *process) fetched(req replica.FetchRequest, part replica.FetchPartition) served {
	s := served{Served: replica.ServeFetch(&part, partition.UnknownPartition), c: p.copy(part.ID), epoch: part.Epoch}
	c := s.c
	if c == nil {
		return s
	}
	s.Answer.Code = partition.NotLeader
	switch {
	case c.state == nil:
	case c.leader == nil:
		s.Answer = replica.NotLeading(c.state.Epoch, part)
	default:
		e, end, known := c.log.EndOf(part.LastEpoch)
		v := c.step(replica.Fetched{
			From: req.From, BrokerEpoch: req.BrokerEpoch, Sequence: req.Sequence, Partition: part,
			LogEpoch: e, LogEnd: end, Known: known, LogStart: c.log.Start(),
		}).Fetch
		c.settle()
		if v == nil {
			return s
		}
		s.Judge(v)
		switch v.Code {
		case partition.FencedEpoch, partition.UnknownEpoch, partition.StaleBroker:
		default:
			p.w.watch.hears(c, req.From, req.Number())
		}
		if v.Code == partition.OK && !v.Diverging && !v.Stale {
			p.w.watch.compared(c, req.From)
		}
		if part.MaxBytes != 0 && (v.Read || v.Diverging) {
			c.unparkOlder(req.From, req.Number())
		}
	}
	return s
}

// A served is one partition of a request that is being answered.
type served struct {
	replica.Served
	c     *copyOf
	epoch log.Epoch
}

// leads reports whether the copy is still in the role in which it was asked.
func (p *served) leads() bool { return p.view().Leads }

func (p *served) view() replica.View { return p.c.view(p.epoch) }

// view is what the copy says of itself, in the leader epoch in which it was asked.
func (c *copyOf) view(in log.Epoch) replica.View {
	return replica.View{Leads: c.role.leads && c.role.epoch == in, Start: c.log.Start(), High: c.high, End: c.log.End()}
}

// A serving is one request of a follower, or of a reader, under way.
type serving struct {
	replica.Serving
	p       *process
	parts   []served
	limit   time.Duration
	data    [][]byte
	entries []*parked
	ringing bool
	hurry   bool // the wait ends within a lull
	over    bool
	answer  func()
}

// begin gathers what there is, and parks while that is not enough.
func (s *serving) begin() {
	if s.gather(false) || s.limit <= 0 {
		s.end()
		return
	}
	s.until(s.limit)
	for i := range s.parts {
		if s.parts[i].News {
			s.soon()
		}
	}
	s.park()
}

// until has the wait end.
func (s *serving) until(limit time.Duration) {
	s.p.w.atUnless(&s.over, limit, s.p.b, disk, "wait over", func() {
		s.gather(true)
		s.end()
	})
}

// soon has the wait end within a lull.
func (s *serving) soon() {
	if !s.hurry {
		s.hurry = true
		s.until(replica.Lull)
	}
}

// ring wakes a parked request, once for all that has come.
func (s *serving) ring() {
	if s.ringing || s.over {
		return
	}
	s.ringing = true
	s.p.w.at(0, s.p.b, disk, "woken", func() {
		s.ringing = false
		switch {
		case s.over:
		case s.gather(true):
			s.end()
		default:
			s.park()
		}
	})
}

func (s *serving) end() {
	if s.over {
		return
	}
	s.over = true
	s.unpark()
	s.answer()
}

// gather reads what the asker may have, and reports whether that is to be told now.
func (s *serving) gather(again bool) bool {
	s.data = make([][]byte, len(s.parts))
	s.Begin()
	for i := range s.parts {
		p := &s.parts[i]
		if again && p.c != nil {
			s.Refresh(&p.Served, p.view())
		}
		upTo, limit, ok := s.Next(&p.Served)
		if !ok {
			continue
		}
		b, err := p.c.log.Read(p.From, upTo, limit)
		if err != nil {
			s.p.w.watch.unreadable(p.c, p.From, err)
			s.Fail(&p.Served, p.readFault(err))
		} else if s.Take(&p.Served, len(b), p.leads(), p.c.log.RemovedBelow()) {
			s.data[i] = b
		}
	}
	return s.Enough()
}

// readFault notes that a read has failed, and returns what the asker is told.
func (p *served) readFault(err error) partition.Code {
	if !p.leads() {
		return partition.NotLeader
	}
	return p.c.readFault(err)
}

func (s *serving) park() {
	s.unpark()
	for i := range s.parts {
		p := &s.parts[i]
		at, ok := s.Parked(&p.Served)
		if !ok {
			continue
		}
		e := &parked{s: s, c: p.c, epoch: p.epoch, Parked: at}
		s.entries = append(s.entries, e)
		p.c.park(e)
	}
}

func (s *serving) unpark() {
	for _, e := range s.entries {
		e.c.unpark(e)
	}
	s.entries = nil
}

func (s *serving) fetchAnswer() *fetchAnswer {
	a := &fetchAnswer{data: s.data}
	for i := range s.parts {
		a.resp.Partitions = append(a.resp.Partitions, s.parts[i].Answer)
	}
	return a
}
