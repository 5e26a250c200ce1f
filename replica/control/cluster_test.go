package control

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// A cluster is a controller with its table, its quorum and its clock. What is
// proposed is applied at once, unless hold is set.
type cluster struct {
	t       testing.TB
	now     time.Time
	table   *partition.Table
	c       *Controller
	offset  log.Offset
	token   uint64
	replies map[uint64]any
	pending []partition.Record // proposed, neither applied nor dropped
	hold    bool
	asks    []LogEndsRequest
	events  []Event
	last    Output
	entries int
	before  map[partition.ID]*partition.State
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newCluster(t testing.TB) *cluster {
	k := &cluster{t: t, now: start, table: partition.NewTable(), replies: map[uint64]any{}, before: map[partition.ID]*partition.State{}}
	k.c = New(Config{}, k.table)
	k.step(Lead{})
	return k
}

// withBrokers returns a cluster of n active brokers, each in directory 100+id.
func withBrokers(t testing.TB, n int) *cluster {
	k := newCluster(t)
	for id := 1; id <= n; id++ {
		k.start(partition.BrokerID(id))
	}
	return k
}

func uuid(n int) (u partition.UUID) {
	binary.BigEndian.PutUint64(u[:], uint64(n))
	return u
}

func (k *cluster) step(in Input) {
	k.take(k.c.Step(k.now, in))
	for !k.hold && len(k.pending) > 0 {
		k.apply()
	}
}

func (k *cluster) take(out Output) {
	k.last = out
	for _, r := range out.Replies {
		_, twice := k.replies[r.Token]
		require.False(k.t, twice, "token %d is answered twice", r.Token)
		k.replies[r.Token] = r.Value
	}
	if len(out.Propose) > 0 {
		require.Empty(k.t, k.pending, "a second proposal while one is under way")
		k.pending = out.Propose
		k.entries++
	}
	k.asks = append(k.asks, out.Ask...)
	k.events = append(k.events, out.Events...)
}

// apply commits the proposal under way, through its bytes.
func (k *cluster) apply() {
	records, err := partition.DecodeRecords(partition.EncodeRecords(k.pending))
	require.NoError(k.t, err)
	k.pending = nil
	k.commit(records)
}

func (k *cluster) commit(records []partition.Record) {
	k.offset++
	changes := k.table.Apply(k.offset, records)
	k.check()
	k.take(k.c.Step(k.now, Applied{Offset: k.offset, Changes: changes}))
}

// check holds the table against what must be true after each entry.
func (k *cluster) check() {
	for id, s := range k.table.All() {
		require.NoError(k.t, s.Validate(), "%v", id)
		if old := k.before[id]; old != nil && old != s {
			require.Greater(k.t, s.PartitionEpoch, old.PartitionEpoch, "%v: partition epoch (I12)", id)
			require.GreaterOrEqual(k.t, s.Epoch, old.Epoch, "%v: epoch (I12)", id)
			if s.Leader != old.Leader {
				require.Greater(k.t, s.Epoch, old.Epoch, "%v: two leaders of one epoch (I7)", id)
			}
		}
		k.before[id] = s
	}
}

// settled says what holds once nothing is under way.
func (k *cluster) settled() {
	for id, s := range k.table.All() {
		for _, member := range s.ISR {
			b, ok := k.table.Broker(member)
			require.True(k.t, ok && !b.Fenced, "%v: fenced broker %d stands in ISR %v (C1)", id, member, s.ISR)
		}
		if k.fullLeads(s) {
			require.Fail(k.t, "a full broker leads, and another could", "%v %+v (C13)", id, *s)
		}
		if s.Leader == partition.NoBroker {
			for _, candidate := range slices.Concat(s.ISR, s.ELR) {
				b, _ := k.table.Broker(candidate)
				require.True(k.t, b.Fenced, "%v: no leader, though %d may lead (I15)", id, candidate)
			}
		}
	}
}

// fullLeads reports whether a full broker leads, though one with room is in sync.
func (k *cluster) fullLeads(s *partition.State) bool {
	roomy := func(id partition.BrokerID) bool {
		b, _ := k.table.Broker(id)
		return !b.Fenced && !b.Stopping && !b.Full
	}
	return s.Leader != partition.NoBroker && !roomy(s.Leader) && slices.ContainsFunc(s.ISR, roomy)
}

// ask sends a request and returns its answer, or nil if there is none yet.
func (k *cluster) ask(make func(token uint64) Input) any {
	k.token++
	k.step(make(k.token))
	return k.replies[k.token]
}

func broker(id partition.BrokerID, incarnation int) partition.Broker {
	return partition.Broker{ID: id, Addr: "b", Directory: uuid(100 + int(id)), Incarnation: uuid(incarnation)}
}

func (k *cluster) register(req RegisterRequest) any {
	return k.ask(func(token uint64) Input { return Register{token, req} })
}

func (k *cluster) heartbeat(req HeartbeatRequest) any {
	return k.ask(func(token uint64) Input { return Heartbeat{token, req} })
}

// epoch is the broker epoch that is registered.
func (k *cluster) epoch(id partition.BrokerID) partition.BrokerEpoch {
	b, _ := k.table.Broker(id)
	return b.Epoch
}

// beat sends the heartbeat of a broker that has applied everything.
func (k *cluster) beat(id partition.BrokerID) any {
	return k.heartbeat(HeartbeatRequest{Broker: id, Epoch: k.epoch(id), Applied: k.table.Offset()})
}

// start registers a broker under a new incarnation, and unfences it.
func (k *cluster) start(id partition.BrokerID) {
	k.restart(RegisterRequest{Broker: broker(id, 1000+int(k.offset))})
}

func (k *cluster) restart(req RegisterRequest) {
	resp := k.register(req)
	require.Equal(k.t, RegisterResponse{Epoch: k.epoch(req.Broker.ID)}, resp)
	alive := k.beat(req.Broker.ID)
	require.Equal(k.t, HeartbeatResponse{Offset: k.table.Offset()}, alive)
}

func (k *cluster) kill(ids ...partition.BrokerID) {
	for _, id := range ids {
		k.step(Broken{Broker: id, Epoch: k.epoch(id)})
	}
}

// create makes a topic, and returns its first partition.
func (k *cluster) create(cfg partition.TopicConfig) partition.ID {
	topic := uuid(5000 + int(k.offset))
	resp := k.ask(func(token uint64) Input { return CreateTopic{token, cfg, topic} })
	require.Equal(k.t, partition.CreateTopicResponse{Topic: topic, Offset: k.table.Offset()}, resp)
	return partition.ID{Topic: topic}
}

func (k *cluster) state(id partition.ID) partition.State {
	s, ok := k.table.Partition(id)
	require.True(k.t, ok)
	return *s
}

// alter proposes an ISR as the partition's leader would.
func (k *cluster) alter(id partition.ID, isr ...partition.BrokerID) replica.AlterISR {
	s := k.state(id)
	req := replica.AlterISR{From: s.Leader, BrokerEpoch: k.epoch(s.Leader), ID: id, Epoch: s.Epoch, PartitionEpoch: s.PartitionEpoch}
	for _, member := range isr {
		req.ISR = append(req.ISR, partition.Member{ID: member, Epoch: k.epoch(member)})
	}
	return req
}

func (k *cluster) propose(req replica.AlterISR) any {
	return k.ask(func(token uint64) Input { return Alter{token, req} })
}

func (k *cluster) mustPropose(req replica.AlterISR) {
	want := k.afterwards(req)
	require.Equal(k.t, replica.AlterISRAnswer{State: want}, k.propose(req))
}

func (k *cluster) afterwards(req replica.AlterISR) partition.State {
	var isr []partition.BrokerID
	for _, m := range req.ISR {
		isr = append(isr, m.ID)
	}
	topic, _ := k.table.TopicByID(req.ID.Topic)
	next, _ := k.state(req.ID).Change(partition.Change{ISR: isr, MinISR: topic.Config.MinISR, Active: func(partition.BrokerID) bool { return true }})
	return next
}

func ids(ids ...partition.BrokerID) []partition.BrokerID { return ids }
