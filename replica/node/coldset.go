package node

import (
	"context"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A coldSet is what a broker keeps for the cold fetches of one follower: an entry at
// each partition that is named in none of them again until there is news of it. Work
// is done for the news alone, however many partitions there are. It lives as long as
// the follower's fetches form a chain; see fetcher.
type coldSet struct {
	follower partition.BrokerID
	over     chan struct{} // closed when it is forgotten

	mu    sync.Mutex // guards all below; taken after a replica's, and never before one
	chain replica.Chain
	parts map[partition.ID]*parked
	ripe  []*parked     // of which there is news, in that order
	wake  chan struct{} // room for one
	gone  bool
}

// A coldPart is a partition that is kept for a follower.
type coldPart struct {
	r    *Replica
	part replica.FetchPartition
	// start is the log start that the follower has, or was asked to have.
	start log.Offset
	rung  bool // guarded by the set
}

// fetchCold answers a cold fetch.
func (n *Node) fetchCold(ctx context.Context, req *replica.FetchRequest, resp *replica.FetchResponse) [][]byte {
	k := n.cold.next(*req)
	if k == nil {
		resp.Lost = true
		return nil
	}
	n.catchUp(ctx, req.Partitions)
	now := time.Now()
	s := &serving{n: n, follower: req.From, number: numberOf(req), budget: int(req.MaxBytes)}
	for i := range req.Partitions {
		p := &req.Partitions[i]
		at := served{r: n.replica(p.ID)}
		if s.fetched(now, &at, req, p); at.settled() || !at.read {
			s.parts = append(s.parts, at)
		} else {
			k.keep(s.number, at.r, at.role, *p)
		}
	}
	limit := time.Duration(req.MaxWaitMs) * time.Millisecond
	if len(s.parts) > 0 {
		limit = 0
	}
	if !k.wait(ctx, n.ctx, limit) {
		n.cold.forget(k) // nobody hears of what is told now
		resp.Lost = true
		return nil
	}
	s.parts = append(s.parts, k.take()...)
	data, _, _ := s.gather(true)
	k.answer(time.Now())
	s.tell(resp)
	return data
}

// keep parks a fetch of one partition until there is news of it, which there may be
// already.
func (k *coldSet) keep(at number, r *Replica, role *role, p replica.FetchPartition) {
	e := &parked{
		set: k, follower: k.follower, number: at, role: role, high: p.HighWatermark, end: p.Fetch,
		cold: &coldPart{r: r, part: p, start: p.Start},
	}
	if !k.add(e) {
		return
	}
	r.park(e)
	if k.isGone() {
		r.unpark(e) // it was dropped before it stood there
	}
}

func (k *coldSet) add(e *parked) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return false
	}
	k.parts[e.cold.part.ID] = e
	return true
}

func (k *coldSet) isGone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gone
}

// wait waits until there is something to tell; false: nobody is there to tell it to.
func (k *coldSet) wait(ctx, node context.Context, limit time.Duration) bool {
	if limit <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !k.hasNews() {
		select {
		case <-k.wake:
		case <-timer.C:
			return ctx.Err() == nil
		case <-k.over:
			return false
		case <-ctx.Done():
			return false
		case <-node.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

func (k *coldSet) hasNews() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ripe) > 0
}

// ring notes that there is news of a partition. Its replica may be locked.
func (k *coldSet) ring(p *parked) {
	k.mu.Lock()
	fresh := !p.cold.rung && k.parts[p.cold.part.ID] == p
	if fresh {
		p.cold.rung = true
		k.ripe = append(k.ripe, p)
	}
	k.mu.Unlock()
	if fresh {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// leave forgets a partition that another request asks for. Its replica may be locked.
func (k *coldSet) leave(p *parked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.parts[p.cold.part.ID] == p {
		delete(k.parts, p.cold.part.ID)
	}
}

// take returns the partitions of which there is news, and keeps them no more.
func (k *coldSet) take() []served {
	k.mu.Lock()
	ripe := k.ripe
	k.ripe = nil
	list := make([]served, 0, len(ripe))
	for _, p := range ripe {
		c := p.cold
		if k.parts[c.part.ID] != p {
			continue // it has been asked for anew
		}
		delete(k.parts, c.part.ID)
		list = append(list, served{
			r: c.r, role: p.role, from: c.part.Fetch, max: int(c.part.MaxBytes), removed: c.part.Removed, read: true,
			answer: replica.FetchAnswer{ID: c.part.ID, HighWatermark: p.high, Start: c.start, End: p.end}, parked: p,
		})
	}
	k.mu.Unlock()
	for i := range list {
		list[i].r.unpark(list[i].parked)
	}
	return list
}

func (k *coldSet) answer(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.chain.Answered(now)
}

// drop takes all entries out.
func (k *coldSet) drop() {
	k.mu.Lock()
	parts := k.parts
	if !k.gone {
		close(k.over)
	}
	k.gone, k.parts, k.ripe = true, nil, nil
	k.mu.Unlock()
	for _, p := range parts {
		p.cold.r.unpark(p)
	}
}

// coldSets has what a broker keeps for each of its followers.
type coldSets struct {
	mu   sync.Mutex // guards all below
	sets map[partition.BrokerID]*coldSet
}

// next returns the set that a cold fetch goes on with or begins; nil: it does not
// come after the newest, and changes nothing.
func (s *coldSets) next(req replica.FetchRequest) *coldSet {
	s.mu.Lock()
	k := s.sets[req.From]
	switch {
	case req.After != 0:
		if k != nil && !k.goOn(req) {
			k = nil
		}
		s.mu.Unlock()
		return k
	case k != nil && !k.isOlder(req):
		s.mu.Unlock()
		return nil
	}
	fresh := &coldSet{
		follower: req.From, over: make(chan struct{}), chain: replica.NewChain(req),
		parts: make(map[partition.ID]*parked, len(req.Partitions)), wake: make(chan struct{}, 1),
	}
	if s.sets == nil {
		s.sets = make(map[partition.BrokerID]*coldSet)
	}
	s.sets[req.From] = fresh
	s.mu.Unlock()
	if k != nil {
		k.drop()
	}
	return fresh
}

// goOn makes a fetch the newest if it goes on with the chain.
func (k *coldSet) goOn(req replica.FetchRequest) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.gone && k.chain.GoOn(req)
}

func (k *coldSet) isOlder(req replica.FetchRequest) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.chain.Newer(req)
}

func (s *coldSets) forget(k *coldSet) {
	s.mu.Lock()
	if s.sets[k.follower] == k {
		delete(s.sets, k.follower)
	}
	s.mu.Unlock()
	k.drop()
}

// expire forgets those whose follower has asked for nothing since then.
func (s *coldSets) expire(then time.Time) {
	s.mu.Lock()
	var old []*coldSet
	for _, k := range s.sets {
		if k.idleSince(then) {
			old = append(old, k)
		}
	}
	s.mu.Unlock()
	for _, k := range old {
		s.forget(k)
	}
}

func (k *coldSet) idleSince(then time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.chain.IdleSince(then)
}
