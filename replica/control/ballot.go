package control

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

const (
	askTime = 500 * time.Millisecond // after which a broker is asked again
	maxAsk  = 4096                   // partitions in one question
)

// A ballot gathers how far the logs of one partition's last known replicas go,
// while it has no leader and nobody that is provably complete. Since nobody leads,
// nothing is written meanwhile, and the answers stay true as long as the
// partition's state and the broker's incarnation do.
type ballot struct {
	epoch partition.PartitionEpoch // of the state that it is held in
	votes []vote                   // one for each of LastKnownELR, or of those whom the operator means
	by    *elect                   // the operator's wish that it is held for; nil: the controller's own
}

type vote struct {
	broker partition.BrokerID
	epoch  partition.BrokerEpoch // of the incarnation that was asked
	asked  time.Time
	cast   bool
	end    LogEnd
}

func newBallot(s *partition.State, voters []partition.BrokerID) *ballot {
	b := &ballot{epoch: s.PartitionEpoch}
	for _, id := range voters {
		b.votes = append(b.votes, vote{broker: id})
	}
	return b
}

// winner returns the most complete replica once all are here, have answered in
// their present incarnation, and none is damaged. HW has stood still since
// the first of them left, so that each has every acknowledged record, but for what
// it lost; where two are alike the order of preference decides.
func (b *ballot) winner(p *plan, s *partition.State) (partition.BrokerID, bool) {
	if mutate.On("all stop at once") {
		return partition.NoBroker, false
	}
	damaged := slices.ContainsFunc(b.votes, func(v vote) bool { return !p.active(v.broker) || v.end.Damaged || v.end.Unusable })
	if damaged || !b.cast(p.c.table) {
		return partition.NoBroker, false
	}
	best := b.best(s)
	if best == nil {
		return partition.NoBroker, false
	}
	return best.broker, true
}

// cast reports whether all have answered, in their present incarnation.
func (b *ballot) cast(t *partition.Table) bool {
	return !slices.ContainsFunc(b.votes, func(v vote) bool {
		now, ok := t.Broker(v.broker)
		return !ok || !v.cast || v.epoch != now.Epoch
	})
}

// best returns the most complete of those that can lead at all; of those that are
// alike the first in order of preference. Nil: there is none.
func (b *ballot) best(s *partition.State) *vote {
	var best *vote
	for _, id := range s.Replicas {
		i := slices.IndexFunc(b.votes, func(v vote) bool { return v.broker == id && !v.end.Unusable })
		if i >= 0 && (best == nil || compareEnds(b.votes[i].end, best.end) > 0) {
			best = &b.votes[i]
		}
	}
	return best
}

func compareEnds(a, b LogEnd) int {
	return cmp.Or(cmp.Compare(a.LastEpoch, b.LastEpoch), cmp.Compare(a.End, b.End))
}

// logEnds counts the answers of the incarnation that was asked.
func (c *Controller) logEnds(in LogEnds) {
	if !c.leading || in.Code != partition.OK {
		return
	}
	for _, end := range in.Ends {
		b := c.ballots[end.ID]
		if b == nil {
			continue
		}
		for i := range b.votes {
			v := &b.votes[i]
			if v.broker == in.Broker && v.epoch == in.Epoch && !v.cast && !v.asked.IsZero() {
				v.cast, v.end = true, end
				c.soil(end.ID)
			}
		}
	}
}

// ask puts the question to all last known replicas of a partition as soon as every
// one of them is active: before that no answer would help.
func (c *Controller) ask(now time.Time, out *Output) {
	if len(c.ballots) == 0 {
		return
	}
	questions := make(map[partition.BrokerID][]partition.ID)
	for _, id := range slices.SortedFunc(maps.Keys(c.ballots), partition.ID.Compare) {
		b := c.ballots[id]
		if !c.complete(b) {
			continue
		}
		for i := range b.votes {
			v := &b.votes[i]
			broker, _ := c.table.Broker(v.broker)
			if v.epoch != broker.Epoch {
				*v = vote{broker: v.broker, epoch: broker.Epoch}
			}
			if v.cast || !v.asked.IsZero() && now.Before(v.asked.Add(askTime)) {
				continue
			}
			v.asked = now
			questions[v.broker] = append(questions[v.broker], id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(questions)) {
		b, _ := c.table.Broker(id)
		for ids := range slices.Chunk(questions[id], maxAsk) {
			out.Ask = append(out.Ask, LogEndsRequest{Broker: id, Epoch: b.Epoch, IDs: ids})
		}
	}
}

// complete says that every voter is there and active.
func (c *Controller) complete(b *ballot) bool {
	return !slices.ContainsFunc(b.votes, func(v vote) bool {
		broker, ok := c.table.Broker(v.broker)
		return !ok || broker.Fenced || broker.Stopping
	})
}

// nextAsk is when the first unanswered question should be asked again.
func (c *Controller) nextAsk() (next time.Time) {
	for _, b := range c.ballots { // the earliest is the same in any order
		if !c.complete(b) {
			continue
		}
		for _, v := range b.votes {
			if again := v.asked.Add(askTime); !v.cast && (next.IsZero() || again.Before(next)) {
				next = again
			}
		}
	}
	return next
}
