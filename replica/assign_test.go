package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A leader proposes for the ISR only whom the controller would take.
func TestPeersThatMayJoin(t *testing.T) {
	table := partition.NewTable()
	id := partition.ID{Topic: partition.UUID{1}}
	var register []partition.Record
	for b := range partition.BrokerID(5) {
		register = append(register, partition.RegisterBroker{Broker: partition.Broker{ID: b + 1}})
	}
	table.Apply(1, register)
	table.Apply(2, []partition.Record{
		partition.ChangeBroker{ID: 1, Epoch: 1},
		partition.ChangeBroker{ID: 2, Epoch: 1},
		partition.ChangeBroker{ID: 3, Epoch: 1, Stopping: true},
		partition.ChangeBroker{ID: 4, Epoch: 1, Full: true},
		partition.CreateTopic{
			Topic: partition.Topic{ID: id.Topic, Config: partition.TopicConfig{Name: "rides"}, Partitions: []*partition.State{{
				Replicas: []partition.BrokerID{1, 2, 3, 4, 5}, ISR: []partition.BrokerID{1}, Leader: 1,
			}}},
			Members: []partition.Member{{ID: 1, Epoch: 1}, {ID: 2, Epoch: 1}, {ID: 3, Epoch: 1}, {ID: 4, Epoch: 1}, {ID: 5, Epoch: 1}},
		},
	})
	a, mine := Assign(table, id, 1, 1)
	require.True(t, mine)
	require.Equal(t, []Peer{{ID: 2, Epoch: 1, Active: true}, {ID: 3, Epoch: 1}, {ID: 4, Epoch: 1}, {ID: 5, Epoch: 1}}, a.Peers)
}

// A copy goes once the metadata gives the partition to others, and only while the broker
// that asks is the one that the metadata knows.
func TestACopyIsGoneByTheMetadataOfThisLife(t *testing.T) {
	topic := partition.UUID{1}
	kept := partition.ID{Topic: topic}
	moved := partition.ID{Topic: topic, Partition: 1}
	deleted := partition.ID{Topic: partition.UUID{2}}
	table := partition.NewTable()
	var members []partition.Member
	for id := range partition.BrokerID(2) {
		epoch := partition.BrokerEpoch(2*id + 1)
		table.Apply(log.Offset(epoch), []partition.Record{partition.RegisterBroker{Broker: partition.Broker{ID: id + 1}}})
		table.Apply(log.Offset(epoch)+1, []partition.Record{partition.ChangeBroker{ID: id + 1, Epoch: epoch}})
		members = append(members, partition.Member{ID: id + 1, Epoch: epoch})
	}
	one, two := []partition.BrokerID{1}, []partition.BrokerID{2}
	table.Apply(5, []partition.Record{partition.CreateTopic{
		Topic: partition.Topic{
			ID: topic, Config: partition.TopicConfig{Name: "rides", Partitions: 2, Replicas: 1, MinISR: 1},
			Partitions: []*partition.State{{Replicas: one, ISR: one, Leader: 1}, {Replicas: two, ISR: two, Leader: 2}},
		},
		Members: members,
	}})
	require.False(t, Gone(table, kept, 1, 1))
	require.True(t, Gone(table, moved, 1, 1))
	require.True(t, Gone(table, deleted, 1, 1))
	require.False(t, Gone(table, deleted, 1, 0), "not registered")
	require.False(t, Gone(table, deleted, 1, 7), "the registration is not applied yet")
	require.False(t, Gone(table, deleted, 3, 0), "nobody knows this broker")
}
