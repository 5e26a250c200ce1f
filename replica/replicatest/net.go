package replicatest

import (
	"errors"
	"time"

	"github.com/samsalog/samsa/partition"
)

// links is the network between brokers, and clients, who are number 0.
type links struct {
	n    int
	cut  []bool // from*n + to: nothing gets through
	loss float64
	dup  float64
	slow float64       // share of messages that are late
	late time.Duration // by up to so much

	stalls []*stall // by from and to, as cut
}

func newLinks(n int) links { return links{n: n, cut: make([]bool, n*n), stalls: make([]*stall, n*n)} }

// at is the place of the way from one to another.
func (l *links) at(from, to partition.BrokerID) int { return int(from)*l.n + int(to) }

func (l *links) isCut(from, to partition.BrokerID) bool { return l.cut[l.at(from, to)] }

func (l *links) set(from, to partition.BrokerID, cut bool) { l.cut[l.at(from, to)] = cut }

func (l *links) heal() {
	clear(l.cut)
	for _, s := range l.stalls {
		if s != nil {
			s.end()
		}
	}
	l.loss, l.dup, l.slow, l.late = 0, 0, 0, 0
}

var (
	errTimeout = errors.New("replicatest: timed out")
	errRefused = errors.New("replicatest: nobody answers at the address") // as node.ErrUnreachable
)

// A call is one request on its way, its answer, or what became of it.
type call struct {
	w    *World
	from *broker // nil: a client
	life int
	to   *broker
	what string
	once bool // a client's: the transport repeats nothing by itself
	done func(answer any, err error)
	over bool
}

func (c *call) sender() partition.BrokerID {
	if c.from == nil {
		return partition.NoBroker
	}
	return c.from.id
}

// call sends a request to a broker. serve runs at the receiver, in its present life, and
// may keep answer to call it later. done is called exactly once, unless the sender dies
// before. Requests may be lost, late, out of order, and served twice.
func (w *World) call(from *broker, to partition.BrokerID, what string, need need, limit time.Duration, serve func(p *process, answer func(any)), done func(any, error)) *call {
	c := &call{w: w, from: from, to: w.broker(to), what: what, once: from == nil, done: done}
	if from != nil {
		c.life = from.life
	}
	times := 1
	if !c.once && w.links.dup > 0 && w.net.Float64() < w.links.dup {
		times = 2
	}
	for range times {
		c.send(need, serve)
	}
	w.atUnless(&c.over, limit, from, c.waits(), "timeout", func() { c.finish(nil, errTimeout) })
	return c
}

// news is how much longer a message of the quorum takes to a broker that hears of it late.
func (c *call) news(to *broker) time.Duration {
	if c.what != "quorum" || to.news == 0 {
		return 0
	}
	return span(c.w.net, 0, to.news)
}

func (c *call) waits() need {
	if c.from == nil {
		return always
	}
	return awake
}

func (c *call) send(need need, serve func(p *process, answer func(any))) {
	w, to := c.w, c.to
	if w.lost(c.sender(), to.id) {
		return
	}
	delay := w.delay() + c.news(to)
	if to.p == nil {
		if to.refuses {
			c.finishLater(delay, errRefused)
		}
		return
	}
	w.arrive(passage{c.from, c.life, to}, delay, need, c.what, func() {
		p := to.p
		serve(p, func(v any) { c.answer(v) })
	})
	to.remember(c)
}

func (c *call) answer(v any) {
	w := c.w
	if c.over || w.lost(c.to.id, c.sender()) {
		return
	}
	if c.from != nil && c.from.life != c.life {
		return
	}
	w.arrive(passage{c.to, c.to.life, c.from}, w.delay()+c.news(c.from), c.waits(), "answer", func() { c.finish(v, nil) })
}

func (c *call) finishLater(delay time.Duration, err error) {
	if c.from != nil && c.from.life != c.life {
		return
	}
	c.w.at(delay, c.from, c.waits(), "refused", func() { c.finish(nil, err) })
}

func (c *call) finish(v any, err error) {
	if !c.over {
		c.over = true
		c.done(v, err)
	}
}

// drop gives a call up; done is not called any more.
func (c *call) drop() { c.over = true }

func (w *World) lost(from, to partition.BrokerID) bool {
	if from == to {
		return false
	}
	return w.links.isCut(from, to) || w.links.loss > 0 && w.net.Float64() < w.links.loss
}

func (w *World) delay() time.Duration {
	d := span(w.net, 100*time.Microsecond, w.setup.latency)
	if w.links.slow > 0 && w.net.Float64() < w.links.slow {
		d += span(w.net, 0, w.links.late)
	}
	if w.setup.strays > 0 && !w.calm && w.net.Float64() < w.setup.strays {
		d += span(w.net, 0, time.Second)
	}
	return d
}
