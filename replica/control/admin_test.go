package control

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

func (k *cluster) transfer(id partition.ID, to partition.BrokerID) any {
	return k.ask(func(token uint64) Input { return Transfer{token, partition.TransferRequest{ID: id, To: to}} })
}

func (k *cluster) reassign(id partition.ID, to ...partition.BrokerID) any {
	return k.ask(func(token uint64) Input { return Reassign{token, partition.ReassignRequest{ID: id, Replicas: to}} })
}

func (k *cluster) alterTopic(id partition.ID, cfg partition.TopicConfig) any {
	return k.ask(func(token uint64) Input {
		return AlterTopic{token, partition.AlterTopicRequest{Topic: id.Topic, Config: cfg}}
	})
}

func (k *cluster) deleteTopic(req partition.DeleteTopicRequest) any {
	return k.ask(func(token uint64) Input { return DeleteTopic{token, req} })
}

func (k *cluster) addPartitions(id partition.ID, total int) any {
	return k.ask(func(token uint64) Input {
		return AddPartitions{token, partition.AddPartitionsRequest{Topic: id.Topic, Total: total}}
	})
}

func (k *cluster) done() partition.ChangeResponse { return partition.ChangeResponse{Offset: k.offset} }

func refusal(code partition.Code, text string) partition.ChangeResponse {
	return partition.ChangeResponse{Code: code, Text: text}
}

