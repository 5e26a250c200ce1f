package partition

import (
	"errors"
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition/mutate"
)

// A Change is what the controller wants of a partition's ISR, and what it knows
// of the brokers. [State.Change] works out what follows.
type Change struct {
	// ISR is the set that it shall be. Those that are no replicas are left out.
	ISR []BrokerID

	// MinISR is the topic's. It counts as the number of replicas if it is more.
	MinISR int

	// Active reports whether a broker may lead: registered, unfenced, not stopping.
	// Nil: none is.
	Active func(BrokerID) bool

	// Suspect are replicas that may have lost records. They cannot enter the ELR.
	Suspect []BrokerID

	// Discard are replicas that are about to discard what they hold, and may have told
	// of it: they leave ISR and ELR, and the leader epoch rises, so that no ack and no
	// proposal from before counts for a copy that is made anew.
	Discard []BrokerID

	// Replicas is the new list of replicas, in order of preference, from now on. Nil:
	// the same.
	Replicas []BrokerID

	// Target is the list of replicas that it shall be once those that it adds are in
	// sync: a reassignment, which replaces one that is under way. Nil: as it is.
	Target []BrokerID

	// Prefer is elected if it may lead, whoever leads now. NoBroker: nobody is preferred.
	Prefer BrokerID

	// Balanced says that ISR has been chosen by comparing the logs of all that was
	// in LastKnownELR, or by an operator: what was known of ELR and LastKnownELR is void.
	Balanced bool

	// Unclean says that an operator has chosen ISR, one replica, which may be
	// incomplete. It is Balanced too.
	Unclean bool

	// Recovered says that the leader reports that it has taken over after an unclean
	// election.
	Recovered bool
}

// Change returns the state that follows s when c is carried out, and the brokers
// that it adds to the ISR or elects, in rising order: the change holds only while
// each of them is what it was.
//
// A reassignment is completed first, if that is possible now; then follow the ELR,
// the election and the epoch, each from what came before it.
//
// The present leader stays if it may; otherwise the first replica that may lead
// is elected: an active member of the ISR, or, if the ISR is empty, of the ELR,
// which then makes up the ISR alone. If there is none the partition has no leader.
// The epoch rises if the leader changes, a replica is dropped or one discards its
// copy, the partition epoch in any case.
func (s State) Change(c Change) (State, []BrokerID) {
	next := s
	c.ISR, c.Suspect = minus(c.ISR, c.Discard), union(c.Suspect, c.Discard)
	if c.Replicas != nil {
		next.Replicas = c.Replicas
	}
	if c.Target != nil {
		next = next.reassign(c.Target)
	}
	next = next.complete(c.ISR, c.MinISR)
	next = next.withISR(c.ISR, c.MinISR, c.Suspect)
	if c.Balanced || c.Unclean {
		next.ELR, next.LastKnownELR = nil, nil
		next.LossyEpoch = s.Epoch + 1
	}
	next.Recovering = c.Unclean || s.Recovering && !c.Recovered
	next = next.elect(c.MinISR, c.Prefer, c.Active)
	discards := len(c.Discard) > 0 && !mutate.On("discard within the epoch")
	if next.Leader != s.Leader || discards || len(minus(s.Replicas, next.Replicas)) > 0 {
		next.Epoch++
	}
	return next, next.newMembers(s)
}

// newMembers returns those that s has in the ISR, or leading, and old has not.
func (s State) newMembers(old State) []BrokerID {
	added := minus(s.ISR, old.ISR)
	if s.Leader != NoBroker && s.Leader != old.Leader {
		added = union(added, []BrokerID{s.Leader})
	}
	return added
}

// withISR returns s with that ISR, without electing anybody.
//
// With MinISR members and more the high watermark moves, and whoever is outside
// falls behind: nobody there is known to be complete. Below MinISR it is frozen,
// so that those who leave then keep all there is to have (KIP-966).
func (s State) withISR(isr []BrokerID, minISR int, suspect []BrokerID) State {
	next := s
	next.PartitionEpoch++
	next.ISR = intersect(isr, s.Replicas)
	if len(next.ISR) >= s.effective(minISR) {
		next.ELR, next.LastKnownELR = nil, nil
		return next
	}
	last := intersect(union(s.ELR, s.ISR), s.Replicas)
	next.ELR = minus(minus(last, next.ISR), suspect)
	last = union(last, intersect(s.LastKnownELR, s.Replicas))
	next.LastKnownELR = minus(minus(last, next.ISR), next.ELR)
	return next
}

