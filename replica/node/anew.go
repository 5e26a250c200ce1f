package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport/wire"
)

// A copy begins anew when its log does not open, its directory is gone, damage is found
// while it is in use, or it is outdated. First nobody may count on it any more, as
// replica.Remedy has it; then, each step durable before the next:
//
//  1. its label says that it is behind: what it holds speaks for nothing until it is
//     in the ISR again
//  2. its damage file says that it is being discarded
//  3. its segments are set aside, and the rest of its log is removed
//  4. the damage file goes
//  5. its label says that it counts from the present epoch, if it was outdated, and an
//     empty log is opened
//
// A crash before 2 finds a damaged copy in neither ISR nor ELR, and one behind it goes
// on with 3; one that is outdated is so until 5. What is set aside goes when the copy is
// in the ISR again, or when its room is needed: until then the peer that it is fetched
// from may turn out to be damaged elsewhere.

// treat brings a copy that must begin anew a step further: it asks the controller, or
// discards the copy. It is called by runRoles alone, and returns the replica that there
// is then.
func (n *Node) treat(id partition.ID, a *replica.Assignment, topic partition.TopicConfig, r *Replica) *Replica {
	why, spoke := n.ailment(id, r)
	if why == nil && topic.Compact && n.outdated(id, a, r) {
		why = &damage{err: errOutdated, noted: true} // the metadata says it again
	}
	if why == nil {
		if r != nil && r.stuck.Load() && a.Counts(n.self) {
			n.announce(id, log.Epoch(r.spoke.Load()))
		}
		return r
	}
	if r != nil && !why.noted {
		err := writeDamage(n.cfg.FS, r.dir, why)
		if err != nil && !isFull(err) {
			n.failStorage(err)
			return r
		}
		if why.noted = err == nil; !why.noted {
			n.putOff()
		}
	}
	switch a.Remedy(n.self, spoke) {
	case replica.Stand:
	case replica.Announce:
		n.announce(id, spoke)
	case replica.Begin:
		if err := n.discard(id, a, topic, r, why); err != nil {
			n.refuse(id, topic.Name, err)
			return nil
		}
		return nil // the empty one is found
	}
	return r
}

