package replica

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

var (
	oneSeed   = flag.Uint64("replica.seed", 0, "run the model with this seed alone, and tell what happens")
	modelRuns = flag.Uint64("replica.runs", 300, "how many seeds the model runs")
)

const (
	modelLag    = 10 * time.Second
	modelMinISR = 2
)

// A model is three brokers with one partition, their links, and a controller who
// knows everything and decides at once. Followers and leaders learn of it late,
// and several changes at a time.
type model struct {
	rng      *rand.Rand
	now      time.Time
	brokers  []*modelBroker // by id
	versions []modelVersion // what the controller has decided, the newest last
	last     partition.BrokerEpoch
	messages []modelMessage
	written  int
	storm    int
	watch    observer
	story    func(format string, args ...any)
}

// A modelVersion is one image of the metadata.
type modelVersion struct {
	state partition.State
	peers []Peer
}

type modelBroker struct {
	id       partition.BrokerID
	epoch    partition.BrokerEpoch
	up       bool
	log      modelLog
	former   []modelLog // disks that it has lost
	high     log.Offset
	view     int // of the versions
	state    partition.State
	leader   *Leader
	follower *Follower
	waiters  []log.Offset // the ends of writes that wait
	sequence int64
	call     int  // the newest to the controller
	altering bool // it is out
}

// A modelMessage is on its way until it is delivered, once or more, or dropped.
type modelMessage struct {
	to, from  partition.BrokerID // 0: the controller
	epoch     partition.BrokerEpoch
	sequence  int64
	ask       FetchPartition
	answer    *FetchAnswer
	data      []byte
	alter     *AlterISR
	altered   *Altered
	call      int
	sent      time.Time
	fetchMost int
}

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 1)), now: testStart, storm: 3 << (seed % 6), story: func(string, ...any) {}}
	v := modelVersion{state: partition.State{Replicas: brokers{1, 2, 3}, ISR: brokers{1, 2, 3}, Leader: 1}}
	for id := partition.BrokerID(1); id <= 3; id++ {
		m.last++
		m.brokers = append(m.brokers, &modelBroker{id: id, epoch: m.last, up: true, view: -1})
		v.peers = append(v.peers, Peer{ID: id, Epoch: m.last, Active: true})
	}
	m.versions = append(m.versions, v)
	return m
}

func (m *model) broker(id partition.BrokerID) *modelBroker { return m.brokers[id-1] }

func (m *model) newest() modelVersion { return m.versions[len(m.versions)-1] }

func (m *model) active(id partition.BrokerID) bool { return m.newest().peers[id-1].Active }

// step does one thing at random.
func (m *model) step() {
	b := m.brokers[m.rng.IntN(len(m.brokers))]
	// In some seeds little goes wrong, so that much is committed; in others a lot.
	switch p := m.rng.IntN(860 + m.storm); {
	case p < 160:
		m.request(b, m.rng.IntN(4))
	case p < 500:
		m.deliver()
	case p < 560:
		if l := m.newest().state.Leader; l != partition.NoBroker && m.rng.IntN(4) > 0 {
			b = m.broker(l)
		}
		m.produce(b)
	case p < 640:
		m.flush(b)
	case p < 740:
		m.learn(b, b.view+1+m.rng.IntN(len(m.versions)-b.view))
	case p < 780:
		m.tick(b, time.Duration(m.rng.IntN(3000))*time.Millisecond)
	case p < 790:
		m.loseCall(b)
	case p < 825:
		m.restart(b, m.rng.IntN(4) == 0)
	case p < 860:
		m.unfence(b)
	default:
		[]func(*modelBroker){m.crash, m.fence, m.transfer}[m.rng.IntN(3)](b)
	}
}

// quiesce ends all faults and lets things settle.
func (m *model) quiesce() {
	for range 60 {
		for _, b := range m.brokers {
			m.restart(b, false)
			m.unfence(b)
			m.learn(b, len(m.versions)-1)
			m.flush(b)
			m.request(b, 3)
			m.loseCall(b)
			m.tick(b, 100*time.Millisecond)
		}
		for len(m.messages) > 0 {
			msg := m.messages[0]
			m.messages = m.messages[1:]
			m.receive(msg)
		}
	}
}

func (m *model) request(b *modelBroker, most int) {
	if !b.up || b.follower == nil {
		return
	}
	ask, ok := b.follower.Request(m.now, b.sequence+1, int32(most))
	if ok {
		b.sequence++
		m.send(modelMessage{to: b.state.Leader, from: b.id, epoch: b.epoch, sequence: b.sequence, ask: ask, fetchMost: most})
	}
}