// elect sets the leader, and the ISR if the leader comes from the ELR.
func (s State) elect(minISR int, prefer BrokerID, active func(BrokerID) bool) State {
	candidates := s.ISR
	if len(s.ISR) == 0 {
		candidates = s.ELR
	}
	may := func(id BrokerID) bool {
		return id != NoBroker && active != nil && slices.Contains(candidates, id) && (active(id) || mutate.On("KAFKA-19522"))
	}
	switch {
	case may(prefer):
		s.Leader = prefer
	case !may(s.Leader):
		s.Leader = NoBroker
		if i := slices.IndexFunc(s.Replicas, may); i >= 0 {
			s.Leader = s.Replicas[i]
		}
	}
	if s.Leader == NoBroker || len(s.ISR) > 0 {
		return s
	}
	s.ISR = []BrokerID{s.Leader}
	s.ELR = minus(s.ELR, s.ISR)
	if s.effective(minISR) <= 1 { // the high watermark may move again
		s.ELR, s.LastKnownELR = nil, nil
	}
	return s
}

// effective returns how many in-sync copies a committed record of s has at
// least, given the topic's MinISR.
func (s State) effective(minISR int) int { return max(1, min(minISR, len(s.Replicas))) }

// resign returns s after id has been registered anew and cannot vouch for its
// copy. Nobody is elected: that is the controller's to do, in a record of its own.
func (s State) resign(id BrokerID, minISR int) State {
	next := s.withISR(minus(s.ISR, []BrokerID{id}), minISR, []BrokerID{id})
	if next.Leader == id {
		next.Leader = NoBroker
		next.Epoch++
	}
	return next
}

// withMinISR returns s after its topic's MinISR has become minISR. What ELR says
// was true under the old value alone (KAFKA-16540); its members are still those
// to ask if nobody else is left. The partition epoch rises so that a leader that
// does not know the new value cannot have a change of ISR accepted under the old.
func (s State) withMinISR(minISR int) State {
	next := s
	next.PartitionEpoch++
	next.LastKnownELR = union(s.ELR, s.LastKnownELR)
	if !mutate.On("KAFKA-16540") {
		next.ELR = nil
	}
	if len(s.ISR) >= s.effective(minISR) {
		next.LastKnownELR = nil
	}
	return next
}

// Validate reports what makes s impossible, all at once, or nil. It is part of
// what a [Table] does with a record, so that it may not become stricter.
func (s State) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := make(map[BrokerID]bool, len(s.Replicas))
	for _, id := range s.Replicas {
		if id < 1 {
			bad("Replicas has %d, which is no broker's id", id)
		}
		if seen[id] {
			bad("Replicas has %d twice", id)
		}
		seen[id] = true
	}
	if len(s.Replicas) == 0 {
		bad("Replicas is empty")
	}
	held := make(map[BrokerID]string, len(s.Replicas))
	for _, set := range []struct {
		name string
		ids  []BrokerID
	}{{"ISR", s.ISR}, {"ELR", s.ELR}, {"LastKnownELR", s.LastKnownELR}} {
		for i, id := range set.ids {
			if i > 0 && set.ids[i-1] >= id {
				bad("%s does not rise at %d", set.name, id)
			}
			if !seen[id] {
				bad("%s has %d, which is no replica", set.name, id)
			}
			if other := held[id]; other != "" && other != set.name {
				bad("%d is in %s and in %s", id, other, set.name)
			}
			held[id] = set.name
		}
	}
	if (s.Origin == nil) != (s.Target == nil) || s.Target != nil && len(minus(union(s.Origin, s.Target), s.Replicas)) > 0 || hasTwice(s.Origin) || hasTwice(s.Target) {
		bad("Replicas %v are not those of a reassignment from %v to %v", s.Replicas, s.Origin, s.Target)
	}
	if s.Recovering && len(s.ISR) > 1 {
		bad("ISR has %d members while Recovering", len(s.ISR))
	}
	if s.Leader != NoBroker && !slices.Contains(s.ISR, s.Leader) {
		bad("Leader %d is not in the ISR", s.Leader)
	}
	if s.Epoch < 0 {
		bad("Epoch is %d", s.Epoch)
	}
	if s.LossyEpoch < 0 || s.LossyEpoch-1 > s.Epoch {
		bad("LossyEpoch is %d, Epoch %d", s.LossyEpoch, s.Epoch)
	}
	if s.PartitionEpoch < 0 {
		bad("PartitionEpoch is %d", s.PartitionEpoch)
	}
	if len(errs) > 0 {
		return fmt.Errorf("partition: bad State: %w", errors.Join(errs...))
	}
	return nil
}

// follows reports whether s may come directly after before: both epochs only rise,
// and two leaders never share one.
func (s State) follows(before State) bool {
	if s.PartitionEpoch-1 != before.PartitionEpoch || s.Validate() != nil {
		return false
	}
	return s.Epoch-1 == before.Epoch || s.Epoch == before.Epoch && s.Leader == before.Leader
}
