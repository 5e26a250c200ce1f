package partition

import (
	"cmp"
	"slices"

	"github.com/samsalog/samsa/log"
)

// A Table is the cluster's metadata: the fold over the records of the metadata
// log, from the first on or from an [Image]. It has one user at a time; the
// topics and states that it returns may be kept and shared.
type Table struct {
	offset  log.Offset
	brokers []Broker        // by rising ID
	topics  map[UUID]*Topic // Partitions is copied before it is changed
	names   map[string]UUID // by foldName
	order   []UUID          // of the topics, by rising name
}

// Changes says what an entry has changed. Each list rises and has nothing twice.
type Changes struct {
	Partitions []ID       // their State, or their being there
	Brokers    []BrokerID // registered, or of another standing
	Topics     []UUID     // created, deleted, or of another configuration
	Applied    []bool     // for each record of the entry: false if it was skipped
}

// NewTable returns the table before the first record.
func NewTable() *Table {
	return &Table{topics: make(map[UUID]*Topic), names: make(map[string]UUID)}
}

// Apply folds the records of the entry at that offset into the table. They are
// one step, in their order; each is skipped if its condition does not hold. An
// entry at or below [Table.Offset] has been applied before and is skipped whole.
// The table keeps what the records point to.
func (t *Table) Apply(offset log.Offset, recs []Record) Changes {
	a := application{
		Table:    t,
		moved:    make(map[ID]bool),
		standing: make(map[BrokerID]bool),
		settled:  make(map[UUID]bool),
		copied:   make(map[UUID]bool),
	}
	applied := make([]bool, len(recs))
	if offset > t.offset {
		t.offset = offset
		for i, rec := range recs {
			applied[i] = a.apply(rec)
		}
	}
	return Changes{
		Partitions: sorted(a.moved, ID.Compare),
		Brokers:    sorted(a.standing, cmp.Compare[BrokerID]),
		Topics:     sorted(a.settled, compareUUID),
		Applied:    applied,
	}
}

// Offset returns the offset of the newest entry, 0 before the first.
func (t *Table) Offset() log.Offset { return t.offset }

// Broker returns the broker registered under id.
func (t *Table) Broker(id BrokerID) (Broker, bool) {
	i, ok := t.findBroker(id)
	if !ok {
		return Broker{}, false
	}
	return t.brokers[i], true
}

// Brokers returns all that are registered, fenced ones too, by rising ID.
func (t *Table) Brokers() []Broker { return slices.Clone(t.brokers) }

// Topic returns the topic of exactly that name.
func (t *Table) Topic(name string) (Topic, bool) {
	topic, ok := t.TopicLike(name)
	if !ok || topic.Config.Name != name {
		return Topic{}, false
	}
	return topic, true
}

// TopicLike returns the topic whose name differs from name by case at most.
func (t *Table) TopicLike(name string) (Topic, bool) {
	id, ok := t.names[foldName(name)]
	if !ok {
		return Topic{}, false
	}
	return *t.topics[id], true
}

// TopicByID returns the topic with that id.
func (t *Table) TopicByID(id UUID) (Topic, bool) {
	topic, ok := t.topics[id]
	if !ok {
		return Topic{}, false
	}
	return *topic, true
}

// Topics returns all topics by rising name.
func (t *Table) Topics() []Topic {
	topics := make([]Topic, len(t.order))
	for i, id := range t.order {
		topics[i] = *t.topics[id]
	}
	return topics
}

// Partition returns the state of a partition. It never changes; the table gets
// another one instead.
func (t *Table) Partition(id ID) (*State, bool) {
	topic, ok := t.topics[id.Topic]
	if !ok || id.Partition < 0 || int(id.Partition) >= len(topic.Partitions) {
		return nil, false
	}
	return topic.Partitions[id.Partition], true
}

// MinISR returns how many in-sync copies a committed record of that partition
// has at least: its topic's MinISR, or the number of its replicas if that is
// less. It is 0 for a partition that is not there.
func (t *Table) MinISR(id ID) int {
	s, ok := t.Partition(id)
	if !ok {
		return 0
	}
	return s.effective(t.topics[id.Topic].Config.MinISR)
}

// PartitionsOf returns the partitions that have the broker as a replica, in the
// order of [ID.Compare].
func (t *Table) PartitionsOf(broker BrokerID) []ID {
	var ids []ID
	for id, s := range t.All() {
		if slices.Contains(s.Replicas, broker) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ID.Compare)
	return ids
}

func (t *Table) findBroker(id BrokerID) (int, bool) {
	return slices.BinarySearchFunc(t.brokers, id, func(b Broker, id BrokerID) int { return cmp.Compare(b.ID, id) })
}

// addTopic puts in a topic whose name and id are free.
func (t *Table) addTopic(topic Topic) {
	name := topic.Config.Name
	t.topics[topic.ID] = &topic
	t.names[foldName(name)] = topic.ID
	i, _ := slices.BinarySearchFunc(t.order, name, func(id UUID, name string) int {
		return cmp.Compare(t.topics[id].Config.Name, name)
	})
	t.order = slices.Insert(t.order, i, topic.ID)
}

// removeTopic takes out a topic that is there.
func (t *Table) removeTopic(topic *Topic) {
	delete(t.topics, topic.ID)
	delete(t.names, foldName(topic.Config.Name))
	t.order = slices.DeleteFunc(t.order, func(id UUID) bool { return id == topic.ID })
}
