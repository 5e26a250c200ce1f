package quorum

import (
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// This file has how an engine comes to take part, and goes on from a snapshot.

// take does what the former wants, in its order.
func (e *Engine) take(s step) {
	logger := e.cfg.Logger
	if s.Keep {
		k := kept{formation: e.form.formed, Self: e.cfg.Self, Directory: e.cfg.Directory}
		if e.fail(e.disk.keep(k)) {
			return
		}
		logger.Info("quorum formed", "cluster", k.Cluster.String(), "voters", len(k.Members))
		if e.join(); e.err != nil {
			return
		}
	}
	if s.Ask {
		e.greetAll()
	}
	if e.form.isStranger() && e.status.Role != Stranger {
		e.status.Role, e.status.Cluster = Stranger, e.form.strange
		logger.Warn("voter is a stranger to its quorum", "problem", s.Problem)
		e.observe()
	}
	if !e.form.isFormed() && e.status.Problem != s.Problem {
		e.status.Problem = s.Problem
		logger.Info("quorum is not formed yet", "problem", s.Problem)
	}
	if s.Campaign {
		e.fail(e.node.campaign())
	}
}

// greeting is what other brokers are to be told. One that follows a cluster without
// being a member says so: nobody may found another beside it.
func (e *Engine) greeting() hello {
	h := e.form.greeting()
	if !e.form.isFormed() {
		h.formation = e.disk.kept.formation
	}
	return h
}

func (e *Engine) greetAll() {
	hello := encodeHello(e.greeting())
	for _, v := range e.status.Voters {
		if v.ID != e.cfg.Self {
			e.host.Send(Message{To: v.ID, Addr: v.Addr, kind: kindHello, round: e.form.round, body: hello})
		}
	}
}

// join starts the machine, now that it is known who the founders are.
func (e *Engine) join() {
	e.follow, e.pulling = nil, nil
	e.roster = e.disk.roster()
	e.noteRoster()
	e.status.Cluster, e.status.Term = e.form.formed.Cluster, log.Epoch(e.disk.kept.Term)
	e.status.Role, e.status.Problem = e.roleNow(Follower), ""
	e.status.Leader, e.status.LeaderAddr = partition.NoBroker, ""
	e.host.Wake(-1)
	node, err := newMachine(e.cfg, e.disk, e.me)
	if !e.fail(err) {
		e.node = node
		e.eager = e.roster.alone(e.self()) // nobody can object
	}
}

// restore goes on from a snapshot of this member's own.
func (e *Engine) restore(snap snapshot) {
	e.roster = snap.roster
	e.applied, e.termOf, e.since = snap.index, snap.term, 0
	e.reset(snap)
}

// reset gives the host a snapshot, unless it has come that far already.
func (e *Engine) reset(snap snapshot) {
	if snap.index <= e.shown {
		return
	}
	if err := e.host.Restore(log.Offset(snap.index), snap.state); err != nil {
		e.fail(fmt.Errorf("quorum: restore snapshot of entry %d: %w", snap.index, err))
		return
	}
	e.shown = snap.index
}

// show gives the host an entry, unless it has had it: as an observer, before this
// broker was let in.
func (e *Engine) show(index uint64, data []byte) {
	if index <= e.shown {
		return
	}
	if len(data) == 0 {
		data = nil
	}
	e.host.Apply(log.Offset(index), data)
	e.shown = index
}