// Each case starts from five active brokers and a partition with replicas 1 2 3,
// MinISR 2, led by broker 1.
func TestAdministration(t *testing.T) {
	type state = partition.State
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster, id partition.ID)
		want partition.State // at the end
	}{{
		name: "leadership goes to whom the operator names, in one epoch more",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.transfer(id, 3))
			entries := k.entries
			require.Equal(t, k.done(), k.transfer(id, 3), "again is a success")
			require.Equal(t, entries, k.entries)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 3, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "zero stands for the preferred leader",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.transfer(id, 3)
			require.Equal(t, partition.OK, k.transfer(id, 0).(partition.ChangeResponse).Code)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1, Epoch: 2, PartitionEpoch: 2},
	}, {
		name: "who has come back does not lead again unasked",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(1)
			k.start(1)
			k.mustPropose(k.alter(id, 1, 2, 3))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "nobody leads who is not in sync, fenced, or no replica",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			require.Equal(t, refusal(partition.IneligibleReplica, "broker 3 is not in sync"), k.transfer(id, 3))
			require.Equal(t, refusal(partition.IneligibleReplica, "broker 4 keeps no copy of it"), k.transfer(id, 4))
			k.kill(3)
			require.Equal(t, refusal(partition.IneligibleReplica, "broker 3 is fenced"), k.transfer(id, 3))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "a topic or partition that is not there; or an asker who knows more",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, refusal(partition.UnknownTopic, ""), k.transfer(partition.ID{Topic: uuid(1)}, 1))
			require.Equal(t, refusal(partition.UnknownPartition, ""), k.transfer(partition.ID{Topic: id.Topic, Partition: 7}, 1))
			got := k.ask(func(token uint64) Input {
				return Transfer{token, partition.TransferRequest{Seen: k.offset + 1, ID: partition.ID{Topic: uuid(1)}}}
			})
			require.Equal(t, refusal(partition.NotController, ""), got)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "a reassignment begins with all replicas, and the ISR as it was",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.reassign(id, 4, 5, 1))
			entries := k.entries
			require.Equal(t, k.done(), k.reassign(id, 4, 5, 1), "again is a success")
			require.Equal(t, entries, k.entries)
		},
		want: state{Replicas: ids(4, 5, 1, 2, 3), Origin: ids(1, 2, 3), Target: ids(4, 5, 1), ISR: ids(1, 2, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		// KAFKA-9212: the epoch of a reassignment comes out of the one record that all read.
		name: "the proposal that completes it and drops its leader is told so",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.reassign(id, 4, 5)
			k.mustPropose(k.alter(id, 1, 2, 3, 4))
			require.Equal(t, replica.AlterISRAnswer{Code: partition.NewLeaderElected}, k.propose(k.alter(id, 1, 2, 3, 4, 5)))
		},
		want: state{Replicas: ids(4, 5), ISR: ids(4, 5), Leader: 4, Epoch: 1, PartitionEpoch: 3},
	}, {
		name: "a fenced member waits for nobody: the reassignment goes on without it",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.reassign(id, 1, 2, 4)
			k.kill(3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.NewLeaderElected}, k.propose(k.alter(id, 1, 2, 4)))
		},
		want: state{Replicas: ids(1, 2, 4), ISR: ids(1, 2, 4), Leader: 1, Epoch: 1, PartitionEpoch: 3},
	}, {
		name: "a second one replaces the first",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.reassign(id, 4, 1)
			k.reassign(id, 1, 2, 5)
		},
		want: state{Replicas: ids(1, 2, 5, 4, 3), Origin: ids(1, 2, 3), Target: ids(1, 2, 5), ISR: ids(1, 2, 3), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "a cancelled one leaves the replicas in their old order",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.reassign(id, 4, 3, 1)
			require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.reassign(id))
			require.Equal(t, k.done(), k.reassign(id), "again is a success")
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "it is not cancelled if too few of the old replicas are in sync",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.reassign(id, 4, 5, 1)
			k.mustPropose(k.alter(id, 1, 2, 3, 4))
			k.mustPropose(k.alter(id, 1, 4))
			require.Equal(t, refusal(partition.NotEnoughReplicas, "of [1 2 3], its replicas before, [1 4] are in sync; MinISR is 2"), k.reassign(id))
		},
		want: state{Replicas: ids(4, 5, 1, 2, 3), Origin: ids(1, 2, 3), Target: ids(4, 5, 1), ISR: ids(1, 4), Leader: 1, PartitionEpoch: 3},
	}, {
		name: "impossible replicas are refused",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, refusal(partition.InvalidReplicas, "broker 1 is named twice"), k.reassign(id, 1, 1))
			require.Equal(t, refusal(partition.InvalidReplicas, "broker 9 is not registered"), k.reassign(id, 1, 9))
			require.Equal(t, refusal(partition.InvalidReplicas, "1 replicas cannot keep MinISR, which is 2: lower that first"), k.reassign(id, 1))
			voter := broker(9, 1)
			voter.VoterOnly = true
			k.register(RegisterRequest{Broker: voter})
			require.Equal(t, refusal(partition.InvalidReplicas, "broker 9 keeps no copies"), k.reassign(id, 1, 9))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1},
	}, {
		// KAFKA-16540: what ELR says was true under the old MinISR alone.
		name: "another MinISR clears the ELR",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3)
			k.kill(2)
			require.Equal(t, ids(2), k.state(id).ELR)
			require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.alterTopic(id, partition.TopicConfig{MinISR: 1}))
			require.Equal(t, k.done(), k.alterTopic(id, partition.TopicConfig{MinISR: 1}), "again is a success")
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1), Leader: 1, PartitionEpoch: 3},
	}, {
		name: "MinISR is not raised above the ISR",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3)
			require.Equal(t, refusal(partition.NotEnoughReplicas, "MinISR of 3: partition 0 has [1 2] in sync"), k.alterTopic(id, partition.TopicConfig{MinISR: 3}))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "what else of a configuration may change touches no partition, and what may not is refused",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.alterTopic(id, partition.TopicConfig{Retention: -1}))
			require.Equal(t, partition.InvalidTopic, k.alterTopic(id, partition.TopicConfig{Durability: partition.Unsynced}).(partition.ChangeResponse).Code)
			require.Equal(t, partition.InvalidTopic, k.alterTopic(id, partition.TopicConfig{MinISR: 4}).(partition.ChangeResponse).Code)
			require.Equal(t, partition.OK, k.alterTopic(id, partition.TopicConfig{Compact: true}).(partition.ChangeResponse).Code)
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "more partitions are spread with those that are there",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.addPartitions(id, 5))
			require.Equal(t, k.done(), k.addPartitions(id, 5), "again is a success")
			topic, _ := k.table.TopicByID(id.Topic)
			require.Equal(t, 5, topic.Config.Partitions)
			leads, holds := map[partition.BrokerID]int{}, map[partition.BrokerID]int{}
			for _, s := range topic.Partitions {
				leads[s.Leader]++
				for _, b := range s.Replicas {
					holds[b]++
				}
			}
			require.Equal(t, map[partition.BrokerID]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1}, leads)
			require.Equal(t, map[partition.BrokerID]int{1: 3, 2: 3, 3: 3, 4: 3, 5: 3}, holds)
			require.Equal(t, refusal(partition.InvalidTopic, "it has 5 partitions, and they cannot be taken away"), k.addPartitions(id, 4))
		},
		want: state{Replicas: ids(1, 2, 3), ISR: ids(1, 2, 3), Leader: 1},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 5)
			id := k.create(partition.TopicConfig{Name: "rides"})
			if s := k.state(id); s.Leader != 1 {
				require.Equal(t, partition.OK, k.reassign(id, 1, 2, 3).(partition.ChangeResponse).Code)
			}
			tt.run(t, k, id)
			require.Equal(t, tt.want, k.state(id))
			k.settled()
		})
	}
}

