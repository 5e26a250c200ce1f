package control

import (
	"slices"
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// What is told has happened: not what was proposed and found its condition broken.
func TestEventsAreToldOnceTheyAreTrue(t *testing.T) {
	k := withBrokers(t, 3)
	id := k.create(partition.TopicConfig{Name: "rides"})
	k.events = nil
	k.hold = true
	k.kill(2)
	require.Empty(t, k.events, "it is proposed")
	k.pending = slices.Repeat([]partition.Record{partition.ChangeBroker{ID: 99}}, len(k.pending)) // stands for what is skipped
	k.apply()
	require.Empty(t, k.events)
	k.now = k.now.Add(stallTime)
	k.hold = false
	k.step(Tick{})
	require.Equal(t, []Event{
		{Kind: FencedBroken, Broker: 2, Epoch: k.epoch(2)}, {Kind: ISRShrunk, Broker: 1, Partition: id},
	}, k.events)
	k.events = nil
	k.kill(1)
	k.kill(3)
	var kinds []EventKind
	for _, e := range k.events {
		kinds = append(kinds, e.Kind)
	}
	require.Equal(t, []EventKind{FencedBroken, ISRShrunk, LeaderChanged, FencedBroken, ISRShrunk, PartitionOffline}, kinds)
}

// The rows of the protocol's table of bugs that are the controller's to prevent, and
// that no test above is about.
func TestKnownBugs(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster, id partition.ID)
		want partition.State // Replicas apart
	}{{
		name: "KAFKA-15021: a change of the ISR alone needs no leader epoch",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.mustPropose(k.alter(id, 1, 2, 3))
			k.kill(3)
		},
		want: partition.State{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 3},
	}, {
		name: "KIP-497: the leader's proposal does not undo what the controller has changed",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			late := k.alter(id, 1, 2)
			k.kill(2)
			k.start(2)
			require.Equal(t, replica.AlterISRAnswer{Code: partition.StalePartitionEpoch}, k.propose(late))
		},
		want: partition.State{ISR: ids(1, 3), Leader: 1, PartitionEpoch: 1},
	}, {
		name: "KAFKA-14139, KIP-903: who came back wiped is not added by the fetches of its former life",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			late := k.alter(id, 1, 2, 3)
			wiped := broker(3, 1)
			wiped.Directory = uuid(999)
			k.kill(3)
			k.restart(RegisterRequest{Broker: wiped})
			require.Equal(t, replica.AlterISRAnswer{Code: partition.IneligibleReplica}, k.propose(late))
		},
		want: partition.State{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "KIP-966: the last of the ISR loses its page cache, and is not elected before the others",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(1, 2, 3)
			k.restart(RegisterRequest{Broker: broker(3, 1), Suspect: []partition.ID{id}})
			require.Equal(t, partition.NoBroker, k.state(id).Leader)
			k.start(2)
		},
		want: partition.State{ISR: ids(2), LastKnownELR: ids(3), Leader: 2, Epoch: 4, PartitionEpoch: 5},
	}, {
		name: "ours, fence races ISR: a proposal on its way when its member is fenced and comes back wiped",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.mustPropose(k.alter(id, 1, 2))
			k.hold = true
			k.propose(k.alter(id, 1, 2, 3))
			late := k.pending
			k.pending = nil
			k.step(Dropped{})
			k.hold = false
			k.now = k.now.Add(stallTime)
			k.kill(3)
			k.start(3)
			before := k.state(id)
			k.commit(late)
			require.Equal(t, before, k.state(id), "the record names the member's broker epoch")
		},
		want: partition.State{ISR: ids(1, 2), Leader: 1, PartitionEpoch: 2},
	}, {
		name: "ours, all stop at once: everybody comes back without loss, and the partition with them",
		run: func(t *testing.T, k *cluster, id partition.ID) {
			k.kill(1, 2, 3)
			k.start(3)
			k.start(2)
			k.start(1)
		},
		want: partition.State{ISR: ids(3), ELR: ids(2), Leader: 3, Epoch: 4, PartitionEpoch: 4},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			id := k.create(partition.TopicConfig{Name: "rides"})
			tt.run(t, k, id)
			tt.want.Replicas = ids(1, 2, 3)
			require.Equal(t, tt.want, k.state(id))
			k.settled()
		})
	}
}
