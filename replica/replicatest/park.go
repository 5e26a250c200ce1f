package replicatest

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A parked entry is one request that waits at one partition.
type parked struct {
	replica.Parked
	c     *copyOf
	epoch log.Epoch
	s     *serving
	set   *coldSet                // in its place: for a cold fetch
	cold  *replica.FetchPartition // with set
}

func (p *parked) ring() {
	if p.set != nil {
		p.set.ring(p)
		return
	}
	p.s.ring()
}

// look rings if the request is ripe, and reports whether it is.
func (p *parked) look() bool {
	switch p.Look(p.c.view(p.epoch)) {
	case replica.Ripe:
		p.ring()
		return true
	case replica.Ripening:
		p.s.soon()
	case replica.Unripe:
	}
	return false
}

// park leaves an entry until it is ripe, unless its place is a newer one's.
func (c *copyOf) park(p *parked) {
	out := c.parked.Park(p)
	out.leave()
	if out != p {
		p.look()
	}
}

// leave tells a coldSet that it has one partition less. p may be nil.
func (p *parked) leave() {
	if p != nil && p.set != nil {
		p.set.leave(p)
	}
}

// unparkOlder takes out what an older request of a follower has left.
func (c *copyOf) unparkOlder(follower partition.BrokerID, than replica.FetchNumber) {
	c.parked.Overtake(follower, than).leave()
}

func (c *copyOf) unpark(p *parked) { c.parked.Unpark(p) }

func (c *copyOf) wakeParked() { c.parked.Wake((*parked).look) }
