package samsatest_test

import (
	"context"
	"fmt"
	oldrand "math/rand"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/samsalog/samsa"
)

// A class is a set of kinds of faults.
type class uint

const (
	kill class = 1 << iota
	power
	killAll
	powerAll
	pause
	isolate
	cut
	delay
	shutdown
	slowDisk
	jitter

	classes = 11
)

var classNames = [classes]string{"kill", "power", "killAll", "powerAll", "pause", "isolate", "cut", "delay", "shutdown", "slowDisk", "jitter"}

func (c class) String() string {
	var names []string
	for i, name := range classNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return "[" + strings.Join(names, " ") + "]"
}

// A fault comes at its moment, if it is possible then.
type fault struct {
	at   time.Duration
	what string              // empty: not worth a line
	do   func(c *chaos) bool // false: not possible now
}

type plan struct {
	classes class
	faults  []fault
}

// newPlan draws some classes, so that each run is thorough about few things, and
// then the faults, each with its end.
func newPlan(rng *rand.Rand) plan {
	var p plan
	for p.classes == 0 {
		p.classes = class(rng.Uint32()) & class(rng.Uint32()|rng.Uint32()) & (1<<classes - 1)
	}
	var drawn []class
	for i := range classes {
		if c := class(1) << i; p.classes&c != 0 {
			drawn = append(drawn, c)
		}
	}
	length := time.Duration(60+rng.IntN(60)) * time.Second
	pace := 0.5 + 4*rng.Float64() // seconds, on average
	for at := time.Second; at < length; at += time.Duration(rng.ExpFloat64() * pace * float64(time.Second)) {
		p.draw(rng, at, drawn[rng.IntN(len(drawn))])
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return int(a.at - b.at) })
	return p
}

// hold is how long a fault lasts: often a moment, at times longer than any session.
func hold(rng *rand.Rand) time.Duration {
	switch rng.IntN(4) {
	case 0:
		return time.Duration(rng.IntN(20)) * time.Millisecond
	case 1:
		return time.Duration(rng.IntN(1000)) * time.Millisecond
	case 2:
		return time.Duration(rng.IntN(5000)) * time.Millisecond
	}
	return time.Duration(rng.IntN(20_000)) * time.Millisecond
}

func (p *plan) add(at time.Duration, do func(c *chaos) bool, what string, args ...any) {
	p.faults = append(p.faults, fault{at, fmt.Sprintf(what, args...), do})
}

func (p *plan) draw(rng *rand.Rand, at time.Duration, kind class) {
	id := samsa.BrokerID(1 + rng.IntN(3))
	other := 1 + (id+samsa.BrokerID(rng.IntN(2)))%3
	until := at + hold(rng)
	switch kind {
	case kill:
		p.add(at, func(c *chaos) bool { return c.down(id, nil, false) }, "kill %d", id)
		p.restart(until, id)
	case power:
		torn := torn(rng)
		p.add(at, func(c *chaos) bool { return c.down(id, torn, true) }, "power fails at %d, torn %v", id, torn != nil)
		p.restart(until, id)
	case killAll, powerAll:
		torn, cut := torn(rng), kind == powerAll
		p.add(at, func(c *chaos) bool { return c.allDown(torn, cut) }, "%v, torn %v", kind, cut && torn != nil)
		for _, i := range rng.Perm(3) {
			p.restart(until, samsa.BrokerID(1+i))
			until += hold(rng) / 4
		}
	case pause:
		p.add(at, func(c *chaos) bool { c.cluster.Pause(id); return true }, "pause %d", id)
		p.add(until, func(c *chaos) bool { c.cluster.Resume(id); return true }, "resume %d", id)
	case isolate:
		p.add(at, func(c *chaos) bool { c.cluster.Isolate(id); return true }, "isolate %d", id)
		p.heal(until)
	case cut:
		p.add(at, func(c *chaos) bool { c.cluster.Cut(id, other); return true }, "cut %d to %d", id, other)
		p.heal(until)
	case delay:
		d := hold(rng) / 4
		p.add(at, func(c *chaos) bool { c.cluster.Delay(id, other, d); return true }, "delay %d to %d by %v", id, other, d)
		p.heal(until)
	case jitter: // what is sent later comes earlier
		p.add(at, func(*chaos) bool { return true }, "jitter until %v", min(until, at+3*time.Second))
		for until = min(until, at+3*time.Second); at < until; at += time.Duration(rng.IntN(60)) * time.Millisecond {
			from, to := samsa.BrokerID(1+rng.IntN(3)), samsa.BrokerID(1+rng.IntN(3))
			d := time.Duration(rng.IntN(2)*rng.IntN(300)) * time.Millisecond
			p.add(at, func(c *chaos) bool { c.cluster.Delay(from, to, d); return true }, "")
		}
		p.heal(until)
	case shutdown:
		patience := 100*time.Millisecond + hold(rng)/4
		p.add(at, func(c *chaos) bool { return c.shutDown(id, patience, until-at) }, "shut %d down, for %v at most", id, patience)
	case slowDisk:
		d := time.Duration(rng.IntN(20_000)) * time.Microsecond
		p.add(at, func(c *chaos) bool { c.cluster.Disk(id).Delay(d); return true }, "disk of %d takes %v", id, d)
		p.add(until, func(c *chaos) bool { c.cluster.Disk(id).Delay(100 * time.Microsecond); return true }, "disk of %d is fast", id)
	}
}

func (p *plan) restart(at time.Duration, id samsa.BrokerID) {
	p.add(at, func(c *chaos) bool { return c.restart(id) }, "restart %d", id)
}

func (p *plan) heal(at time.Duration) {
	p.add(at, func(c *chaos) bool { c.cluster.Heal(); return true }, "heal")
}

// torn draws what a power cut leaves of what was not synced: nil is nothing.
func torn(rng *rand.Rand) *oldrand.Rand {
	if rng.IntN(2) == 0 {
		return nil
	}
	return oldrand.New(oldrand.NewSource(rng.Int64()))
}

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
	if !c.possible(id) {
		return false
	}
	c.must(c.cluster.Kill(id))
	if power {
		c.must(c.cluster.Disk(id).PowerFail(torn))
	}
	return true
}

func (c *chaos) allDown(torn *oldrand.Rand, power bool) bool {
	var up []samsa.BrokerID
	for _, id := range c.cluster.Brokers() {
		if c.isAway(id) {
			return false
		}
		if c.cluster.Broker(id) != nil {
			up = append(up, id)
		}
	}
	c.must(c.cluster.KillAll())
	for _, id := range up {
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
