package partition

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

var rides = UUID{1}

// newCluster returns a table with unfenced brokers 1 2 3, registered under
// epochs 1 2 3, and the topic rides of two partitions with MinISR 2, made at
// offset 5: rides/0 is led by 1 with everybody in the ISR, rides/1 by 2 with
// ISR 2 and ELR 3.
func newCluster(t *testing.T) *Table {
	t.Helper()
	table := NewTable()
	for id := BrokerID(1); id <= 3; id++ {
		require.Equal(t, []bool{true}, table.Apply(log.Offset(id), []Record{RegisterBroker{Broker: Broker{ID: id}}}).Applied)
	}
	var wake []Record
	for id := BrokerID(1); id <= 3; id++ {
		wake = append(wake, ChangeBroker{ID: id, Epoch: BrokerEpoch(id)})
	}
	table.Apply(4, wake)
	require.Equal(t, []bool{true}, table.Apply(5, []Record{CreateTopic{
		Topic: Topic{
			ID:     rides,
			Config: TopicConfig{Name: "rides", Partitions: 2, Replicas: 3, MinISR: 2},
			Partitions: []*State{
				{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1},
				{Replicas: ids(2, 3, 1), ISR: ids(2), ELR: ids(3), Leader: 2},
			},
		},
		Members: []Member{{1, 1}, {2, 2}, {3, 3}},
	}}).Applied)
	return table
}

