package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A fetcher fetches, from one leader, all the partitions that its process follows it
// in, as replica.Lanes says.
type fetcher struct {
	p      *process
	leader partition.BrokerID
	lanes  *replica.Lanes[*copyOf]
	turns  [replica.Beside + 1]laneTurn
}

const (
	fetchBytes     = 16 << 10
	partitionBytes = 2 << 10
)

// fetcher returns that of a leader.
func (p *process) fetcher(leader partition.BrokerID) *fetcher {
	if i := slices.IndexFunc(p.fetchers, func(f *fetcher) bool { return f.leader == leader }); i >= 0 {
		return p.fetchers[i]
	}
	f := &fetcher{p: p, leader: leader, lanes: replica.NewLanes[*copyOf](replica.LanesConfig{
		Self: p.id, Wait: fetchWait, MaxBytes: fetchBytes, PartitionBytes: p.w.setup.share,
	})}
	p.fetchers = append(p.fetchers, f)
	return f
}

func (p *process) follow(c *copyOf, leader partition.BrokerID) {
	c.fetcher = p.fetcher(leader)
	m, do := c.fetcher.lanes.Follow(c.now(), c.id, c)
	c.followed = m
	c.fetcher.obey(do)
}

func (f *fetcher) remove(c *copyOf) { f.obey(f.lanes.Remove(c.followed)) }

func (f *fetcher) heat(c *copyOf) { f.obey(f.lanes.Heat(c.followed)) }

func (f *fetcher) ack(c *copyOf) { f.obey(f.lanes.Ack(c.followed, f.p.b.volatile())) }

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
		if err != nil || !ok || a.resp.Err() != nil {
			a = nil
		}
		done(a)
	})
}

// ask asks a copy what to fetch now.
func (f *fetcher) ask(a *replica.LanesAsk[*copyOf], maxBytes int32) {
	c := a.Copy
	if c.follower == nil || c.state.Leader != f.leader {
		return
	}
	if a.Part, a.Wants = c.follower.Request(c.now(), a.Sequence, maxBytes); a.Wants {
		a.Cools = c.follower.MayCool(c.now(), a.Start)
	}
}

// hand gives a copy the leader's answer.
func (c *copyOf) hand(ask *replica.LanesAsk[*copyOf], a replica.FetchAnswer, data []byte) {
	if c.follower == nil || c.p.dead {
		return
	}
	in := replica.Answered{Sequence: ask.Sequence, Request: ask.Part, Answer: a, Data: data, OwnEpoch: log.NoEpoch}
	if a.Diverging {
		in.OwnEpoch, in.OwnEnd, in.OwnKnown = c.log.EndOf(a.DivergingEpoch)
	}
	c.step(in)
	c.settle()
}
