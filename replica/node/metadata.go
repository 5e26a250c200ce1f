package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
)

// Apply folds one committed entry into the table. The quorum calls it for each
// entry, in order, from one goroutine. The roles follow in a goroutine of their
// own, so that no disk stands in the agreement's way.
func (n *Node) Apply(index log.Offset, data []byte) {
	if len(data) == 0 || n.ctx.Err() != nil {
		return
	}
	records, err := partition.DecodeRecords(data)
	if err != nil {
		// To go on without it would make this broker's picture another than theirs.
		n.Fail(fmt.Errorf("metadata entry %d: %w", index, err))
		return
	}
	n.mu.Lock()
	changes := n.table.Apply(index, records)
	out, reign := n.control.Step(time.Now(), control.Applied{Offset: index, Changes: changes}), n.reign
	for _, id := range changes.Partitions {
		n.pending[id] = true
	}
	n.noteGone(changes.Partitions)
	for _, topic := range changes.Topics { // all its partitions may be kept otherwise
		t, _ := n.table.TopicByID(topic)
		for i := range t.Partitions {
			n.pending[partition.ID{Topic: topic, Partition: partition.PartitionID(i)}] = true
		}
	}
	if len(changes.Brokers) > 0 {
		n.allPending = true
	}
	if n.someoneStops() {
		n.hurryUp()
	}
	n.moved()
	n.mu.Unlock()
	n.carryControl(out, reign)
}

// Snapshot returns the table as it is after the entries applied so far. The quorum
// calls it as it calls Apply.
func (n *Node) Snapshot() ([]byte, error) {
	if n.ctx.Err() != nil {
		return nil, context.Cause(n.ctx) // it may lack entries by now
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Snapshot(), nil
}

// Restore puts another broker's table, or this one's of an earlier life, in the place
// of what has been applied. The quorum calls it as it calls Apply, and never while this
// broker's voter leads.
func (n *Node) Restore(index log.Offset, state []byte) error {
	table, err := partition.DecodeSnapshot(state)
	if err != nil {
		return err
	}
	if table.Offset() > index {
		return fmt.Errorf("metadata snapshot of entry %d is said to be of entry %d", table.Offset(), index)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	*n.table = *table // the controller has the pointer
	// A topic that was deleted meanwhile is in no record that comes.
	n.noteGone(slices.Concat(slices.Collect(maps.Keys(n.replicas)), slices.Collect(maps.Keys(n.found))))
	for id := range n.replicas {
		n.pending[id] = true
	}
	n.allPending = true
	n.moved()
	return nil
}

// runRoles gives each replica the role that the newest metadata has for it.
func (n *Node) runRoles() {
	for {
		pending, changed := n.takePending()
		for _, id := range pending { // the new ones are listed in one go
			if a, topic, r, mine := n.assignment(id); mine && r == nil {
				n.prepare(id, &a, topic)
			}
		}
		for _, id := range pending {
			n.assign(id)
		}
		if err := errors.Join(n.list(), n.finishList()); err != nil && n.ctx.Err() == nil {
			n.unlisted(err)
		}
		if len(pending) > 0 {
			continue // more may have come meanwhile
		}
		select {
		case <-changed:
		case <-n.ctx.Done():
			return
		}
	}
}

// takePending returns the partitions whose roles are to be looked at. When there
// are none, those who wait for the roles are told.
func (n *Node) takePending() ([]partition.ID, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.allPending {
		for _, id := range n.table.PartitionsOf(n.self) {
			n.pending[id] = true
		}
		for id := range n.gone {
			n.pending[id] = true
		}
	}
	pending := slices.SortedFunc(maps.Keys(n.pending), partition.ID.Compare)
	clear(n.pending)
	n.allPending = false
	if len(pending) == 0 && n.settled != nil {
		close(n.settled)
		n.settled = nil
	}
	return pending, n.changed
}

// touch has the roles of all replicas looked at again.
func (n *Node) touch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.allPending = true
	n.moved()
}

// moved wakes those who wait for the metadata. The lock is held.
func (n *Node) moved() {
	if n.settled == nil {
		n.settled = make(chan struct{})
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// assignment returns what the table says of one partition to this broker, and its
// replica, which may be nil.
func (n *Node) assignment(id partition.ID) (a replica.Assignment, topic partition.TopicConfig, r *Replica, mine bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	a, mine = replica.Assign(n.table, id, n.self, n.Epoch())
	t, _ := n.table.TopicByID(id.Topic)
	return a, t.Config, n.replicas[id], mine
}

// assign brings one replica up to date with the table.
func (n *Node) assign(id partition.ID) {
	a, topic, r, mine := n.assignment(id)
	if !mine {
		if n.isGone(id) {
			n.remove(id)
		}
		return
	}
	if r = n.treat(id, &a, topic, r); r == nil {
		r = n.prepare(id, &a, topic)
	}
	if r == nil {
		return
	}
	if err := n.list(); err != nil {
		n.unlisted(err)
		return
	}
	r.compacted.Store(topic.Compact)
	if a.Registered && a.Counts(n.self) {
		switch err := n.counted(r, &a); {
		case err == nil:
		case isFull(err):
			n.putOff() // until then its word counts for less than it might
		default:
			n.failStorage(err)
			return
		}
	}
	o := &assignOp{Assignment: a, done: make(chan struct{})}
	r.do(o)
	<-o.done
}

// prepare makes this broker's replica of a partition. It is nil if there can be none
// now.
func (n *Node) prepare(id partition.ID, a *replica.Assignment, topic partition.TopicConfig) *Replica {
	if !a.Registered && !n.has(id) {
		return nil // whether a new copy is complete only its registration tells
	}
	r, err := n.openReplica(id, a, topic)
	if err != nil {
		n.refuse(id, topic.Name, err)
	}
	if r == nil || err != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replicas[id] = r
	return r
}

// unlisted deals with an error of the list of copies: the new ones do nothing before
// they stand there.
func (n *Node) unlisted(err error) {
	if !isFull(err) {
		n.failStorage(err)
		return
	}
	n.logger.Warn("no room for the list of copies", "broker", n.self, "error", err)
	n.putOff()
}

// putOff has the roles looked at again when there may be room.
func (n *Node) putOff() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.later = true
}

// assigned reports whether the metadata gives this broker a copy of a partition. The
// lock is held.
func (n *Node) assigned(id partition.ID) bool {
	st, ok := n.table.Partition(id)
	return ok && slices.Contains(st.Replicas, n.self)
}

// has reports whether there is a copy of the partition on the disk.
func (n *Node) has(id partition.ID) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	_, found := n.found[id]
	return found
}

// refuse says why a partition has no replica here. Damage concerns it alone, and
// a full disk may have room later; any other fault concerns the whole directory.
func (n *Node) refuse(id partition.ID, topic string, err error) {
	switch {
	case errors.Is(err, log.ErrCorrupt):
		n.logger.Error("damaged replica stays out", "partition", dirName(topic, id.Partition), "error", err)
		n.mu.Lock()
		f := n.found[id]
		f.topic, f.suspect, f.damage = topic, true, err
		f.dir = cmp.Or(f.dir, filepath.Join(n.cfg.Dir, dirName(topic, id.Partition)))
		n.found[id] = f
		n.mu.Unlock()
	case isFull(err):
		n.logger.Warn("no room for a replica", "partition", dirName(topic, id.Partition), "error", err)
		n.putOff()
		n.noteFull()
	default:
		n.failStorage(err)
	}
}

// roleChanged tells those above. It is called by the replica's owner.
func (n *Node) roleChanged(r *Replica, s *role) {
	if n.cfg.OnRole == nil {
		return
	}
	var led *Led
	if s.leads {
		led = &Led{r: r, epoch: s.epoch}
	}
	n.cfg.OnRole(r.id, r.topic.Name, led)
}

// State returns what the metadata says of a partition.
func (n *Node) State(id partition.ID) (partition.State, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	st, ok := n.table.Partition(id)
	if !ok {
		return partition.State{}, false
	}
	return *st, true
}

// Broker returns what the metadata says of a broker.
func (n *Node) Broker(id partition.BrokerID) (partition.Broker, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Broker(id)
}

// Topic returns what the metadata says of a topic.
func (n *Node) Topic(name string) (partition.Topic, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Topic(name)
}

// Changed returns the offset of the newest metadata, and a channel that is closed
// at the next change.
func (n *Node) Changed() (log.Offset, <-chan struct{}) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Offset(), n.changed
}

