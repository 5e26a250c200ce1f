package replicatest

import (
	"math"
	"time"

	"github.com/samsalog/samsa/partition"
)

// A stall is a connection on which nothing moves for a while. What is on its way then, or
// is sent into it, arrives when that is over, if the one for whom it is still lives: by
// then its sender may be dead, and have been heard on another connection in a later life.
type stall struct {
	w    *World
	life int    // of the sender; in a later one it has another connection
	ends moment // at which it is over, at the latest when its time is
	over bool
	held []func()
}

// A passage is the way of one message.
type passage struct {
	from *broker // nil: a client
	life int     // of from, in which it was sent
	to   *broker // nil: a client
}

// arrive plans the arrival of a message, which waits while its connection stalls.
func (w *World) arrive(by passage, delay time.Duration, need need, what string, do func()) {
	if by.from == nil || by.to == nil || by.from == by.to {
		w.at(delay, by.to, need, what, do)
		return
	}
	w.at(delay, by.to, need, what, func() {
		s := w.links.stallOf(by.from.id, by.to.id)
		if s == nil || by.life > s.life {
			do()
			return
		}
		life := by.to.life
		s.held = append(s.held, func() {
			if by.to.life == life {
				w.arrive(by, w.delay(), need, what, do)
			}
		})
	})
}

// stall holds back, for a time or until a moment of its sender's, what a broker has to say
// to another in its present life.
func (w *World) stall(from, to *broker, lasts time.Duration, ends moment) {
	s := &stall{w: w, life: from.life, ends: ends}
	w.links.stalls[w.links.at(from.id, to.id)] = s
	w.at(lasts, nil, always, "moves", s.end)
}

// end lets go what was held back.
func (s *stall) end() {
	if s.over {
		return
	}
	s.over = true
	for _, move := range s.held {
		move()
	}
	s.held = nil
}

// stallOf is the stall of the way between two, or nil.
func (l *links) stallOf(from, to partition.BrokerID) *stall {
	if s := l.stalls[l.at(from, to)]; s != nil && !s.over {
		return s
	}
	return nil
}

// happensTo ends the stalls that wait for a moment of their sender's, soon after it.
func (l *links) happensTo(who *broker, what moment) {
	for to := range partition.BrokerID(l.n) {
		if s := l.stallOf(who.id, to); s != nil && s.ends == what && s.life < who.life {
			late := who.w.net.Float64()
			who.w.at(time.Duration(late*late*float64(20*time.Millisecond)), nil, always, "moves", s.end)
		}
	}
}

// lastWords has what a broker has said last arrive late, now and then: some of it when its
// next life has begun.
func (w *World) lastWords(b *broker) {
	if w.calm || w.net.IntN(2) == 0 {
		return
	}
	w.holdAll(b)
}

// holdAll stalls all that a broker says, for a time or until it is registered again.
func (w *World) holdAll(b *broker) {
	ends := []moment{anyMoment, registered}[w.net.IntN(2)]
	lasts := time.Duration(math.Exp(w.net.Float64()*math.Log(2000)) * float64(time.Millisecond))
	if ends != anyMoment {
		lasts = 2 * time.Second
	}
	for _, o := range w.brokers {
		if o != b {
			w.stall(b, o, lasts, ends)
		}
	}
}

// fade has nothing arrive any more of what a broker says, and then ends it.
func (w *World) fade(f Fault, b *broker) {
	if b.p == nil {
		return
	}
	w.holdAll(b)
	dice := f.dice()
	w.at(span(dice, 0, 200*time.Millisecond), b, always, "faded", func() {
		switch dice.IntN(3) {
		case 0:
			b.end(false, nil)
		case 1:
			b.end(true, f.losses())
		case 2:
			w.wipe(b, false)
		}
	})
}

// stallOne stalls what goes from a broker to another, to the controller, or to anybody.
func (w *World) stallOne(f Fault, b *broker) {
	dice := f.dice()
	from, to := b, w.broker(f.Other)
	if dice.IntN(2) == 0 {
		from, to = to, from
	}
	all, way := dice.IntN(2) == 0, dice.IntN(3)
	for _, o := range w.brokers {
		switch {
		case o == from:
		case all:
			w.stall(from, o, f.For, anyMoment)
		case way > 0 && o.p != nil && o.p.leads:
			to = o
		}
	}
	switch {
	case all:
	case way == 1:
		w.stall(to, from, f.For, anyMoment)
	default:
		w.stall(from, to, f.For, anyMoment)
	}
}
