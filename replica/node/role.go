package node

import (
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// assignOp tells a replica what the newest metadata says of it. Several changes
// may have been merged into one, so it compares ends and never steps.
type assignOp struct {
	state  *partition.State
	minISR int
	peers  []replica.Peer
	self   partition.BrokerEpoch // this broker's own epoch; 0 while it may not lead
	done   chan struct{}

	registered bool // it may follow: this incarnation's registration is applied
}

func (o *assignOp) perform(r *Replica, now time.Time) {
	defer close(o.done)
	if r.lost.Load() {
		return
	}
	was := r.state
	if was != nil && o.state.PartitionEpoch < was.PartitionEpoch {
		return // an older image never overwrites
	}
	leads := o.state.Leader == r.node.self && o.self != 0
	follows := o.registered && o.state.Leader != partition.NoBroker && o.state.Leader != r.node.self
	same := was != nil && was.Epoch == o.state.Epoch && was.Leader == o.state.Leader
	switch {
	case same && leads && r.leader != nil, same && follows && r.follower != nil:
		r.state = o.state
		r.step(now, replica.Changed{State: *o.state, MinISR: o.minISR, Peers: o.peers})
		return
	case same && !leads && !follows && r.leader == nil && r.follower == nil:
		r.state = o.state
		return
	}
	r.leave(partition.Resigned)
	r.state = o.state
	switch {
	case leads:
		r.lead(now, o)
	case follows:
		r.follow(now)
	}
	r.publish()
}

// publish makes the new role visible to those who do not own the replica.
func (r *Replica) publish() {
	s := &role{epoch: r.state.Epoch, leader: r.state.Leader, leads: r.leader != nil}
	if s.leads {
		s.begin = r.log.End()
	}
	r.standing.Store(s)
	r.node.roleChanged(r, s)
}

func (r *Replica) lead(now time.Time, o *assignOp) {
	switch err := r.log.BeginEpoch(o.state.Epoch); {
	case errors.Is(err, log.ErrOutOfOrder):
		// The log is of a history that the metadata has not: it concerns this copy alone.
		r.node.logger.Error("replica cannot lead", "partition", r.name(), "error", err)
		return
	case err != nil:
		r.fail(err)
		return
	}
	r.leader = replica.NewLeader(now, replica.LeaderConfig{
		ID:            r.id,
		Self:          r.node.self,
		SelfEpoch:     o.self,
		MinISR:        o.minISR,
		Synced:        r.topic.Durability == partition.Synced,
		Lag:           r.node.cfg.ReplicaLag,
		State:         *o.state,
		Peers:         o.peers,
		Start:         r.log.Start(),
		Removed:       r.log.RemovedBelow(),
		End:           r.log.End(),
		Flushed:       r.log.Flushed(),
		HighWatermark: r.highWatermark(),
	})
	// What stood in the log at the start of the epoch counts only once it is
	// flushed here; and a sole member commits with this very step.
	if r.log.Flushed() < r.log.End() {
		r.flushInTurn()
	}
	r.step(now, replica.Flushed{End: r.log.Flushed()})
	if o.state.Recovering {
		r.step(now, replica.Tick{}) // it reports that it leads
	}
}

func (r *Replica) follow(now time.Time) {
	r.follower = replica.NewFollower(replica.FollowerConfig{
		ID:            r.id,
		Self:          r.node.self,
		State:         *r.state,
		Start:         r.log.Start(),
		Removed:       r.log.RemovedBelow(),
		End:           r.log.End(),
		Flushed:       r.log.Flushed(),
		LastEpoch:     r.log.LastEpoch(),
		HighWatermark: r.highWatermark(),
	})
	if r.log.Flushed() < r.log.End() {
		r.flushInTurn()
	}
	r.node.follow(r, r.state.Leader)
}

func (r *Replica) highWatermark() log.Offset { return log.Offset(r.high.Load()) }
