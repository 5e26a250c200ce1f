package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A fetcher fetches, from one leader, all the partitions that its process follows it
// in: one fetch at a time, and acks beside it.
type fetcher struct {
	p       *process
	leader  partition.BrokerID
	parts   []*copyOf
	next    int
	out     *call // under way
	round   int   // of fetches; a later one makes what an earlier one planned void
	backoff time.Duration
	empty   int
	acks    []*copyOf
	acking  bool
	seq     int64
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
		p.fetchers = append(p.fetchers, f)
	}
	c.fetcher = f
	f.parts = append(f.parts, c)
	f.poke()
}

func (f *fetcher) remove(c *copyOf) {
	gone := func(o *copyOf) bool { return o == c }
	f.parts = slices.DeleteFunc(f.parts, gone)
	f.acks = slices.DeleteFunc(f.acks, gone)
	f.poke()
}

// poke ends the fetch under way, so that the next one sees other partitions.
func (f *fetcher) poke() {
	if f.out != nil {
		f.out.drop()
		f.out = nil
	}
	f.again(0)
}

func (f *fetcher) again(after time.Duration) {
	f.round++
	round := f.round
	f.p.w.at(after, f.p.b, disk, "fetch", func() {
		if f.round == round {
			f.fetch()
		}
	})
}

// rest plans the next fetch after one that brought nothing.
func (f *fetcher) rest() {
	f.backoff = min(max(2*f.backoff, quick), 100*time.Millisecond)
	f.again(f.backoff)
}

// ask puts a request together from what copies want to be fetched now.
func (f *fetcher) ask(parts []*copyOf, maxBytes int32) (replica.FetchRequest, []*copyOf) {
	req := replica.FetchRequest{From: f.p.id, BrokerEpoch: f.p.epoch}
	var asked []*copyOf
	for _, c := range parts {
		if c.follower == nil || c.state.Leader != f.leader {
			continue
		}
		if part, ok := c.follower.Request(c.now(), maxBytes); ok {
			asked = append(asked, c)
			req.Partitions = append(req.Partitions, part)
		}
	}
	if len(asked) > 0 {
		f.seq++
		req.Sequence = f.seq
	}
	return req, asked
}

func (f *fetcher) fetch() {
	if len(f.parts) == 0 {
		return
	}
	f.next = (f.next + 1) % len(f.parts)
	parts := slices.Concat(f.parts[f.next:], f.parts[:f.next])
	req, asked := f.ask(parts, partitionBytes)
	if len(asked) == 0 || req.BrokerEpoch == 0 {
		f.rest()
		return
	}
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = int32(fetchWait/time.Millisecond), 1, fetchBytes
	if len(asked) < len(parts) {
		req.MaxWaitMs = min(req.MaxWaitMs, 20)
	}
	begun, round := f.p.w.now, f.round
	f.out = f.send(req, fetchWait+callTime, func(resp *fetchAnswer) {
		f.out = nil
		f.p.w.at(0, f.p.b, disk, "fetched", func() {
			learned := resp != nil && f.take(req, asked, resp)
			switch {
			case f.p.dead || f.round != round:
			case resp != nil && (learned || f.p.w.now-begun >= quick):
				f.backoff, f.empty = 0, 0
				f.again(0)
			case resp != nil && f.empty == 0:
				f.empty = 1
				f.again(0)
			default:
				f.rest()
			}
		})
	})
}

// A fetchAnswer is a fetch response with its data.
type fetchAnswer struct {
	resp replica.FetchResponse
	data [][]byte
}

// send sends one fetch; done gets nil if nothing of use came back.
func (f *fetcher) send(req replica.FetchRequest, limit time.Duration, done func(*fetchAnswer)) *call {
	return f.p.w.call(f.p.b, f.leader, "serve", disk, limit, func(q *process, answer func(any)) {
		q.serveFetch(req, func(a *fetchAnswer) { answer(a) })
	}, func(v any, err error) {
		a, ok := v.(*fetchAnswer)
		if err != nil || !ok || a.resp.Code != partition.OK {
			a = nil
		}
		done(a)
	})
}

// take hands each follower its part of the answer. It reports whether that said
// anything new.
func (f *fetcher) take(req replica.FetchRequest, asked []*copyOf, got *fetchAnswer) (learned bool) {
	for i, c := range asked {
		a := got.resp.Partitions[i]
		var data []byte
		if len(got.data) > 0 {
			data = got.data[i]
		}
		if a.Code == partition.OK && !a.Diverging && len(data) == 0 && a.HighWatermark == c.high && a.Start == c.log.Start() {
			continue
		}
		learned = learned || a.Code == partition.OK
		if c.follower == nil || f.p.dead {
			continue
		}
		in := replica.Answered{Request: req.Partitions[i], Answer: a, Data: data, OwnEpoch: log.NoEpoch}
		if a.Diverging {
			in.OwnEpoch, in.OwnEnd, in.OwnKnown = c.log.EndOf(a.DivergingEpoch)
		}
		c.step(in)
		c.settle()
	}
	return learned
}

// ack tells the leader, beside the fetch under way, how far c is flushed.
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
	parts := f.acks
	f.acks = nil
	if f.acking = len(parts) > 0; !f.acking {
		return
	}
	req, asked := f.ask(parts, 0)
	if len(asked) == 0 || req.BrokerEpoch == 0 {
		f.sendAcks()
		return
	}
	f.send(req, callTime, func(*fetchAnswer) { f.sendAcks() })
}
