package control

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// room sends the heartbeat of a broker that has applied everything, and says whether
// its disk is full.
func (k *cluster) room(id partition.BrokerID, full bool) any {
	return k.heartbeat(HeartbeatRequest{Broker: id, Epoch: k.epoch(id), Applied: k.table.Offset(), Full: full})
}

func (k *cluster) fill(ids ...partition.BrokerID) {
	for _, id := range ids {
		got := k.room(id, true)
		require.False(k.t, got.(HeartbeatResponse).Fenced)
	}
}

// Each case starts from three active brokers and rides, of three replicas and MinISR 2,
// led by broker 1.
func TestFullDisks(t *testing.T) {
	type state = partition.State
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster, id partition.ID)
		want partition.State
	}{{
		name: "the leader steps aside, out of the ISR, and an operator is told",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.fill(1)
			require.Contains(t, k.events, Event{Kind: Filled, Broker: 1, Epoch: k.epoch(1)})
			require.Contains(t, k.events, Event{Kind: LeaderChanged, Broker: 2, Partition: id})
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "a follower leaves the ISR, and the leader stays",
		run:  func(t *testing.T, k *cluster, id partition.ID) { k.fill(3) },
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "where MinISR needs it, it stays in the ISR and follows",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.fill(1)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "and goes when another has joined",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.fill(1)
			k.propose(k.alter(id, 1, 2, 3))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 4},
	}, {
		name: "it leads on where nobody else is in sync",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1))
			k.fill(1)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1), ELR: ids(2, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "where all are full all stays as it is",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.hold = true
			for _, b := range ids(1, 2, 3) {
				k.room(b, true)
			}
			k.apply() // broker 1 alone: the others were heard of while that was under way
			k.hold = false
			k.apply()
			entries := k.entries
			k.step(Tick{})
			require.Equal(t, entries, k.entries)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "one after another fills up, and the last leads on",
		run:  func(t *testing.T, k *cluster, id partition.ID) { k.fill(1, 2, 3) },
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 3, Epoch: 2, PartitionEpoch: 2},
	}, {
		name: "it joins no ISR, though it has caught up, until there is room",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.fill(1)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(k.alter(id, 1, 2, 3)))
			k.room(1, false)
			require.Equal(t, Event{Kind: Roomy, Broker: 1, Epoch: k.epoch(1)}, k.events[len(k.events)-1])
			k.mustPropose(k.alter(id, 1, 2, 3))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 3},
	}, {
		name: "the same word again changes nothing",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.fill(1)
			entries := k.entries
			k.fill(1, 1)
			require.Equal(t, entries, k.entries)
			k.room(1, false)
			require.Equal(t, entries+1, k.entries)
			k.room(1, false)
			require.Equal(t, entries+1, k.entries)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "it is elected where nobody else is in sync",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.fill(2)
			k.kill(1)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2), ELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "of the ELR one with room is elected",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3, 2, 1)
			require.Equal(t, ids(1, 2), k.state(id).ELR)
			k.hold = true
			k.register(RegisterRequest{Broker: broker(4, 1)}) // while it is under way both come back
			k.room(1, true)
			k.room(2, false)
			k.apply()
			k.hold = false
			k.apply()
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2), ELR: ids(1), Leader: 2, Epoch: 2, PartitionEpoch: 4},
	}, {
		name: "a full leader hands over to the first that catches up",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1))
			k.fill(1)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.NewLeaderElected}, k.propose(k.alter(id, 1, 2)))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "leadership is not moved to it by hand",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.fill(2)
			require.Equal(t, partition.ChangeResponse{Code: partition.IneligibleReplica, Text: "the disk of broker 2 is full"},
				k.ask(func(token uint64) Input {
					return Transfer{token, partition.TransferRequest{ID: id, To: 2}}
				}))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "it stops as any other, and the next incarnation is not taken for full",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.fill(3)
			req := HeartbeatRequest{Broker: 3, Epoch: k.epoch(3), Applied: k.table.Offset(), WantStop: true, Full: true}
			k.heartbeat(req)
			k.beat(1)
			k.beat(2)
			require.Equal(t, ids(3), k.fenced())
			k.start(3)
			b, _ := k.table.Broker(3)
			require.False(t, b.Full)
			k.mustPropose(k.alter(id, 1, 2, 3))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "one that stops hands over to a full one rather than to nobody",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.fill(2)
			k.wantStop(1)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2), ELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "a new topic goes where there is room",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.fill(1)
			other := k.create(partition.TopicConfig{Name: "other", Replicas: 2})
			require.ElementsMatch(t, ids(2, 3), k.state(other).Replicas)
			wide := partition.ID{Topic: uuid(7)}
			k.ask(func(token uint64) Input {
				return CreateTopic{token, partition.TopicConfig{Name: "wide", Replicas: 3}, wide.Topic}
			})
			require.ElementsMatch(t, ids(1, 2, 3), k.state(wide).Replicas)
			require.ElementsMatch(t, ids(2, 3), k.state(wide).ISR)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "where a reassignment takes those with room, a full one leads at once",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.fill(2)
			k.hold = true
			k.ask(func(token uint64) Input {
				return Reassign{token, partition.ReassignRequest{ID: id, Replicas: ids(2, 3)}}
			})
			for len(k.pending) > 0 {
				k.apply()
				require.NotEqual(t, partition.NoBroker, k.state(id).Leader)
			}
			k.propose(k.alter(id, 1, 2, 3))
			for len(k.pending) > 0 {
				k.apply()
				require.NotEqual(t, partition.NoBroker, k.state(id).Leader)
			}
			k.hold = false
		},
		want: state{Replicas: ids(2, 3), ISR: ids(2, 3), Leader: 3, Epoch: 1, PartitionEpoch: 3},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides"})
			k.beat(1)
			k.beat(2)
			k.beat(3)
			tt.run(t, k, id)
			require.Equal(t, tt.want, k.state(id))
			k.settled()
		})
	}
}
