package control

import (
	"fmt"
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

func TestCreateTopic(t *testing.T) {
	type config = partition.TopicConfig
	type answer = partition.CreateTopicResponse
	taken := uuid(1)
	tests := []struct {
		name   string
		config config
		fenced []partition.BrokerID
		want   answer // with OK: Offset and Topic apart
		made   config // the part of it that is told
	}{{
		name:   "zero fields get their defaults",
		config: config{Name: "rides"},
		made:   config{Name: "rides", Partitions: 1, Replicas: 3, MinISR: 2, RetentionBytes: -1},
	}, {
		name:   "what is given is kept",
		config: config{Name: "rides", Partitions: 7, Replicas: 2, MinISR: 1, Durability: partition.Unsynced},
		made:   config{Name: "rides", Partitions: 7, Replicas: 2, MinISR: 1, Durability: partition.Unsynced},
	}, {
		name:   "same configuration again is a success",
		config: config{Name: "taken", Partitions: 2},
		want:   answer{Topic: taken, Offset: 9},
	}, {
		name:   "zero fields match anything",
		config: config{Name: "taken"},
		want:   answer{Topic: taken, Offset: 9},
	}, {
		name:   "another configuration is refused",
		config: config{Name: "taken", Partitions: 3},
		want:   answer{Code: partition.TopicExists, Topic: taken, Offset: 9},
	}, {
		name:   "name that differs by case alone is refused",
		config: config{Name: "Taken"},
		want:   answer{Code: partition.InvalidTopic, Text: `name "Taken" differs from topic "taken" by case alone`},
	}, {
		name:   "more replicas than brokers are refused",
		config: config{Name: "rides", Replicas: 5},
		want:   answer{Code: partition.InvalidReplicas, Text: "5 replicas wanted, 4 brokers are registered"},
	}, {
		name:   "impossible configuration is refused",
		config: config{Name: "rides", Partitions: -1},
		want:   answer{Code: partition.InvalidTopic, Text: "Partitions is -1; it may be 1 to 10000"},
	}, {
		name:   "fenced brokers count as registered, and replicas on them are out of the ISR",
		config: config{Name: "rides", Replicas: 3},
		fenced: ids(2, 3),
		made:   config{Name: "rides", Replicas: 3, MinISR: 2},
	}, {
		name:   "partition without an active replica is refused",
		config: config{Name: "rides", Partitions: 12, Replicas: 2},
		fenced: ids(1, 2, 3, 4),
		want:   answer{Code: partition.InvalidReplicas, Text: "no active broker for one of the partitions"},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := withBrokers(t, 4)
			k.ask(func(token uint64) Input { return CreateTopic{token, config{Name: "taken", Partitions: 2}, taken} })
			k.kill(tt.fenced...)
			topic := uuid(2)
			got := k.ask(func(token uint64) Input { return CreateTopic{token, tt.config, topic} })
			if tt.made.Name == "" {
				require.Equal(t, tt.want, got)
				return
			}
			require.Equal(t, answer{Topic: topic, Offset: k.offset}, got)
			made, ok := k.table.TopicByID(topic)
			require.True(t, ok)
			require.True(t, made.Config.Matches(tt.made), "%+v", made.Config)
			require.Len(t, made.Partitions, made.Config.Partitions)
			for _, s := range made.Partitions {
				require.Len(t, s.Replicas, made.Config.Replicas)
				require.Contains(t, s.ISR, s.Leader)
			}
			k.settled()
		})
	}
}

func TestTwoTopicsOfOneNameInOneEntry(t *testing.T) {
	k := withBrokers(t, 3)
	k.hold = true
	k.register(RegisterRequest{Broker: broker(9, 1)}) // something is under way
	for i, name := range []string{"rides", "rides", "Rides", "other"} {
		k.ask(func(token uint64) Input { return CreateTopic{token, partition.TopicConfig{Name: name}, uuid(i + 1)} })
	}
	k.apply()
	require.Len(t, k.pending, 2) // rides and other
	k.apply()
	require.Empty(t, k.pending)
	at := k.offset
	require.Equal(t, partition.CreateTopicResponse{Topic: uuid(1), Offset: at}, k.replies[k.token-3])
	require.Equal(t, partition.CreateTopicResponse{Topic: uuid(1), Offset: at}, k.replies[k.token-2])
	require.Equal(t, partition.InvalidTopic, k.replies[k.token-1].(partition.CreateTopicResponse).Code)
	require.Equal(t, partition.CreateTopicResponse{Topic: uuid(4), Offset: at}, k.replies[k.token])
}

