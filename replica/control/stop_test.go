package control

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// wantStop sends the heartbeat of a broker that wants to stop.
func (k *cluster) wantStop(id partition.BrokerID) any {
	return k.heartbeat(HeartbeatRequest{Broker: id, Epoch: k.epoch(id), Applied: k.table.Offset(), WantStop: true})
}

// Each case starts from three active brokers, which have applied everything, and
// rides, of three replicas, led by broker 1.
func TestControlledShutdown(t *testing.T) {
	type state = partition.State
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster, id partition.ID)
		want partition.State
	}{{
		name: "it is granted when everybody has applied that others lead, and not before",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Nil(t, k.wantStop(1))
			token := k.token
			moved := k.offset
			require.Equal(t, ids(), append(ids(), k.fenced()...))
			k.heartbeat(HeartbeatRequest{Broker: 2, Epoch: k.epoch(2), Applied: moved})
			k.heartbeat(HeartbeatRequest{Broker: 3, Epoch: k.epoch(3), Applied: moved - 1})
			require.NotContains(t, k.replies, token)
			k.heartbeat(HeartbeatRequest{Broker: 3, Epoch: k.epoch(3), Applied: moved})
			require.Equal(t, HeartbeatResponse{Fenced: true, Offset: k.offset}, k.replies[token])
			require.Equal(t, ids(1), k.fenced())
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "what nobody else can lead keeps nobody from stopping",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(2, 3)
			require.Equal(t, HeartbeatResponse{Fenced: true, Offset: k.offset + 2}, k.wantStop(1))
		},
		want: state{Replicas: ids(1, 2, 3), ELR: ids(1, 3), Epoch: 1, PartitionEpoch: 3},
	}, {
		name: "until it goes it leads on, and another may still catch up and take over",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1))
			require.Nil(t, k.wantStop(1))
			require.Equal(t, partition.BrokerID(1), k.state(id).Leader)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.NewLeaderElected}, k.propose(k.alter(id, 1, 2)))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2), ELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 3},
	}, {
		name: "what another takes over while it waits all have to know before it goes",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1))
			require.Nil(t, k.wantStop(1))
			token, before := k.token, k.offset
			k.propose(k.alter(id, 1, 2))
			for _, other := range ids(2, 3) {
				k.heartbeat(HeartbeatRequest{Broker: other, Epoch: k.epoch(other), Applied: before})
			}
			require.NotContains(t, k.replies, token)
			k.beat(2)
			k.beat(3)
			require.Contains(t, k.replies, token)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2), ELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 3},
	}, {
		name: "what others do among themselves makes it wait no longer",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Nil(t, k.wantStop(1))
			token, moved := k.token, k.offset
			k.heartbeat(HeartbeatRequest{Broker: 2, Epoch: k.epoch(2), Applied: moved})
			k.mustPropose(k.alter(id, 2))
			require.NotContains(t, k.replies, token)
			k.heartbeat(HeartbeatRequest{Broker: 3, Epoch: k.epoch(3), Applied: moved})
			require.Contains(t, k.replies, token)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2), ELR: ids(3), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "one that stops joins no ISR",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.wantStop(3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(k.alter(id, 1, 2, 3)))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "a heartbeat from before the wish unfences nobody",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.wantStop(3)
			k.beat(1)
			k.beat(2)
			require.Equal(t, ids(3), k.fenced())
			require.Equal(t, HeartbeatResponse{Fenced: true, Offset: k.offset}, k.beat(3))
			require.Equal(t, ids(3), k.fenced())
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "a new controller finds it stopping, and waits for everybody anew",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.wantStop(1)
			k.step(Resign{})
			k.step(Lead{})
			require.Nil(t, k.wantStop(1))
			token := k.token
			k.beat(2)
			require.NotContains(t, k.replies, token)
			k.beat(3)
			require.Contains(t, k.replies, token)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "the next incarnation is no more stopping than any",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.wantStop(1)
			k.beat(2)
			k.beat(3)
			k.start(1)
			b, _ := k.table.Broker(1)
			require.False(t, b.Stopping)
			k.mustPropose(k.alter(id, 1, 2, 3))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "all at once stop one after another, the last with what only it can lead",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			for _, b := range ids(1, 2, 3) {
				k.wantStop(b)
			}
			require.Equal(t, ids(1, 2, 3), k.fenced())
		},
		want: state{Replicas: ids(1, 2, 3), ELR: ids(2, 3), Epoch: 3, PartitionEpoch: 3},
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

