package samsatest

import (
	"context"
	"fmt"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/transport"
)

// Kill ends a broker as the death of its process would: in one moment its links
// break and its disk takes no more calls. It hands nothing over and tells nobody.
// What it has written stays. Kill returns when nothing of it runs any more.
func (c *Cluster) Kill(id samsa.BrokerID) error { return c.down(id, false) }

// PowerFail ends a broker as a power cut would: as Kill does, and what was not
// synced is gone from its disk.
func (c *Cluster) PowerFail(id samsa.BrokerID) error { return c.down(id, true) }

// KillAll kills all brokers that are up, in one moment.
func (c *Cluster) KillAll() error { return c.allDown(false) }

// PowerFailAll cuts the power of all brokers that are up, in one moment.
func (c *Cluster) PowerFailAll() error { return c.allDown(true) }

func (c *Cluster) allDown(power bool) error {
	var up []samsa.BrokerID
	for _, h := range c.hosts {
		if c.Broker(h.id) != nil {
			c.network.Detach(transport.Addr(addr(h.id)))
			h.disk.Fail(errDown)
			up = append(up, h.id)
		}
	}
	for _, id := range up {
		if err := c.down(id, power); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) down(id samsa.BrokerID, power bool) error {
	h, err := c.host(id)
	if err != nil {
		return err
	}
	c.mu.Lock()
	b := h.broker
	h.broker = nil
	c.mu.Unlock()
	if b == nil {
		return fmt.Errorf("samsatest: broker %d is down already", id)
	}
	c.network.Detach(transport.Addr(addr(id)))
	h.disk.Fail(errDown)
	_ = b.Close() // its disk fails: that is the point
	if power {
		return h.disk.PowerFail(nil)
	}
	return nil
}

// Restart opens a broker that is down, on its disk, and returns when it serves. It
// may then still be catching up: see Ready and WaitISR.
func (c *Cluster) Restart(ctx context.Context, id samsa.BrokerID) error {
	h, err := c.host(id)
	if err != nil {
		return err
	}
	if c.Broker(id) != nil {
		return fmt.Errorf("samsatest: broker %d is up", id)
	}
	h.disk.Revive()
	return c.open(ctx, h)
}

// Pause stops a broker as a stopped process is: nothing reaches it or comes from
// it until Resume, and nothing is lost.
func (c *Cluster) Pause(id samsa.BrokerID) { c.network.Pause(transport.Addr(addr(id))) }

// Resume ends a pause.
func (c *Cluster) Resume(id samsa.BrokerID) { c.network.Resume(transport.Addr(addr(id))) }

// Cut loses in silence all that one broker sends to another, until Heal.
func (c *Cluster) Cut(from, to samsa.BrokerID) {
	c.network.Cut(transport.Addr(addr(from)), transport.Addr(addr(to)))
}

// Isolate cuts a broker off from all others, both ways, until Heal. Clients still
// reach it.
func (c *Cluster) Isolate(id samsa.BrokerID) {
	for _, h := range c.hosts {
		if h.id != id {
			c.Cut(id, h.id)
			c.Cut(h.id, id)
		}
	}
}

// Delay makes all that one broker sends to another take d longer, until Heal.
func (c *Cluster) Delay(from, to samsa.BrokerID, d time.Duration) {
	c.network.Delay(transport.Addr(addr(from)), transport.Addr(addr(to)), d)
}

// Heal ends all cuts and delays.
func (c *Cluster) Heal() { c.network.Heal() }
