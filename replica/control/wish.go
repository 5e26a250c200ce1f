package control

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A wish is what the requests of operators have in common.
type wish struct {
	token uint64
	seen  log.Offset // of the newest metadata that the asker has
	tries int
}

func (r *wish) ofBroker() bool { return false }
func (r *wish) tried()         { r.tries++ }

func (r *wish) answer(code partition.Code) Reply { return r.refuse(code, "") }

func (r *wish) refuse(code partition.Code, format string, args ...any) Reply {
	return Reply{r.token, partition.ChangeResponse{Code: code, Text: fmt.Sprintf(format, args...)}}
}

// done answers that what was asked for is so.
func (r *wish) done(t *partition.Table, text string) (Reply, bool) {
	return Reply{r.token, partition.ChangeResponse{Text: text, Offset: t.Offset()}}, true
}

// deposed reports that the asker has seen more than this controller: all that it
// does not find may be there.
func (r *wish) deposed(t *partition.Table) bool { return r.seen > t.Offset() }

// topic finds a topic by its id, or answers why not.
func (r *wish) topic(t *partition.Table, id partition.UUID) (partition.Topic, Reply, bool) {
	topic, ok := t.TopicByID(id)
	switch {
	case ok:
		return topic, Reply{}, true
	case r.deposed(t):
		return topic, r.answer(partition.NotController), false
	}
	return topic, r.answer(partition.UnknownTopic), false
}

// partition finds a partition, or answers why not.
func (r *wish) partition(t *partition.Table, id partition.ID) (*partition.State, Reply, bool) {
	if _, refusal, ok := r.topic(t, id.Topic); !ok {
		return nil, refusal, false
	}
	s, ok := t.Partition(id)
	switch {
	case ok:
		return s, Reply{}, true
	case r.deposed(t):
		return nil, r.answer(partition.NotController), false
	}
	return nil, r.answer(partition.UnknownPartition), false
}

// transfer makes another replica the leader.
type transfer struct {
	wish
	in Transfer
}

func (r *transfer) judge(p *plan) (Reply, bool) {
	s, refusal, ok := r.partition(p.c.table, r.in.ID)
	if !ok {
		return refusal, true
	}
	to := r.in.To
	if to == partition.NoBroker {
		to = s.Replicas[0]
	}
	if s.Leader == to {
		return r.done(p.c.table, "")
	}
	if why := unable(p.c.table, s, to); why != "" {
		return r.refuse(partition.IneligibleReplica, "broker %d %s", to, why), true
	}
	if !slices.Contains(s.ISR, to) {
		return r.refuse(partition.IneligibleReplica, "broker %d is not in sync", to), true
	}
	if b, _ := p.c.table.Broker(to); b.Full {
		return r.refuse(partition.IneligibleReplica, "the disk of broker %d is full", to), true
	}
	if r.tries >= maxTries {
		return r.answer(partition.NotAttempted), true
	}
	if !p.isTouched(r.in.ID) && !p.full() && len(p.brokers) == 0 {
		p.change(r.in.ID, s, partition.Change{ISR: p.fit(r.in.ID, s), Prefer: to})
	}
	return Reply{}, false
}

// unable says why a broker cannot lead a partition, whatever its copy holds.
func unable(t *partition.Table, s *partition.State, id partition.BrokerID) string {
	b, ok := t.Broker(id)
	switch {
	case !slices.Contains(s.Replicas, id):
		return "keeps no copy of it"
	case !ok:
		return "is not registered"
	case b.Fenced:
		return "is fenced"
	case b.Stopping:
		return "is stopping"
	}
	return ""
}

// reassign moves a partition to other replicas, or has it stay after all (rule C11).
type reassign struct {
	wish
	in Reassign
}

func (r *reassign) judge(p *plan) (Reply, bool) {
	t := p.c.table
	s, refusal, ok := r.partition(t, r.in.ID)
	if !ok {
		return refusal, true
	}
	target, minISR := r.in.Replicas, p.minISR(r.in.ID)
	switch {
	case len(target) == 0 && s.Target == nil:
		return r.done(t, "")
	case len(target) == 0 && !s.CanCancel(minISR):
		return r.refuse(partition.NotEnoughReplicas, "of %v, its replicas before, %v are in sync; MinISR is %d",
			s.Origin, s.ISR, minISR), true
	case len(target) == 0:
		target = s.Origin
	case slices.Equal(target, s.Target), s.Target == nil && slices.Equal(target, s.Replicas):
		return r.done(t, "")
	}
	if why := r.impossible(t, s, target, minISR); why != "" {
		return r.refuse(partition.InvalidReplicas, "%s", why), true
	}
	if r.tries >= maxTries {
		return r.answer(partition.NotAttempted), true
	}
	if !p.isTouched(r.in.ID) && !p.full() && len(p.brokers) == 0 {
		p.change(r.in.ID, s, partition.Change{ISR: p.fit(r.in.ID, s), Target: target})
	}
	return Reply{}, false
}

// impossible says why a partition cannot have those replicas.
func (r *reassign) impossible(t *partition.Table, s *partition.State, target []partition.BrokerID, minISR int) string {
	if len(target) > partition.MaxReplicas {
		return fmt.Sprintf("%d replicas; %d are possible", len(target), partition.MaxReplicas)
	}
	if len(target) < min(minISR, len(s.Replicas)) {
		return fmt.Sprintf("%d replicas cannot keep MinISR, which is %d: lower that first", len(target), minISR)
	}
	for i, id := range target {
		switch b, ok := t.Broker(id); {
		case slices.Contains(target[:i], id):
			return fmt.Sprintf("broker %d is named twice", id)
		case !ok:
			return fmt.Sprintf("broker %d is not registered", id)
		case b.VoterOnly:
			return fmt.Sprintf("broker %d keeps no copies", id)
		}
	}
	return ""
}