func (m *model) send(msg modelMessage) {
	msg.sent = m.now
	m.messages = append(m.messages, msg)
}

// deliver takes any message, and sometimes loses or repeats it.
func (m *model) deliver() {
	if len(m.messages) == 0 {
		return
	}
	i := m.rng.IntN(len(m.messages))
	if m.rng.IntN(4) > 0 {
		i = 0
	}
	msg := m.messages[i]
	fate := m.rng.IntN(20)
	if fate > 1 || msg.alter != nil {
		m.messages = slices.Delete(m.messages, i, i+1)
	}
	if fate != 2 {
		m.receive(msg)
	}
}

func (m *model) receive(msg modelMessage) {
	switch {
	case msg.alter != nil:
		if m.now.Sub(msg.sent) < modelLag { // what a shell must keep
			m.send(modelMessage{to: msg.from, epoch: msg.epoch, altered: m.decide(msg.alter), call: msg.call})
		}
	case msg.altered != nil:
		if b := m.broker(msg.to); b.up && b.epoch == msg.epoch && b.leader != nil {
			b.altering = b.altering && b.call != msg.call
			m.stepLeader(b, *msg.altered)
		}
	case msg.answer != nil:
		if b := m.broker(msg.to); b.up && b.epoch == msg.epoch && b.follower != nil {
			in := Answered{Sequence: msg.sequence, Request: msg.ask, Answer: *msg.answer, Data: msg.data}
			in.OwnEpoch, in.OwnEnd, in.OwnKnown = b.log.endOf(msg.answer.DivergingEpoch)
			m.stepFollower(b, in)
		}
	default:
		if b := m.broker(msg.to); b.up {
			m.serve(b, msg)
		}
	}
}

// serve answers a fetch as a broker does.
func (m *model) serve(b *modelBroker, msg modelMessage) {
	a := &FetchAnswer{Code: partition.NotLeader}
	reply := modelMessage{to: msg.from, epoch: msg.epoch, sequence: msg.sequence, ask: msg.ask, answer: a}
	switch {
	case b.leader != nil:
		in := Fetched{From: msg.from, BrokerEpoch: msg.epoch, Sequence: msg.sequence, Partition: msg.ask}
		in.LogEpoch, in.LogEnd, in.Known = b.log.endOf(msg.ask.LastEpoch)
		v := m.stepLeader(b, in).Fetch
		*a = FetchAnswer{Code: v.Code, Diverging: v.Diverging, DivergingEpoch: v.DivergingEpoch, DivergingEnd: v.DivergingEnd,
			HighWatermark: v.HighWatermark, Start: v.Start, End: v.End}
		if v.Read {
			reply.data = b.log.read(msg.ask.Fetch, v.End, msg.fetchMost)
		}
	case msg.ask.Epoch > b.state.Epoch:
		a.Code = partition.UnknownEpoch
	case msg.ask.Epoch < b.state.Epoch:
		a.Code = partition.FencedEpoch
	}
	m.send(reply)
}

func (m *model) stepLeader(b *modelBroker, in Input) Output {
	out := b.leader.Step(m.now, in)
	b.high = b.leader.HighWatermark()
	if out.Propose != nil {
		b.call, b.altering = b.call+1, true
		m.send(modelMessage{from: b.id, epoch: b.epoch, alter: out.Propose, call: b.call})
	}
	m.watch.leads(m, b)
	b.waiters = slices.DeleteFunc(b.waiters, func(end log.Offset) bool {
		if end > b.high {
			return false
		}
		if b.leader.CommitCode() == partition.OK {
			m.watch.acked(m, end)
		}
		return true
	})
	return out
}

func (m *model) stepFollower(b *modelBroker, in Input) {
	out := b.follower.Step(m.now, in)
	if out.Lossy || out.Fail != nil || out.Reset != nil || out.Fault != nil {
		m.watch.fail("broker %d: %+v of %+v", b.id, out, in)
	}
	switch {
	case out.Truncate != nil:
		m.story("broker %d cuts at %d", b.id, *out.Truncate)
		b.log.truncate(*out.Truncate)
	case out.Append != nil:
		for data := out.Append; len(data) > 0; {
			batch, rest, err := log.SplitBatch(data)
			if err == nil {
				err = b.log.append(batch)
			}
			if err != nil {
				m.watch.fail("broker %d: %v", b.id, err)
				break
			}
			data = rest
		}
	}
	if out.Truncate != nil || out.Append != nil {
		m.stepFollower(b, Moved{End: b.log.end(), Flushed: b.log.flushed, LastEpoch: b.log.lastEpoch()})
	}
	b.high = b.follower.HighWatermark()
}