// ailment returns why a copy must begin anew, or nil, and when it last spoke.
func (n *Node) ailment(id partition.ID, r *Replica) (*damage, log.Epoch) {
	if r != nil {
		if r.sound.Swap(false) {
			if err := removeDamage(n.cfg.FS, r.dir); err != nil {
				n.failStorage(err)
			}
			n.logger.Info("copy is sound after all", "partition", r.name())
			r.damage.Store(nil)
		}
		return r.damage.Load(), log.Epoch(r.spoke.Load())
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.found[id]; f.damage != nil {
		return &damage{err: f.damage, noted: true}, log.NoEpoch
	}
	return nil, log.NoEpoch
}

// errOutdated is why a copy begins anew that may lack keys of the leader's.
var errOutdated = errors.New("node: an election has given records up, for whose sake older ones may have been compacted away")

// outdated reports whether there is a copy, and it is one from before a lossy election.
func (n *Node) outdated(id partition.ID, a *replica.Assignment, r *Replica) bool {
	if r != nil {
		return a.Outdated(n.self, log.Epoch(r.since.Load()))
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	f, ok := n.found[id]
	return ok && a.Outdated(n.self, f.since)
}

// discard sets a copy aside on which nobody counts. An empty one is found in its place.
func (n *Node) discard(id partition.ID, a *replica.Assignment, topic partition.TopicConfig, r *Replica, why *damage) error {
	f, err := n.vacate(id, topic, r, why)
	if err != nil {
		return err
	}
	n.logger.Warn("copy begins anew", "broker", n.self, "dir", f.dir, "damage", why.err)
	fsys, since := n.cfg.FS, a.Since()
	if f.since >= a.State.LossyEpoch {
		f.since = since // else it is of before until nothing of it is left
	}
	if err := log.MakeDir(fsys, f.dir); err != nil { // the list has it already, so that it must not go with the power
		return err
	}
	if err := writePartition(fsys, f.dir, label{id, topic, true, f.since}); err != nil {
		return err
	}
	if err := writeDamage(fsys, f.dir, &damage{err: why.err, discarded: true}); err != nil {
		return err
	}
	if err := finishDiscard(fsys, f.dir); err != nil {
		return err
	}
	if f.since != since {
		f.since = since
		if err := writePartition(fsys, f.dir, label{id, topic, true, since}); err != nil {
			return err
		}
	}
	l, _, err := log.Open(fsys, f.dir, n.logConfig(topic))
	if err != nil {
		return err
	}
	f.log, f.damage, f.suspect, f.missing = l, nil, false, false
	n.mu.Lock()
	defer n.mu.Unlock()
	n.found[id] = f
	return nil
}

// vacate has nobody use the directory of a copy any more. What is found there is
// damaged until the discard is done.
func (n *Node) vacate(id partition.ID, topic partition.TopicConfig, r *Replica, why *damage) (found, error) {
	n.mu.Lock()
	f := n.found[id]
	if r != nil {
		f = found{topic: topic.Name, since: log.Epoch(r.since.Load()), dir: r.dir}
	}
	opened := f.log
	f.log, f.damage, f.behind = nil, why.err, true
	n.found[id] = f
	delete(n.replicas, id)
	n.mu.Unlock()
	if r != nil {
		n.quit(r)
	}
	if opened != nil { // and was not taken yet
		if err := opened.Close(); errors.Is(err, log.ErrFailed) {
			return f, err
		}
	}
	return f, nil
}

// finishDiscard does what a damage file says that is being done.
func finishDiscard(fsys log.FS, dir string) error {
	if err := log.SetAside(fsys, dir); err != nil {
		return err
	}
	return removeDamage(fsys, dir)
}

// quit ends a replica for good, and all that is done in its directory.
func (n *Node) quit(r *Replica) {
	o := &removeOp{done: make(chan struct{})}
	r.do(o)
	<-o.done
	r.end()
	r.tidying <- struct{}{} // nobody tidies it any more
	if err := r.log.Close(); err != nil && !errors.Is(err, log.ErrFailed) {
		n.logger.Warn("close of a replica that ends", "dir", r.dir, "error", err)
	}
}

// announce tells the controller that a copy must begin anew, unless that is under way.
// What it does about it comes as metadata; otherwise it is told again.
func (n *Node) announce(id partition.ID, spoke log.Epoch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.announced[id] {
		return
	}
	n.announced[id] = true
	m := replica.Discard{From: n.self, BrokerEpoch: n.Epoch(), ID: id, Epoch: spoke}
	n.workers.Go(func() {
		err := n.askDiscard(m)
		if err != nil {
			n.logger.Debug("copy to begin anew", "partition", id, "error", err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.announced, id)
		n.again[id] = err != nil
	})
}

func (n *Node) askDiscard(m replica.Discard) error {
	ctx, cancel := context.WithTimeout(n.ctx, 2*n.cfg.CallTimeout)
	defer cancel()
	w := wire.NewWriter(nil)
	m.Encode(w)
	got, err := n.askController(ctx, Message{Kind: KindDiscard, Head: w.Bytes()})
	if err != nil {
		return err
	}
	answer, err := replica.DecodeDiscardAnswer(got.Head)
	if err != nil {
		return fmt.Errorf("node: discard of %v: %w", m.ID, err)
	}
	return answer.Code.Err()
}

// lookAgain has the role of one replica looked at again.
func (n *Node) lookAgain(ids ...partition.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range ids {
		n.pending[id] = true
	}
	if len(ids) > 0 {
		n.moved()
	}
}

// takeAgain returns the partitions of which the controller is to be told again.
func (n *Node) takeAgain() []partition.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []partition.ID
	for id, again := range n.again {
		if again {
			ids = append(ids, id)
		}
	}
	clear(n.again)
	return ids
}
