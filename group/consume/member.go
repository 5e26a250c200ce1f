package consume

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// membership is what a consumer knows of its group. It is guarded by the
// consumer's mu, but for session, which is set once, and left.
type membership struct {
	session    *group.Session // nil: no group
	begun      bool
	tickAt     time.Time
	heartbeat  context.CancelFunc // of the newest one
	over       bool               // the session
	left       chan struct{}      // closed with that
	life       int                // moves when everything has been lost
	jobs       []job
	working    bool
	committing bool
	commitAt   time.Time
	sequence   int64 // of the newest commit
}

// A job is a change that may have to wait for the loop. Jobs are done one after
// another, by a goroutine that is there only while there are some.
type job struct {
	life int // the one that it belongs to
	do   func(life int)
}

// step gives the session one input and carries out what it says.
func (c *Consumer) step(in group.SessionInput) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &c.member
	if m.over {
		return
	}
	out := m.session.Step(time.Now(), in)
	if len(out.Lost) > 0 || out.Fatal != partition.OK {
		c.lose()
	}
	if len(out.Revoke) > 0 {
		c.beginRevoke(out.Revoke)
	}
	if ids := out.Assigned; len(ids) > 0 {
		c.enqueue(func(life int) { c.assign(life, ids) })
	}
	if out.Send != nil {
		c.send(*out.Send)
	}
	if out.Fatal != partition.OK {
		c.fault = out.Fatal
	}
	if out.Left || out.Fatal != partition.OK {
		m.over = true
		close(m.left)
	}
	m.tickAt = out.Wake
	signal(c.kick)
	signal(c.wake)
}

// send starts a heartbeat; the caller holds mu. The one before is not waited for.
func (c *Consumer) send(req group.HeartbeatRequest) {
	if c.member.heartbeat != nil {
		c.member.heartbeat()
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.SessionTimeout)
	c.member.heartbeat = cancel
	c.running.Go(func() {
		defer cancel()
		resp, err := c.cluster.Heartbeat(ctx, req)
		if err != nil {
			c.step(group.Unanswered{Sequence: req.Sequence})
			return
		}
		c.step(group.Answered{Sequence: req.Sequence, Response: resp})
	})
}

// enqueue leaves a job; the caller holds mu.
func (c *Consumer) enqueue(do func(life int)) {
	m := &c.member
	m.jobs = append(m.jobs, job{m.life, do})
	if !m.working {
		m.working = true
		c.running.Go(c.work)
	}
}

func (c *Consumer) work() {
	for {
		c.mu.Lock()
		m := &c.member
		if len(m.jobs) == 0 {
			m.working = false
			c.mu.Unlock()
			return
		}
		j := m.jobs[0]
		m.jobs = m.jobs[1:]
		c.mu.Unlock()
		j.do(j.life)
	}
}

// lose drops everything at once; the caller holds mu. Only the call-back waits.
func (c *Consumer) lose() {
	c.member.life++
	var places []Place
	for _, p := range c.parts {
		if !p.fresh {
			places = append(places, p.place)
		}
		p.gone = true
		p.generation++
	}
	c.parts, c.hands = nil, nil
	signal(c.idle) // who waits for its turn may have lost its cause
	if len(places) > 0 && c.cfg.OnLost != nil {
		c.enqueue(func(int) {
			if c.takeTurn(func() bool { return true }) {
				c.cfg.OnLost(places)
			}
			c.endTurn()
		})
	}
}

// beginRevoke stops the delivery of partitions at once, and has them given up; the
// caller holds mu.
func (c *Consumer) beginRevoke(ids []partition.ID) {
	for _, p := range c.parts {
		if slices.Contains(ids, p.id) {
			p.revoking = true
		}
	}
	c.enqueue(func(life int) { c.revoke(life, ids) })
}

// revoke gives partitions up: when the loop has come back from them, what is
// finished is committed, the caller is told, and then the group.
func (c *Consumer) revoke(life int, ids []partition.ID) {
	parts, places, ok := c.quiesce(life, ids)
	if ok && !c.cfg.Manual {
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.RebalanceTimeout)
		if err := c.commitDue(ctx, parts); err != nil && c.ctx.Err() == nil {
			c.cfg.Logger.Warn("commit of revoked partitions", "group", c.cfg.Group, "err", err)
		}
		cancel()
	}
	if ok && c.cfg.OnRevoked != nil && len(places) > 0 && c.alive(life) {
		c.cfg.OnRevoked(places)
	}
	c.endTurn()
	c.mu.Lock()
	if ok = ok && c.member.life == life; ok {
		c.discard(parts)
	}
	c.mu.Unlock()
	if ok {
		c.step(group.Revoked{Partitions: ids})
	}
}

