package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A LanesRound is one fetch of a lane. A shell makes it with its Lane, and uses it again
// for the next one: of a lane there is one round at a time.
type LanesRound[C any] struct {
	Lane Lane

	// Asks are, from Begin to Asked, the copies to be asked what they want; then those
	// that the request names; and from Told on those that the answer tells of.
	Asks     []LanesAsk[C]
	MaxBytes int32 // to ask each of them with; 0: for an ack
	// Request goes to the leader once Asked has returned, unless the round is Idle.
	// The next round uses its memory again.
	Request FetchRequest
	Idle    bool // there is nobody to ask for, or to ask as
	Cut     bool // by Ended: an order has ended the call or the wait after it

	begun   time.Time
	learned bool // the answer says something new
}

// A LanesAsk is the part of one copy in a round.
type LanesAsk[C any] struct {
	Copy     C
	Sequence int64      // of the request for its records that is put together, or answered
	Start    log.Offset // of the leader's log, as last told

	// The shell sets these before Asked, by [Follower.Request] and [Follower.MayCool].
	Part  FetchPartition
	Wants bool
	Cools bool

	At   int  // by Told: the place of its answer in the response
	News bool // the shell sets this before News: it has to be handed that; see [FetchAnswer.News]

	ok     bool // the answer's code
	member *Followed[C]
}

const soon = 20 * time.Millisecond // some are delayed: they are asked again

// Begin begins a round of a lane whose turn has come; false: the lane rests, there is
// nobody to ask.
func (l *Lanes[C]) Begin(now time.Time, r *LanesRound[C]) bool {
	r.Asks, r.Idle, r.Cut = r.Asks[:0], false, false
	r.begun, r.learned = now, false
	l.ways[r.Lane].ended = false
	switch r.Lane {
	case Hot:
		if l.beginHot(now, r); len(l.hot) == 0 {
			return l.rest(r)
		}
	case Cold:
		if l.beginCold(now, r); len(l.cold) == 0 {
			return l.rest(r)
		}
	default:
		if l.beginBeside(r); len(r.Asks) == 0 {
			return l.rest(r)
		}
	}
	l.sequence++
	r.Request.Sequence = l.sequence
	if r.MaxBytes = l.cfg.PartitionBytes; r.Lane == Beside {
		r.MaxBytes = 0
	}
	for i := range r.Asks {
		a := &r.Asks[i]
		a.Sequence, a.Start = l.sequence, a.member.start
	}
	return true
}

// rest ends the turns of a lane.
func (l *Lanes[C]) rest(r *LanesRound[C]) bool {
	l.ways[r.Lane] = way{}
	clear(r.Asks[:cap(r.Asks)]) // who is removed is not to be kept
	return false
}

// beginHot takes over who has become hot. Who comes last may get nothing when the others
// fill the answer, so that each comes first in his turn.
func (l *Lanes[C]) beginHot(now time.Time, r *LanesRound[C]) {
	l.brings = false // what is flushed from now on may be too late for it
	for _, m := range l.coming {
		if m.coming = false; !m.gone && m.pace.in() == Cold {
			l.fresh = minus(l.fresh, m)
			l.toHot(now, m)
		}
	}
	clear(l.coming)
	l.coming = l.coming[:0]
	if len(l.hot) > 0 {
		l.next = (l.next + 1) % len(l.hot)
		r.take(l.hot[l.next:])
		r.take(l.hot[:l.next])
	}
}

// beginCold takes over who has cooled down, to be named beside all else whom the leader
// does not keep.
func (l *Lanes[C]) beginCold(now time.Time, r *LanesRound[C]) {
	l.hot = slices.DeleteFunc(l.hot, func(m *Followed[C]) bool {
		if !m.cooling(now) {
			return false
		}
		m.pace.enter(now, Cold)
		l.cold[m.id] = m
		l.fresh = append(l.fresh, m)
		return true
	})
	if len(l.cold) == 0 {
		l.last = 0
	}
	if l.last == 0 {
		l.anew()
	}
	r.take(l.fresh)
}

// anew has all members of the cold lane named again.
func (l *Lanes[C]) anew() {
	l.fresh = l.fresh[:0]
	for _, m := range l.cold {
		m.kept = false
		l.fresh = append(l.fresh, m)
	}
	slices.SortFunc(l.fresh, func(a, b *Followed[C]) int { return a.id.Compare(b.id) })
}

func (r *LanesRound[C]) take(members []*Followed[C]) {
	for _, m := range members {
		r.Asks = append(r.Asks, LanesAsk[C]{Copy: m.copy, member: m})
	}
}

// Asked puts the request together, of what the copies of a round want. It goes out as of
// that broker epoch; 0: the broker is not registered yet.
func (l *Lanes[C]) Asked(r *LanesRound[C], epoch partition.BrokerEpoch) LanesOrders {
	var do LanesOrders
	asked := len(r.Asks)
	for i := range r.Asks {
		r.Asks[i].noted(r.Lane)
	}
	if r.Lane == Cold {
		l.keep(r, &do)
	}
	r.Asks = slices.DeleteFunc(r.Asks, func(a LanesAsk[C]) bool { return !a.Wants })
	parts := r.Request.Partitions[:0]
	for i := range r.Asks {
		parts = append(parts, r.Asks[i].Part)
	}
	r.Request = FetchRequest{From: l.cfg.Self, BrokerEpoch: epoch, Sequence: r.Request.Sequence, Partitions: parts}
	r.Idle = epoch == 0 || len(parts) == 0 && r.Lane != Cold
	if r.Lane == Beside {
		return do
	}
	wait := l.cfg.Wait
	if r.Lane == Hot && len(parts) < asked {
		wait = min(wait, soon)
	}
	r.Request.MaxWaitMs, r.Request.MinBytes, r.Request.MaxBytes = int32(wait/time.Millisecond), 1, l.cfg.MaxBytes
	if r.Lane == Cold {
		r.Request.Cold, r.Request.After = true, l.last
		l.last = 0 // until it is answered it is open what the leader keeps
	}
	return do
}

// noted notes what a copy has said of itself.
func (a *LanesAsk[C]) noted(lane Lane) {
	if lane == Beside {
		return
	}
	a.member.cools = a.Wants && a.Cools
	if a.Wants {
		a.member.sequence = a.Sequence
	}
}

// keep notes whom the leader will keep. Those who want nothing now, or have need of
// fetches without news, go back to the hot lane and are in no cold request; what they
// would have acked with it goes out at once.
func (l *Lanes[C]) keep(r *LanesRound[C], do *LanesOrders) {
	for i := range r.Asks {
		a := &r.Asks[i]
		m := a.member
		switch {
		case m.gone:
			a.Wants = false
		case m.cools:
			m.kept, m.part = true, a.Part
		default:
			a.Wants = false
			l.toHot(r.begun, m)
			l.hasten(do, Hot)
		}
	}
	clear(l.fresh)
	l.fresh = l.fresh[:0]
}
