package node

import (
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A parked entry is one request that waits at one partition. The request may wait
// at many; all its entries share one bell, or one coldSet.
type parked struct {
	replica.Parked
	role *role // that the request was admitted in
	bell *bell
	set  *coldSet  // in its place: for a cold fetch
	cold *coldPart // with set
}

// A bell wakes a request that is parked. It may be hung again once taken down.
type bell struct {
	wake  chan struct{} // room for one
	limit *time.Timer   // of the wait
	hurry atomic.Bool   // it has been brought forward
}

// hang makes the bell ready for a wait.
func (b *bell) hang(limit time.Duration) {
	b.hurry.Store(false)
	if b.limit == nil {
		b.wake, b.limit = make(chan struct{}, 1), time.NewTimer(limit)
		return
	}
	b.limit.Reset(limit)
}

// take ends a wait, of which no entry is parked any more.
func (b *bell) take() {
	b.limit.Stop()
	select {
	case <-b.wake:
	default:
	}
}

func (b *bell) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// soon has the wait end within a lull.
func (b *bell) soon() {
	if b.hurry.CompareAndSwap(false, true) {
		b.limit.Reset(replica.Lull)
	}
}

func (p *parked) ring() {
	if p.set != nil {
		p.set.ring(p)
		return
	}
	p.bell.ring()
}

// look rings if the request is ripe, and reports whether it is.
func (p *parked) look(r *Replica) bool {
	switch p.Look(r.view(p.role)) {
	case replica.Ripe:
		p.ring()
		return true
	case replica.Ripening:
		p.bell.soon()
	case replica.Unripe:
	}
	return false
}

// park leaves p at the replica until it is ripe, unless its place is a newer one's.
func (r *Replica) park(p *parked) {
	r.mu.Lock()
	out := r.parked.Park(p)
	out.leave()
	r.mu.Unlock()
	if out != p {
		p.look(r) // what it waits for may have come before the entry
	}
}

// leave tells a coldSet that it has one partition less. p may be nil.
func (p *parked) leave() {
	if p != nil && p.set != nil {
		p.set.leave(p)
	}
}

// unparkOlder takes out what an older request of a follower has left.
func (r *Replica) unparkOlder(follower partition.BrokerID, than replica.FetchNumber) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked.Overtake(follower, than).leave()
}

func (r *Replica) unpark(p *parked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked.Unpark(p)
}

func (r *Replica) wakeParked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked.Wake(func(p *parked) bool { return p.look(r) })
}
