package group

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

var (
	simSeed  = flag.Uint64("group.seed", 0, "run the group simulation with this seed alone")
	simSeeds = flag.Uint64("group.seeds", 60, "run the group simulation with so many seeds")
)

// The simulation runs one coordinator and some members on one goroutine, over a
// network that loses, repeats and reorders, with crashes of both and members that
// fall asleep. After every event it looks for a broken invariant. A seed gives one run.
type sim struct {
	t      testing.TB
	rng    *rand.Rand
	now    time.Time
	queue  simQueue
	serial int
	calm   bool // no more faults
	trace  uint64

	topics  []Topic
	c       *Coordinator // nil: down
	term    int
	log     [][]log.Record // batches
	commit  int            // how many of them are committed
	held    []simReply     // replies that wait for the commit
	wakeAt  time.Time
	acked   map[partition.ID]log.Offset
	epochs  map[string]CurrentRecord
	members []*simMember
	made    int
}

type simReply struct {
	batches int
	reply   Reply
}

type simMember struct {
	id       string
	s        *Session
	dead     bool
	asleep   bool
	leaving  bool
	position map[partition.ID]log.Offset // of what is assigned; absent: not fetched yet
	commits  int64
	wakeAt   time.Time
}

type simEvent struct {
	at     time.Time
	serial int
	do     func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].serial, q[j].serial)) < 0
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (m *sim) after(d time.Duration, do func()) {
	m.serial++
	heap.Push(&m.queue, simEvent{m.now.Add(d), m.serial, do})
}

func (m *sim) upTo(most time.Duration) time.Duration { return time.Duration(m.rng.Int64N(int64(most))) }
func (m *sim) chance(percent int) bool               { return m.rng.IntN(100) < percent }

// carry delivers a message, or does not, or does so twice.
func (m *sim) carry(deliver func()) {
	copies := 1
	if !m.calm {
		if m.chance(8) {
			return
		}
		if m.chance(8) {
			copies = 2
		}
	}
	for range copies {
		delay := m.upTo(5 * time.Millisecond)
		if !m.calm && m.chance(5) {
			delay = m.upTo(40 * time.Second)
		}
		m.after(delay, deliver)
	}
}

func newSim(t testing.TB, seed uint64) *sim {
	m := &sim{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0),
		acked: map[partition.ID]log.Offset{}, epochs: map[string]CurrentRecord{},
	}
	for i := range 1 + m.rng.IntN(3) {
		m.topics = append(m.topics, Topic{Name: fmt.Sprintf("t%d", i), ID: partition.UUID{byte(i + 1)}, Partitions: 1 + m.rng.IntN(5)})
	}
	m.start()
	return m
}

// coordinator

func (m *sim) start() {
	m.term++
	c := NewCoordinator("g", Config{})
	for _, batch := range m.log[:m.commit] {
		for _, r := range batch {
			group, rec, err := DecodeRecord(r.Key, r.Value)
			require.NoError(m.t, err)
			require.Equal(m.t, "g", group)
			c.Load(rec)
		}
	}
	for id, offset := range m.acked {
		got, _ := c.commits.Get(offsets.Key{Group: "g", Partition: id})
		require.GreaterOrEqual(m.t, got.Offset, offset, "I28: an acknowledged commit of %v is lost", id)
	}
	m.c = c
	m.step(Loaded{})
	m.step(Changed{Topics: m.topics})
}

func (m *sim) crash() {
	if m.c == nil {
		return
	}
	m.c, m.held = nil, nil
	m.term++
	m.commit += m.rng.IntN(len(m.log) - m.commit + 1) // what the next leader has
	m.log = m.log[:m.commit]
	m.after(m.upTo(5*time.Second), m.start)
}

func (m *sim) step(in Input) {
	if m.c == nil {
		return
	}
	out := m.c.Step(m.now, in)
	if err := m.c.Check(); err != nil {
		m.t.Fatalf("after %T: %v", in, err)
	}
	m.epochsRise()
	if len(out.Records) > 0 {
		m.log = append(m.log, encodeBatch("g", out.Records, m.now.UnixMilli()))
		term, n := m.term, len(m.log)
		m.after(m.upTo(20*time.Millisecond), func() {
			if m.term == term {
				m.committed(n)
			}
		})
	}
	for _, r := range out.Replies {
		m.held = append(m.held, simReply{len(m.log), r})
	}
	m.committed(m.commit)
	if out.Wake.IsZero() || out.Wake.Equal(m.wakeAt) {
		return
	}
	m.wakeAt = out.Wake
	term := m.term
	m.after(max(out.Wake.Sub(m.now), 0), func() {
		if m.term == term && !m.now.Before(m.wakeAt) {
			m.wakeAt = time.Time{}
			m.step(Tick{})
		}
	})
}

