package replica

import (
	"time"

	"github.com/samsalog/samsa/partition"
)

// A chain is what a leader knows of the cold fetches of one follower: each but the first
// names the one before it, so that none is missing. What the leader keeps for the follower
// stands as long as the chain does.
type chain struct {
	broker   partition.BrokerEpoch
	sequence int64     // of the newest
	waiting  bool      // it has no answer yet
	answered time.Time // when the newest before it was
}

// newChain is the chain that begins with a cold fetch.
func newChain(req *FetchRequest) chain {
	return chain{broker: req.BrokerEpoch, sequence: req.Sequence, waiting: true}
}

// newer reports whether a fetch was asked after all of the chain.
func (c *chain) newer(req *FetchRequest) bool {
	return req.BrokerEpoch > c.broker || req.BrokerEpoch == c.broker && req.Sequence > c.sequence
}

// goOn makes a fetch the newest of the chain. It is false, and changes nothing, unless the
// one that it names is the newest and has been answered: this leader has restarted, or an
// answer was lost, or the fetch comes late or again.
func (c *chain) goOn(req *FetchRequest) bool {
	if c.waiting || req.BrokerEpoch != c.broker || req.After != c.sequence || !c.newer(req) {
		return false
	}
	c.sequence, c.waiting = req.Sequence, true
	return true
}

// answer notes that the newest has its answer.
func (c *chain) answer(now time.Time) { c.waiting, c.answered = false, now }

// idleSince reports whether nothing has been asked since then.
func (c *chain) idleSince(then time.Time) bool { return !c.waiting && c.answered.Before(then) }
