package group

import (
	"errors"
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
)

// Check reports each rule that the group's state breaks: a defect of this package,
// or of the store. Tests call it after every step.
func (c *Coordinator) Check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("group: %s: %s", c.group, fmt.Sprintf(format, args...)))
	}
	if c.targetEpoch != c.epoch {
		fault("assignment epoch %d, group epoch %d", c.targetEpoch, c.epoch)
	}
	holder := map[partition.ID]string{}
	shall := map[partition.ID]string{}
	for _, id := range c.order {
		m := c.members[id]
		cur := m.current
		if cur.Epoch > MemberEpoch(c.targetEpoch) || cur.Previous > cur.Epoch {
			fault("%s: member epoch %d after %d, assignment epoch %d", id, cur.Epoch, cur.Previous, c.targetEpoch)
		}
		if (cur.State == Unrevoked) != (len(cur.Pending) > 0) {
			fault("%s: %v with %d to revoke", id, cur.State, len(cur.Pending))
		}
		if cur.State == Stable && cur.Epoch == MemberEpoch(c.targetEpoch) && cur.Epoch > 0 && !slices.Equal(ids(cur.Assigned), sorted(m.target)) {
			fault("%s: stable with %d partitions of %d", id, len(cur.Assigned), len(m.target))
		}
		for _, g := range slices.Concat(cur.Assigned, cur.Pending) {
			if other, twice := holder[g.ID]; twice {
				fault("%v is held by %s and by %s", g.ID, other, id)
			}
			holder[g.ID] = id
			if c.owners[g.ID] != id {
				fault("%v is held by %s and noted as held by %q", g.ID, id, c.owners[g.ID])
			}
			if g.Epoch > cur.Epoch {
				fault("%v is held by %s since epoch %d, later than %d", g.ID, id, g.Epoch, cur.Epoch)
			}
		}
		for _, p := range m.target {
			if other, twice := shall[p]; twice {
				fault("%v is meant for %s and for %s", p, other, id)
			}
			shall[p] = id
		}
	}
	if len(holder) != len(c.owners) {
		fault("%d partitions are held, %d noted", len(holder), len(c.owners))
	}
	return errors.Join(faults...)
}
