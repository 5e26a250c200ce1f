package quorum

import "github.com/samsalog/samsa/partition"

// Gone says that nobody answers at a broker's address any more; see [Quorum.Gone].
// The followers of a leader that is gone stand one after another, in the order of their
// ids: two candidates at once would share the votes.
func (e *Engine) Gone(id partition.BrokerID) {
	if e.err == nil && e.follow != nil && e.isOutsider() {
		if e.status.Leader == id {
			e.status.Leader, e.status.LeaderAddr = partition.NoBroker, ""
		}
		if e.follow.source().ID == id {
			e.nextSource()
		}
	}
	if !e.works() || e.status.Role != Follower || e.status.Leader != id {
		return
	}
	if e.fail(e.node.forget()) {
		return
	}
	wait := firstStand * e.cfg.Tick / 100 // the others have to find out too
	for _, v := range e.status.Voters {
		if v.ID < e.cfg.Self && v.ID != id {
			wait += nextStand * e.cfg.Tick / 100
		}
	}
	e.stands = true
	e.host.Wake(wait)
}

// How long a follower of a dead leader waits before it stands, and for each that
// stands before it: in hundredths of a tick.
const (
	firstStand = 5
	nextStand  = 50
)

// stand campaigns, if nobody has been elected meanwhile.
func (e *Engine) stand() {
	stands := e.stands
	e.stands = false
	if stands && e.works() && e.status.Role == Follower && e.status.Leader == partition.NoBroker {
		e.fail(e.node.campaign())
	}
}
