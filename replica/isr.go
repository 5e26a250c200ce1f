package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// A proposal is a change of the ISR that is under way to the controller.
type proposal struct {
	req   *AlterISR
	lost  bool      // it got no answer: a Tick sends it again, as it was
	doubt time.Time // until then an earlier sending of it may still arrive
}

// lose notes that a sending got no answer.
func (p *proposal) lose(now time.Time, lag time.Duration) {
	if p != nil {
		p.lost, p.doubt = true, now.Add(lag)
	}
}

// resend returns the proposal that got no answer, the very same as before.
func (l *Leader) resend() *AlterISR {
	if l.pending == nil || !l.pending.lost {
		return nil
	}
	l.pending.lost = false
	return l.pending.req
}

// propose makes a proposal if the ISR should be another and none is under way.
// Catch-up, incarnation and request are all taken from one and the same state of
// the followers (KAFKA-15221). Whoever is added counts from now on; whoever is left
// out counts until the controller has agreed. The first proposal after an unclean
// election reports it too, and comes even if the ISR is to stay.
func (l *Leader) propose(now time.Time, shrink bool) *AlterISR {
	if l.pending != nil {
		return nil
	}
	stands := func(p *progress) bool { return p.inISR && !(shrink && l.lags(p, now)) || l.joins(p, now) }
	same := true
	for i := range l.followers {
		same = same && stands(&l.followers[i]) == l.followers[i].inISR
	}
	if same && !l.state.Recovering {
		return nil // as after nearly every fetch
	}
	isr := make([]partition.Member, 0, 1+len(l.followers))
	isr = append(isr, partition.Member{ID: l.self, Epoch: l.selfEpoch})
	for i := range l.followers {
		if p := &l.followers[i]; stands(p) {
			isr = append(isr, p.member())
		}
	}
	slices.SortFunc(isr, func(a, b partition.Member) int { return int(a.ID) - int(b.ID) })
	if l.refused != nil && l.refused.PartitionEpoch == l.state.PartitionEpoch && slices.Equal(l.refused.ISR, isr) {
		return nil // the answer would be the same
	}
	req := &AlterISR{
		From: l.self, BrokerEpoch: l.selfEpoch, ID: l.id,
		Epoch: l.state.Epoch, PartitionEpoch: l.state.PartitionEpoch, ISR: isr, Recovered: l.state.Recovering,
	}
	l.pending, l.refused = &proposal{req: req}, nil
	for _, m := range isr {
		if p := l.follower(m.ID); p != nil {
			p.proposed = true
		}
	}
	return req
}

// lags reports whether a member of the ISR has stayed behind for too long.
func (l *Leader) lags(p *progress, now time.Time) bool {
	return p.ack < l.end && now.Sub(p.caught) > l.lag
}

// joins reports whether a follower may be proposed for the ISR. That it has reached
// the high watermark is not enough: that of a new leader may be an old one
// (KAFKA-7128). And it must have removed what this leader has: others have been told that
// it is gone.
func (l *Leader) joins(p *progress, now time.Time) bool {
	if mutate.On("KAFKA-7128") {
		return !p.inISR && p.eligible() && p.ack >= l.high
	}
	return !p.inISR && p.eligible() && p.fresh(now, l.lag) && p.ack >= max(l.high, l.begin) && p.start >= l.start
}

// altered takes the controller's answer.
func (l *Leader) altered(now time.Time, in Altered) {
	if in.Code == partition.OK {
		if in.State.Epoch == l.state.Epoch && in.State.Leader == l.self { // else the metadata will say so too
			l.commit(now, in.State, in.PartitionEpoch)
		}
		return
	}
	p := l.pending
	if p == nil || p.req.PartitionEpoch != in.PartitionEpoch {
		return // the metadata was faster
	}
	switch in.Code {
	case partition.IneligibleReplica, partition.NotAttempted:
		// That this sending was not applied says nothing of an earlier one, which may
		// arrive yet and find its members fit. Until it cannot, it counts.
		if now.Before(p.doubt) {
			p.lost = true
			break
		}
		l.settle()
		l.refused = p.req
	case partition.FencedEpoch, partition.StalePartitionEpoch, partition.StaleBroker,
		partition.UnknownTopic, partition.UnknownPartition, partition.NewLeaderElected:
		// Perhaps an earlier sending of it was applied: only the metadata can tell.
	default:
		p.lose(now, l.lag)
	}
}

// changed takes newer metadata of the same leader epoch.
func (l *Leader) changed(now time.Time, in Changed) {
	if in.State.Epoch != l.state.Epoch {
		return // not this machine's
	}
	// An image may be older than the answer to a proposal, and is still the newest
	// that is known of brokers and configuration. MinISR is safe either way: see enough.
	l.minISR = in.MinISR
	l.commit(now, in.State, -1)
	l.meet(in.Peers)
}

// commit takes a state that the controllers have agreed on, unless a newer one is
// known. base is the partition epoch of the proposal that it answers, or -1.
func (l *Leader) commit(now time.Time, s partition.State, base partition.PartitionEpoch) {
	if s.PartitionEpoch < l.state.PartitionEpoch {
		return
	}
	if p := l.pending; p != nil && (s.PartitionEpoch > p.req.PartitionEpoch || base == p.req.PartitionEpoch) {
		l.settle() // applied, or never to be: its partition epoch is over
	}
	if s.PartitionEpoch == l.state.PartitionEpoch {
		return
	}
	if !slices.Equal(s.Replicas, l.state.Replicas) {
		l.followers = followersOf(&s, l.self, l.followers, l.end)
	}
	l.state = s
	for i := range l.followers {
		p := &l.followers[i]
		was := p.inISR
		p.inISR = slices.Contains(s.ISR, p.id)
		switch {
		case p.inISR && !was:
			p.begin(now, l.end)
		case was && !p.inISR:
			// It must catch up anew before it holds the others back.
			p.mark, p.caught = l.end, time.Time{}
		}
	}
}

// settle ends the proposal under way.
func (l *Leader) settle() {
	l.pending = nil
	for i := range l.followers {
		l.followers[i].proposed = false
	}
}

// meet takes what the metadata shows of the other replicas.
func (l *Leader) meet(peers []Peer) {
	for i := range l.followers {
		p := &l.followers[i]
		p.known, p.active = 0, false
		for _, peer := range peers {
			if peer.ID == p.id {
				p.known, p.active = peer.Epoch, peer.Active
			}
		}
		if p.heard && p.broker < p.known && !blind() {
			p.forget() // its ack is of a former life
		}
	}
}
