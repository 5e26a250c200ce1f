package partition

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/samsalog/samsa/transport/wire"
)

// All yields every partition, by its topic's name and then its number. The table
// may not change meanwhile.
func (t *Table) All() iter.Seq2[ID, *State] {
	return func(yield func(ID, *State) bool) {
		for _, topic := range t.order {
			for i, s := range t.topics[topic].Partitions {
				if !yield(ID{topic, PartitionID(i)}, s) {
					return
				}
			}
		}
	}
}

// Image returns the table as others may have it. What no record says comes from
// the caller; voters is kept.
func (t *Table) Image(cluster UUID, controller BrokerID, voters []BrokerID) Image {
	return Image{
		Cluster:    cluster,
		Offset:     t.offset,
		Controller: controller,
		Voters:     voters,
		Brokers:    t.Brokers(),
		Topics:     t.Topics(),
	}
}

// News reports whether m tells something to who has now, of an earlier answer; before the
// first that is zero but for an Offset of -1. Controller and voters may change without a
// record, so that an image of the same age may be news. Who is in no cluster yet has none.
// An image of another cluster is an error: the ages of the two say nothing.
func (m *Image) News(now Image) (bool, error) {
	switch {
	case m.Cluster == UUID{}:
		return false, nil
	case now.Cluster == UUID{}:
		return true, nil
	case m.Cluster != now.Cluster:
		return false, fmt.Errorf("partition: an image of cluster %s, where %s is known", m.Cluster, now.Cluster)
	}
	same := m.Controller == now.Controller && slices.Equal(m.Voters, now.Voters)
	return m.Offset > now.Offset || m.Offset == now.Offset && !same, nil
}

// Restore returns the table that im is an image of: applying what follows
// im.Offset then gives what applying everything would have.
func Restore(im Image) (*Table, error) {
	t := NewTable()
	t.offset = im.Offset
	for i, b := range im.Brokers {
		if b.ID < 1 || i > 0 && cmp.Compare(im.Brokers[i-1].ID, b.ID) >= 0 {
			return nil, fmt.Errorf("partition: bad Image: broker %d out of order", b.ID)
		}
		t.brokers = append(t.brokers, b)
	}
	for i, topic := range im.Topics {
		name := topic.Config.Name
		if i > 0 && im.Topics[i-1].Config.Name >= name {
			return nil, fmt.Errorf("partition: bad Image: topic %q out of order", name)
		}
		if _, taken := t.TopicLike(name); taken || name == "" {
			return nil, fmt.Errorf("partition: bad Image: topic name %q", name)
		}
		if _, taken := t.topics[topic.ID]; taken {
			return nil, fmt.Errorf("partition: bad Image: topic id %s is there twice", topic.ID)
		}
		for n, s := range topic.Partitions {
			if s == nil {
				return nil, fmt.Errorf("partition: bad Image: %s/%d has no state", name, n)
			}
			if err := s.Validate(); err != nil {
				return nil, fmt.Errorf("%s/%d of an image: %w", name, n, err)
			}
		}
		t.addTopic(topic)
	}
	return t, nil
}

// Hash returns a digest of all that the table holds. Tables of the same records
// have the same one.
func (t *Table) Hash() uint64 {
	im := t.Image(UUID{}, NoBroker, nil)
	var w wire.Writer
	im.Encode(&w)
	return xxhash.Sum64(w.Bytes())
}
