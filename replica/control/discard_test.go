package control

import (
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// discards tells the controller that a broker's copy must begin anew, which last spoke
// in the present epoch.
func (k *cluster) discards(id partition.ID, b partition.BrokerID) partition.Code {
	return k.discard(replica.Discard{From: b, BrokerEpoch: k.epoch(b), ID: id, Epoch: k.state(id).Epoch})
}

func (k *cluster) discard(m replica.Discard) partition.Code {
	answer, ok := k.ask(func(token uint64) Input { return Discard{token, m} }).(replica.DiscardAnswer)
	require.True(k.t, ok)
	return answer.Code
}

// Each case starts from three active brokers and rides, of three replicas and MinISR 2,
// led by broker 1.
func TestDiscard(t *testing.T) {
	type state = partition.State
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster, id partition.ID) partition.Code
		code partition.Code
		want state // Replicas apart
	}{{
		name: "a follower leaves the ISR, in a new epoch of the same leader",
		run:  func(_ *testing.T, k *cluster, id partition.ID) partition.Code { return k.discards(id, 3) },
		want: state{ISR: ids(1, 2), Leader: 1, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "the leader gives its place away with it",
		run:  func(_ *testing.T, k *cluster, id partition.ID) partition.Code { return k.discards(id, 1) },
		want: state{ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "a member of the ELR that is there takes over, where the ISR is empty without the leader",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.mustPropose(k.alter(id, 1))
			return k.discards(id, 1)
		},
		want: state{ISR: ids(2), ELR: ids(3), LastKnownELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "also one whose disk is full: to read from it is better than nothing",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.mustPropose(k.alter(id, 1))
			k.fill(2, 3)
			return k.discards(id, 1)
		},
		want: state{ISR: ids(2), ELR: ids(3), LastKnownELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "the only one that is there stays where it is",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.kill(2, 3)
			return k.discards(id, 1)
		},
		code: partition.NotEnoughReplicas,
		want: state{ISR: ids(1), ELR: ids(3), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "and goes when another has joined it",
		run: func(t *testing.T, k *cluster, id partition.ID) partition.Code {
			k.kill(2, 3)
			require.Equal(t, partition.NotEnoughReplicas, k.discards(id, 1))
			k.start(2)
			k.mustPropose(k.alter(id, 1, 2))
			return k.discards(id, 1)
		},
		want: state{ISR: ids(2), LastKnownELR: ids(1), Leader: 2, Epoch: 1, PartitionEpoch: 4},
	}, {
		name: "nobody leads: a member of the ELR stays there",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.kill(1, 2, 3)
			k.start(1) // neither in ISR nor in ELR
			return k.discard(replica.Discard{From: 3, BrokerEpoch: k.epoch(3), ID: id, Epoch: k.state(id).Epoch})
		},
		code: partition.NotEnoughReplicas,
		want: state{ELR: ids(2, 3), Epoch: 3, PartitionEpoch: 3},
	}, {
		name: "below MinISR it is known as one of the last, and is not complete",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.mustPropose(k.alter(id, 1, 2))
			return k.discards(id, 2)
		},
		want: state{ISR: ids(1), LastKnownELR: ids(2), Leader: 1, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "one in neither set starts an epoch too: it may be about to join",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.mustPropose(k.alter(id, 1, 2))
			return k.discards(id, 3)
		},
		want: state{ISR: ids(1, 2), Leader: 1, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "a proposal that counts on the old copy is of an epoch that is over",
		run: func(t *testing.T, k *cluster, id partition.ID) partition.Code {
			k.mustPropose(k.alter(id, 1, 2))
			late := k.alter(id, 1, 2, 3)
			code := k.discards(id, 3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.FencedEpoch}, k.propose(late))
			return code
		},
		want: state{ISR: ids(1, 2), Leader: 1, Epoch: 1, PartitionEpoch: 2},
	}, {
		name: "asked again, it is done already",
		run: func(t *testing.T, k *cluster, id partition.ID) partition.Code {
			m := replica.Discard{From: 3, BrokerEpoch: k.epoch(3), ID: id, Epoch: 0}
			require.Equal(t, partition.OK, k.discard(m))
			entries := k.entries
			code := k.discard(m)
			require.Equal(t, entries, k.entries)
			return code
		},
		want: state{ISR: ids(1, 2), Leader: 1, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "a copy that has not spoken in this life needs no new epoch",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			k.mustPropose(k.alter(id, 1, 2))
			return k.discard(replica.Discard{From: 3, BrokerEpoch: k.epoch(3), ID: id, Epoch: log.NoEpoch})
		},
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "an earlier incarnation has no say",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			m := replica.Discard{From: 3, BrokerEpoch: k.epoch(3), ID: id}
			k.start(3)
			return k.discard(m)
		},
		code: partition.StaleBroker,
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "a broker that knows a later epoch asks the wrong controller",
		run: func(_ *testing.T, k *cluster, id partition.ID) partition.Code {
			return k.discard(replica.Discard{From: 3, BrokerEpoch: k.epoch(3), ID: id, Epoch: 7})
		},
		code: partition.NotController,
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides", Replicas: 3})
			require.Equal(t, tt.code, tt.run(t, k, id))
			tt.want.Replicas = ids(1, 2, 3)
			require.Equal(t, tt.want, k.state(id))
			k.settled()
		})
	}
}

func TestDiscardIsAnsweredOnce(t *testing.T) {
	k := withBrokers(t, 3)
	id := k.create(partition.TopicConfig{Name: "rides", Replicas: 3})
	k.hold = true
	k.step(Discard{99, replica.Discard{From: 3, BrokerEpoch: k.epoch(3), ID: id}})
	require.NotContains(t, k.replies, uint64(99), "not before it is applied")
	k.step(Resign{})
	require.Equal(t, replica.DiscardAnswer{Code: partition.NotController}, k.replies[99])
	require.Equal(t, partition.NotController, k.discard(replica.Discard{From: 3, ID: id}))

	k = withBrokers(t, 3)
	id = k.create(partition.TopicConfig{Name: "rides", Replicas: 3})
	require.Equal(t, partition.OK, k.discards(id, 3))
	require.Contains(t, k.events, Event{Kind: CopyDiscarded, Broker: 3, Partition: id})
}