// HandleMetadata answers with this broker's image of the cluster once it has news for
// the asker, or the wait is over. Who has newer metadata than this broker may know
// better who the controller is, too.
func (n *Node) HandleMetadata(ctx context.Context, req partition.MetadataRequest) partition.Image {
	timer := time.NewTimer(max(time.Duration(req.MaxWaitMs)*time.Millisecond, 1))
	defer timer.Stop()
	for {
		offset, changed := n.Changed()
		st, elected := n.quorum.Watch()
		other := st.Leader != partition.NoBroker && st.Leader != req.Controller
		if offset > req.After || offset == req.After && other {
			return n.image()
		}
		select {
		case <-changed:
		case <-elected:
		case <-timer.C:
			return n.image()
		case <-ctx.Done():
			return n.image()
		}
	}
}

func (n *Node) image() partition.Image {
	st := n.quorum.Status()
	voters := make([]partition.BrokerID, 0, len(st.Voters))
	for _, v := range st.Voters {
		voters = append(voters, v.ID)
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Image(st.Cluster, st.Leader, voters)
}

// TopicByID returns what the metadata says of a topic.
func (n *Node) TopicByID(id partition.UUID) (partition.Topic, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.TopicByID(id)
}

// Topics returns all topics by rising name.
func (n *Node) Topics() []partition.Topic {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Topics()
}

// Brokers returns all registered brokers by rising id.
func (n *Node) Brokers() []partition.Broker {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table.Brokers()
}
