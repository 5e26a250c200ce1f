//go:build samsa_mutations

package replicatest

import (
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/node"
)

// ledByOne is a partition whose leader, broker 1, is in epoch 2.
func ledByOne() partition.State {
	ids := []partition.BrokerID{1, 2}
	return partition.State{Replicas: ids, ISR: ids, Leader: 1, Epoch: 2}
}

// leaderOf10 leads a log of ten records.
func leaderOf10() *replica.Leader {
	return replica.NewLeader(begin, replica.LeaderConfig{
		Self: 1, SelfEpoch: 1, MinISR: 2, Synced: true, Lag: time.Second, State: ledByOne(),
		Peers: []replica.Peer{{ID: 2, Epoch: 1, Active: true}}, End: 10, Flushed: 10,
	})
}

func fetchOf(epoch log.Epoch, sequence int64, ack log.Offset) replica.Fetched {
	return replica.Fetched{
		From: 2, BrokerEpoch: 1, Sequence: sequence, LogEpoch: 1, LogEnd: 10, Known: true,
		Partition: replica.FetchPartition{Epoch: epoch, Fetch: ack, LastEpoch: 1, Ack: ack, MaxBytes: 1},
	}
}

// fencesOldEpochs: an ack counts only if it was sent in the leader's own epoch.
func fencesOldEpochs() bool {
	l := leaderOf10()
	l.Step(begin, fetchOf(1, 1, 10))
	return l.HighWatermark() == 0
}

// ignoresStaleAcks: and only the newest one.
func ignoresStaleAcks() bool {
	l := leaderOf10()
	l.Step(begin, fetchOf(2, 2, 4))
	l.Step(begin, fetchOf(2, 1, 10))
	return l.HighWatermark() == 4
}

// ignoresLateAnswers: a follower takes no answer to what it asked in an earlier epoch.
func ignoresLateAnswers() bool {
	f := replica.NewFollower(replica.FollowerConfig{Self: 2, State: ledByOne(), End: 10, Flushed: 10, LastEpoch: 1})
	f.Request(begin, 1, 1)
	out := f.Step(begin, replica.Answered{
		Sequence: 1, Request: replica.FetchPartition{Epoch: 1, Fetch: 10, LastEpoch: 1},
		Answer: replica.FetchAnswer{Diverging: true, DivergingEpoch: 1, DivergingEnd: 3}, OwnEpoch: 1, OwnEnd: 10, OwnKnown: true,
	})
	return out.Truncate == nil
}

// clearsELR: who was complete under one MinISR need not be under another.
func clearsELR() bool {
	t := partition.NewTable()
	ids := []partition.BrokerID{1, 2, 3}
	var members []partition.Member
	for _, id := range ids {
		epoch := partition.BrokerEpoch(2*id - 1)
		t.Apply(log.Offset(epoch), []partition.Record{partition.RegisterBroker{Broker: partition.Broker{ID: id}}})
		t.Apply(log.Offset(epoch)+1, []partition.Record{partition.ChangeBroker{ID: id, Epoch: epoch}})
		members = append(members, partition.Member{ID: id, Epoch: epoch})
	}
	topic := partition.UUID{1}
	t.Apply(20, []partition.Record{partition.CreateTopic{
		Topic: partition.Topic{ID: topic, Config: partition.TopicConfig{Name: "rides", MinISR: 2, Replicas: 3, Partitions: 1},
			Partitions: []*partition.State{{Replicas: ids, ISR: ids, Leader: 1}}},
		Members: members,
	}})
	id := partition.ID{Topic: topic}
	st, ok := t.Partition(id)
	if !ok {
		return false
	}
	active := func(partition.BrokerID) bool { return true }
	for n := 2; n > 0; n-- { // the ISR shrinks to one
		next, added := st.Change(partition.Change{ISR: ids[:n], MinISR: 2, Active: active})
		t.Apply(log.Offset(23-n), []partition.Record{partition.ChangePartition{ID: id, State: next, Members: members[:len(added)]}})
		st, _ = t.Partition(id)
	}
	full := len(st.ELR) == 1
	was, _ := t.TopicByID(topic)
	config := was.Config
	config.MinISR = 1
	t.Apply(30, []partition.Record{partition.ChangeTopic{Topic: topic, Expect: was.Config, Config: config}})
	st, _ = t.Partition(id)
	return full && len(st.ELR) == 0
}

// refusesOldMembers: a change that was computed before a member was registered anew does
// not hold.
func refusesOldMembers() bool {
	t := partition.NewTable()
	ids := []partition.BrokerID{1, 2}
	var members []partition.Member
	for _, id := range ids {
		epoch := partition.BrokerEpoch(2*id - 1)
		t.Apply(log.Offset(epoch), []partition.Record{partition.RegisterBroker{Broker: partition.Broker{ID: id}}})
		t.Apply(log.Offset(epoch)+1, []partition.Record{partition.ChangeBroker{ID: id, Epoch: epoch}})
		members = append(members, partition.Member{ID: id, Epoch: epoch})
	}
	topic := partition.UUID{1}
	t.Apply(10, []partition.Record{partition.CreateTopic{
		Topic: partition.Topic{ID: topic, Config: partition.TopicConfig{Name: "rides", MinISR: 1, Replicas: 2, Partitions: 1},
			Partitions: []*partition.State{{Replicas: ids, ISR: ids[:1], Leader: 1}}},
		Members: members,
	}})
	id := partition.ID{Topic: topic}
	st, ok := t.Partition(id)
	if !ok {
		return false
	}
	next, _ := st.Change(partition.Change{ISR: ids, MinISR: 1, Active: func(partition.BrokerID) bool { return true }})
	t.Apply(11, []partition.Record{partition.RegisterBroker{Broker: partition.Broker{ID: 2}}})
	t.Apply(12, []partition.Record{partition.ChangeBroker{ID: 2, Epoch: 11}})
	t.Apply(13, []partition.Record{partition.ChangePartition{ID: id, State: next, Members: members[1:]}})
	st, _ = t.Partition(id)
	return len(st.ISR) == 1
}

// newCopiesKeepQuiet: the word of a copy that was made anew, and has not been in the ISR
// since, does not count where logs are compared.
func newCopiesKeepQuiet() bool {
	l, _, err := log.Open(log.NewMemFS(), "copy", log.Config{})
	if err != nil {
		return false
	}
	id := partition.ID{Topic: partition.UUID{1}}
	p := &process{table: partition.NewTable(), found: map[partition.ID]*found{id: {label: node.Label{ID: id, Behind: true}, log: l}}}
	end, ok := p.logEnd(id)
	return ok && end.Damaged && l.Close() == nil
}
