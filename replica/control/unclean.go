package control

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
)

// elect has a replica elected that may be incomplete, because an operator gives up
// what others may have (rule C12). The controller never does so by itself.
type elect struct {
	wish
	in   ElectUnclean
	loss string // what the entry under way may lose, in words
}

func (r *elect) judge(p *plan) (Reply, bool) {
	t := p.c.table
	s, refusal, ok := r.partition(t, r.in.ID)
	switch {
	case !ok:
		return refusal, true
	case s.Leader != partition.NoBroker && r.loss != "":
		return r.done(t, r.loss)
	case s.Leader != partition.NoBroker:
		return r.done(t, fmt.Sprintf("broker %d leads: nobody had to be elected", s.Leader))
	case r.tries >= maxTries:
		r.giveUp(p.c)
		return r.answer(partition.NotAttempted), true
	case p.isTouched(r.in.ID) || p.full() || len(p.brokers) > 0 || r.electable(p, s):
		return Reply{}, false
	}
	voters, refusal, ok := r.voters(p, s)
	if !ok {
		r.giveUp(p.c)
		return refusal, true
	}
	b := p.c.ballots[r.in.ID]
	switch {
	case b == nil, b.by == nil, b.epoch != s.PartitionEpoch, !b.among(voters) && (b.cast(t) || !p.c.complete(b)):
		b = newBallot(s, voters)
		b.by = r
		p.c.ballots[r.in.ID] = b
	case !b.among(voters):
		return Reply{}, false // another who asked has the first turn: to put both questions is to put them for ever
	}
	if !b.cast(t) {
		return Reply{}, false // the answers come as LogEnds
	}
	best := b.best(s)
	if best == nil {
		r.giveUp(p.c)
		return r.refuse(partition.IneligibleReplica, "no copy on %v can be opened", voters), true
	}
	r.loss = lossOf(s, best)
	p.change(r.in.ID, s, partition.Change{ISR: []partition.BrokerID{best.broker}, Unclean: true})
	p.tell(Event{Kind: UncleanElection, Broker: best.broker, Partition: r.in.ID})
	return Reply{}, false
}

// giveUp ends the ballot of a wish of which nothing came. Those whom the controller may
// elect by itself are then asked instead: they may all be there.
func (r *elect) giveUp(c *Controller) {
	if b := c.ballots[r.in.ID]; b != nil && b.by == r {
		delete(c.ballots, r.in.ID)
		c.soil(r.in.ID)
	}
}

// electable reports whether the partition gets a leader without this.
func (r *elect) electable(p *plan, s *partition.State) bool {
	candidates := s.ISR
	if len(candidates) == 0 {
		candidates = s.ELR
	}
	return slices.ContainsFunc(candidates, p.active)
}

// voters returns those among which the leader is chosen, or answers that there is none.
func (r *elect) voters(p *plan, s *partition.State) ([]partition.BrokerID, Reply, bool) {
	if to := r.in.To; to != partition.NoBroker {
		if why := unable(p.c.table, s, to); why != "" {
			return nil, r.refuse(partition.IneligibleReplica, "broker %d %s", to, why), false
		}
		return []partition.BrokerID{to}, Reply{}, true
	}
	there := slices.DeleteFunc(slices.Clone(s.Replicas), func(id partition.BrokerID) bool { return !p.active(id) })
	if len(there) == 0 {
		return nil, r.refuse(partition.IneligibleReplica, "none of its replicas, %v, is there", s.Replicas), false
	}
	return there, Reply{}, true
}

// lossOf says what the election of a replica may lose.
func lossOf(s *partition.State, v *vote) string {
	had := fmt.Sprintf("broker %d leads with a log that ends at %d, last written in epoch %d", v.broker, v.end.End, v.end.LastEpoch)
	var others []partition.BrokerID
	for _, id := range slices.Concat(s.ISR, s.ELR, s.LastKnownELR) {
		if id != v.broker {
			others = append(others, id)
		}
	}
	slices.Sort(others)
	if len(others) == 0 {
		return had + "; what it has lost of acknowledged records is lost"
	}
	return fmt.Sprintf("%s; acknowledged records that only brokers %v hold are lost", had, others)
}

// among reports whether exactly those are asked.
func (b *ballot) among(voters []partition.BrokerID) bool {
	return slices.EqualFunc(b.votes, voters, func(v vote, id partition.BrokerID) bool { return v.broker == id })
}
