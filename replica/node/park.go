package node

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A parked entry is one request that waits at one partition. The request may wait
// at many; all its entries share one bell, or one coldSet.
type parked struct {
	bell     *bell
	set      *coldSet // in its place: for a cold fetch
	follower partition.BrokerID
	number   number // of a follower's request
	role     *role  // that the request was admitted in

	// What the request has seen: one that is still not satisfied, because it wants
	// more bytes, must not be woken for the same again.
	high log.Offset
	end  log.Offset // of no interest to a reader

	cold *coldPart // with set
}

// A number orders the requests of one follower.
type number struct {
	broker   partition.BrokerEpoch
	sequence int64
}

func numberOf(req *replica.FetchRequest) number { return number{req.BrokerEpoch, req.Sequence} }

func (n number) before(m number) bool {
	return n.broker < m.broker || n.broker == m.broker && n.sequence < m.sequence
}

// A bell wakes a request that is parked. It may be hung again once taken down.
type bell struct {
	wake  chan struct{} // room for one
	limit *time.Timer   // of the wait
	hurry atomic.Bool   // it has been brought forward
}

// lull is how long a follower that has everything may go without hearing that the
// high watermark has moved. It has no use for that but to begin with, should it be
// elected, and under load the next records come sooner and bring it along: without
// a lull each batch would cost a follower two fetches.
const lull = time.Millisecond

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
		b.limit.Reset(lull)
	}
}

// ripe reports whether the request has something to be told now.
func (p *parked) ripe(r *Replica) bool {
	if r.standing.Load() != p.role || r.highWatermark() > p.high && !p.patient() {
		return true
	}
	return p.follower != partition.NoBroker && r.log.End() > p.end || p.cold != nil && r.log.Start() > p.cold.start
}

// patient reports whether it is soon enough to tell of a high watermark within a lull:
// a hot fetch is not alone, while a cold one may be the last for long.
func (p *parked) patient() bool { return p.follower != partition.NoBroker && p.cold == nil }

func (p *parked) ring() {
	if p.set != nil {
		p.set.ring(p)
		return
	}
	p.bell.ring()
}

// look rings if the request is ripe, and reports whether it is.
func (p *parked) look(r *Replica) bool {
	ripe := p.ripe(r)
	if ripe {
		p.ring()
	} else if p.patient() && r.highWatermark() > p.high {
		p.bell.soon()
	}
	return ripe
}

// park leaves p at the replica until it is ripe. A follower has one entry at a
// partition, of its newest request: an older one, which is still being worked on,
// finds its place taken, and hears no more of the partition.
func (r *Replica) park(p *parked) {
	r.mu.Lock()
	if p.follower != partition.NoBroker {
		if slices.ContainsFunc(r.parked, func(q *parked) bool { return q.follower == p.follower && p.number.before(q.number) }) {
			r.mu.Unlock()
			p.leave()
			return
		}
		r.dropParked(func(q *parked) bool { return q.follower == p.follower && q != p })
	}
	r.parked = append(r.parked, p)
	r.mu.Unlock()
	p.look(r) // what it waits for may have come before the entry
}

// dropParked takes entries out whose place is another's. The lock is held.
func (r *Replica) dropParked(gone func(*parked) bool) {
	r.parked = slices.DeleteFunc(r.parked, func(p *parked) bool {
		if !gone(p) {
			return false
		}
		p.leave()
		return true
	})
}

// leave tells a coldSet that it has one partition less.
func (p *parked) leave() {
	if p.set != nil {
		p.set.leave(p)
	}
}

// unparkOlder takes out what an older request of a follower has left.
func (r *Replica) unparkOlder(follower partition.BrokerID, than number) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropParked(func(p *parked) bool { return p.follower == follower && p.number.before(than) })
}

func (r *Replica) unpark(p *parked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.parked, p); i >= 0 {
		r.parked = slices.Delete(r.parked, i, i+1)
	}
}

func (r *Replica) wakeParked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked = slices.DeleteFunc(r.parked, func(p *parked) bool { return p.look(r) })
}
