package node

import (
	"context"
	"sync"
	"time"

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

	mu   sync.Mutex // guards kept; taken after a replica's, and never before one
	kept *replica.ColdSet[*parked]
	wake chan struct{} // room for one
}

// A coldPart is a partition that is kept for a follower.
type coldPart struct {
	r    *Replica
	part replica.FetchPartition
}

// fetchCold answers a cold fetch.
func (n *Node) fetchCold(ctx context.Context, req *replica.FetchRequest, resp *replica.FetchResponse) [][]byte {
	k := n.cold.next(req)
	if k == nil {
		resp.Lost = true
		return nil
	}
	n.catchUp(ctx, req.Partitions)
	now := time.Now()
	s := &serving{n: n, Serving: replica.Serving{Follower: req.From, Number: req.Number(), Budget: int(req.MaxBytes)}}
	for i := range req.Partitions {
		p := &req.Partitions[i]
		at := served{r: n.replica(p.ID)}
		if s.fetched(now, &at, req, p); at.Settled() || !at.Read {
			s.parts = append(s.parts, at)
		} else {
			k.keep(s.Number, at.r, at.role, *p)
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
	s.gather(true)
	k.answer(time.Now())
	s.tell(resp)
	return s.data
}

// keep parks a fetch of one partition until there is news of it, which there may be
// already.
func (k *coldSet) keep(at replica.FetchNumber, r *Replica, role *role, p replica.FetchPartition) {
	e := &parked{
		set: k, role: role, cold: &coldPart{r: r, part: p},
		Parked: replica.Parked{
			Follower: k.follower, Number: at, High: p.HighWatermark, End: p.Fetch, Cold: true, Start: p.Start,
		},
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
	return k.kept.Keep(e.cold.part.ID, e)
}

func (k *coldSet) isGone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Gone()
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
	return k.kept.HasNews()
}

// ring notes that there is news of a partition. Its replica may be locked.
func (k *coldSet) ring(p *parked) {
	k.mu.Lock()
	fresh := k.kept.Ring(p.cold.part.ID, p)
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
	k.kept.Leave(p.cold.part.ID, p)
}

// take returns the partitions of which there is news, and keeps them no more.
func (k *coldSet) take() []served {
	k.mu.Lock()
	ripe := k.kept.Take()
	k.mu.Unlock()
	list := make([]served, len(ripe))
	for i, p := range ripe {
		c := p.cold
		c.r.unpark(p)
		list[i] = served{r: c.r, role: p.role, Served: replica.ServeCold(&c.part, &p.Parked)}
	}
	return list
}

func (k *coldSet) answer(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept.Answered(now)
}

// drop takes all entries out.
func (k *coldSet) drop() {
	k.mu.Lock()
	if !k.kept.Gone() {
		close(k.over)
	}
	parts := k.kept.Drop()
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
func (s *coldSets) next(req *replica.FetchRequest) *coldSet {
	s.mu.Lock()
	k := s.sets[req.From]
	if turn := k.next(req); turn != replica.ColdBegins {
		s.mu.Unlock()
		if turn == replica.ColdLost {
			return nil
		}
		return k
	}
	fresh := &coldSet{
		follower: req.From, over: make(chan struct{}), kept: replica.NewColdSet[*parked](req), wake: make(chan struct{}, 1),
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

// next takes the follower's next cold fetch; k may be nil.
func (k *coldSet) next(req *replica.FetchRequest) replica.ColdTurn {
	if k == nil {
		return (*replica.ColdSet[*parked])(nil).Next(req)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept.Next(req)
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
	return k.kept.IdleSince(then)
}
