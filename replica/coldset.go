package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
)

// A ColdSet is what a leader keeps for the cold fetches of one follower: a P at each
// partition that is named in none of them again until there is news of it. It stands as
// long as the follower's fetches form a chain; see [Lanes].
//
// A ColdSet is not safe for concurrent use.
type ColdSet[P comparable] struct {
	chain chain
	parts map[partition.ID]coldPart[P]
	ripe  []partition.ID // of which there is news, in that order
	gone  bool
}

// A coldPart is a partition that is kept for a follower.
type coldPart[P comparable] struct {
	p    P
	rung bool // there is news of it
}

// NewColdSet returns the set that begins with a cold fetch.
func NewColdSet[P comparable](req *FetchRequest) *ColdSet[P] {
	return &ColdSet[P]{chain: newChain(req), parts: make(map[partition.ID]coldPart[P], len(req.Partitions))}
}

// A ColdTurn is what a cold fetch makes of the set that there is.
type ColdTurn uint8

const (
	// ColdLost changes nothing, and is told so: it does not come after the newest.
	ColdLost ColdTurn = iota
	// ColdGoesOn adds its partitions to the set.
	ColdGoesOn
	// ColdBegins puts a new set in the place of this one, which is dropped.
	ColdBegins
)

// Next takes the next fetch of the follower. A nil set is none.
func (k *ColdSet[P]) Next(req *FetchRequest) ColdTurn {
	switch {
	case req.After == 0 && (k == nil || k.chain.newer(req)):
		return ColdBegins
	case req.After != 0 && k != nil && !k.gone && k.chain.goOn(req):
		return ColdGoesOn
	default:
		return ColdLost
	}
}

// Keep keeps a partition, until there is news of p; false: nothing is kept any more.
func (k *ColdSet[P]) Keep(id partition.ID, p P) bool {
	if !k.gone {
		k.parts[id] = coldPart[P]{p: p}
	}
	return !k.gone
}

// Ring notes that there is news of a partition, and reports whether it is the first.
func (k *ColdSet[P]) Ring(id partition.ID, p P) bool {
	c, kept := k.parts[id]
	if !kept || c.p != p || c.rung {
		return false
	}
	c.rung = true
	k.parts[id] = c
	k.ripe = append(k.ripe, id)
	return true
}

// Leave forgets a partition, which another request has asked for.
func (k *ColdSet[P]) Leave(id partition.ID, p P) {
	if k.parts[id].p == p {
		delete(k.parts, id)
	}
}

// HasNews reports whether there is something to take.
func (k *ColdSet[P]) HasNews() bool { return len(k.ripe) > 0 }

// Take returns the partitions of which there is news, and keeps them no more.
func (k *ColdSet[P]) Take() []P {
	list := make([]P, 0, len(k.ripe))
	for _, id := range k.ripe {
		if c := k.parts[id]; c.rung { // else it has been asked for anew, or is taken already
			delete(k.parts, id)
			list = append(list, c.p)
		}
	}
	k.ripe = nil
	return list
}

// Answered notes that the newest fetch has its answer.
func (k *ColdSet[P]) Answered(now time.Time) { k.chain.answer(now) }

// IdleSince reports whether nothing has been asked since then.
func (k *ColdSet[P]) IdleSince(then time.Time) bool { return k.chain.idleSince(then) }

// Gone reports whether the set has been dropped.
func (k *ColdSet[P]) Gone() bool { return k.gone }

// Drop returns all that was kept, by id, and keeps nothing any more.
func (k *ColdSet[P]) Drop() []P {
	ids := make([]partition.ID, 0, len(k.parts))
	for id := range k.parts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, partition.ID.Compare)
	list := make([]P, len(ids))
	for i, id := range ids {
		list[i] = k.parts[id].p
	}
	k.gone, k.parts, k.ripe = true, nil, nil
	return list
}