func (m *model) produce(b *modelBroker) {
	if !b.up || b.leader == nil || b.leader.CanAppend(partition.AcksAll) != partition.OK {
		return
	}
	m.written++
	data := log.Batch(batch(b.log.end(), b.leader.Epoch(), 1+m.rng.IntN(3), fmt.Sprintf("%d of %d", m.written, b.id)))
	if err := b.log.append(data); err != nil {
		m.watch.fail("broker %d: %v", b.id, err)
		return
	}
	b.waiters = append(b.waiters, data.Next())
	m.stepLeader(b, Appended{data.Next()})
}

func (m *model) flush(b *modelBroker) {
	if !b.up {
		return
	}
	b.log.flushed = b.log.end()
	m.both(b, Flushed{b.log.flushed})
}

func (m *model) both(b *modelBroker, in Input) {
	switch {
	case b.leader != nil:
		m.stepLeader(b, in)
	case b.follower != nil:
		m.stepFollower(b, in)
	}
}

func (m *model) tick(b *modelBroker, d time.Duration) {
	m.now = m.now.Add(d)
	if b.up && b.leader != nil && b.leader.NeedsTick() {
		m.stepLeader(b, Tick{})
	}
}

// loseCall gives up waiting for the controller, whose answer may come yet.
func (m *model) loseCall(b *modelBroker) {
	if b.up && b.altering && b.leader != nil {
		b.altering = false
		m.stepLeader(b, AlterLost{})
	}
}

// learn shows a broker a newer image. It compares ends and never steps, as a broker
// does.
func (m *model) learn(b *modelBroker, version int) {
	if !b.up || version <= b.view || version >= len(m.versions) {
		return
	}
	v := m.versions[version]
	same := b.view >= 0 && b.state.Epoch == v.state.Epoch && b.state.Leader == v.state.Leader
	leads := v.state.Leader == b.id && v.peers[b.id-1] == Peer{b.id, b.epoch, true}
	follows := !leads && v.state.Leader != partition.NoBroker && v.state.Leader != b.id
	b.view = version
	if v.state.PartitionEpoch < b.state.PartitionEpoch {
		return
	}
	b.state = v.state
	peers := slices.DeleteFunc(slices.Clone(v.peers), func(p Peer) bool { return p.ID == b.id })
	if same && (leads && b.leader != nil || follows && b.follower != nil) {
		m.both(b, Changed{State: v.state, MinISR: modelMinISR, Peers: peers})
		return
	}
	b.leader, b.follower, b.waiters, b.altering = nil, nil, nil, false
	switch {
	case leads:
		m.story("broker %d leads in epoch %d from %d, high watermark %d", b.id, v.state.Epoch, b.log.end(), b.high)
		b.log.assign(v.state.Epoch, b.log.end())
		b.leader = NewLeader(m.now, LeaderConfig{ID: testID, Self: b.id, SelfEpoch: b.epoch, MinISR: modelMinISR, Synced: true,
			Lag: modelLag, State: v.state, Peers: peers, End: b.log.end(), Flushed: b.log.flushed, HighWatermark: b.high})
		m.stepLeader(b, Flushed{b.log.flushed})
	case follows:
		b.follower = NewFollower(FollowerConfig{ID: testID, Self: b.id, State: v.state, End: b.log.end(), Flushed: b.log.flushed,
			HighWatermark: b.high, LastEpoch: b.log.lastEpoch()})
	}
}

// The model runs many seeds. Every event is followed by the observer's checks; at
// the end faults stop, and all replicas must come to be alike and in sync.
func TestModel(t *testing.T) {
	first, runs := uint64(1), *modelRuns
	if *oneSeed != 0 {
		first, runs = *oneSeed, 1
	}
	if testing.Short() {
		runs = min(runs, 50)
	}
	total := observer{}
	for seed := first; seed < first+runs; seed++ {
		m := newModel(seed)
		if *oneSeed != 0 {
			m.story = t.Logf
		}
		for n := 0; n < 2000 && m.watch.broken == nil; n++ {
			m.step()
			m.watch.check(m)
		}
		m.quiesce()
		m.watch.check(m)
		require.NoError(t, m.watch.broken, "replay with -run TestModel -replica.seed=%d", seed)
		require.NoError(t, m.settled(), "replay with -run TestModel -replica.seed=%d", seed)
		total.acks += m.watch.acks
		total.epochs += m.watch.epochs
	}
	t.Logf("%d seeds: %d acknowledged writes in %d epochs", runs, total.acks, total.epochs)
}
