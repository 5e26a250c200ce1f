package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A fetcher fetches, from one leader, all the partitions that this broker follows it
// in. What it fetches and when is decided by replica.Lanes, of which each lane has a
// goroutine that lives only while the lane has turns.
type fetcher struct {
	n      *Node
	leader partition.BrokerID
	turn   chan struct{} // room for one: held while a request is put together

	mu    sync.Mutex // guards all below; held for a few instructions only
	lanes *replica.Lanes[*Replica]
	calls [replica.Beside + 1]laneCall
}

// A followed is a replica as the lanes know it.
type followed = replica.Followed[*Replica]

// A laneCall is the call that a lane has under way.
type laneCall struct {
	ctx   context.Context    // of the call and the wait after it, and of the next if nothing ends it; nil: the next has one made
	kick  context.CancelFunc // ends it
	limit *time.Timer        // does so when a call takes too long
	run   func()             // the lane's turns
	round *round             // of the present turn; nil: the next turn makes one
}

const (
	fetchBytes     = 8 << 20 // of one fetch
	partitionBytes = 1 << 20 // of one partition in it
)

func newFetcher(n *Node, leader partition.BrokerID) *fetcher {
	f := &fetcher{
		n: n, leader: leader, turn: make(chan struct{}, 1),
		lanes: replica.NewLanes[*Replica](replica.LanesConfig{
			Self: n.self, Wait: n.cfg.FetchWait, MaxBytes: fetchBytes, PartitionBytes: partitionBytes,
		}),
	}
	for lane := range f.calls {
		f.calls[lane].run = func() { f.run(replica.Lane(lane)) }
	}
	return f
}

// follow adds a replica to the fetcher of its leader.
func (n *Node) follow(now time.Time, r *Replica, leader partition.BrokerID) {
	f := n.fetcher(leader)
	f.mu.Lock()
	m, do := f.lanes.Follow(now, r.id, r)
	f.obey(do)
	r.fetcher, r.followed = f, m
}

func (f *fetcher) remove(m *followed) {
	f.mu.Lock()
	f.obey(f.lanes.Remove(m))
}

// heat has a replica fetch now; see replica.Lanes.
func (f *fetcher) heat(m *followed) {
	f.mu.Lock()
	f.obey(f.lanes.Heat(m))
}

// ack tells the leader how far a replica is flushed.
func (f *fetcher) ack(m *followed) {
	f.mu.Lock()
	f.obey(f.lanes.Ack(m, f.n.eager))
}

// obey does what the lanes say. The lock is held, and is given back.
func (f *fetcher) obey(do replica.LanesOrders) {
	for lane, end := range do.End {
		if c := &f.calls[lane]; end && c.kick != nil {
			c.kick()
		}
	}
	f.mu.Unlock()
	for lane, start := range do.Start {
		if start {
			f.n.workers.Go(f.calls[lane].run)
		}
	}
}

// begin has a lane's call begin. The lock is held.
func (f *fetcher) begin(lane replica.Lane) context.Context {
	limit := f.n.cfg.CallTimeout
	if lane != replica.Beside {
		limit += f.n.cfg.FetchWait
	}
	c := &f.calls[lane]
	if c.ctx == nil || c.ctx.Err() != nil {
		c.ctx, c.kick = context.WithCancel(f.n.ctx)
	}
	if c.limit == nil {
		c.limit = time.AfterFunc(limit, func() { f.cut(c) })
	} else {
		c.limit.Reset(limit)
	}
	return c.ctx
}

// cut ends a call that takes too long.
func (f *fetcher) cut(c *laneCall) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.kick != nil {
		c.kick()
	}
}

// rest lets go of what a lane needs for its turns. The lock is held.
func (f *fetcher) rest(lane replica.Lane) {
	c := &f.calls[lane]
	if c.limit != nil { // else what it was started for was taken back before it went
		c.limit.Stop()
	}
	if lane == replica.Beside {
		return // acks come one by one, and would have to make it all again
	}
	if c.kick != nil {
		c.kick()
	}
	c.ctx, c.kick, c.round = nil, nil, nil
}

// call sends one fetch, decodes the answer, and checks that it has the request's shape.
func (f *fetcher) call(ctx context.Context, x *exchange) ([][]byte, error) {
	w := x.head.Writer()
	x.req.Encode(&w)
	got, err := f.n.call(ctx, f.leader, Message{Kind: KindFetch, Head: x.head.Take(&w)})
	if err != nil {
		return nil, err
	}
	if err := x.resp.Decode(got.Head); err != nil {
		return nil, err
	}
	if refused := x.resp.Err(); refused != nil {
		return nil, refused
	}
	if n := len(got.Data); n != 0 && n != len(x.resp.Partitions) || !x.req.Cold && !sameShape(x.req.Partitions, x.resp.Partitions) {
		return nil, errShape
	}
	return got.Data, nil
}

// dataOf returns the batches of an answer's partition.
func dataOf(data [][]byte, i int) []byte {
	if len(data) == 0 {
		return nil // there are none of any
	}
	return data[i]
}

func sameShape(asked []replica.FetchPartition, told []replica.FetchAnswer) bool {
	if len(asked) != len(told) {
		return false
	}
	for i := range asked {
		if asked[i].ID != told[i].ID {
			return false
		}
	}
	return true
}

var errNothing = errors.New("node: nothing to fetch now")

// requestOp asks a follower what to fetch now. It may be used again once done.
type requestOp struct {
	leader partition.BrokerID
	max    int32
	ask    *replica.LanesAsk[*Replica]
	done   chan struct{}
}

func newRequestOp(leader partition.BrokerID) *requestOp {
	return &requestOp{leader: leader, done: make(chan struct{}, 1)}
}

// put puts the question to the copy of an ask.
func (o *requestOp) put(now time.Time, a *replica.LanesAsk[*Replica]) {
	o.ask = a
	a.Copy.await(now, o, o.done)
}

func (o *requestOp) perform(r *Replica, now time.Time) {
	if r.lost.Load() || r.follower == nil || r.state.Leader != o.leader {
		return
	}
	a := o.ask
	if a.Part, a.Wants = r.follower.Request(now, a.Sequence, o.max); a.Wants {
		a.Cools = r.follower.MayCool(now, a.Start)
	}
}

// answeredOp hands a follower the leader's answer. It may be used again once done.
type answeredOp struct {
	in   replica.Answered
	done chan struct{}
}

func newAnsweredOp() *answeredOp { return &answeredOp{done: make(chan struct{}, 1)} }

func (o *answeredOp) hand(now time.Time, a *replica.LanesAsk[*Replica], answer replica.FetchAnswer, data []byte) {
	o.in = replica.Answered{Sequence: a.Sequence, Request: a.Part, Answer: answer, Data: data, OwnEpoch: log.NoEpoch}
	a.Copy.await(now, o, o.done)
}

func (o *answeredOp) perform(r *Replica, now time.Time) {
	if r.lost.Load() || r.follower == nil {
		return
	}
	in := o.in
	if in.Answer.Diverging {
		in.OwnEpoch, in.OwnEnd, in.OwnKnown = r.log.EndOf(in.Answer.DivergingEpoch)
	}
	r.step(now, in)
}
