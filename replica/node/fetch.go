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
)

// A fetcher fetches, from one leader, all the partitions that this broker follows it
// in. It has two fetches out at most, each with a goroutine that lives only while
// the lane has partitions: a hot one, which names each of its partitions every time,
// and a cold one, which stands for those that the leader keeps for it and names only
// what is new to them. Acks of what has been flushed since go beside both.
//
// A partition is in one lane. replica.Pace says in which, and it changes the lane
// when the lane that takes it next asks, so that no fetch is ever ended for it: until
// then the lane that has it serves it as well.
//
// What keeps the two from saying different things of one partition:
//
//  1. One turn. Requests of both lanes and acks are put together one at a time:
//     lanes are changed, replicas are asked what they want, and the request is
//     numbered in one turn. So a higher number never says less of a replica, and the
//     lane that took a partition last has the higher number.
//  2. The newest request for records counts. An answer to any other is dropped, in
//     whatever order answers come: see Replica.asked.
//  3. A leader has one entry a partition and follower, that of the highest number. A
//     newer request takes the older one's place, of whichever lane; an older one that
//     is still being worked on finds the newer one there and leaves it.
//  4. The cold fetches of one set are a chain: each names the one before it. A leader
//     that does not find that one its newest, because it has restarted or an answer
//     was lost, or that was of another broker epoch, has changed nothing and says so.
//     Then, and after any cold call that fails, nothing is kept for certain, and the
//     next one begins anew and names all.
//  5. What is told is kept no more. The follower takes the answer and names the
//     partition again, with what it holds now; if meanwhile there was news the leader
//     tells it at once. What would go wrong between two fetches is therefore found by
//     the later one, as if there were one lane.
//  6. A leader keeps a partition for the role in which it judged it, and tells of any
//     change of that: a new epoch, or the same one begun again, finds the partition
//     named anew. At a new epoch the follower, too, begins as hot.
//  7. A partition whose next fetch is of use even if nothing moves is hot: one that is
//     delayed or stands still, is not in the ISR, has not removed what the leader has
//     removed, or whose last ack may be lost.
type fetcher struct {
	n      *Node
	leader partition.BrokerID
	turn   chan struct{} // room for one: held while a request is put together

	mu      sync.Mutex // guards all below; held for a few instructions only
	members map[*Replica]*followed
	hot     lane
	cold    lane
	cooled  map[partition.ID]*followed // those of the cold lane
	next    int                        // of the hot ones, to come first in the next fetch
	acks    []*Replica                 // flushed since the leader was last told
	acking  bool
	beside  lane // of acks: its context alone

	ackRound *ackRound // of who sends acks; nil: nobody has yet

	seq int64 // of who holds the turn
}

// A lane is one of a fetcher's two fetches.
type lane struct {
	parts   []*followed // hot: all; cold: those that the leader does not keep
	coming  []*followed // of the other lane, to be taken over at the next turn
	running bool
	kicked  bool
	follows bool               // hot: the answer at hand brings the next fetch at once, and with it all acks
	ctx     context.Context    // of the fetch under way, and of the next if nothing ends it; nil: the next has one made
	kick    context.CancelFunc // ends it, so that the next fetch sees new partitions
	limit   *time.Timer        // does so when a fetch takes too long
}

// A followed is a replica while it follows the leader in one epoch. All but r is
// guarded by the fetcher.
type followed struct {
	r      *Replica
	pace   replica.Pace
	coming bool       // it is to change to the hot lane
	cools  bool       // nothing but its pace keeps it hot
	start  log.Offset // the leader's, as last told
	kept   bool       // cold: the leader keeps it
	asked  asked      // cold: when it was last named
}

// An asked is a replica's part of a request.
type asked struct {
	turn uint64 // of the replica's requests for records
	part replica.FetchPartition
}

const (
	fetchBytes     = 8 << 20 // of one fetch
	partitionBytes = 1 << 20 // of one partition in it

	quick = time.Millisecond // an answer that comes faster was not parked
)

var (
	errNothing = errors.New("node: nothing to fetch now")
	errLost    = errors.New("node: the leader does not know the cold fetch before")
)

// follow adds a replica to the fetcher of its leader.
func (n *Node) follow(r *Replica, leader partition.BrokerID) {
	f := n.fetcher(leader)
	r.fetcher = f
	m := &followed{r: r}
	m.pace.Enter(time.Now(), replica.Hot)
	f.mu.Lock()
	f.members[r] = m
	f.hot.parts = append(f.hot.parts, m)
	f.hot.poke()
	start := f.hot.start()
	f.mu.Unlock()
	if start {
		n.workers.Go(f.runHot)
	}
}

func (f *fetcher) remove(r *Replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[r]
	if m == nil {
		return
	}
	delete(f.members, r)
	f.acks = without(f.acks, r)
	l, left := &f.hot, 0
	if m.pace.Lane() == replica.Cold {
		l = &f.cold
		delete(f.cooled, r.id)
		left = len(f.cooled)
	}
	l.parts = without(l.parts, m)
	if left+len(l.parts) == 0 {
		l.poke() // it has nothing to wait for
	}
}

