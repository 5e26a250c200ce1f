package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A FetchNumber orders the requests of one follower.
type FetchNumber struct {
	Broker   partition.BrokerEpoch
	Sequence int64
}

// Number returns the request's number.
func (m *FetchRequest) Number() FetchNumber { return FetchNumber{m.BrokerEpoch, m.Sequence} }

// Before reports whether n was asked before m.
func (n FetchNumber) Before(m FetchNumber) bool {
	return n.Broker < m.Broker || n.Broker == m.Broker && n.Sequence < m.Sequence
}

// A Parked is what a request that waits at one partition has seen there: one that is
// still not satisfied, because it wants more bytes, must not be woken for the same again.
type Parked struct {
	Follower partition.BrokerID // NoBroker: a reader
	Number   FetchNumber        // of a follower's request

	High  log.Offset
	End   log.Offset // of no interest to a reader
	Start log.Offset // a follower's: that of the log that it has, or was asked to have
	Cold  bool       // of a cold fetch, which may be the last for long
}

// Lull is how long a follower that has everything may go without hearing that the
// high watermark has moved. It has no use for that but to begin with, should it be
// elected, and under load the next records come sooner and bring it along: without
// a lull each batch would cost a follower two fetches.
const Lull = time.Millisecond

// A Ripeness says when a request that waits is told what it waits for.
type Ripeness uint8

// When a request is told: not yet, within a [Lull], or now.
const (
	Unripe Ripeness = iota
	Ripening
	Ripe
)

// Look reports when the request is to be told of what the copy says now. A hot fetch is
// not alone, so that it can be patient.
func (p *Parked) Look(now View) Ripeness {
	reads := p.Follower == partition.NoBroker
	switch {
	case !now.Leads, now.High > p.High && (reads || p.Cold), !reads && (now.End > p.End || now.start() > p.Start):
		return Ripe
	case now.High > p.High:
		return Ripening
	default:
		return Unripe
	}
}

// Seen returns p itself: of what it is embedded in.
func (p *Parked) Seen() *Parked { return p }

// A Lot has the requests that wait at one partition. A follower has one there, its
// newest: an older one, which is still being worked on, finds its place taken, and hears
// no more of the partition. The zero Lot has none.
type Lot[P Waiter] struct{ list []P }

// A Waiter is a shell's request that waits at a partition.
type Waiter interface {
	comparable
	Seen() *Parked
}

// Park leaves a request in the lot. It returns the one that has no place there any more,
// which may be p itself; or the zero P.
func (l *Lot[P]) Park(p P) (out P) {
	if s := p.Seen(); s.Follower != partition.NoBroker {
		if i := l.of(s.Follower); i >= 0 {
			q := l.list[i]
			if s.Number.Before(q.Seen().Number) {
				return p
			}
			if l.list = slices.Delete(l.list, i, i+1); q != p {
				out = q
			}
		}
	}
	l.list = append(l.list, p)
	return out
}

// Overtake takes a follower's request out if it is older than another. It returns that
// or the zero P.
func (l *Lot[P]) Overtake(follower partition.BrokerID, by FetchNumber) (out P) {
	if i := l.of(follower); i >= 0 && l.list[i].Seen().Number.Before(by) {
		out = l.list[i]
		l.list = slices.Delete(l.list, i, i+1)
	}
	return out
}

func (l *Lot[P]) of(follower partition.BrokerID) int {
	return slices.IndexFunc(l.list, func(p P) bool { return p.Seen().Follower == follower })
}

// Unpark takes a request out, if it is there.
func (l *Lot[P]) Unpark(p P) { l.list = minus(l.list, p) }

// Wake takes those out that are told of what they wait for.
func (l *Lot[P]) Wake(told func(P) bool) { l.list = slices.DeleteFunc(l.list, told) }

// All returns the requests that wait. It must not be changed, and holds until something
// else is done with the lot.
func (l *Lot[P]) All() []P { return l.list }
