package control

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// Each case starts from three active brokers and a topic of one partition with
// three replicas and MinISR 2, led by broker 1.
func TestPartitions(t *testing.T) {
	type state = partition.State
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster, id partition.ID)
		want partition.State // at the end; Replicas apart
	}{{
		name: "new partition is led by its first replica, with all in the ISR",
		run:  func(*testing.T, *cluster, partition.ID) {},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "fenced follower leaves the ISR",
		run:  func(_ *testing.T, k *cluster, _ partition.ID) { k.kill(3) },
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "fenced leader is followed by the next replica in the ISR",
		run:  func(_ *testing.T, k *cluster, _ partition.ID) { k.kill(1) },
		want: state{ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "below MinISR who leaves stays electable",
		run:  func(_ *testing.T, k *cluster, _ partition.ID) { k.kill(1, 2) },
		want: state{ISR: ids(3), ELR: ids(2), Leader: 3, Epoch: 2, PartitionEpoch: 2},
	}, {
		name: "without anybody the partition has no leader",
		run:  func(_ *testing.T, k *cluster, _ partition.ID) { k.kill(1, 2, 3) },
		want: state{ELR: ids(2, 3), Epoch: 3, PartitionEpoch: 3},
	}, {
		name: "who is neither in ISR nor in ELR is not elected",
		run: func(_ *testing.T, k *cluster, _ partition.ID) {
			k.kill(1, 2, 3)
			k.start(1)
		},
		want: state{ELR: ids(2, 3), Epoch: 3, PartitionEpoch: 3},
	}, {
		name: "member of the ELR is elected when it comes back",
		run: func(_ *testing.T, k *cluster, _ partition.ID) {
			k.kill(1, 2, 3)
			k.start(2)
		},
		want: state{ISR: ids(2), ELR: ids(3), Leader: 2, Epoch: 4, PartitionEpoch: 4},
	}, {
		name: "superseded incarnation of a leader leads no more",
		run:  func(_ *testing.T, k *cluster, _ partition.ID) { k.start(1) },
		want: state{ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "suspect replica leaves the ELR in the entry of its registration",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			k.kill(1, 2, 3)
			k.restart(RegisterRequest{Broker: broker(2, 1), Suspect: []partition.ID{id}})
		},
		want: state{ELR: ids(3), LastKnownELR: ids(2), Epoch: 3, PartitionEpoch: 4},
	}, {
		name: "replica in another directory is suspect",
		run: func(_ *testing.T, k *cluster, _ partition.ID) {
			k.kill(1, 2, 3)
			b := broker(2, 1)
			b.Directory = uuid(999)
			k.restart(RegisterRequest{Broker: b, PrevEpoch: k.epoch(2)})
		},
		want: state{ELR: ids(3), LastKnownELR: ids(2), Epoch: 3, PartitionEpoch: 4},
	}, {
		name: "suspect that names a partition of others is ignored there",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			k.restart(RegisterRequest{Broker: broker(4, 1), Suspect: []partition.ID{id, {Topic: uuid(1)}}})
		},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "suspect leader of a live incarnation gives up its place, and another is elected",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			k.restart(RegisterRequest{Broker: broker(1, 1), Suspect: []partition.ID{id}})
		},
		want: state{ISR: ids(2, 3), Leader: 2, Epoch: 2, PartitionEpoch: 2},
	}, {
		name: "leader shrinks the ISR",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 3))
		},
		want: state{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "leader expands the ISR, and who was electable is so no more",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			k.kill(2, 3)
			k.start(3)
			k.mustPropose(k.alter(id, 1, 3))
		},
		want: state{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 3},
	}, {
		name: "proposal that is repeated is answered with what it brought about",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			req := k.alter(id, 1, 3)
			k.mustPropose(req)
			entries := k.entries
			require.Equal(t, replica.AlterISRAnswer{State: k.state(id)}, k.propose(req))
			require.Equal(t, entries, k.entries)
		},
		want: state{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "equal ISR is a success that changes nothing",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			require.Equal(t, replica.AlterISRAnswer{State: k.state(id)}, k.propose(k.alter(id, 3, 1, 2)))
		},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "proposal on an older partition epoch is refused",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			req := k.alter(id, 1, 2)
			k.mustPropose(k.alter(id, 1, 3))
			require.Equal(t, replica.AlterISRAnswer{Code: partition.StalePartitionEpoch}, k.propose(req))
		},
		want: state{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "second proposal waits for the first, and is judged by what that brought about",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.hold = true
			one, other := k.alter(id, 1, 3), k.alter(id, 1, 2)
			k.propose(one)
			require.Nil(t, k.propose(other))
			k.hold = false
			k.apply()
			require.Equal(t, replica.AlterISRAnswer{Code: partition.StalePartitionEpoch}, k.replies[k.token])
		},
		want: state{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "proposal with a fenced member is refused",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(k.alter(id, 1, 2, 3)))
		},
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "proposal that names a member's dead incarnation is refused (I10)",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3)
			req := k.alter(id, 1, 2, 3)
			k.start(3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(req))
			req.PartitionEpoch, req.ISR[2].Epoch = 2, partition.UnknownBrokerEpoch
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(req))
		},
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 3},
	}, {
		name: "proposal that was refused for a member stays refused when the member is back",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3)
			req := k.alter(id, 1, 2, 3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(req))
			k.beat(3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.StalePartitionEpoch}, k.propose(req))
		},
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "member that has not been heard of may stay",
		run: func(_ *testing.T, k *cluster, id partition.ID) {
			req := k.alter(id, 1, 3)
			req.ISR[1].Epoch = partition.UnknownBrokerEpoch
			k.mustPropose(req)
		},
		want: state{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "member that is fenced while the proposal waits does not get in",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(3)
			k.start(3)
			k.hold = true
			k.register(RegisterRequest{Broker: broker(9, 1)}) // something is under way
			k.propose(k.alter(id, 1, 2, 3))
			token := k.token
			k.hold = false
			k.kill(3)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.replies[token])
		},
		want: state{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "proposal of a deposed leader is refused",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			req := k.alter(id, 1)
			k.kill(1)
			k.beat(1)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.FencedEpoch}, k.propose(req))
			req.Epoch++
			require.Equal(t, replica.AlterISRAnswer{Code: partition.NotLeader}, k.propose(req))
		},
		want: state{ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1},
	}, {
		name: "proposal of a leader's dead incarnation is refused",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			req := k.alter(id, 1)
			req.BrokerEpoch--
			require.Equal(t, replica.AlterISRAnswer{Code: partition.StaleBroker}, k.propose(req))
		},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "proposal from the future shows that this controller is deposed",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			future := k.alter(id, 1)
			for _, make := range []func(*replica.AlterISR){
				func(a *replica.AlterISR) { a.Epoch++ },
				func(a *replica.AlterISR) { a.PartitionEpoch++ },
				func(a *replica.AlterISR) { a.BrokerEpoch = 1000 },
				func(a *replica.AlterISR) { a.ID.Topic = uuid(1) },
			} {
				req := future
				make(&req)
				require.Equal(t, replica.AlterISRAnswer{Code: partition.NotController}, k.propose(req))
			}
		},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "proposal without its leader, with a stranger or with one twice is malformed",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.start(4)
			for _, isr := range [][]partition.BrokerID{nil, ids(2, 3), ids(1, 4), ids(1, 2, 2)} {
				require.Equal(t, replica.AlterISRAnswer{Code: partition.Malformed}, k.propose(k.alter(id, isr...)))
			}
		},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}, {
		name: "proposal that keeps being skipped is given up",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.hold = true
			k.propose(k.alter(id, 1))
			for range maxTries {
				require.NotEmpty(t, k.pending)
				k.pending = []partition.Record{partition.ChangeBroker{ID: 99}} // stands for what is skipped
				k.apply()
				k.now = k.now.Add(stallTime)
				k.step(Tick{})
			}
			require.Equal(t, replica.AlterISRAnswer{Code: partition.NotAttempted}, k.replies[k.token])
			require.Empty(t, k.pending)
		},
		want: state{ISR: ids(1, 2, 3), Leader: 1},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides"})
			require.Equal(t, ids(1, 2, 3), k.state(id).Replicas)
			tt.run(t, k, id)
			tt.want.Replicas = ids(1, 2, 3)
			require.Equal(t, tt.want, k.state(id))
			if !k.hold {
				k.settled()
			}
		})
	}
}

