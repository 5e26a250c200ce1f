package consume

import (
	"context"
	"time"

	"github.com/samsalog/samsa/group"
)

// run is the consumer's one lasting goroutine: it watches the time and the
// metadata, and starts what is due.
func (c *Consumer) run() {
	if c.member.session == nil {
		c.running.Go(c.resolve)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for c.ctx.Err() == nil {
		now := time.Now()
		c.beat(now)
		c.background(now)
		c.dispatch()
		next, changed := c.agenda(now)
		timer.Reset(max(time.Until(next), 1)) // one that has run out when it is set is no wait
		select {
		case <-timer.C:
		case <-c.kick:
		case <-changed:
		case <-c.ctx.Done():
		}
	}
}

// beat tells the session the time, if it waits for that.
func (c *Consumer) beat(now time.Time) {
	if c.member.session == nil {
		return
	}
	c.mu.Lock()
	due := !c.member.over && (!c.member.begun || !c.member.tickAt.IsZero() && !now.Before(c.member.tickAt))
	c.member.begun = true
	c.mu.Unlock()
	if due {
		c.step(group.Tick{})
	}
}

// background starts what may take a while.
func (c *Consumer) background(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.locating && len(c.unlocated()) > 0 {
		c.locating = true
		c.running.Go(c.locate)
	}
	m := &c.member
	if m.session == nil || c.cfg.Manual || m.committing || c.closing || now.Before(m.commitAt) {
		return
	}
	m.commitAt = now.Add(c.cfg.CommitInterval)
	if len(c.due(nil)) == 0 {
		return
	}
	m.committing = true
	c.running.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, 2*attempt)
		defer cancel()
		if err := c.commitDue(ctx, nil); err != nil && c.ctx.Err() == nil {
			c.cfg.Logger.Debug("commit in the background", "group", c.cfg.Group, "err", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.member.committing = false
		signal(c.kick)
	})
}

// agenda returns when run must look again at the latest, and a channel that is
// closed when the metadata has changed.
func (c *Consumer) agenda(now time.Time) (time.Time, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := now.Add(time.Hour)
	soonest := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if m := &c.member; m.session != nil {
		if !m.over {
			soonest(m.tickAt)
		}
		if !c.cfg.Manual && !m.committing && !c.closing {
			soonest(m.commitAt)
		}
	}
	for _, p := range c.parts {
		if p.reading == nil && now.Before(p.retryAt) {
			soonest(p.retryAt)
		}
	}
	if now.Before(c.fetching.lookAt) {
		soonest(c.fetching.lookAt)
	}
	return next, c.fetching.changed
}

// resolve finds the partitions that are read without a group, and waits for those
// that do not exist yet.
func (c *Consumer) resolve() {
	open := c.cfg.Partitions
	for len(open) > 0 {
		names := make([]string, len(open))
		for i, place := range open {
			names[i] = place.Topic
		}
		topics, changed := c.cluster.Topics(names)
		var later []Place
		c.mu.Lock()
		for i, place := range open {
			if t := topics[i]; int(place.Partition) < t.Partitions && place.Partition >= 0 {
				c.adopt(place, idOf(t, place.Partition))
			} else {
				later = append(later, place)
			}
		}
		c.mu.Unlock()
		signal(c.kick)
		if open = later; len(open) == 0 {
			return
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return
		}
	}
}
