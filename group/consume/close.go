package consume

import (
	"context"

	"github.com/samsalog/samsa/group"
)

// leave is the way out of a consumer that has begun to read.
func (c *Consumer) leave(ctx context.Context) error {
	c.awaitLoop(ctx)
	if c.member.session == nil {
		c.mu.Lock()
		c.discard(c.parts)
		c.mu.Unlock()
		return nil
	}
	var err error
	c.mu.Lock()
	over := c.member.over
	if !over {
		c.enqueue(func(int) { c.quit(ctx, &err) })
	}
	c.mu.Unlock()
	if over {
		return nil
	}
	select {
	case <-c.member.left:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitLoop waits for the loop to come back. What is in hand then is not finished.
func (c *Consumer) awaitLoop(ctx context.Context) {
	c.mu.Lock()
	unused := make(chan struct{})
	if c.inUse {
		c.unused = unused
	} else {
		close(unused)
	}
	c.mu.Unlock()
	select {
	case <-unused:
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.deaf = c.inUse && c.body
	c.giveBack()
	c.mu.Unlock()
}

// quit is the last job: it gives up all that is held. Err is set before the
// session hears of it.
func (c *Consumer) quit(ctx context.Context, err *error) {
	if !c.cfg.Manual {
		*err = c.commitDue(ctx, nil)
	}
	c.mu.Lock()
	told := c.cfg.OnRevoked != nil && !c.deaf
	var places []Place
	for _, p := range c.parts {
		p.revoking = true
		if !p.fresh {
			places = append(places, p.place)
		}
	}
	c.mu.Unlock()
	if told && len(places) > 0 {
		c.cfg.OnRevoked(places)
	}
	c.mu.Lock()
	c.discard(c.parts)
	c.mu.Unlock()
	c.step(group.Quit{})
}
