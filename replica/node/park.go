package node

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A parked entry is one request that waits at one partition. The request may wait
// at many; all its entries share one channel.
type parked struct {
	wake     chan struct{} // room for one
	follower partition.BrokerID
	epoch    log.Epoch // the role that the request was admitted in

	// What the request has seen: one that is still not satisfied, because it wants
	// more bytes, must not be woken for the same again.
	high log.Offset
	end  log.Offset // of no interest to a reader
}

// ripe reports whether the request has something to be told.
func (p *parked) ripe(r *Replica) bool {
	s := r.standing.Load()
	if !s.leads || s.epoch != p.epoch {
		return true
	}
	return r.highWatermark() > p.high || p.follower != partition.NoBroker && r.log.End() > p.end
}

func (p *parked) ring() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// park leaves p at the replica until it is ripe. A follower has one entry at a
// partition: a newer one takes the older one's place.
func (r *Replica) park(p *parked) {
	r.mu.Lock()
	if p.follower != partition.NoBroker {
		r.parked = slices.DeleteFunc(r.parked, func(q *parked) bool { return q.follower == p.follower })
	}
	r.parked = append(r.parked, p)
	r.mu.Unlock()
	// What it waits for may have come between the look and the entry.
	if p.ripe(r) {
		p.ring()
	}
}

func (r *Replica) unpark(p *parked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked = slices.DeleteFunc(r.parked, func(q *parked) bool { return q == p })
}

func (r *Replica) wakeParked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked = slices.DeleteFunc(r.parked, func(p *parked) bool {
		ripe := p.ripe(r)
		if ripe {
			p.ring()
		}
		return ripe
	})
}