// The old controller fenced a leader and died before it said what follows.
func TestNewReignFinishesWhatItFinds(t *testing.T) {
	k := withBrokers(t, 3)
	id := k.create(partition.TopicConfig{Name: "rides"})
	k.step(Resign{})
	k.commit([]partition.Record{partition.ChangeBroker{ID: 1, Epoch: k.epoch(1), Fenced: true}})
	k.hold = true
	k.step(Lead{})
	require.Len(t, k.pending, 1)
	k.pending = nil
	k.step(Dropped{})
	k.hold = false
	k.now = k.now.Add(stallTime)
	k.step(Tick{})
	require.Equal(t, partition.State{
		Replicas: ids(1, 2, 3), ISR: ids(2, 3), Leader: 2, Epoch: 1, PartitionEpoch: 1,
	}, k.state(id))
	k.settled()
}

// A stop that was not clean may take the page cache with it.
func TestUncleanStop(t *testing.T) {
	tests := []struct {
		name       string
		durability partition.Durability
		clean      bool
		want       []partition.BrokerID // ELR
	}{
		{"Synced replica keeps its place", partition.Synced, false, ids(2, 3)},
		{"Replicated replica is suspect", partition.Replicated, false, ids(3)},
		{"Unsynced replica is suspect", partition.Unsynced, false, ids(3)},
		{"Replicated replica keeps its place after a clean stop", partition.Replicated, true, ids(2, 3)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides", Durability: tt.durability})
			k.kill(1, 2, 3)
			req := RegisterRequest{Broker: broker(2, 1), PrevEpoch: k.epoch(2)}
			if !tt.clean {
				req.PrevEpoch--
			}
			k.register(req)
			require.Equal(t, tt.want, k.state(id).ELR)
			k.settled()
		})
	}
}
