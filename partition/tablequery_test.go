package partition

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableQueries(t *testing.T) {
	table := newCluster(t)
	table.Apply(6, []Record{CreateTopic{
		Topic: Topic{
			ID: UUID{5}, Config: TopicConfig{Name: "Alpha", MinISR: 2},
			Partitions: []*State{{Replicas: ids(3), ISR: ids(3), Leader: 3}},
		},
		Members: []Member{{3, 3}},
	}})
	var names []string
	for _, topic := range table.Topics() {
		names = append(names, topic.Config.Name)
	}
	require.Equal(t, []string{"Alpha", "rides"}, names)
	require.Equal(t, ids(1, 2, 3), []BrokerID{table.Brokers()[0].ID, table.Brokers()[1].ID, table.Brokers()[2].ID})
	require.Equal(t, []ID{{rides, 0}, {rides, 1}, {UUID{5}, 0}}, table.PartitionsOf(3))
	require.Equal(t, []ID{{rides, 0}, {rides, 1}}, table.PartitionsOf(1))
	require.Nil(t, table.PartitionsOf(4))
	require.Equal(t, 1, table.MinISR(ID{UUID{5}, 0}), "never more than the replicas")
	require.Equal(t, 2, table.MinISR(ID{rides, 0}))
	require.Zero(t, table.MinISR(ID{rides, 2}))

	_, ok := table.Topic("alpha")
	require.False(t, ok)
	like, ok := table.TopicLike("alpha")
	require.True(t, ok)
	require.Equal(t, "Alpha", like.Config.Name)
	_, ok = table.Partition(ID{rides, -1})
	require.False(t, ok)
	_, ok = table.Broker(9)
	require.False(t, ok)
	_, ok = table.TopicByID(UUID{9})
	require.False(t, ok)

	var all []ID
	for id := range table.All() {
		all = append(all, id)
		if len(all) == 2 {
			break
		}
	}
	require.Equal(t, []ID{{UUID{5}, 0}, {rides, 0}}, all)
}

func TestWhatTheTableReturnsNeverChanges(t *testing.T) {
	table := newCluster(t)
	topic, _ := table.Topic("rides")
	state, _ := table.Partition(ID{rides, 0})
	brokers := table.Brokers()
	old, partitions := *state, slices.Clone(topic.Partitions)
	table.Apply(6, []Record{
		ChangePartition{ID: ID{rides, 0}, State: State{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1}},
		ChangeBroker{ID: 1, Epoch: 1, Fenced: true},
	})
	require.Equal(t, old, *state)
	require.Equal(t, partitions, topic.Partitions)
	require.False(t, brokers[0].Fenced)
	now, _ := table.Partition(ID{rides, 0})
	require.Equal(t, ids(1, 2), now.ISR)
}

func TestTheTableWritesToNoRecord(t *testing.T) {
	table := newCluster(t)
	begin := &State{Replicas: ids(1, 2), ISR: ids(1, 2), Leader: 1}
	create := CreateTopic{
		Topic:   Topic{ID: UUID{2}, Config: TopicConfig{Name: "payments", MinISR: 1}, Partitions: []*State{begin}},
		Members: []Member{{1, 1}, {2, 2}},
	}
	shrink := ChangePartition{ID: ID{UUID{2}, 0}, State: State{Replicas: ids(1, 2), ISR: ids(1), Leader: 1, PartitionEpoch: 1}}
	require.Equal(t, []bool{true, true}, table.Apply(6, []Record{create, shrink}).Applied)
	require.Same(t, begin, create.Topic.Partitions[0])
	require.Equal(t, ids(1, 2), begin.ISR)
}

func TestRestoreRefusesWhatNoTableHolds(t *testing.T) {
	s := &State{Replicas: ids(1)}
	topic := func(id byte, name string, states ...*State) Topic {
		return Topic{ID: UUID{id}, Config: TopicConfig{Name: name}, Partitions: states}
	}
	tests := []struct {
		name string
		in   Image
	}{
		{"brokers out of order", Image{Brokers: []Broker{{ID: 2}, {ID: 1}}}},
		{"a broker twice", Image{Brokers: []Broker{{ID: 1}, {ID: 1}}}},
		{"a broker without an id", Image{Brokers: []Broker{{}}}},
		{"topics out of order", Image{Topics: []Topic{topic(1, "b"), topic(2, "a")}}},
		{"a topic id twice", Image{Topics: []Topic{topic(1, "a"), topic(1, "b")}}},
		{"names alike but for case", Image{Topics: []Topic{topic(1, "A"), topic(2, "a")}}},
		{"a topic without a name", Image{Topics: []Topic{topic(1, "")}}},
		{"a missing state", Image{Topics: []Topic{topic(1, "a", s, nil)}}},
		{"an impossible state", Image{Topics: []Topic{topic(1, "a", s, &State{})}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Restore(tt.in)
			require.Error(t, err)
		})
	}
}
