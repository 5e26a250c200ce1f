package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport/wire"
)

// A fetcher fetches, from one leader, all the partitions that this broker follows
// it in. Its goroutine lives only while there are such partitions. One fetch is
// out at a time; acks of what has been flushed since go beside it.
type fetcher struct {
	n      *Node
	leader partition.BrokerID
	turn   chan struct{} // room for one: held while a request is put together

	mu      sync.Mutex // guards all below; held for a few instructions only
	parts   []*Replica
	next    int // of parts, to come first in the next fetch
	running bool
	kicked  bool
	kick    context.CancelFunc // ends the fetch under way, so that the next sees new partitions
	acks    []*Replica         // flushed since the leader was last told
	acking  bool

	seq int64 // of who holds the turn
}

const (
	fetchBytes     = 8 << 20 // of one fetch
	partitionBytes = 1 << 20 // of one partition in it

	quick = time.Millisecond // an answer that comes faster was not parked
)

var errNothing = errors.New("node: nothing to fetch now")

// follow adds a replica to the fetcher of its leader.
func (n *Node) follow(r *Replica, leader partition.BrokerID) {
	f := n.fetcher(leader)
	r.fetcher = f
	f.mu.Lock()
	f.parts = append(f.parts, r)
	start := !f.running
	f.running = true
	f.poke()
	f.mu.Unlock()
	if start {
		n.workers.Go(f.run)
	}
}

func (f *fetcher) remove(r *Replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts = slices.DeleteFunc(f.parts, func(q *Replica) bool { return q == r })
	f.acks = slices.DeleteFunc(f.acks, func(q *Replica) bool { return q == r })
	f.poke()
}

// poke ends the fetch under way. The lock is held.
func (f *fetcher) poke() {
	f.kicked = true
	if f.kick != nil {
		f.kick()
	}
}

// begin returns what to fetch next, and a context for it; false ends the run.
func (f *fetcher) begin() (parts []*Replica, ctx context.Context, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.parts) == 0 || f.n.ctx.Err() != nil {
		f.running = false
		return nil, nil, false
	}
	f.kicked = false
	ctx, f.kick = context.WithTimeout(f.n.ctx, f.n.cfg.FetchWait+f.n.cfg.CallTimeout)
	// Who comes last may get nothing when the others fill the answer.
	f.next = (f.next + 1) % len(f.parts)
	return slices.Concat(f.parts[f.next:], f.parts[:f.next]), ctx, true
}

func (f *fetcher) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kick()
	f.kick = nil
}

func (f *fetcher) run() {
	var backoff time.Duration
	var empty int // answers in a row that came at once and said nothing
	for {
		parts, ctx, ok := f.begin()
		if !ok {
			return
		}
		begun := time.Now()
		learned, err := f.round(ctx, parts)
		switch {
		case err == nil && (learned || time.Since(begun) >= quick):
			backoff, empty = 0, 0
		case err == nil && empty == 0:
			empty = 1 // it may have crossed an ack, which made it the older one
		default:
			if err != nil && err != errNothing && !f.wasKicked() {
				f.n.logger.Debug("fetch", "leader", f.leader, "error", err)
			}
			backoff = min(max(2*backoff, quick), 100*time.Millisecond)
			f.pause(ctx, backoff)
		}
		f.end()
	}
}

func (f *fetcher) wasKicked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kicked
}

// pause waits for d, or until the set of partitions changes.
func (f *fetcher) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ask puts a request together from what replicas want to be fetched now. Their
// state is read and the request numbered in one turn, so that a request of a higher
// number never says less of a replica.
func (f *fetcher) ask(parts []*Replica, maxBytes int32) (replica.FetchRequest, []*Replica) {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	req := replica.FetchRequest{From: f.n.self, BrokerEpoch: f.n.Epoch()}
	asked := make([]*Replica, 0, len(parts))
	for _, r := range parts {
		o := &requestOp{leader: f.leader, max: maxBytes, done: make(chan struct{})}
		r.do(o)
		<-o.done
		if o.ok {
			asked = append(asked, r)
			req.Partitions = append(req.Partitions, o.part)
		}
	}
	if len(asked) > 0 {
		f.seq++
		req.Sequence = f.seq
	}
	return req, asked
}

