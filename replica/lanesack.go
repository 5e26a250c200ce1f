package replica

import "github.com/samsalog/samsa/partition"

// Ack has the leader told, beside the fetches under way, how far a copy is flushed. Acks
// that come while one is on its way go together with the next. At once says that the copy
// was flushed with its append: such an ack leaves with the fetch that is about to go.
func (l *Lanes[C]) Ack(m *Followed[C], atOnce bool) LanesOrders {
	var do LanesOrders
	if m.gone || atOnce && l.brings && m.pace.in() == Hot {
		return do
	}
	if !m.acks {
		m.acks = true
		l.acks = append(l.acks, m)
	}
	l.start(&do, Beside)
	return do
}

// beginBeside takes over what is to be acked.
func (l *Lanes[C]) beginBeside(r *LanesRound[C]) {
	r.take(l.acks)
	for _, m := range l.acks {
		m.acks = false
	}
	clear(l.acks) // who is removed is not to be kept
	l.acks = l.acks[:0]
}

// toldBeside heats those whose acks did no good: a fetch has to say the same, and a cold
// partition may not have one for long.
func (l *Lanes[C]) toldBeside(r *LanesRound[C], resp *FetchResponse, do *LanesOrders) {
	for i := range r.Asks {
		if a := &resp.Partitions[i]; a.Code != partition.OK || a.Diverging {
			l.heat(do, r.Asks[i].member)
		}
	}
	r.Asks = r.Asks[:0]
}

// endedBeside heats those whose acks got no answer: after one nobody is left in the round.
func (l *Lanes[C]) endedBeside(r *LanesRound[C], do *LanesOrders) {
	if r.Idle {
		return
	}
	for i := range r.Asks {
		l.heat(do, r.Asks[i].member)
	}
}
