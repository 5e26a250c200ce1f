package control

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// Each case starts from a partition with three replicas, of which 2 and 3 were the
// last to be complete. All brokers have died and lost something on the way: ISR and
// ELR are empty.
func TestBalancedElection(t *testing.T) {
	lost := func(k *cluster, id partition.ID, brokers ...partition.BrokerID) {
		for _, b := range brokers {
			k.restart(RegisterRequest{Broker: broker(b, 2000+int(k.offset)), Suspect: []partition.ID{id}})
		}
	}
	answer := func(k *cluster, b partition.BrokerID, end LogEnd) {
		k.step(LogEnds{LogEndsResponse{Broker: b, Epoch: k.epoch(b), Ends: []LogEnd{end}}})
	}
	elect := func(k *cluster, id partition.ID, to partition.BrokerID) partition.ChangeResponse {
		resp, _ := k.ask(func(token uint64) Input {
			return ElectUnclean{token, partition.ElectRequest{ID: id, To: to}}
		}).(partition.ChangeResponse)
		return resp
	}
	tests := []struct {
		name   string
		run    func(t *testing.T, k *cluster, id partition.ID)
		leader partition.BrokerID
	}{{
		name: "nobody is asked before all are back",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 1, 2)
			require.Empty(t, k.asks)
		},
	}, {
		name: "all last known members are asked once they are back",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			want := []LogEndsRequest{
				{Broker: 2, Epoch: k.epoch(2), IDs: []partition.ID{id}},
				{Broker: 3, Epoch: k.epoch(3), IDs: []partition.ID{id}},
			}
			require.Equal(t, want, k.asks)
			k.step(Tick{})
			require.Equal(t, want, k.asks)
			require.Equal(t, k.now.Add(askTime), k.last.NextTick)
			k.now = k.last.NextTick
			k.step(Tick{})
			require.Equal(t, append(want, want...), k.asks)
		},
	}, {
		name: "one answer of two elects nobody",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 9, End: 9})
		},
	}, {
		name: "the highest end is elected",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			require.Equal(t, Event{Kind: BalancedElection, Broker: 3, Partition: id}, k.events[len(k.events)-1])
		},
		leader: 3,
	}, {
		name: "the epoch counts before the end",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 1, End: 9})
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
		},
		leader: 2,
	}, {
		name: "of equals the first in order of preference is elected",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 8})
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
		},
		leader: 2,
	}, {
		name: "a damaged replica leaves it to an operator",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
			answer(k, 2, LogEnd{ID: id, Damaged: true})
		},
	}, {
		name: "the answer of a dead incarnation does not count",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
			dead := k.epoch(2)
			lost(k, id, 2)
			k.step(LogEnds{LogEndsResponse{Broker: 2, Epoch: dead, Ends: []LogEnd{{ID: id, LastEpoch: 3, End: 10}}}})
		},
	}, {
		name: "the new incarnation is asked again",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 10})
			answerLater := func() { answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9}) }
			lost(k, id, 2)
			answerLater()
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 5})
		},
		leader: 3,
	}, {
		name: "who is fenced again after its answer is waited for",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			k.kill(2)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
		},
	}, {
		name: "what a dead incarnation answered is forgotten when the new one is unfenced",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 10})
			k.kill(2)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
			lost(k, id, 2)
			require.Equal(t, partition.NoBroker, k.state(id).Leader)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 5})
		},
		leader: 3,
	}, {
		name: "a new reign asks again",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			k.step(Resign{})
			k.asks = nil
			k.step(Lead{})
			require.Len(t, k.asks, 2)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
		},
	}, {
		name: "an operator who asks for what cannot be does not end it",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			require.Equal(t, partition.IneligibleReplica, elect(k, id, 1).Code)
			require.Equal(t, partition.IneligibleReplica, elect(k, id, 9).Code)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
		},
		leader: 3,
	}, {
		name: "it goes on when nothing came of an operator's wish",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 1, 2, 3)
			elect(k, id, 1)
			wish := k.token
			answer(k, 1, LogEnd{ID: id, Damaged: true, Unusable: true})
			require.Equal(t, partition.IneligibleReplica, k.replies[wish].(partition.ChangeResponse).Code)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
		},
		leader: 3,
	}, {
		name: "it goes on when the one that an operator wishes for goes",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 1, 2, 3)
			elect(k, id, 1)
			wish := k.token
			k.kill(1)
			require.Equal(t, partition.IneligibleReplica, k.replies[wish].(partition.ChangeResponse).Code)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			answer(k, 3, LogEnd{ID: id, LastEpoch: 2, End: 9})
		},
		leader: 3,
	}, {
		name: "a refusal is no answer",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			lost(k, id, 2, 3)
			answer(k, 2, LogEnd{ID: id, LastEpoch: 2, End: 8})
			k.step(LogEnds{LogEndsResponse{Code: partition.StaleBroker, Broker: 3, Epoch: k.epoch(3), Ends: []LogEnd{{ID: id}}}})
		},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides"})
			k.kill(1, 2, 3)
			require.Equal(t, ids(2, 3), k.state(id).ELR)
			before := k.state(id)
			tt.run(t, k, id)
			s := k.state(id)
			require.Equal(t, tt.leader, s.Leader)
			if tt.leader != partition.NoBroker {
				require.Equal(t, partition.State{
					Replicas: ids(1, 2, 3), ISR: ids(tt.leader), Leader: tt.leader,
					Epoch: before.Epoch + 1, PartitionEpoch: s.PartitionEpoch, LossyEpoch: before.Epoch + 1,
				}, s)
			}
			k.settled()
		})
	}
}

func TestSoleReplicaComesBack(t *testing.T) {
	k := withBrokers(t, 1)
	id := k.create(partition.TopicConfig{Name: "rides"})
	k.kill(1)
	require.Equal(t, partition.State{Replicas: ids(1), ELR: ids(1), Epoch: 1, PartitionEpoch: 1}, k.state(id))
	k.start(1)
	require.Equal(t, partition.State{Replicas: ids(1), ISR: ids(1), Leader: 1, Epoch: 2, PartitionEpoch: 2}, k.state(id))
}