// round is one fetch of all that wants to be fetched now. It reports whether the
// answer said anything new.
func (f *fetcher) round(ctx context.Context, parts []*Replica) (learned bool, err error) {
	req, asked := f.ask(parts, partitionBytes)
	if len(asked) == 0 || req.BrokerEpoch == 0 {
		return false, errNothing
	}
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = int32(f.n.cfg.FetchWait/time.Millisecond), 1, fetchBytes
	if len(asked) < len(parts) {
		req.MaxWaitMs = min(req.MaxWaitMs, 20) // some are delayed: ask them again soon
	}
	resp, data, err := f.call(ctx, req)
	if err != nil {
		return false, err
	}
	for i, r := range asked {
		a := resp.Partitions[i]
		if a.Code == partition.OK && !a.Diverging && len(data[i]) == 0 && a.HighWatermark == r.highWatermark() && a.Start == r.log.Start() {
			continue
		}
		learned = learned || a.Code == partition.OK // others have their delays
		o := &answeredOp{req: req.Partitions[i], answer: a, data: data[i], done: make(chan struct{})}
		r.do(o)
		<-o.done
	}
	return learned, nil
}

// call sends one fetch and checks that the answer has the request's shape.
func (f *fetcher) call(ctx context.Context, req replica.FetchRequest) (replica.FetchResponse, [][]byte, error) {
	w := wire.NewWriter(nil)
	req.Encode(w)
	got, err := f.n.call(ctx, f.leader, Message{Kind: KindFetch, Head: w.Bytes()})
	if err != nil {
		return replica.FetchResponse{}, nil, err
	}
	resp, err := replica.DecodeFetchResponse(got.Head)
	if err != nil {
		return resp, nil, err
	}
	if refused := resp.Code.Err(); refused != nil {
		return resp, nil, refused
	}
	if len(resp.Partitions) != len(req.Partitions) {
		return resp, nil, errShape
	}
	data := got.Data
	if len(data) == 0 {
		data = make([][]byte, len(req.Partitions))
	}
	if len(data) != len(req.Partitions) {
		return resp, nil, errShape
	}
	for i := range resp.Partitions {
		if resp.Partitions[i].ID != req.Partitions[i].ID {
			return resp, nil, errShape
		}
	}
	return resp, data, nil
}

// requestOp asks a follower what to fetch now.
type requestOp struct {
	leader partition.BrokerID
	max    int32
	part   replica.FetchPartition
	ok     bool
	done   chan struct{}
}

func (o *requestOp) perform(r *Replica, now time.Time) {
	defer close(o.done)
	if r.lost.Load() || r.follower == nil || r.state.Leader != o.leader {
		return
	}
	o.part, o.ok = r.follower.Request(now, o.max)
}

// answeredOp hands a follower the leader's answer.
type answeredOp struct {
	req    replica.FetchPartition
	answer replica.FetchAnswer
	data   []byte
	done   chan struct{}
}

func (o *answeredOp) perform(r *Replica, now time.Time) {
	defer close(o.done)
	if r.lost.Load() || r.follower == nil {
		return
	}
	in := replica.Answered{Request: o.req, Answer: o.answer, Data: o.data, OwnEpoch: log.NoEpoch}
	if o.answer.Diverging {
		in.OwnEpoch, in.OwnEnd, in.OwnKnown = r.log.EndOf(o.answer.DivergingEpoch)
	}
	r.step(now, in)
}

// ack tells the leader, beside the fetch under way, how far r is flushed. Acks
// that come while one is on its way go together with the next.
func (f *fetcher) ack(r *Replica) {
	f.mu.Lock()
	if !slices.Contains(f.acks, r) {
		f.acks = append(f.acks, r)
	}
	start := !f.acking
	f.acking = true
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.sendAcks)
	}
}

func (f *fetcher) sendAcks() {
	for f.n.ctx.Err() == nil {
		f.mu.Lock()
		parts := f.acks
		f.acks = nil
		f.acking = len(parts) > 0
		f.mu.Unlock()
		if len(parts) == 0 {
			return
		}
		f.sendAck(parts)
	}
}

func (f *fetcher) sendAck(parts []*Replica) {
	req, asked := f.ask(parts, 0)
	if len(asked) == 0 || req.BrokerEpoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(f.n.ctx, f.n.cfg.CallTimeout)
	defer cancel()
	if _, _, err := f.call(ctx, req); err != nil {
		f.n.logger.Debug("ack", "leader", f.leader, "error", err)
	}
}
