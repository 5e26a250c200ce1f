package replica

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
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