// Each case starts from rides, of brokers 1 2 3: 1 left when it was in sync and 2 was
// with it; 2 alone has what came after, and does not come back. 3 is behind.
func TestUncleanElection(t *testing.T) {
	elect := func(k *cluster, id partition.ID, to partition.BrokerID) {
		k.ask(func(token uint64) Input { return ElectUnclean{token, partition.ElectRequest{ID: id, To: to}} })
	}
	answer := func(k *cluster, b partition.BrokerID, end LogEnd) {
		k.step(LogEnds{LogEndsResponse{Broker: b, Epoch: k.epoch(b), Ends: []LogEnd{end}}})
	}
	tests := []struct {
		name   string
		run    func(t *testing.T, k *cluster, id partition.ID)
		leader partition.BrokerID
	}{{
		name: "of two wishes at once the first, and each is asked for once",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 3)
			first := k.token
			elect(k, id, 1)
			answer(k, 1, LogEnd{ID: id, LastEpoch: 0, End: 9})
			require.Len(t, k.asks, 1)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 0, End: 5})
			require.Len(t, k.asks, 1)
			require.Equal(t, partition.OK, k.replies[first].(partition.ChangeResponse).Code)
			require.Contains(t, k.replies[k.token].(partition.ChangeResponse).Text, "broker 3 leads")
		},
		leader: 3,
	}, {
		name: "the second of two wishes, when nothing came of the first",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 3)
			first := k.token
			elect(k, id, 1)
			answer(k, 3, LogEnd{ID: id, Damaged: true, Unusable: true})
			require.Equal(t, partition.IneligibleReplica, k.replies[first].(partition.ChangeResponse).Code)
			require.Len(t, k.asks, 2)
			answer(k, 1, LogEnd{ID: id, LastEpoch: 0, End: 9})
			require.Equal(t, partition.OK, k.replies[k.token].(partition.ChangeResponse).Code)
		},
		leader: 1,
	}, {
		name: "nobody is elected unasked",
		run:  func(*testing.T, *cluster, partition.ID) {},
	}, {
		name: "the one that is named, once it has said that it can",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 3)
			require.Equal(t, []LogEndsRequest{{Broker: 3, Epoch: k.epoch(3), IDs: []partition.ID{id}}}, k.asks)
			require.NotContains(t, k.replies, k.token)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 0, End: 5, Damaged: true})
			require.Equal(t, partition.ChangeResponse{
				Text:   "broker 3 leads with a log that ends at 5, last written in epoch 0; acknowledged records that only brokers [2] hold are lost",
				Offset: k.offset,
			}, k.replies[k.token])
			require.Contains(t, k.events, Event{Kind: UncleanElection, Broker: 3, Partition: id})
		},
		leader: 3,
	}, {
		name: "the most complete of those that are there",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 0)
			require.Len(t, k.asks, 2)
			answer(k, 3, LogEnd{ID: id, LastEpoch: 0, End: 9})
			require.NotContains(t, k.replies, k.token)
			answer(k, 1, LogEnd{ID: id, LastEpoch: 1, End: 8})
		},
		leader: 1,
	}, {
		name: "a log that does not open is passed over",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 0)
			answer(k, 1, LogEnd{ID: id, Damaged: true, Unusable: true})
			answer(k, 3, LogEnd{ID: id, End: 1})
		},
		leader: 3,
	}, {
		name: "if none opens nobody is elected",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 3)
			answer(k, 3, LogEnd{ID: id, Damaged: true, Unusable: true})
			require.Equal(t, refusal(partition.IneligibleReplica, "no copy on [3] can be opened"), k.replies[k.token])
		},
	}, {
		// KAFKA-19522: the last known leader was elected though it was fenced.
		name: "one that is not there is not elected",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 2)
			require.Equal(t, refusal(partition.IneligibleReplica, "broker 2 is fenced"), k.replies[k.token])
			k.kill(1, 3)
			elect(k, id, 0)
			require.Equal(t, refusal(partition.IneligibleReplica, "none of its replicas, [1 2 3], is there"), k.replies[k.token])
		},
	}, {
		name: "one that goes before it has answered is waited for no more",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 0)
			answer(k, 3, LogEnd{ID: id, End: 1})
			k.kill(1)
			answer(k, 3, LogEnd{ID: id, End: 1})
		},
		leader: 3,
	}, {
		name: "one that is complete and has just come back is not passed over",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			other := k.create(partition.TopicConfig{Name: "other", Replicas: 2})
			elect(k, id, 1)
			k.register(RegisterRequest{Broker: broker(2, 77)})
			k.hold = true
			k.transfer(other, k.state(other).Replicas[1]) // something is under way
			answer(k, 1, LogEnd{ID: id, End: 8})
			k.hold = false
			k.pending = []partition.Record{partition.ChangeBroker{ID: 2, Epoch: k.epoch(2)}} // a late one comes first
			k.apply()
			k.step(Tick{})
		},
		leader: 2,
	}, {
		name: "the complete one comes back just in time, and leads without loss",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			elect(k, id, 0)
			token := k.token
			k.start(2)
			require.Equal(t, partition.ChangeResponse{Text: "broker 2 leads: nobody had to be elected", Offset: k.offset}, k.replies[token])
		},
		leader: 2,
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides", MinISR: 1})
			k.mustPropose(k.alter(id, 1, 2))
			k.kill(1)
			k.kill(2)
			k.start(1)
			require.Equal(t, ids(2), k.state(id).ELR)
			before := k.state(id)
			tt.run(t, k, id)
			s := k.state(id)
			require.Equal(t, tt.leader, s.Leader)
			if tt.leader != 0 && tt.leader != 2 {
				require.Equal(t, partition.State{
					Replicas: ids(1, 2, 3), ISR: ids(tt.leader), Leader: tt.leader, Recovering: true,
					Epoch: before.Epoch + 1, PartitionEpoch: before.PartitionEpoch + 1, LossyEpoch: before.Epoch + 1,
				}, s)
			}
			k.settled()
		})
	}
}

func TestRecoveringLeaderReportsBeforeOthersJoin(t *testing.T) {
	k := withBrokers(t, 3)
	id := k.create(partition.TopicConfig{Name: "rides", MinISR: 1})
	k.mustPropose(k.alter(id, 1))
	k.kill(1)
	k.ask(func(token uint64) Input { return ElectUnclean{token, partition.ElectRequest{ID: id, To: 2}} })
	k.step(LogEnds{LogEndsResponse{Broker: 2, Epoch: k.epoch(2), Ends: []LogEnd{{ID: id}}}})
	require.True(t, k.state(id).Recovering)
	require.Equal(t, replica.AlterISRAnswer{Code: partition.Malformed}, k.propose(k.alter(id, 2, 3)))
	req := k.alter(id, 2)
	req.Recovered = true
	require.Equal(t, partition.OK, k.propose(req).(replica.AlterISRAnswer).Code)
	require.False(t, k.state(id).Recovering)
	require.Equal(t, ids(2), k.state(id).ISR)
	k.mustPropose(k.alter(id, 2, 3))
}