func (m *sim) committed(n int) {
	m.commit = max(m.commit, n)
	waiting := m.held
	m.held = nil
	for _, h := range waiting {
		if h.batches > m.commit {
			m.held = append(m.held, h)
			continue
		}
		if send := replies[m][h.reply.Token]; send != nil {
			send(h.reply.Response)
		}
	}
}

// epochsRise checks I27 over time.
func (m *sim) epochsRise() {
	for _, id := range m.c.order {
		x := m.c.members[id]
		key := fmt.Sprintf("%s/%d", id, x.record.Joined)
		before := m.epochs[key]
		if x.current.Epoch < before.Epoch && before.Version < x.current.Version {
			m.t.Fatalf("I27: epoch of %s falls from %d to %d", key, before.Epoch, x.current.Epoch)
		}
		m.epochs[key] = x.current
	}
}

// replies holds who waits for which token of which simulation.
var replies = map[*sim]map[uint64]func(any){}

func (m *sim) expect(f func(any)) uint64 {
	m.serial++
	replies[m][uint64(m.serial)] = f
	return uint64(m.serial)
}

// members

func (m *sim) join() {
	m.made++
	x := &simMember{id: fmt.Sprintf("m%d", m.made), position: map[partition.ID]log.Offset{}}
	var names []string
	for _, t := range m.topics {
		if m.chance(80) {
			names = append(names, t.Name)
		}
	}
	x.s = NewSession(SessionConfig{
		Group: "g", Member: x.id, Topics: names,
		Session: time.Duration(6+m.rng.IntN(10)) * time.Second, Rebalance: time.Duration(4+m.rng.IntN(10)) * time.Second,
	})
	m.members = append(m.members, x)
	m.feed(x, Tick{})
}

func (m *sim) feed(x *simMember, in SessionInput) {
	if x.dead || x.asleep {
		return
	}
	out := x.s.Step(m.now, in)
	for _, id := range slices.Concat(out.Lost, out.Revoke) {
		if slices.Contains(out.Lost, id) {
			delete(x.position, id)
		}
	}
	if len(out.Revoke) > 0 {
		m.after(m.upTo(m.patience()), func() { m.finish(x, out.Revoke) })
	}
	for _, id := range out.Assigned {
		delete(x.position, id)
		m.fetch(x, id)
	}
	if r := out.Send; r != nil {
		m.send(x, *r)
	}
	if out.Left || out.Fatal != 0 {
		require.Zero(m.t, out.Fatal)
		x.dead = true
		return
	}
	if !out.Wake.IsZero() && !out.Wake.Equal(x.wakeAt) {
		x.wakeAt = out.Wake
		m.after(max(out.Wake.Sub(m.now), 0), func() {
			if x.wakeAt.Equal(out.Wake) {
				x.wakeAt = time.Time{}
				m.feed(x, Tick{})
			}
		})
	}
}

// patience is how long a revocation takes; sometimes longer than is allowed.
func (m *sim) patience() time.Duration {
	if !m.calm && m.chance(10) {
		return 30 * time.Second
	}
	return 200 * time.Millisecond
}

func (m *sim) finish(x *simMember, ids []partition.ID) {
	for _, id := range ids {
		m.commitOne(x, id)
		delete(x.position, id)
	}
	m.feed(x, Revoked{Partitions: ids})
}

func (m *sim) send(x *simMember, r HeartbeatRequest) {
	w := encodeMessage(&r)
	m.carry(func() {
		in, err := DecodeHeartbeatRequest(w)
		require.NoError(m.t, err)
		if m.c == nil {
			m.carry(func() { m.feed(x, Unanswered{Sequence: r.Sequence}) })
			return
		}
		token := m.expect(func(response any) {
			answer := response.(HeartbeatResponse)
			m.carry(func() { m.feed(x, Answered{Sequence: r.Sequence, Response: answer}) })
		})
		m.step(Heartbeat{Token: token, Request: in, Topics: m.topics})
	})
}

func (m *sim) fetch(x *simMember, id partition.ID) {
	m.after(m.upTo(20*time.Millisecond), func() {
		if m.c == nil {
			m.after(50*time.Millisecond, func() { m.fetch(x, id) })
			return
		}
		answer := m.c.Fetch(offsets.FetchRequest{Group: "g", Member: x.id, MemberEpoch: x.s.Epoch(), Partitions: []partition.ID{id}})
		if answer.Code == partition.OK && contains(x.s.owned, id) {
			if _, known := x.position[id]; !known {
				x.position[id] = answer.Partitions[0].Commit.Offset
			}
		}
	})
}

