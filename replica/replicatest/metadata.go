package replicatest

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/node"
)

// newsPatience is how long a request waits for metadata that its sender has and the
// process has not.
const newsPatience = 100 * time.Millisecond

// apply folds one committed entry into the table.
func (p *process) apply(index log.Offset, data []byte) {
	if p.dead {
		return
	}
	if index != p.applied+1 {
		p.w.fail("I30", "broker %d applies entry %d after %d", p.id, index, p.applied)
	}
	p.applied = index
	p.w.watch.committedEntry(p, index, data)
	if len(data) == 0 {
		return
	}
	records, err := partition.DecodeRecords(data)
	if err != nil {
		p.w.fail("I31", "entry %d: %v", index, err)
		return
	}
	changes := p.table.Apply(index, records)
	p.w.watch.applied(p, changes)
	out := p.control.Step(p.w.clock(), control.Applied{Offset: index, Changes: changes})
	for _, id := range changes.Partitions {
		p.pending[id] = true
	}
	p.noteGone(changes.Partitions)
	for _, topic := range changes.Topics {
		t, _ := p.table.TopicByID(topic)
		for i := range t.Partitions {
			p.pending[partition.ID{Topic: topic, Partition: partition.PartitionID(i)}] = true
		}
	}
	if len(changes.Brokers) > 0 {
		p.allPending()
	}
	if p.someoneStops() {
		p.hurry()
	}
	p.moved()
	p.carryControl(out, p.reign)
}

// restore puts a snapshot in the place of what has been applied.
func (p *process) restore(index log.Offset, state []byte) error {
	table, err := partition.DecodeSnapshot(state)
	if err != nil {
		return err
	}
	if index < p.applied {
		p.w.fail("I30", "broker %d goes back from entry %d to a snapshot of entry %d", p.id, p.applied, index)
	}
	p.w.watch.restored(p, index, table)
	*p.table = *table // the controller has the pointer
	p.applied = index
	for _, c := range p.copies {
		p.pending[c.id] = true
		p.noteGone([]partition.ID{c.id})
	}
	p.noteGone(sortedKeys(p.found)) // a topic that was deleted meanwhile is in no record that comes
	p.touch()
	return nil
}

func (p *process) allPending() {
	for _, id := range p.table.PartitionsOf(p.id) {
		p.pending[id] = true
	}
	for id := range p.gone {
		p.pending[id] = true
	}
}

// touch has the roles of all copies looked at again.
func (p *process) touch() {
	p.allPending()
	p.moved()
}

// moved lets the roles follow the table, by and by, and wakes those who wait for it.
func (p *process) moved() {
	if !p.rolesDue {
		p.rolesDue = true
		p.w.at(span(p.w.rng, 0, 300*time.Microsecond+p.b.late), p.b, disk, "roles", p.roles)
	}
	p.wake()
}

// roles gives each copy the role that the newest metadata has for it.
func (p *process) roles() {
	p.rolesDue = false
	pending := sortedKeys(p.pending)
	clear(p.pending)
	for _, id := range pending { // the new ones are listed in one go
		if a, mine := replica.Assign(p.table, id, p.id, p.epoch); mine && p.copy(id) == nil && p.found[id] == nil {
			p.prepare(id, &a)
		}
	}
	for _, id := range pending {
		if p.assign(id); p.dead {
			return
		}
	}
	if err := p.list(); err != nil {
		if p.unlisted(err); p.dead {
			return
		}
	}
	p.wake()
	if p.stopped != nil {
		p.stopped()
	}
}

// assign brings one copy up to date with the table.
func (p *process) assign(id partition.ID) {
	if p.dead {
		return
	}
	a, mine := replica.Assign(p.table, id, p.id, p.epoch)
	if !mine {
		if p.gone[id] && replica.Gone(p.table, id, p.id, p.epoch) {
			p.remove(id)
		}
		return
	}
	topic, _ := p.table.TopicByID(id.Topic)
	if p.treat(id, &a, topic.Config); p.dead {
		return
	}
	c := p.copy(id)
	if c == nil {
		c = p.prepare(id, &a)
	}
	if c == nil {
		return
	}
	if err := p.list(); err != nil {
		p.unlisted(err)
		return
	}
	if a.Registered && a.Counts(p.id) {
		switch err := c.counted(&a, topic.Config.Compact); {
		case err == nil:
		case node.IsFull(err):
			p.late = true
		default:
			p.trouble(err)
			return
		}
	}
	c.assign(&a)
	c.settle()
}

