package group

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// reconcile leads a member one step on towards its target, if it can take one, and
// reports whether that set partitions free. Only a member that has confirmed its
// present state is led on, so that it is never more than one epoch behind.
func (c *Coordinator) reconcile(m *member) (freed bool) {
	switch m.current.State {
	case Stable:
		if m.current.Epoch == MemberEpoch(c.targetEpoch) {
			return false
		}
		return c.advance(m, m.current.Epoch)
	case Unrevoked:
		if m.owns(m.current.Pending) {
			return false
		}
		// It has come out of its epoch, and perhaps there is more to give up already.
		return c.advance(m, min(m.current.Epoch+1, MemberEpoch(c.targetEpoch)))
	default:
		return c.advance(m, m.current.Epoch)
	}
}

// advance computes the member's next state. Provisional is its epoch if it has to
// give something up before it reaches the assignment epoch.
func (c *Coordinator) advance(m *member, provisional MemberEpoch) (freed bool) {
	next := CurrentRecord{Member: m.record.Member, Epoch: provisional, Previous: m.current.Previous}
	var revoke []Given
	for _, g := range m.current.Assigned {
		if contains(m.target, g.ID) {
			next.Assigned = append(next.Assigned, g)
		} else {
			revoke = append(revoke, g)
		}
	}
	if len(revoke) > 0 && m.owns(revoke) {
		next.State, next.Pending = Unrevoked, revoke
		m.revokeBy = c.patience(m)
	} else {
		next.Epoch = MemberEpoch(c.targetEpoch)
		next.State = c.grant(m, &next)
		m.revokeBy = time.Time{}
	}
	if next.Epoch != m.current.Epoch {
		next.Previous = m.current.Epoch
	}
	next.Version = m.current.Version
	if equalCurrent(next, m.current) {
		return false
	}
	held := len(m.current.Assigned) + len(m.current.Pending)
	kept := len(common(union(ids(m.current.Assigned), ids(m.current.Pending)), union(ids(next.Assigned), ids(next.Pending))))
	next.Version++
	c.write(next)
	m.reported, m.silent = nil, true // it has not heard of this yet
	return kept < held
}

// grant adds what the member shall hold and nobody else does, and returns the state
// that this leaves it in. What it was giving up itself may come back to it.
func (c *Coordinator) grant(m *member, next *CurrentRecord) State {
	state := Stable
	for _, id := range minus(m.target, ids(next.Assigned)) {
		if owner, owned := c.owners[id]; owned && owner != m.record.Member {
			state = Unreleased
			continue
		}
		next.Assigned = append(next.Assigned, Given{ID: id, Epoch: next.Epoch})
	}
	slices.SortFunc(next.Assigned, compareGiven)
	return state
}

func compareGiven(a, b Given) int { return offsets.CompareID(a.ID, b.ID) }

func equalCurrent(a, b CurrentRecord) bool {
	return a.Version == b.Version && a.Epoch == b.Epoch && a.Previous == b.Previous && a.State == b.State &&
		slices.Equal(a.Assigned, b.Assigned) && slices.Equal(a.Pending, b.Pending)
}

// own notes who holds what, from one state of a member to the next. A partition
// that another has taken meanwhile stays the other's.
func (c *Coordinator) own(member string, before, after CurrentRecord) {
	for _, all := range [][]Given{before.Assigned, before.Pending} {
		for _, g := range all {
			if c.owners[g.ID] == member {
				delete(c.owners, g.ID)
			}
		}
	}
	for _, all := range [][]Given{after.Assigned, after.Pending} {
		for _, g := range all {
			c.owners[g.ID] = member
		}
	}
}

// disown finds partitions with two owners, and returns the members that must go: of
// two, the one that has had it for longer, for the other can have got it only after it was free.
func (c *Coordinator) disown() []string {
	since := map[partition.ID]Given{}
	holder := map[partition.ID]string{}
	var out []string
	for _, id := range c.order {
		cur := c.members[id].current
		for _, g := range slices.Concat(cur.Assigned, cur.Pending) {
			other, taken := holder[g.ID]
			switch {
			case !taken || since[g.ID].Epoch < g.Epoch:
				if taken {
					out = append(out, other)
				}
				holder[g.ID], since[g.ID] = id, g
			default:
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
