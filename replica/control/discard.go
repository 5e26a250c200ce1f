package control

import (
	"slices"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica"
)

// discard takes a copy that must begin anew out of ISR and ELR, if another replica can
// lead without it (rule C14).
type discard struct {
	in    Discard
	tries int
}

func (r *discard) ofBroker() bool { return false }
func (r *discard) tried()         { r.tries++ }

func (r *discard) answer(code partition.Code) Reply {
	return Reply{r.in.Token, replica.DiscardAnswer{Code: code}}
}

func (r *discard) judge(p *plan) (Reply, bool) {
	t, self := p.c.table, r.in.From
	s, ok := t.Partition(r.in.ID)
	b, known := t.Broker(self)
	switch {
	// The first two have seen more than this controller, or the topic is gone and they
	// will know soon.
	case offsetOf(r.in.BrokerEpoch) > t.Offset(), ok && r.in.Epoch > s.Epoch, !ok:
		return r.answer(partition.NotController), true
	case !known || b.Epoch != r.in.BrokerEpoch:
		return r.answer(partition.StaleBroker), true
	case !slices.Contains(s.Replicas, self):
		return r.answer(partition.OK), true
	case (s.Epoch > r.in.Epoch || mutate.On("discard within the epoch")) && !slices.Contains(s.ISR, self) && !slices.Contains(s.ELR, self):
		return r.answer(partition.OK), true // done, or not needed
	case r.tries >= maxTries:
		return r.answer(partition.NotAttempted), true
	case p.isTouched(r.in.ID), p.full(), p.changing(self):
		return Reply{}, false
	}
	others := *s
	others.ISR = slices.DeleteFunc(slices.Clone(s.ISR), func(id partition.BrokerID) bool { return id == self })
	c := partition.Change{ISR: p.fit(r.in.ID, &others), Discard: []partition.BrokerID{self}}
	if next, _ := p.foresee(r.in.ID, s, c); next.Leader == partition.NoBroker {
		return r.answer(partition.NotEnoughReplicas), true // it may be all that is left
	}
	p.change(r.in.ID, s, c)
	p.tell(Event{Kind: CopyDiscarded, Broker: self, Partition: r.in.ID})
	return Reply{}, false
}
