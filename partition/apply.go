package partition

import (
	"bytes"
	"maps"
	"slices"

	"github.com/samsalog/samsa/partition/mutate"
)

// An application is one call of [Table.Apply]: the table, and what has changed.
type application struct {
	*Table
	moved    map[ID]bool
	standing map[BrokerID]bool // of another standing
	settled  map[UUID]bool     // topics of another configuration
	copied   map[UUID]bool     // topics whose Partitions nobody else has yet
}

// apply carries out one record, or reports that its condition does not hold.
func (a *application) apply(rec Record) bool {
	switch r := rec.(type) {
	case RegisterBroker:
		return a.registerBroker(r)
	case ChangeBroker:
		return a.changeBroker(r)
	case CreateTopic:
		return a.createTopic(r)
	case ChangeTopic:
		return a.changeTopic(r)
	case ChangePartition:
		return a.changePartition(r)
	case DeleteTopic:
		return a.deleteTopic(r)
	case AddPartitions:
		return a.addPartitions(r)
	default:
		return false
	}
}

func (a *application) registerBroker(r RegisterBroker) bool {
	b := r.Broker
	b.Epoch, b.Fenced, b.Stopping, b.Full = BrokerEpoch(a.offset), true, false, false
	i, known := a.findBroker(b.ID)
	switch {
	case b.ID < 1 || known && a.brokers[i].Epoch >= b.Epoch:
		return false
	case known:
		a.brokers[i] = b
	default:
		a.brokers = slices.Insert(a.brokers, i, b)
	}
	a.standing[b.ID] = true
	for _, id := range r.Suspect {
		s, ok := a.Partition(id)
		if ok && (slices.Contains(s.ISR, b.ID) || slices.Contains(s.ELR, b.ID)) {
			a.setState(id, s.resign(b.ID, a.MinISR(id)))
		}
	}
	return true
}

func (a *application) changeBroker(r ChangeBroker) bool {
	i, ok := a.findBroker(r.ID)
	if !ok || a.brokers[i].Epoch != r.Epoch {
		return false
	}
	b := &a.brokers[i]
	if b.Fenced != r.Fenced || b.Stopping != r.Stopping || b.Full != r.Full {
		b.Fenced, b.Stopping, b.Full = r.Fenced, r.Stopping, r.Full
		a.standing[r.ID] = true
	}
	return true
}

func (a *application) createTopic(r CreateTopic) bool {
	topic := r.Topic
	if _, taken := a.TopicLike(topic.Config.Name); taken || topic.Config.Name == "" {
		return false
	}
	if _, taken := a.topics[topic.ID]; taken || topic.ID == (UUID{}) {
		return false
	}
	if !a.mayBegin(topic.Partitions, r.Members) {
		return false
	}
	topic.Partitions = slices.Clone(topic.Partitions)
	a.addTopic(topic)
	a.settled[topic.ID], a.copied[topic.ID] = true, true
	for i := range topic.Partitions {
		a.moved[ID{topic.ID, PartitionID(i)}] = true
	}
	return true
}

// mayBegin reports whether new partitions are possible, and their brokers what they
// need.
func (a *application) mayBegin(states []*State, members []Member) bool {
	for _, m := range members {
		if b, ok := a.Broker(m.ID); !ok || b.Epoch != m.Epoch {
			return false
		}
	}
	for _, s := range states {
		if s == nil || s.Validate() != nil {
			return false
		}
		for _, id := range s.Replicas {
			b, ok := a.Broker(id)
			if !ok || slices.Contains(s.ISR, id) && (b.Fenced || !named(members, id)) {
				return false
			}
		}
	}
	return true
}

func (a *application) deleteTopic(r DeleteTopic) bool {
	topic, ok := a.topics[r.Topic]
	if !ok {
		return false
	}
	a.removeTopic(topic)
	a.settled[r.Topic] = true
	for i := range topic.Partitions {
		a.moved[ID{r.Topic, PartitionID(i)}] = true
	}
	return true
}

func (a *application) addPartitions(r AddPartitions) bool {
	topic, ok := a.topics[r.Topic]
	if !ok || len(topic.Partitions) != r.Expect || len(r.Partitions) == 0 || !a.mayBegin(r.Partitions, r.Members) {
		return false
	}
	changed := *topic
	changed.Partitions = slices.Concat(topic.Partitions, r.Partitions)
	changed.Config.Partitions = len(changed.Partitions)
	a.topics[r.Topic] = &changed
	a.settled[r.Topic], a.copied[r.Topic] = true, true
	for i := r.Expect; i < len(changed.Partitions); i++ {
		a.moved[ID{r.Topic, PartitionID(i)}] = true
	}
	return true
}

func (a *application) changeTopic(r ChangeTopic) bool {
	topic, ok := a.topics[r.Topic]
	if !ok || topic.Config != r.Expect || r.Config == r.Expect || r.Config.MinISR < 1 || !r.Config.succeeds(r.Expect) {
		return false
	}
	least, was := r.Config.MinISR, r.Expect.MinISR
	for _, s := range topic.Partitions {
		if least > was && least > len(s.ISR) {
			return false
		}
	}
	changed := *topic
	changed.Config = r.Config
	a.topics[r.Topic] = &changed
	a.settled[r.Topic] = true
	for i, s := range topic.Partitions {
		if least != was {
			a.setState(ID{r.Topic, PartitionID(i)}, s.withMinISR(least))
		}
	}
	return true
}

func (a *application) changePartition(r ChangePartition) bool {
	s, ok := a.Partition(r.ID)
	if !ok || !r.State.follows(*s) {
		return false
	}
	for _, m := range r.Members {
		b, ok := a.Broker(m.ID)
		switch {
		case mutate.On("KIP-903"), mutate.On("fence races ISR"):
		case mutate.On("KAFKA-19522") && ok && b.Epoch == m.Epoch:
		case !ok || b.Epoch != m.Epoch || b.Fenced:
			return false
		}
	}
	for _, id := range r.State.newMembers(*s) {
		if !named(r.Members, id) {
			return false
		}
	}
	a.setState(r.ID, r.State)
	return true
}

// setState gives a partition that is there another state. What the table has
// handed out before stays as it was.
func (a *application) setState(id ID, s State) {
	topic := a.topics[id.Topic]
	if !a.copied[id.Topic] {
		topic.Partitions = slices.Clone(topic.Partitions)
		a.copied[id.Topic] = true
	}
	topic.Partitions[id.Partition] = &s
	a.moved[id] = true
}

func named(members []Member, id BrokerID) bool {
	return slices.ContainsFunc(members, func(m Member) bool { return m.ID == id })
}

func sorted[T comparable](set map[T]bool, compare func(a, b T) int) []T {
	return slices.SortedFunc(maps.Keys(set), compare)
}

func compareUUID(a, b UUID) int { return bytes.Compare(a[:], b[:]) }