func without[T comparable](list []T, gone T) []T {
	if i := slices.Index(list, gone); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// heat has a replica named in the next hot fetch, and that fetch go out now, because
// what the leader knows of it may be less than it would be told.
func (f *fetcher) heat(r *Replica) {
	f.mu.Lock()
	start := false
	if m := f.members[r]; m != nil && m.pace.Lane() == replica.Cold {
		f.warm(m)
		f.hot.poke()
		start = f.hot.start()
	}
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.runHot)
	}
}

// warm leaves a cold member to the hot lane. The lock is held.
func (f *fetcher) warm(m *followed) {
	if !m.coming {
		m.coming = true
		f.hot.coming = append(f.hot.coming, m)
	}
}

// start reports whether the lane's goroutine is to be started. The lock is held.
func (l *lane) start() bool {
	start := !l.running
	l.running = true
	return start
}

// poke ends the fetch under way. The lock is held.
func (l *lane) poke() {
	l.kicked = true
	if l.kick != nil {
		l.kick()
	}
}

// begin returns the context of the next fetch: that of the one before, unless it has
// ended. The lock is held.
func (f *fetcher) begin(l *lane, limit time.Duration) context.Context {
	l.kicked = false
	if l.ctx == nil || l.ctx.Err() != nil {
		l.ctx, l.kick = context.WithCancel(f.n.ctx)
	}
	if l.limit == nil {
		l.limit = time.AfterFunc(limit, func() { f.cut(l) })
	} else {
		l.limit.Reset(limit)
	}
	return l.ctx
}

// cut ends a fetch that takes too long.
func (f *fetcher) cut(l *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.kick != nil {
		l.kick()
	}
}

// rest ends the lane's run. The lock is held.
func (l *lane) rest() {
	l.running = false
	if l.ctx != nil {
		l.limit.Stop()
		l.kick()
		l.ctx, l.kick = nil, nil
	}
}

// stop ends the run of a lane, since the broker stops.
func (f *fetcher) stop(l *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.rest()
}

// request asks a replica what to fetch now. The turn is held.
func (f *fetcher) request(now time.Time, o *requestOp, r *Replica) bool {
	o.leader, o.ok, o.cools = f.leader, false, false
	r.await(now, o, o.done)
	return o.ok
}

// number makes the request the newest. The turn is held.
func (f *fetcher) number(parts []replica.FetchPartition) replica.FetchRequest {
	f.seq++
	return replica.FetchRequest{From: f.n.self, BrokerEpoch: f.n.Epoch(), Sequence: f.seq, Partitions: parts}
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
	if refused := x.resp.Code.Err(); refused != nil {
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

// news reports whether a replica has to be handed an answer.
func news(r *Replica, a *replica.FetchAnswer, data []byte) bool {
	return a.Code != partition.OK || a.Diverging || len(data) > 0 || a.HighWatermark != r.highWatermark() || a.Start != r.log.Start()
}

// hand gives a replica the leader's answer.
func hand(r *Replica, q asked, a replica.FetchAnswer, data []byte) {
	newAnsweredOp().hand(time.Now(), r, q, a, data)
}

// requestOp asks a follower what to fetch now. It may be used again once done.
type requestOp struct {
	leader partition.BrokerID
	max    int32
	start  log.Offset // the leader's
	asked  asked
	ok     bool
	cools  bool // it has no need of a fetch without news
	done   chan struct{}
}

func newRequestOp(maxBytes int32) *requestOp {
	return &requestOp{max: maxBytes, done: make(chan struct{}, 1)}
}

func (o *requestOp) perform(r *Replica, now time.Time) {
	if r.lost.Load() || r.follower == nil || r.state.Leader != o.leader {
		return
	}
	if o.asked.part, o.ok = r.follower.Request(now, o.max); o.ok && o.max > 0 {
		r.asked++
	}
	o.asked.turn = r.asked
	o.cools = o.ok && r.follower.MayCool(now) && r.log.Start() >= o.start
}

// answeredOp hands a follower the leader's answer. It may be used again once done.
type answeredOp struct {
	asked  asked
	answer replica.FetchAnswer
	data   []byte
	done   chan struct{}
}

func newAnsweredOp() *answeredOp { return &answeredOp{done: make(chan struct{}, 1)} }

func (o *answeredOp) hand(now time.Time, r *Replica, q asked, a replica.FetchAnswer, data []byte) {
	o.asked, o.answer, o.data = q, a, data
	r.await(now, o, o.done)
}

func (o *answeredOp) perform(r *Replica, now time.Time) {
	if r.lost.Load() || r.follower == nil || r.asked != o.asked.turn {
		return
	}
	in := replica.Answered{Request: o.asked.part, Answer: o.answer, Data: o.data, OwnEpoch: log.NoEpoch}
	if o.answer.Diverging {
		in.OwnEpoch, in.OwnEnd, in.OwnKnown = r.log.EndOf(o.answer.DivergingEpoch)
	}
	r.step(now, in)
}
