package group

// Info says how the group stands. As a reply of Step, it may be told when all
// records so far are committed.
func (c *Coordinator) Info() Info {
	info := Info{
		Group: c.group, Status: c.status(), Epoch: c.epoch, AssignmentEpoch: c.targetEpoch,
		Commits: c.commits.Answer(c.group, nil),
	}
	for _, id := range c.order {
		m := c.members[id]
		info.Members = append(info.Members, MemberInfo{
			ID: id, Client: m.record.Client, Rack: m.record.Rack, Topics: m.record.Topics,
			Epoch: m.current.Epoch, State: m.current.State,
			Assigned: ids(m.current.Assigned), Revoking: ids(m.current.Pending), Target: m.target,
		})
	}
	return info
}

func (c *Coordinator) status() Status {
	switch {
	case len(c.order) == 0:
		return Empty
	case c.targetEpoch != c.epoch:
		return Assigning
	}
	for _, id := range c.order {
		if cur := c.members[id].current; cur.State != Stable || cur.Epoch != MemberEpoch(c.targetEpoch) {
			return Reconciling
		}
	}
	return Settled
}