// quiesce waits until the caller has nothing of these partitions in hand, and with
// a call-back until no loop body runs at all.
func (c *Consumer) quiesce(life int, ids []partition.ID) (parts []*part, places []Place, ok bool) {
	c.mu.Lock()
	inHand := c.cfg.OnRevoked != nil
	for _, p := range c.parts {
		if slices.Contains(ids, p.id) {
			parts = append(parts, p)
			inHand = inHand || p.inHand
			if !p.fresh {
				places = append(places, p.place)
			}
		}
	}
	ok = c.member.life == life
	c.mu.Unlock()
	if ok && inHand {
		ok = c.takeTurn(func() bool { return c.member.life == life })
	}
	return parts, places, ok
}

// discard forgets parts; the caller holds mu.
func (c *Consumer) discard(parts []*part) {
	for _, p := range parts {
		p.gone = true
		p.generation++
	}
	c.parts = slices.DeleteFunc(c.parts, func(p *part) bool { return p.gone })
}

func (c *Consumer) alive(life int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.member.life == life
}

// takeTurn keeps records back, and waits until no loop body runs, as long as that
// is wanted, which is asked under mu. It reports whether all that is so.
func (c *Consumer) takeTurn(wanted func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = true
	for c.body && wanted() {
		c.mu.Unlock()
		select {
		case <-c.idle:
		case <-c.ctx.Done():
		}
		c.mu.Lock()
		if c.ctx.Err() != nil {
			return false
		}
	}
	return wanted() && !c.deaf
}

// endTurn lets records through again.
func (c *Consumer) endTurn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = false
	signal(c.wake)
}

// assign takes partitions in, once their names are known, and tells the caller.
func (c *Consumer) assign(life int, ids []partition.ID) {
	var parts []*part
	var places []Place
	for _, f := range c.names(life, ids) {
		c.mu.Lock()
		if c.member.life == life {
			p := c.adopt(f.place, f.id)
			p.fresh = true
			parts = append(parts, p)
			places = append(places, f.place)
		}
		c.mu.Unlock()
	}
	if len(parts) == 0 {
		return
	}
	told := c.cfg.OnAssigned == nil
	if !told {
		if c.takeTurn(func() bool { return c.member.life == life }) {
			told = true
			c.cfg.OnAssigned(places)
		}
		c.endTurn()
	}
	c.mu.Lock()
	for _, p := range parts {
		p.fresh = !told
	}
	c.mu.Unlock()
	signal(c.kick)
}

// A found is a partition whose topic's name is known.
type found struct {
	place Place
	id    partition.ID
}

// names waits until the metadata knows the topics of all partitions that are held.
func (c *Consumer) names(life int, ids []partition.ID) []found {
	for {
		topics, changed := c.cluster.Topics(c.cfg.Topics)
		var known []found
		missing := false
		c.mu.Lock()
		if c.member.life != life || c.ctx.Err() != nil {
			c.mu.Unlock()
			return nil
		}
		now := time.Now()
		for _, id := range ids {
			i := slices.IndexFunc(topics, func(t Topic) bool { return t.Partitions > 0 && t.ID == id.Topic })
			switch {
			case !c.member.session.Holds(now, id): // revoked meanwhile
			case i < 0:
				missing = true
			default:
				known = append(known, found{Place{topics[i].Name, id.Partition}, id})
			}
		}
		c.mu.Unlock()
		if !missing {
			return known
		}
		timer := time.NewTimer(maxBackoff) // all may be lost without a change of the metadata
		select {
		case <-changed:
		case <-timer.C:
		case <-c.ctx.Done():
		}
		timer.Stop()
	}
}

// adopt begins to read a partition; the caller holds mu.
func (c *Consumer) adopt(place Place, id partition.ID) *part {
	p := &part{place: place, id: id}
	p.progress = progress{handed: unmarked, finished: unmarked, committed: unmarked}
	p.leader, p.failed = Leader{Epoch: log.NoEpoch}, Leader{Epoch: log.NoEpoch}
	c.parts = append(c.parts, p)
	return p
}

func idOf(t Topic, n partition.PartitionID) partition.ID {
	return partition.ID{Topic: t.ID, Partition: n}
}