// KIP-516, KAFKA-9539: a topic is its id. What was meant for one that is gone does
// nothing to another of its name.
func TestDeleteTopic(t *testing.T) {
	k := withBrokers(t, 3)
	old := k.create(partition.TopicConfig{Name: "rides"})
	late := k.alter(old, 1, 2)
	require.Equal(t, partition.ChangeResponse{Offset: k.offset + 1}, k.deleteTopic(partition.DeleteTopicRequest{Name: "rides"}))
	require.Equal(t, refusal(partition.UnknownTopic, ""), k.deleteTopic(partition.DeleteTopicRequest{Name: "rides"}))
	require.Equal(t, k.done(), k.deleteTopic(partition.DeleteTopicRequest{Name: "rides", Topic: old.Topic}), "asked again by its id, for the answer was lost")

	anew := k.create(partition.TopicConfig{Name: "rides"})
	require.NotEqual(t, old, anew)
	before := k.state(anew)
	require.Equal(t, k.done(), k.deleteTopic(partition.DeleteTopicRequest{Name: "rides", Topic: old.Topic}))
	require.Equal(t, replica.AlterISRAnswer{Code: partition.NotController}, k.propose(late))
	require.Equal(t, before, k.state(anew))

	internal := k.create(partition.TopicConfig{Name: OffsetsTopic})
	for _, got := range []any{
		k.deleteTopic(partition.DeleteTopicRequest{Name: OffsetsTopic}), k.addPartitions(internal, 9), k.alterTopic(internal, partition.TopicConfig{MinISR: 1}),
	} {
		require.Equal(t, refusal(partition.InvalidTopic, "the topic is Samsa's own"), got)
	}
}

// Whoever asked while an entry was under way is judged by what it brought about.
func TestOneChangeOfATopicAnEntry(t *testing.T) {
	k := withBrokers(t, 3)
	id := k.create(partition.TopicConfig{Name: "rides", Partitions: 2})
	k.hold = true
	k.register(RegisterRequest{Broker: broker(9, 1)}) // something is under way
	k.alterTopic(id, partition.TopicConfig{MinISR: 1})
	k.reassign(id, 2, 3, 1)
	k.addPartitions(id, 3)
	k.deleteTopic(partition.DeleteTopicRequest{Name: "rides"})
	last := k.token
	for n := 0; len(k.pending) > 0; n++ {
		require.Less(t, n, 10)
		k.apply()
	}
	for token := last - 3; token <= last; token++ {
		require.Contains(t, k.replies, token)
	}
	_, there := k.table.Topic("rides")
	require.False(t, there)
}
