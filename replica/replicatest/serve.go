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
	s := &serving{p: p, follower: req.From, number: req.Number(), budget: int(req.MaxBytes), least: int(req.MinBytes), limit: time.Duration(req.MaxWaitMs) * time.Millisecond}
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
	s := served{from: part.Fetch, max: int(part.MaxBytes), epoch: part.Epoch, removed: part.Removed, answer: replica.FetchAnswer{ID: part.ID, Code: partition.UnknownPartition}}
	c := p.copy(part.ID)
	if c == nil {
		return s
	}
	s.c = c
	s.answer.Code = partition.NotLeader
	switch {
	case c.state == nil:
	case c.leader == nil:
		s.answer = replica.NotLeading(c.state.Epoch, part)
	default:
		e, end, known := c.log.EndOf(part.LastEpoch)
		v := c.step(replica.Fetched{
			From: req.From, BrokerEpoch: req.BrokerEpoch, Sequence: req.Sequence, Partition: part,
			LogEpoch: e, LogEnd: end, Known: known,
		}).Fetch
		c.settle()
		if v == nil {
			return s
		}
		s.answer = v.Answer(c.id)
		switch v.Code {
		case partition.FencedEpoch, partition.UnknownEpoch, partition.StaleBroker:
		default:
			p.w.watch.hears(c, req.From, req.Number())
		}
		if v.Code == partition.OK && !v.Diverging && !v.Stale {
			p.w.watch.compared(c, req.From)
		}
		s.read, s.stale, s.news = v.Read && part.MaxBytes > 0, v.Stale, v.News
		if part.MaxBytes != 0 && (v.Read || v.Diverging) {
			c.unparkOlder(req.From, req.Number())
		}
	}
	return s
}

// A served is one partition of a request that is being answered.
type served struct {
	c           *copyOf
	epoch       log.Epoch
	from        log.Offset
	max         int
	removed     log.Offset // below which tombstones may be missing from a follower's log
	read        bool
	stale, news bool
	answer      replica.FetchAnswer
}

func (s *served) settled() bool {
	return s.answer.Code != partition.OK || s.answer.Diverging || s.stale
}

// A serving is one request of a follower, or of a reader, under way.
type serving struct {
	p        *process
	follower partition.BrokerID  // NoBroker: a reader
	number   replica.FetchNumber // a follower's
	parts    []served
	budget   int
	least    int
	limit    time.Duration
	data     [][]byte
	entries  []*parked
	ringing  bool
	hurry    bool // the wait ends within a lull
	over     bool
	answer   func()
}

// begin gathers what there is, and parks while that is nothing.
func (s *serving) begin() {
	s.least = min(max(s.least, 1), max(s.budget, 1))
	if s.gather(false) || s.limit <= 0 {
		s.end()
		return
	}
	s.until(s.limit)
	for i := range s.parts {
		if s.parts[i].news {
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

// gather reads what the asker may have. It reports whether that is enough to answer.
func (s *serving) gather(again bool) bool {
	s.data = make([][]byte, len(s.parts))
	bytes, told := 0, false
	for i := range s.parts {
		p := &s.parts[i]
		if again && p.c != nil && !p.settled() {
			told = s.refresh(p) || told
		}
		told = told || p.settled()
		if p.settled() || !p.read || bytes >= s.budget && bytes > 0 {
			continue
		}
		upTo := p.answer.End
		if s.follower == partition.NoBroker {
			upTo = p.answer.HighWatermark
		}
		if p.from >= upTo {
			continue
		}
		b, err := p.c.log.Read(p.from, upTo, min(p.max, max(s.budget-bytes, 1)))
		if err != nil {
			s.p.w.watch.unreadable(p.c, p.from, err)
			if r := p.c.role; !r.leads || r.epoch != p.epoch {
				p.answer.Code = partition.NotLeader
			} else {
				p.answer.Code = p.c.readFault(err)
			}
			told = true
			continue
		}
		if removed := p.c.log.RemovedBelow(); s.follower != partition.NoBroker && replica.TombstonesGone(p.from, p.removed, removed) {
			p.answer.Code, p.answer.Removed = partition.SnapshotRequired, removed
			told = true
			continue
		}
		s.data[i] = b
		bytes += len(b)
	}
	return told || bytes >= s.least
}

// refresh takes the snapshots anew, before the read.
func (s *serving) refresh(p *served) bool {
	if r := p.c.role; !r.leads || r.epoch != p.epoch {
		p.answer.Code = partition.NotLeader
		return true
	}
	moved := p.c.high > p.answer.HighWatermark || p.c.log.Start() > p.answer.Start
	p.answer.HighWatermark, p.answer.End, p.answer.Start = p.c.high, p.c.log.End(), p.c.log.Start()
	return moved && s.follower != partition.NoBroker
}

func (s *serving) park() {
	s.unpark()
	for i := range s.parts {
		p := &s.parts[i]
		if p.c == nil || p.settled() || !p.read {
			continue
		}
		e := &parked{s: s, c: p.c, epoch: p.epoch, Parked: replica.Parked{
			Follower: s.follower, Number: s.number, High: p.answer.HighWatermark, End: p.answer.End, Start: p.answer.Start,
		}}
		if s.follower == partition.NoBroker {
			e.High = max(e.High, p.from)
		} else {
			e.End = max(e.End, p.from)
		}
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
		a.resp.Partitions = append(a.resp.Partitions, s.parts[i].answer)
	}
	return a
}