func TestDefaultReplicasCountVoters(t *testing.T) {
	k := newCluster(t)
	k.c = New(Config{Voters: 3}, k.table)
	k.step(Lead{})
	k.start(1)
	got := k.ask(func(token uint64) Input { return CreateTopic{token, partition.TopicConfig{Name: "rides"}, uuid(1)} })
	require.Equal(t, partition.InvalidReplicas, got.(partition.CreateTopicResponse).Code)
	k.start(2)
	k.start(3)
	id := k.create(partition.TopicConfig{Name: "rides"})
	require.Len(t, k.state(id).Replicas, 3)
}

// The internal topic is made with what there is, and grows to three replicas.
func TestOffsetsTopicGrows(t *testing.T) {
	k := withBrokers(t, 1)
	id := k.create(partition.TopicConfig{Name: OffsetsTopic})
	topic := func() partition.Topic {
		topic, ok := k.table.Topic(OffsetsTopic)
		require.True(t, ok)
		return topic
	}
	require.Len(t, topic().Partitions, 8)
	require.True(t, topic().Config.Matches(partition.TopicConfig{Replicas: 3, MinISR: 1, Compact: true, Retention: -1, RetentionBytes: -1}))
	require.Equal(t, partition.State{Replicas: ids(1), ISR: ids(1), Leader: 1}, k.state(id))

	// Asking again is a success, whatever has become of it.
	again := k.ask(func(token uint64) Input {
		return CreateTopic{token, partition.TopicConfig{Name: OffsetsTopic, Partitions: 3}, uuid(9)}
	})
	require.Equal(t, partition.OK, again.(partition.CreateTopicResponse).Code)

	k.start(2)
	for _, s := range topic().Partitions {
		require.Equal(t, partition.State{Replicas: ids(1, 2), ISR: ids(1), Leader: 1, PartitionEpoch: 1}, *s)
	}
	for n := range topic().Partitions {
		require.Equal(t, 1, topic().Config.MinISR)
		at := partition.ID{Topic: id.Topic, Partition: partition.PartitionID(n)}
		entries := k.entries
		require.Equal(t, partition.OK, k.propose(k.alter(at, 1, 2)).(replica.AlterISRAnswer).Code)
		require.Equal(t, entries+1, k.entries, "MinISR rises in the entry of the last ISR")
	}
	require.Equal(t, 2, topic().Config.MinISR)

	k.start(3)
	k.start(4)
	for _, s := range topic().Partitions {
		require.Equal(t, ids(1, 2, 3), s.Replicas)
		require.Equal(t, ids(1, 2), s.ISR)
	}
	k.kill(2)
	require.Equal(t, 2, topic().Config.MinISR)
	require.Equal(t, ids(2), k.state(id).ELR)
	k.settled()
}

func TestOffsetsTopicSpreadsNewReplicas(t *testing.T) {
	k := withBrokers(t, 2)
	k.create(partition.TopicConfig{Name: OffsetsTopic})
	topic, _ := k.table.Topic(OffsetsTopic)
	require.Equal(t, 2, topic.Config.MinISR)
	k.hold = true
	k.register(RegisterRequest{Broker: broker(3, 1)})
	k.register(RegisterRequest{Broker: broker(4, 1)})
	for len(k.pending) > 0 {
		k.apply()
	}
	k.register(RegisterRequest{Broker: broker(9, 1)}) // so that both are unfenced in one entry
	k.beat(3)
	k.beat(4)
	k.hold = false
	k.step(Tick{})
	topic, _ = k.table.Topic(OffsetsTopic)
	load := map[partition.BrokerID]int{}
	for _, s := range topic.Partitions {
		require.Len(t, s.Replicas, 3)
		for _, b := range s.Replicas {
			load[b]++
		}
	}
	require.Equal(t, map[partition.BrokerID]int{1: 8, 2: 8, 3: 4, 4: 4}, load)
}

func TestGrownPrefersNewRacks(t *testing.T) {
	brokers := []partition.Broker{{ID: 1, Rack: "a"}, {ID: 2, Rack: "a"}, {ID: 3, Rack: "b"}, {ID: 4, Rack: "c"}}
	load := map[partition.BrokerID]int{1: 1, 3: 5, 4: 5}
	require.Equal(t, ids(1, 3, 4), grown(ids(1), 3, brokers, load))
	require.Equal(t, ids(1, 3, 4, 2), grown(ids(1), 9, brokers, load))
}

// Ten thousand partitions change hands in entries of a bounded size.
func TestEntriesAreBounded(t *testing.T) {
	k := withBrokers(t, 3)
	for i := range 4 {
		k.create(partition.TopicConfig{Name: fmt.Sprint("topic", i), Partitions: 2500})
	}
	k.hold = true
	k.kill(1)
	entries := 0
	for ; len(k.pending) > 0; entries++ {
		require.Less(t, len(partition.EncodeRecords(k.pending)), 2*maxEntryBytes)
		k.apply()
	}
	require.Greater(t, entries, 1)
	k.settled()
}
