package control

import (
	"testing"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// Each case starts from three active brokers.
func TestBrokers(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, k *cluster)
	}{{
		name: "registration gives the offset of its entry as epoch, fenced",
		run: func(t *testing.T, k *cluster) {
			require.Equal(t, RegisterResponse{Epoch: 7}, k.register(RegisterRequest{Broker: broker(4, 1)}))
			b, _ := k.table.Broker(4)
			require.True(t, b.Fenced)
			require.Equal(t, partition.BrokerEpoch(7), b.Epoch)
		},
	}, {
		name: "same incarnation again is a retry",
		run: func(t *testing.T, k *cluster) {
			b, _ := k.table.Broker(2)
			entries := k.entries
			require.Equal(t, RegisterResponse{Epoch: b.Epoch}, k.register(RegisterRequest{Broker: b}))
			require.Equal(t, entries, k.entries)
		},
	}, {
		name: "same incarnation twice while the entry is under way gets one epoch",
		run: func(t *testing.T, k *cluster) {
			k.hold = true
			k.register(RegisterRequest{Broker: broker(4, 1)})
			k.register(RegisterRequest{Broker: broker(4, 1)})
			k.apply()
			require.Equal(t, k.replies[k.token-1], k.replies[k.token])
			require.Equal(t, RegisterResponse{Epoch: 7}, k.replies[k.token])
			require.Empty(t, k.pending)
		},
	}, {
		name: "registration from the same directory supersedes a live incarnation",
		run: func(t *testing.T, k *cluster) {
			require.Equal(t, RegisterResponse{Epoch: 7}, k.register(RegisterRequest{Broker: broker(2, 1)}))
		},
	}, {
		// An entry has room for some 3,000 partitions, so several go by before the
		// last of them no longer names the old incarnation.
		name: "restarted broker is not unfenced while it still leads by the word of its former self",
		run: func(t *testing.T, k *cluster) {
			topic := k.create(partition.TopicConfig{Name: "t", Partitions: 9000, Replicas: 3}).Topic
			k.hold = true
			k.register(RegisterRequest{Broker: broker(2, 1)})
			k.apply()
			k.beat(2)
			for unfenced := false; !unfenced; {
				k.apply()
				b, _ := k.table.Broker(2)
				if unfenced = !b.Fenced; !unfenced {
					continue
				}
				for p := range 9000 {
					s := k.state(partition.ID{Topic: topic, Partition: partition.PartitionID(p)})
					require.NotEqual(t, partition.BrokerID(2), s.Leader, "partition %d", p)
				}
			}
		},
	}, {
		name: "registration from another directory waits until the old incarnation is fenced",
		run: func(t *testing.T, k *cluster) {
			b := broker(2, 1)
			b.Directory = uuid(999)
			require.Equal(t, RegisterResponse{Code: partition.DuplicateBroker}, k.register(RegisterRequest{Broker: b}))
			k.kill(2)
			require.Equal(t, RegisterResponse{Epoch: 8}, k.register(RegisterRequest{Broker: b}))
		},
	}, {
		name: "registration of an earlier life of the directory comes too late",
		run: func(t *testing.T, k *cluster) {
			at := func(life uint64) RegisterRequest {
				b := broker(2, int(life))
				b.Incarnation = b.Incarnation.WithLife(life)
				return RegisterRequest{Broker: b}
			}
			require.Equal(t, RegisterResponse{Epoch: 7}, k.register(at(2)))
			require.Equal(t, RegisterResponse{Code: partition.StaleBroker}, k.register(at(1)))
			require.Equal(t, RegisterResponse{Epoch: 7}, k.register(at(2)), "the same again")
			require.Equal(t, RegisterResponse{Epoch: 8}, k.register(at(3)))
			b := at(1)
			b.Broker.Directory = uuid(999)
			k.kill(2)
			require.Equal(t, partition.OK, k.register(b).(RegisterResponse).Code, "another directory counts anew")
		},
	}, {
		name: "registration without an id, directory or incarnation is malformed",
		run: func(t *testing.T, k *cluster) {
			for _, b := range []partition.Broker{
				{Directory: uuid(1), Incarnation: uuid(1)},
				{ID: -1, Directory: uuid(1), Incarnation: uuid(1)},
				{ID: 4, Incarnation: uuid(1)},
				{ID: 4, Directory: uuid(1)},
			} {
				require.Equal(t, RegisterResponse{Code: partition.Malformed}, k.register(RegisterRequest{Broker: b}))
			}
		},
	}, {
		name: "broker stays fenced until it has applied its own registration",
		run: func(t *testing.T, k *cluster) {
			k.register(RegisterRequest{Broker: broker(4, 1)})
			req := HeartbeatRequest{Broker: 4, Epoch: 7, Applied: 6}
			require.Equal(t, HeartbeatResponse{Fenced: true, Offset: 7}, k.heartbeat(req))
			req.Applied = 7
			require.Equal(t, HeartbeatResponse{Offset: 8}, k.heartbeat(req))
		},
	}, {
		name: "broker stays fenced while it wants to be",
		run: func(t *testing.T, k *cluster) {
			k.register(RegisterRequest{Broker: broker(4, 1)})
			require.Equal(t, HeartbeatResponse{Fenced: true, Offset: 7}, k.heartbeat(HeartbeatRequest{Broker: 4, Epoch: 7, Applied: 7, WantFence: true}))
		},
	}, {
		name: "broker that asks for it is fenced",
		run: func(t *testing.T, k *cluster) {
			require.Equal(t, HeartbeatResponse{Fenced: true, Offset: 7}, k.heartbeat(HeartbeatRequest{Broker: 2, Epoch: k.epoch(2), Applied: 6, WantFence: true}))
			require.Equal(t, Event{Kind: FencedItself, Broker: 2, Epoch: 3}, k.events[len(k.events)-1])
		},
	}, {
		name: "heartbeat of a dead incarnation does nothing (I11)",
		run: func(t *testing.T, k *cluster) {
			k.register(RegisterRequest{Broker: broker(2, 1)})
			require.Equal(t, HeartbeatResponse{Code: partition.StaleBroker}, k.heartbeat(HeartbeatRequest{Broker: 2, Epoch: 3, Applied: 7}))
			b, _ := k.table.Broker(2)
			require.True(t, b.Fenced)
		},
	}, {
		name: "heartbeat of an unknown broker sends it to register",
		run: func(t *testing.T, k *cluster) {
			require.Equal(t, HeartbeatResponse{Code: partition.UnknownBroker}, k.heartbeat(HeartbeatRequest{Broker: 9, Epoch: 1}))
		},
	}, {
		name: "heartbeat from the future shows that this controller is deposed",
		run: func(t *testing.T, k *cluster) {
			require.Equal(t, HeartbeatResponse{Code: partition.NotController}, k.heartbeat(HeartbeatRequest{Broker: 2, Epoch: 70}))
			require.Equal(t, HeartbeatResponse{Code: partition.NotController}, k.heartbeat(HeartbeatRequest{Broker: 9, Epoch: 70}))
		},
	}, {
		name: "heartbeat that changes nothing is answered while an entry is under way",
		run: func(t *testing.T, k *cluster) {
			k.hold = true
			k.register(RegisterRequest{Broker: broker(4, 1)})
			require.Equal(t, HeartbeatResponse{Offset: 6}, k.beat(2))
		},
	}, {
		name: "silence for the session fences, and the session begins at the last heartbeat",
		run: func(t *testing.T, k *cluster) {
			require.Equal(t, start.Add(3*time.Second), k.last.NextTick)
			k.now = start.Add(2 * time.Second)
			k.beat(1)
			k.beat(3)
			k.now = start.Add(3*time.Second - 1)
			k.step(Tick{})
			require.Empty(t, k.fenced())
			require.Equal(t, start.Add(3*time.Second), k.last.NextTick)
			k.now = k.last.NextTick
			k.step(Tick{})
			require.Equal(t, ids(2), k.fenced())
			require.Equal(t, Event{Kind: FencedSilent, Broker: 2, Epoch: 3}, k.events[len(k.events)-1])
			require.Equal(t, start.Add(5*time.Second), k.last.NextTick)
		},
	}, {
		name: "late heartbeat of a dead incarnation keeps no session",
		run: func(t *testing.T, k *cluster) {
			k.start(2)
			k.now = start.Add(2 * time.Second)
			k.beat(1)
			k.beat(3)
			k.heartbeat(HeartbeatRequest{Broker: 2, Epoch: 3, Applied: 7})
			k.now = start.Add(3 * time.Second)
			k.step(Tick{})
			require.Equal(t, ids(2), k.fenced())
		},
	}, {
		name: "broken link fences at once, but only the incarnation that it led to",
		run: func(t *testing.T, k *cluster) {
			k.step(Broken{Broker: 2, Epoch: 2})
			require.Empty(t, k.fenced())
			k.step(Broken{Broker: 2, Epoch: 3})
			require.Equal(t, ids(2), k.fenced())
		},
	}, {
		name: "broker that was fenced by mistake comes back with its next heartbeat",
		run: func(t *testing.T, k *cluster) {
			k.kill(2)
			k.beat(2)
			require.Empty(t, k.fenced())
		},
	}, {
		name: "many changes go in one entry",
		run: func(t *testing.T, k *cluster) {
			k.hold = true
			k.kill(1)
			k.kill(2)
			k.kill(3)
			k.register(RegisterRequest{Broker: broker(4, 1)})
			require.Len(t, k.pending, 1)
			k.apply()
			require.Len(t, k.pending, 3)
			k.apply()
			require.Empty(t, k.pending)
			require.Equal(t, ids(1, 2, 3, 4), k.fenced())
		},
	}, {
		name: "dropped proposal is computed anew, after a moment",
		run: func(t *testing.T, k *cluster) {
			k.hold = true
			k.kill(1)
			k.pending = nil
			k.step(Dropped{})
			require.Empty(t, k.pending)
			require.Equal(t, k.now.Add(stallTime), k.last.NextTick)
			k.now = k.last.NextTick
			k.step(Tick{})
			require.Len(t, k.pending, 1)
			k.apply()
			require.Equal(t, ids(1), k.fenced())
		},
	}, {
		name: "who does not lead answers NotController, also those who wait",
		run: func(t *testing.T, k *cluster) {
			k.hold = true
			require.Nil(t, k.register(RegisterRequest{Broker: broker(4, 1)}))
			k.step(Resign{})
			require.Equal(t, RegisterResponse{Code: partition.NotController}, k.replies[k.token])
			require.Equal(t, HeartbeatResponse{Code: partition.NotController}, k.beat(1))
			k.step(Tick{})
			require.Zero(t, k.last)
		},
	}, {
		name: "new reign begins all sessions anew",
		run: func(t *testing.T, k *cluster) {
			k.now = start.Add(time.Hour)
			k.step(Resign{})
			k.step(Lead{})
			k.step(Tick{})
			require.Empty(t, k.fenced())
			k.now = k.now.Add(3 * time.Second)
			k.step(Tick{})
			require.Equal(t, ids(1, 2, 3), k.fenced())
		},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 3)
			k.replies, k.token = map[uint64]any{}, 0
			tt.run(t, k)
			if !k.hold {
				k.settled()
			}
		})
	}
}

func (k *cluster) fenced() (fenced []partition.BrokerID) {
	for _, b := range k.table.Brokers() {
		if b.Fenced {
			fenced = append(fenced, b.ID)
		}
	}
	return fenced
}