func TestTableAppliesRecords(t *testing.T) {
	first, second := ID{rides, 0}, ID{rides, 1}
	shrink := ChangePartition{ID: first, State: State{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1}}
	elect := ChangePartition{
		ID: first, State: State{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
		Members: []Member{{2, 2}},
	}
	edited := func(r ChangePartition, edit func(*ChangePartition)) ChangePartition {
		edit(&r)
		return r
	}
	topic := func(edit func(*CreateTopic)) CreateTopic {
		r := CreateTopic{
			Topic: Topic{
				ID: UUID{2}, Config: TopicConfig{Name: "payments"},
				Partitions: []*State{{Replicas: ids(1, 2), ISR: ids(1), Leader: 1}},
			},
			Members: []Member{{1, 1}, {2, 2}},
		}
		edit(&r)
		return r
	}
	fence2 := ChangeBroker{ID: 2, Epoch: 2, Fenced: true}
	kept := TopicConfig{Name: "rides", Partitions: 2, Replicas: 3, MinISR: 2}
	minISR := func(expect, least int) ChangeTopic {
		r := ChangeTopic{Topic: rides, Expect: kept, Config: kept}
		r.Expect.MinISR, r.Config.MinISR = expect, least
		return r
	}
	alter := func(edit func(*ChangeTopic)) ChangeTopic {
		r := minISR(2, 2)
		edit(&r)
		return r
	}
	add := func(edit func(*AddPartitions)) AddPartitions {
		r := AddPartitions{
			Topic: rides, Expect: 2, Partitions: []*State{{Replicas: ids(1, 2), ISR: ids(1), Leader: 1}},
			Members: []Member{{1, 1}, {2, 2}},
		}
		edit(&r)
		return r
	}
	tests := []struct {
		name string
		recs []Record
		want Changes
	}{{
		name: "a shrunk ISR",
		recs: []Record{shrink},
		want: Changes{Partitions: []ID{first}, Applied: []bool{true}},
	}, {
		name: "a change that comes twice counts once",
		recs: []Record{shrink, shrink},
		want: Changes{Partitions: []ID{first}, Applied: []bool{true, false}},
	}, {
		name: "a change based on a state that is to come is skipped",
		recs: []Record{edited(shrink, func(r *ChangePartition) { r.State.PartitionEpoch = 2 })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "an election",
		recs: []Record{elect},
		want: Changes{Partitions: []ID{first}, Applied: []bool{true}},
	}, {
		name: "an election of another incarnation is skipped",
		recs: []Record{edited(elect, func(r *ChangePartition) { r.Members = []Member{{2, 1}} })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "an election of a broker fenced in the same entry is skipped",
		recs: []Record{fence2, elect},
		want: Changes{Brokers: ids(2), Applied: []bool{true, false}},
	}, {
		name: "an election that does not name the elected is skipped",
		recs: []Record{edited(elect, func(r *ChangePartition) { r.Members = nil })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a new leader in the old epoch is skipped",
		recs: []Record{edited(elect, func(r *ChangePartition) { r.State.Epoch = 0 })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a leader epoch that jumps is skipped",
		recs: []Record{edited(elect, func(r *ChangePartition) { r.State.Epoch = 2 })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a leader outside the ISR is skipped",
		recs: []Record{edited(elect, func(r *ChangePartition) { r.State.ISR = ids(3) })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a partition that is not there is skipped",
		recs: []Record{edited(shrink, func(r *ChangePartition) { r.ID.Partition = 2 }), edited(shrink, func(r *ChangePartition) { r.ID.Topic = UUID{9} })},
		want: Changes{Applied: []bool{false, false}},
	}, {
		name: "a change of standing",
		recs: []Record{fence2},
		want: Changes{Brokers: ids(2), Applied: []bool{true}},
	}, {
		name: "a standing that is the same already is no change",
		recs: []Record{ChangeBroker{ID: 2, Epoch: 2}},
		want: Changes{Applied: []bool{true}},
	}, {
		name: "the standing of an incarnation that is gone is skipped",
		recs: []Record{ChangeBroker{ID: 2, Epoch: 1, Fenced: true}, ChangeBroker{ID: 9, Epoch: 9}},
		want: Changes{Applied: []bool{false, false}},
	}, {
		name: "a registration leaves its partitions as they are",
		recs: []Record{RegisterBroker{Broker: Broker{ID: 1}}},
		want: Changes{Brokers: ids(1), Applied: []bool{true}},
	}, {
		name: "a registration touches the suspect partitions that it counts in, and no others",
		recs: []Record{RegisterBroker{Broker: Broker{ID: 3}, Suspect: []ID{second, first, {rides, 7}, {UUID{9}, 0}}}},
		want: Changes{Brokers: ids(3), Partitions: []ID{first, second}, Applied: []bool{true}},
	}, {
		name: "a registration does not touch a suspect partition that does not count it",
		recs: []Record{RegisterBroker{Broker: Broker{ID: 1}, Suspect: []ID{second}}},
		want: Changes{Brokers: ids(1), Applied: []bool{true}},
	}, {
		name: "one entry registers a broker once",
		recs: []Record{RegisterBroker{Broker: Broker{ID: 3}}, RegisterBroker{Broker: Broker{ID: 3, Addr: "x"}}},
		want: Changes{Brokers: ids(3), Applied: []bool{true, false}},
	}, {
		name: "a broker without an id is skipped",
		recs: []Record{RegisterBroker{}},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a topic",
		recs: []Record{topic(func(*CreateTopic) {})},
		want: Changes{Topics: []UUID{{2}}, Partitions: []ID{{UUID{2}, 0}}, Applied: []bool{true}},
	}, {
		name: "a topic whose name differs by case alone is skipped",
		recs: []Record{topic(func(r *CreateTopic) { r.Topic.Config.Name = "RiDes" })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a topic whose id is taken is skipped",
		recs: []Record{topic(func(r *CreateTopic) { r.Topic.ID = rides })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a topic without a name or an id is skipped",
		recs: []Record{topic(func(r *CreateTopic) { r.Topic.ID = UUID{} }), topic(func(r *CreateTopic) { r.Topic.Config.Name = "" })},
		want: Changes{Applied: []bool{false, false}},
	}, {
		name: "a topic on another incarnation is skipped",
		recs: []Record{topic(func(r *CreateTopic) { r.Members[1].Epoch = 9 })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a topic on an unknown broker is skipped",
		recs: []Record{topic(func(r *CreateTopic) { r.Topic.Partitions[0].Replicas = ids(1, 4) })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a topic led by a broker that is not named is skipped",
		recs: []Record{topic(func(r *CreateTopic) { r.Members = r.Members[1:] })},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a topic may have a fenced replica but not a fenced member of the ISR",
		recs: []Record{
			fence2, topic(func(r *CreateTopic) { r.Topic.Partitions[0].ISR = ids(1, 2) }), topic(func(*CreateTopic) {}),
		},
		want: Changes{
			Brokers: ids(2), Topics: []UUID{{2}}, Partitions: []ID{{UUID{2}, 0}}, Applied: []bool{true, false, true},
		},
	}, {
		name: "a topic with an impossible or a missing state is skipped",
		recs: []Record{
			topic(func(r *CreateTopic) { r.Topic.Partitions[0].Leader = 2 }),
			topic(func(r *CreateTopic) { r.Topic.Partitions[0] = nil }),
		},
		want: Changes{Applied: []bool{false, false}},
	}, {
		name: "a lowered MinISR touches every partition",
		recs: []Record{minISR(2, 1)},
		want: Changes{Topics: []UUID{rides}, Partitions: []ID{first, second}, Applied: []bool{true}},
	}, {
		name: "a MinISR raised above the ISR of a partition is skipped",
		recs: []Record{minISR(2, 3)},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "a MinISR based on another value is skipped",
		recs: []Record{minISR(3, 1), alter(func(r *ChangeTopic) { r.Topic, r.Config.MinISR = UUID{9}, 1 })},
		want: Changes{Applied: []bool{false, false}},
	}, {
		name: "a MinISR of nothing is skipped",
		recs: []Record{minISR(2, 0)},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "another retention touches the topic alone",
		recs: []Record{alter(func(r *ChangeTopic) { r.Config.Retention = 5 })},
		want: Changes{Topics: []UUID{rides}, Applied: []bool{true}},
	}, {
		name: "a configuration that is the same is skipped",
		recs: []Record{minISR(2, 2)},
		want: Changes{Applied: []bool{false}},
	}, {
		name: "another name, number of partitions or durability is skipped",
		recs: []Record{
			alter(func(r *ChangeTopic) { r.Config.Name = "other" }), alter(func(r *ChangeTopic) { r.Config.Partitions = 3 }),
			alter(func(r *ChangeTopic) { r.Config.Durability = Unsynced }),
		},
		want: Changes{Applied: []bool{false, false, false}},
	}, {
		name: "a deleted topic takes its partitions with it, once (KIP-516)",
		recs: []Record{DeleteTopic{rides}, DeleteTopic{rides}, shrink},
		want: Changes{Topics: []UUID{rides}, Partitions: []ID{first, second}, Applied: []bool{true, false, false}},
	}, {
		name: "a topic may be made anew under its name, in one entry, and what was said of the old one does not concern it (KIP-516)",
		recs: []Record{
			DeleteTopic{rides}, topic(func(r *CreateTopic) { r.Topic.Config.Name = "Rides" }), shrink, DeleteTopic{rides},
		},
		want: Changes{
			Topics: []UUID{rides, {2}}, Partitions: []ID{first, second, {UUID{2}, 0}}, Applied: []bool{true, true, false, false},
		},
	}, {
		name: "more partitions",
		recs: []Record{add(func(*AddPartitions) {})},
		want: Changes{Topics: []UUID{rides}, Partitions: []ID{{rides, 2}}, Applied: []bool{true}},
	}, {
		name: "more partitions come once",
		recs: []Record{add(func(*AddPartitions) {}), add(func(*AddPartitions) {})},
		want: Changes{Topics: []UUID{rides}, Partitions: []ID{{rides, 2}}, Applied: []bool{true, false}},
	}, {
		name: "no partitions, partitions of no topic, on a fenced broker, or impossible ones are skipped",
		recs: []Record{
			add(func(r *AddPartitions) { r.Partitions = nil }), add(func(r *AddPartitions) { r.Topic = UUID{9} }),
			add(func(r *AddPartitions) { r.Members[1].Epoch = 9 }), add(func(r *AddPartitions) { r.Partitions[0].Leader = 2 }),
		},
		want: Changes{Applied: []bool{false, false, false, false}},
	}, {
		name: "a change of a partition that the same entry has made",
		recs: []Record{
			add(func(*AddPartitions) {}),
			ChangePartition{ID: ID{rides, 2}, State: State{Replicas: ids(1, 2), ISR: ids(1), Leader: 1, PartitionEpoch: 1}},
		},
		want: Changes{Topics: []UUID{rides}, Partitions: []ID{{rides, 2}}, Applied: []bool{true, true}},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := newCluster(t)
			before, image := table.Hash(), table.Image(UUID{}, 0, nil)
			got := table.Apply(6, tt.recs)
			require.Equal(t, tt.want, got)
			require.Equal(t, log.Offset(6), table.Offset())
			restored, err := Restore(image)
			require.NoError(t, err)
			require.Equal(t, before, restored.Hash(), "an image stays as it was")
			restored.Apply(6, tt.recs)
			require.Equal(t, table.Hash(), restored.Hash(), "an image and the records behind it give the same table")
			require.Equal(t, Changes{Applied: make([]bool, len(tt.recs))}, table.Apply(6, tt.recs), "an entry counts once")
		})
	}
}

func TestRegistrationReplacesTheBroker(t *testing.T) {
	table := newCluster(t)
	table.Apply(6, []Record{RegisterBroker{
		Broker:  Broker{ID: 1, Epoch: 99, Addr: "here", Rack: "r", Directory: UUID{7}, Incarnation: UUID{8}, Stopping: true},
		Suspect: []ID{{rides, 0}},
	}})
	b, ok := table.Broker(1)
	require.True(t, ok)
	require.Equal(t, Broker{ID: 1, Epoch: 6, Addr: "here", Rack: "r", Directory: UUID{7}, Incarnation: UUID{8}, Fenced: true}, b)
	s, _ := table.Partition(ID{rides, 0})
	require.Equal(t, State{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Epoch: 1, PartitionEpoch: 1}, *s, "its leader has resigned, and nobody is elected")
}

func TestSuspectLeavesTheELR(t *testing.T) {
	table := newCluster(t)
	table.Apply(6, []Record{RegisterBroker{Broker: Broker{ID: 3}, Suspect: []ID{{rides, 1}}}})
	s, _ := table.Partition(ID{rides, 1})
	require.Equal(t, State{Replicas: ids(2, 3, 1), ISR: ids(2), LastKnownELR: ids(3), Leader: 2, PartitionEpoch: 1}, *s)
	table.Apply(7, []Record{RegisterBroker{Broker: Broker{ID: 2}, Suspect: []ID{{rides, 1}}}})
	s, _ = table.Partition(ID{rides, 1})
	require.Equal(t, State{Replicas: ids(2, 3, 1), LastKnownELR: ids(2, 3), Epoch: 1, PartitionEpoch: 2}, *s)
}

func TestChangeOfMinISRClearsTheELR(t *testing.T) {
	table := newCluster(t)
	topic, _ := table.TopicByID(rides)
	lower := topic.Config
	lower.MinISR = 1
	table.Apply(6, []Record{ChangeTopic{Topic: rides, Expect: topic.Config, Config: lower}})
	topic, _ = table.TopicByID(rides)
	require.Equal(t, 1, topic.Config.MinISR)
	require.Equal(t, State{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1, PartitionEpoch: 1}, *topic.Partitions[0])
	require.Equal(t, State{Replicas: ids(2, 3, 1), ISR: ids(2), Leader: 2, PartitionEpoch: 1}, *topic.Partitions[1])
}

func TestLoweredMinISRLeavesTheLastOnesToAsk(t *testing.T) {
	s := State{Replicas: ids(1, 2, 3), ELR: ids(2), LastKnownELR: ids(1)}
	require.Equal(t, State{Replicas: ids(1, 2, 3), LastKnownELR: ids(1, 2), PartitionEpoch: 1}, s.withMinISR(1))
}
