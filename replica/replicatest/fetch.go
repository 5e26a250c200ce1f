package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A fetcher fetches, from one leader, all the partitions that its process follows it
// in: one hot fetch at a time, one cold one, and acks beside them. Its rules are those of
// a node's fetcher.
type fetcher struct {
	p       *process
	leader  partition.BrokerID
	members []*followed
	hot     lane
	cold    lane
	next    int   // of the hot ones, to come first in the next fetch
	last    int64 // the newest cold fetch that was answered; 0: the next begins anew
	acks    []*copyOf
	acking  bool
	seq     int64
}

// A followed is a copy while it follows the leader in one epoch.
type followed struct {
	c      *copyOf
	pace   replica.Pace
	coming bool       // it is to change to the hot lane
	cools  bool       // nothing but its pace keeps it hot
	start  log.Offset // the leader's, as last told
	kept   bool       // cold: the leader keeps it
	asked  asked      // cold: when it was last named
}

// An asked is a copy's part of a request.
type asked struct {
	turn int // of the copy's requests for records: the answer to the newest counts
	part replica.FetchPartition
}

const (
	fetchBytes     = 16 << 10
	partitionBytes = 2 << 10
	quick          = time.Millisecond
)

func (p *process) follow(c *copyOf, leader partition.BrokerID) {
	var f *fetcher
	for _, o := range p.fetchers {
		if o.leader == leader {
			f = o
		}
	}
	if f == nil {
		f = &fetcher{p: p, leader: leader}
		f.hot.turn, f.cold.turn = f.turnHot, f.turnCold
		p.fetchers = append(p.fetchers, f)
	}
	c.fetcher = f
	m := &followed{c: c}
	m.pace.Enter(c.now(), replica.Hot)
	f.members = append(f.members, m)
	f.hot.parts = append(f.hot.parts, m)
	f.poke(&f.hot)
}

func (f *fetcher) remove(c *copyOf) {
	m := f.member(c)
	if m == nil {
		return
	}
	f.members = without(f.members, m)
	f.acks = without(f.acks, c)
	l, left := &f.hot, 0
	if m.pace.Lane() == replica.Cold {
		l, left = &f.cold, f.cooled()
	}
	l.parts = without(l.parts, m)
	if left+len(l.parts) == 0 {
		f.poke(l) // it has nothing to wait for
	}
}

func (f *fetcher) member(c *copyOf) *followed {
	if i := slices.IndexFunc(f.members, func(m *followed) bool { return m.c == c }); i >= 0 {
		return f.members[i]
	}
	return nil
}

func (f *fetcher) has(m *followed) bool { return slices.Contains(f.members, m) }

// cooled counts the members of the cold lane.
func (f *fetcher) cooled() (n int) {
	for _, m := range f.members {
		n += b2i(m.pace.Lane() == replica.Cold)
	}
	return n
}

func without[T comparable](list []T, gone T) []T {
	return slices.DeleteFunc(list, func(o T) bool { return o == gone })
}

// ask puts a request together from what members want to be fetched now.
func (f *fetcher) ask(members []*followed) (req replica.FetchRequest, named []*followed, parts []asked) {
	var said []replica.FetchPartition
	for _, m := range members {
		c := m.c
		m.cools = false
		if c.follower == nil || c.state.Leader != f.leader {
			continue
		}
		if part, ok := c.follower.Request(c.now(), f.p.w.setup.share); ok {
			c.asked++
			m.cools = c.follower.MayCool(c.now()) && c.log.Start() >= m.start
			named, parts = append(named, m), append(parts, asked{c.asked, part})
			said = append(said, part)
		}
	}
	req = f.number(said)
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = int32(fetchWait/time.Millisecond), 1, fetchBytes
	return req, named, parts
}

// number makes a request the newest.
func (f *fetcher) number(parts []replica.FetchPartition) replica.FetchRequest {
	f.seq++
	return replica.FetchRequest{From: f.p.id, BrokerEpoch: f.p.epoch, Sequence: f.seq, Partitions: parts}
}

// A fetchAnswer is a fetch response with its data.
type fetchAnswer struct {
	resp replica.FetchResponse
	data [][]byte
}

func (a *fetchAnswer) dataOf(i int) []byte {
	if len(a.data) == 0 {
		return nil
	}
	return a.data[i]
}

// send sends one fetch; done gets nil if nothing of use came back.
func (f *fetcher) send(req replica.FetchRequest, limit time.Duration, done func(*fetchAnswer)) *call {
	return f.p.w.call(f.p.b, f.leader, "serve", disk, limit, func(q *process, answer func(any)) {
		q.serveFetch(req, func(a *fetchAnswer) { answer(a) })
	}, func(v any, err error) {
		a, ok := v.(*fetchAnswer)
		if err != nil || !ok || a.resp.Code != partition.OK || a.resp.Lost {
			a = nil
		}
		done(a)
	})
}

// news reports whether a copy has to be handed an answer.
func (c *copyOf) news(a *replica.FetchAnswer, data []byte) bool {
	return a.Code != partition.OK || a.Diverging || len(data) > 0 || a.HighWatermark != c.high || a.Start != c.log.Start()
}

// hand gives a copy the leader's answer.
func (c *copyOf) hand(q asked, a replica.FetchAnswer, data []byte) {
	if c.follower == nil || c.asked != q.turn || c.p.dead {
		return
	}
	in := replica.Answered{Request: q.part, Answer: a, Data: data, OwnEpoch: log.NoEpoch}
	if a.Diverging {
		in.OwnEpoch, in.OwnEnd, in.OwnKnown = c.log.EndOf(a.DivergingEpoch)
	}
	c.step(in)
	c.settle()
}

// ack tells the leader, beside the fetches under way, how far c is flushed.
func (f *fetcher) ack(c *copyOf) {
	if !slices.Contains(f.acks, c) {
		f.acks = append(f.acks, c)
	}
	if !f.acking {
		f.acking = true
		f.p.w.at(0, f.p.b, disk, "acks", f.sendAcks)
	}
}

func (f *fetcher) sendAcks() {
	list := f.acks
	f.acks = nil
	if f.acking = len(list) > 0; !f.acking {
		return
	}
	var named []*copyOf
	var parts []replica.FetchPartition
	for _, c := range list {
		if c.follower == nil || c.state.Leader != f.leader {
			continue
		}
		if part, ok := c.follower.Request(c.now(), 0); ok {
			named, parts = append(named, c), append(parts, part)
		}
	}
	req := f.number(parts)
	if len(named) == 0 || req.BrokerEpoch == 0 {
		f.sendAcks()
		return
	}
	f.send(req, callTime, func(got *fetchAnswer) {
		for i, c := range named {
			// Where it did no good a fetch has to say the same.
			if got == nil || got.resp.Partitions[i].Code != partition.OK || got.resp.Partitions[i].Diverging {
				f.heat(c)
			}
		}
		f.sendAcks()
	})
}