// prepare makes this process's copy of a partition. It is nil if there can be none now.
func (p *process) prepare(id partition.ID, a *replica.Assignment) *copyOf {
	if p.dead || !a.Registered && p.found[id] == nil {
		return nil // whether a new copy is complete only its registration tells
	}
	topic, _ := p.table.TopicByID(id.Topic)
	c, err := p.openCopy(id, a, topic.Config)
	if err != nil {
		p.refuse(id, topic.Config, err)
	}
	if c == nil || err != nil {
		return nil
	}
	i, _ := slices.BinarySearchFunc(p.copies, id, func(c *copyOf, id partition.ID) int { return c.id.Compare(id) })
	p.copies = slices.Insert(p.copies, i, c)
	return c
}

// openCopy opens the log of a partition that the metadata assigns here. It is nil if that
// does not open.
func (p *process) openCopy(id partition.ID, a *replica.Assignment, topic partition.TopicConfig) (*copyOf, error) {
	if f := p.found[id]; f != nil {
		if f.log == nil {
			return nil, nil
		}
		delete(p.found, id)
		c := newCopy(p, topic, f.log, f.dir, f.label)
		c.damage, c.noted = f.damage, f.damage != nil
		return c, nil
	}
	name := node.FreeName(topic.Name, id, p.dirs)
	dir := filepath.Join(dataDir, name)
	if err := p.fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	label := node.Label{ID: id, Topic: topic, Behind: !p.lacksNothing(a.State), Since: a.Since()}
	if err := node.WriteLabel(p.fs, dir, label); err != nil {
		return nil, err
	}
	l, recovery, err := log.Open(p.fs, dir, p.logConfig(topic))
	if err != nil {
		return nil, err
	}
	p.dirs[name] = id
	p.w.watch.opened(p.b, id, dir, l, nil, recovery)
	return newCopy(p, topic, l, dir, label), nil
}

// refuse notes why a partition has no copy here.
func (p *process) refuse(id partition.ID, topic partition.TopicConfig, err error) {
	switch {
	case errors.Is(err, log.ErrCorrupt):
		f := p.found[id]
		if f == nil {
			f = &found{dir: filepath.Join(dataDir, node.FreeName(topic.Name, id, p.dirs))}
			p.found[id] = f
		}
		f.label.ID, f.label.Topic, f.suspect, f.damage = id, topic, true, err
	case node.IsFull(err):
		p.late = true
	default:
		p.trouble(err)
	}
}

func (p *process) copy(id partition.ID) *copyOf {
	i, ok := slices.BinarySearchFunc(p.copies, id, func(c *copyOf, id partition.ID) int { return c.id.Compare(id) })
	if !ok {
		return nil
	}
	return p.copies[i]
}

// A sight is a request that waits for metadata, or for the roles to follow it.
type sight struct{ try func(last bool) bool }

// await calls try now and at each news until it returns true; last says that it is
// asked for the last time.
func (p *process) await(limit time.Duration, try func(last bool) bool) {
	if try(false) {
		return
	}
	s := &sight{try}
	p.sights = append(p.sights, s)
	p.w.at(limit, p.b, awake, "patience", func() {
		if i := slices.Index(p.sights, s); i >= 0 {
			p.sights = slices.Delete(p.sights, i, i+1)
			s.try(true)
		}
	})
}

func (p *process) wake() {
	if len(p.sights) == 0 || p.dead {
		return
	}
	waiting := p.sights
	p.sights = nil
	waiting = slices.DeleteFunc(waiting, func(s *sight) bool { return s.try(false) })
	p.sights = append(waiting, p.sights...)
}

// settled reports whether the roles have caught up with the table.
func (p *process) settled() bool { return len(p.pending) == 0 }

// leading finds the copy of a partition that this process leads, and its role, as a
// node does.
func (p *process) leading(id partition.ID, epoch log.Epoch, then func(c *copyOf, s role, code partition.Code)) {
	p.await(newsPatience, func(last bool) bool {
		st, known := p.table.Partition(id)
		c := p.copy(id)
		code := partition.NotLeader
		switch {
		case !known:
			code = partition.UnknownPartition
		case epoch > st.Epoch:
			code = partition.UnknownEpoch
		case c != nil:
			s := c.role
			switch leads := s.leads && s.epoch == st.Epoch; {
			case leads && epoch != log.NoEpoch && epoch < s.epoch:
				then(nil, role{}, partition.FencedEpoch)
				return true
			case leads:
				then(c, s, partition.OK)
				return true
			}
		}
		if last || code == partition.NotLeader && p.settled() {
			then(nil, role{}, code)
			return true
		}
		return false
	})
}
