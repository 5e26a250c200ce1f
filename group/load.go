package group

import (
	"slices"

	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// Load takes in one record of the group, before Loaded. The records may be what
// compaction has left: each replaces an earlier one, and nothing is concluded from
// their order until they are all there (KAFKA-19862).
func (c *Coordinator) Load(rec Record) { c.apply(rec) }

// loaded begins the coordinator's work: members get their full time again.
func (c *Coordinator) loaded() {
	for _, id := range slices.Clone(c.order) {
		if m := c.members[id]; m.record.Member == "" {
			// Left-overs of a member that is gone.
			c.write(CurrentRecord{Gone: true, Member: id})
			c.write(TargetRecord{Gone: true, Member: id})
			c.forgetMember(id)
		}
	}
	for _, id := range c.disown() {
		c.remove(c.members[id])
	}
	clear(c.owners)
	for _, id := range c.order {
		m := c.members[id]
		c.own(id, CurrentRecord{}, m.current)
		m.sequence = m.record.Joined
		m.silent = true
		m.deadline = c.now.Add(c.session(m))
		if m.current.State == Unrevoked {
			m.revokeBy = c.patience(m)
		}
	}
	if c.targetEpoch != c.epoch {
		c.dirty = true
	}
}

// apply is the fold: what is, is what the newest record of each kind says.
func (c *Coordinator) apply(rec Record) {
	switch rec := rec.(type) {
	case EpochRecord:
		c.epoch, c.changed = rec.Epoch, rec.Changed
	case TopicsRecord:
		c.topics = rec.Topics
	case TargetEpochRecord:
		c.targetEpoch = rec.Epoch
	case MemberRecord:
		if rec.Gone {
			c.forgetMember(rec.Member)
			return
		}
		c.member(rec.Member).record = rec
	case TargetRecord:
		if m := c.members[rec.Member]; m != nil || !rec.Gone {
			c.member(rec.Member).target = rec.Partitions
		}
	case CurrentRecord:
		if m := c.members[rec.Member]; m != nil || !rec.Gone {
			m = c.member(rec.Member)
			c.own(rec.Member, m.current, rec)
			m.current = rec
			m.current.Gone = false
		}
	case CommitRecord:
		c.commits.Apply(c.key(rec.Partition), rec.Commit)
	}
}

// member returns a member, made if it is not there.
func (c *Coordinator) member(id string) *member {
	m := c.members[id]
	if m == nil {
		m = &member{}
		c.members[id] = m
		at, _ := slices.BinarySearch(c.order, id)
		c.order = slices.Insert(c.order, at, id)
	}
	return m
}

// forgetMember drops a member, and all that is known of it.
func (c *Coordinator) forgetMember(id string) {
	m := c.members[id]
	if m == nil {
		return
	}
	c.own(id, m.current, CurrentRecord{})
	delete(c.members, id)
	at, _ := slices.BinarySearch(c.order, id)
	c.order = slices.Delete(c.order, at, at+1)
}

func (c *Coordinator) key(id partition.ID) offsets.Key {
	return offsets.Key{Group: c.group, Partition: id}
}
