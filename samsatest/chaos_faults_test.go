package samsatest_test

import (
	"context"
	"maps"
	oldrand "math/rand"
	"slices"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
)

// carryOut runs the plan.
func (c *chaos) carryOut() {
	for _, f := range c.plan.faults {
		time.Sleep(f.at - c.at())
		c.checkAlive()
		switch possible := f.do(c); {
		case !possible:
			c.note("(not possible: %s)", f.what)
		case f.what != "":
			c.note("%s", f.what)
		}
		if c.t.Failed() {
			return
		}
	}
}

// checkAlive looks for brokers that have gone offline by themselves: no disk fails
// here, and nobody takes another's place.
func (c *chaos) checkAlive() {
	for _, id := range c.cluster.Brokers() {
		b := c.cluster.Broker(id)
		if b == nil || c.isAway(id) {
			continue
		}
		select {
		case <-b.Done():
			c.complain("broker %d has stopped by itself: %v", id, b.Err())
		default:
		}
	}
}

// possible says whether the broker is up, and nobody is about to shut it down.
func (c *chaos) possible(id samsa.BrokerID) bool {
	return c.cluster.Broker(id) != nil && !c.isAway(id)
}

func (c *chaos) down(id samsa.BrokerID, torn *oldrand.Rand, power bool) bool {
	if !c.possible(id) || power && !c.mayLose(id) {
		return false
	}
	b := c.cluster.Broker(id)
	c.must(c.cluster.Kill(id))
	c.leftNothing(id, b)
	if power {
		c.must(c.cluster.Disk(id).PowerFail(torn))
	}
	return true
}

// mayLose says whether a broker may lose what it has not synced, without breach of a
// promise: of a Replicated topic one at a time may, until it is in sync again.
func (c *chaos) mayLose(id samsa.BrokerID) bool {
	if c.cfg.Durability != samsa.Replicated {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.wounded {
		if c.recovered(other) {
			delete(c.wounded, other)
		}
	}
	if len(c.wounded) > 0 && !c.wounded[id] {
		return false
	}
	c.wounded[id] = true
	return true
}

// recovered says whether a broker whose power failed is known to have been in sync
// since. It is by what itself has heard of, and that is no older than its return once
// it is ready.
func (c *chaos) recovered(id samsa.BrokerID) bool {
	b := c.cluster.Broker(id)
	if b == nil || c.away[id] {
		return false
	}
	now, cancel := context.WithCancel(c.ctx)
	cancel()
	if b.Ready(now) != nil {
		return false
	}
	for _, p := range b.Client().Cluster().UnderReplicated {
		if p.Topic == topic {
			return false
		}
	}
	return true
}

// leftNothing checks that a broker that has been stopped holds nothing.
func (c *chaos) leftNothing(id samsa.BrokerID, b *samsa.Broker) {
	if n := b.Stats().Parked; n > 0 {
		c.complain("broker %d has stopped, and %d requests are parked there", id, n)
	}
	if open := c.cluster.Disk(id).Handles(); len(open) > 0 {
		c.complain("broker %d has stopped, and has %v open", id, open)
	}
	n := b.Client().Stats()
	if n.Calls > 0 {
		synctest.Wait() // callers have been told, and leave
		n = b.Client().Stats()
	}
	if n.Calls > 0 || n.Open > 0 {
		c.complain("broker %d has stopped, and its client has %d calls under way and %d producers and consumers", id, n.Calls, n.Open)
	}
}

func (c *chaos) allDown(torn *oldrand.Rand, power bool) bool {
	up := make(map[samsa.BrokerID]*samsa.Broker)
	for _, id := range c.cluster.Brokers() {
		if c.isAway(id) {
			return false
		}
		if b := c.cluster.Broker(id); b != nil {
			up[id] = b
		}
	}
	c.must(c.cluster.KillAll())
	for _, id := range slices.Sorted(maps.Keys(up)) {
		c.leftNothing(id, up[id])
		if power {
			c.must(c.cluster.Disk(id).PowerFail(torn))
		}
	}
	return len(up) > 0
}

func (c *chaos) restart(id samsa.BrokerID) bool {
	if c.cluster.Broker(id) != nil || c.isAway(id) {
		return false
	}
	c.must(c.cluster.Restart(c.ctx, id))
	return true
}

// shutDown stops a broker in good order, beside what else happens, and starts it
// again. The power goes once it has stopped: what it has said is safe must be.
func (c *chaos) shutDown(id samsa.BrokerID, patience, hold time.Duration) bool {
	b := c.cluster.Broker(id)
	if b == nil || c.isAway(id) {
		return false
	}
	c.setAway(id, true)
	c.stopping.Go(func() {
		defer c.setAway(id, false)
		ctx, cancel := context.WithTimeout(c.ctx, patience)
		defer cancel()
		begin := time.Now()
		err := b.Shutdown(ctx)
		if err != nil && ctx.Err() == nil {
			c.complain("shut down broker %d: %v", id, err)
		}
		if took := time.Since(begin); took > patience+5*time.Second {
			c.complain("to shut broker %d down took %v, with a limit of %v", id, took, patience)
		}
		if err := b.Err(); err != nil {
			c.complain("broker %d was shut down, and has failed: %v", id, err)
		}
		c.must(c.cluster.PowerFail(id))
		c.note("broker %d is down after %v: %v", id, time.Since(begin), err)
		time.Sleep(hold)
		c.must(c.cluster.Restart(c.ctx, id))
		c.note("restart %d", id)
	})
	return true
}

func (c *chaos) must(err error) {
	if err != nil {
		c.complain("%v", err)
	}
}

// heal ends every fault.
func (c *chaos) heal() {
	c.stopping.Wait()
	c.cluster.Heal()
	for _, id := range c.cluster.Brokers() {
		c.cluster.Resume(id)
		c.restart(id)
		c.cluster.Disk(id).Delay(100 * time.Microsecond)
	}
	c.note("all is well again")
}

// isAway says whether a broker is being shut down, or kept down after that.
func (c *chaos) isAway(id samsa.BrokerID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away[id]
}

func (c *chaos) setAway(id samsa.BrokerID, away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away[id] = away
}
