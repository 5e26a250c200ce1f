package node

import (
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// assignOp tells a replica what the newest metadata says of it.
type assignOp struct {
	replica.Assignment
	done chan struct{}
}

func (o *assignOp) perform(r *Replica, now time.Time) {
	defer close(o.done)
	if r.lost.Load() {
		return
	}
	turn := o.Turn(r.node.self, r.state, r.leader != nil, r.follower != nil)
	switch turn {
	case replica.Ignore:
		return
	case replica.Stay:
		r.state = o.State
		return
	case replica.Update:
		r.state = o.State
		r.step(now, replica.Changed{State: *o.State, MinISR: o.MinISR, Peers: o.Peers})
		if r.follower != nil && r.follower.Failed() == nil {
			r.stuck.Store(false) // it is out of ISR and ELR, and follows again
		}
		return
	case replica.Rest, replica.Lead, replica.Follow:
	}
	r.leave(partition.Resigned)
	r.state = o.State
	switch turn {
	case replica.Lead:
		r.lead(now, o)
	case replica.Follow:
		r.follow(now)
	default:
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
	r.spoke.Store(int64(o.State.Epoch))
	err := r.log.BeginEpoch(o.State.Epoch)
	if err == nil {
		err = r.log.LowerRemoved(r.log.End()) // an unclean election may have come while it was being copied
	}
	switch {
	case isFull(err):
		r.node.logger.Error("no room to begin to lead", "partition", r.name(), "error", err)
		r.node.putOff()
		return
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
		SelfEpoch:     o.Self,
		MinISR:        o.MinISR,
		Synced:        r.topic.Durability == partition.Synced,
		Lag:           r.node.cfg.ReplicaLag,
		State:         *o.State,
		Peers:         o.Peers,
		Start:         r.log.Start(),
		Removed:       r.log.RemovedBelow(),
		End:           r.log.End(),
		Flushed:       r.log.Flushed(),
		HighWatermark: r.highWatermark(),
	})
	r.high.Store(int64(r.leader.HighWatermark()))
	// What stood in the log at the start of the epoch counts only once it is
	// flushed here; and a sole member commits with this very step.
	if r.log.Flushed() < r.log.End() {
		r.flushInTurn()
	}
	r.step(now, replica.Flushed{End: r.log.Flushed()})
	if o.State.Recovering {
		r.step(now, replica.Tick{}) // it reports that it leads
	}
}

func (r *Replica) follow(now time.Time) {
	r.spoke.Store(int64(r.state.Epoch))
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
	r.node.follow(now, r, r.state.Leader)
}

func (r *Replica) highWatermark() log.Offset { return log.Offset(r.high.Load()) }
