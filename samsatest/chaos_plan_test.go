package samsatest_test

import (
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
	transfer
	reassign
	grow
	remake

	classes = 15
)

var classNames = [classes]string{
	"kill", "power", "killAll", "powerAll", "pause", "isolate", "cut", "delay", "shutdown", "slowDisk", "jitter",
	"transfer", "reassign", "grow", "remake",
}

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
	brokers int
	classes class
	faults  []fault
}

// newPlan draws some classes, so that each run is thorough about few things, and
// then the faults, each with its end.
func newPlan(rng *rand.Rand) plan {
	p := plan{brokers: []int{3, 3, 5}[rng.IntN(3)]}
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
	if *chaosMinutes > 0 {
		length = time.Duration(*chaosMinutes * float64(time.Minute))
	}
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
	id := p.broker(rng)
	other := 1 + (id+samsa.BrokerID(rng.IntN(p.brokers-1)))%samsa.BrokerID(p.brokers)
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
		for _, i := range rng.Perm(p.brokers) {
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
		if rng.IntN(2) == 0 {
			p.add(at, func(c *chaos) bool { c.cluster.Cut(other, id); return true }, "cut %d to %d", other, id)
		}
		p.heal(until)
	case delay:
		d := hold(rng) / 4
		p.add(at, func(c *chaos) bool { c.cluster.Delay(id, other, d); return true }, "delay %d to %d by %v", id, other, d)
		p.heal(until)
	case jitter: // what is sent later comes earlier
		p.add(at, func(*chaos) bool { return true }, "jitter until %v", min(until, at+3*time.Second))
		for until = min(until, at+3*time.Second); at < until; at += time.Duration(rng.IntN(60)) * time.Millisecond {
			from, to := p.broker(rng), p.broker(rng)
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
	default:
		p.operate(rng, at, kind)
	}
}

// operate draws a call of an operator.
func (p *plan) operate(rng *rand.Rand, at time.Duration, kind class) {
	part := rng.Int()
	switch kind {
	case transfer:
		to := samsa.BrokerID(rng.IntN(p.brokers + 1))
		p.add(at, func(c *chaos) bool { return c.transfer(part, to) }, "transfer a leadership to %d", to)
	case reassign:
		var to []samsa.BrokerID
		for _, i := range rng.Perm(p.brokers)[:3] {
			to = append(to, samsa.BrokerID(1+i))
		}
		cancel := rng.IntN(4) == 0
		p.add(at, func(c *chaos) bool { return c.reassign(part, to, cancel) }, "reassign to %v, cancel %v", to, cancel)
	case grow:
		p.add(at, func(c *chaos) bool { return c.grow() }, "add a partition")
	default: // remake
		p.add(at, func(c *chaos) bool { return c.remake() }, "delete a topic and make it again")
	}
}

func (p *plan) broker(rng *rand.Rand) samsa.BrokerID { return samsa.BrokerID(1 + rng.IntN(p.brokers)) }

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