// commitOne processes some records of a partition that the member holds, and commits.
func (m *sim) commitOne(x *simMember, id partition.ID) {
	at, known := x.position[id]
	if !known || x.dead || x.asleep || !x.s.alive(m.now) || m.c == nil {
		return
	}
	at += log.Offset(m.rng.IntN(5))
	x.position[id] = at
	x.commits++
	r := offsets.CommitRequest{Group: "g", Member: x.id, MemberEpoch: x.s.Epoch(), Sequence: x.commits,
		Partitions: []offsets.PartitionCommit{{ID: id, Offset: at, Epoch: log.NoEpoch}}}
	term := m.term
	m.carry(func() {
		if m.term != term || m.c == nil {
			return // a connection does not outlive its broker
		}
		before, _ := m.c.commits.Get(m.c.key(id))
		token := m.expect(func(response any) {
			if answer := response.(offsets.CommitResponse); answer.Code == partition.OK && answer.Partitions[0] == partition.OK {
				m.acked[id] = max(m.acked[id], at)
			}
		})
		m.step(Commit{Token: token, Request: r})
		after, _ := m.c.commits.Get(m.c.key(id))
		if after.Offset < before.Offset {
			m.t.Fatalf("I28: %s commits %v at %d, below %d", x.id, id, after.Offset, before.Offset)
		}
	})
}

// exclusive checks I26.
func (m *sim) exclusive() {
	holder := map[partition.ID]string{}
	for _, x := range m.members {
		if x.dead || !x.s.alive(m.now) {
			continue
		}
		for _, id := range x.s.Held() {
			if other := holder[id]; other != "" {
				m.t.Fatalf("I26: %s and %s both hold %v", other, x.id, id)
			}
			holder[id] = x.id
		}
	}
}

func (m *sim) mischief() {
	if m.calm {
		return
	}
	live := slices.DeleteFunc(slices.Clone(m.members), func(x *simMember) bool { return x.dead })
	var x *simMember
	if len(live) > 0 {
		x = live[m.rng.IntN(len(live))]
	}
	switch p := m.rng.IntN(100); {
	case p < 15 && len(live) < 6 || x == nil:
		m.join()
	case p < 20:
		m.crash()
	case p < 24:
		x.dead = true
	case p < 28 && !x.asleep:
		x.asleep = true
		m.after(m.upTo(40*time.Second), func() {
			x.asleep = false
			m.feed(x, Tick{})
		})
	case p < 34 && !x.leaving && !x.asleep:
		x.leaving = true
		m.feed(x, Quit{})
	case p < 36:
		t := &m.topics[m.rng.IntN(len(m.topics))]
		t.Partitions++
		m.topics = slices.Clone(m.topics)
		m.step(Changed{Topics: m.topics})
	default:
		for _, id := range sorted(x.s.owned) {
			m.commitOne(x, id)
		}
	}
	m.after(m.upTo(time.Second), m.mischief)
}

func (m *sim) run(until time.Duration) {
	end := m.now.Add(until)
	for len(m.queue) > 0 && m.queue[0].at.Before(end) {
		e := heap.Pop(&m.queue).(simEvent)
		m.now = e.at
		e.do()
		m.exclusive()
		m.trace = m.trace*1099511628211 ^ uint64(m.now.UnixNano()) ^ uint64(len(m.log))
	}
	m.now = end
}

// settled checks I29, and that loading gives the very state that has been running.
func (m *sim) settled() {
	require.NotNil(m.t, m.c)
	live := 0
	for _, x := range m.members {
		if x.dead {
			continue
		}
		live++
		got := m.c.members[x.id]
		require.NotNil(m.t, got, "I29: %s is no member", x.id)
		require.Equal(m.t, Stable, got.current.State, "I29: %s", x.id)
		require.Equal(m.t, MemberEpoch(m.c.targetEpoch), got.current.Epoch, "I29: %s", x.id)
		require.Equal(m.t, fmt.Sprint(got.target), fmt.Sprint(sorted(x.s.Held())), "I29: %s", x.id)
		require.Equal(m.t, got.current.Epoch, x.s.Epoch(), "I29: %s", x.id)
	}
	require.Len(m.t, m.c.order, live)
	again := NewCoordinator("g", Config{})
	for _, batch := range m.log {
		for _, r := range batch {
			_, rec, err := DecodeRecord(r.Key, r.Value)
			require.NoError(m.t, err)
			again.Load(rec)
		}
	}
	require.Empty(m.t, again.Step(m.now, Loaded{}).Records)
	require.Equal(m.t, fmt.Sprintf("%+v", m.c.Info()), fmt.Sprintf("%+v", again.Info()), "the fold of the records")
}

func simulate(t testing.TB, seed uint64) uint64 {
	m := newSim(t, seed)
	replies[m] = map[uint64]func(any){}
	defer delete(replies, m)
	m.mischief()
	m.run(3 * time.Minute)
	m.calm = true
	m.run(2 * time.Minute)
	m.settled()
	return m.trace
}

func TestSimulation(t *testing.T) {
	first, last := uint64(1), *simSeeds
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			trace := simulate(t, seed)
			if seed == first {
				require.Equal(t, trace, simulate(t, seed), "one seed, one run")
			}
		})
	}
}
