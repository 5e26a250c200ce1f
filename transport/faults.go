package transport

import "time"

// faults is what is wrong with a network. Like its layout it is never changed.
type faults struct {
	links  map[link]rule
	paused map[Addr]bool
	lose   func(from, to Addr, f Frame) bool // nil: nothing is lost at random
}

type link struct{ from, to Addr }

type rule struct {
	cut   bool
	delay time.Duration
}

// with returns a copy of f, which may be nil, that edit has altered, or nil if no
// fault is left.
func (f *faults) with(edit func(*faults)) *faults {
	next := new(faults)
	if f != nil {
		*next = *f
	}
	next.links, next.paused = cloned(next.links), cloned(next.paused)
	edit(next)
	if len(next.links) == 0 && len(next.paused) == 0 && next.lose == nil {
		return nil
	}
	return next
}

func (f *faults) rule(from, to Addr) rule {
	if f == nil {
		return rule{}
	}
	return f.links[link{from, to}]
}

// loses says whether what is sent now is lost on its way.
func (f *faults) loses(from, to Addr, frame Frame) bool {
	return f != nil && (f.rule(from, to).cut || f.lose != nil && f.lose(from, to, frame))
}

func (f *faults) pauses(from, to Addr) bool {
	return f != nil && (f.paused[from] || f.paused[to])
}

// Detach tears the node at addr away, as the death of its process would. Calls to
// it that are under way break with ErrBroken, later ones are refused; its own
// calls fail with ErrClosed. The address can be joined again at once, by another
// node. What is detached must still be closed: that waits for the handlers that
// are running. Without a node at addr there is no effect.
func (n *Network) Detach(addr Addr) {
	if m := n.now.Load().nodes[addr]; m != nil {
		n.leave(m)
		m.shut()
	}
}

// Break breaks the calls that are under way between a and b, in both directions,
// as a reset connection would. Later calls are not affected.
func (n *Network) Break(a, b Addr) {
	nodes := n.now.Load().nodes
	for _, m := range []*node{nodes[a], nodes[b]} {
		if m == nil {
			continue
		}
		for _, c := range m.underWay() {
			if (c.own.addr == a && c.to == b) || (c.own.addr == b && c.to == a) {
				c.cancel(ErrBroken)
			}
		}
	}
}

// Cut loses in silence all that is sent from one address to another: requests,
// answers, refusals, and the news that a node has gone. Who waits for what was
// lost waits until ctx ends, also after Heal. It is one way: cut both ways to part
// two nodes. That a caller has given up is told even so, as the handler is running
// on the goroutine of the caller.
func (n *Network) Cut(from, to Addr) {
	n.setRule(from, to, func(r *rule) { r.cut = true })
}

// Delay makes all that is sent from one address to another take d longer. Zero
// takes the delay away; what is on its way stays delayed.
func (n *Network) Delay(from, to Addr, d time.Duration) {
	n.setRule(from, to, func(r *rule) { r.delay = max(d, 0) })
}

func (n *Network) setRule(from, to Addr, edit func(*rule)) {
	n.setFaults(func(f *faults) {
		at := link{from, to}
		r := f.links[at]
		if edit(&r); r == (rule{}) {
			delete(f.links, at)
		} else {
			f.links[at] = r
		}
	})
}

// Pause holds back all that is sent to and from addr, until Resume, or until the
// node there has closed or been detached: a stopped process, or one that is long
// about collecting garbage. Nothing is lost. Handlers that are running run on.
func (n *Network) Pause(addr Addr) {
	n.setFaults(func(f *faults) { f.paused[addr] = true })
}

// Resume ends a pause, and lets go what it has held back.
func (n *Network) Resume(addr Addr) {
	n.setFaults(func(f *faults) { delete(f.paused, addr) })
}

// Lose asks lost about each request and each answer, when it is sent, and loses
// those for which it returns true, as [Network.Cut] does. An error in place of an
// answer is asked about with the zero Frame. Calls of lost overlap, and it must
// return at once. Nil loses nothing more.
func (n *Network) Lose(lost func(from, to Addr, f Frame) bool) {
	n.setFaults(func(f *faults) { f.lose = lost })
}

// Heal ends all cuts, delays and losses. Pauses stay.
func (n *Network) Heal() {
	n.setFaults(func(f *faults) {
		clear(f.links)
		f.lose = nil
	})
}

func (n *Network) setFaults(edit func(*faults)) {
	n.change(func(l *layout) { l.faults = l.faults.with(edit) })
}
