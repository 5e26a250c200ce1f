package node

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// A removals is a cluster whose records are written and removed at the same time.
type removals struct {
	*cluster
	rng     *rand.Rand
	ids     []partition.ID
	callers sync.WaitGroup
	late    partition.BrokerID // who hears of no metadata

	mu      sync.Mutex // guards all below
	loss    int        // one of so many fetches is lost; 0: none
	instant time.Time
	fetches int // in that instant
	most    int
	acked   map[partition.ID]log.Offset
	removed map[partition.ID]log.Offset
}

// instantly is how many fetches there may be without that time passes.
const instantly = 2000

func newRemovals(t *testing.T, seed uint64) *removals {
	x := &removals{
		cluster: newCluster(t, 4), rng: rand.New(rand.NewPCG(seed, 0)),
		acked: make(map[partition.ID]log.Offset), removed: make(map[partition.ID]log.Offset),
	}
	first := x.create(partition.TopicConfig{Name: "rides", Partitions: 12, Replicas: 3, MinISR: 1 + x.rng.IntN(2)})
	for i := range 12 {
		x.ids = append(x.ids, partition.ID{Topic: first.Topic, Partition: partition.PartitionID(i)})
	}
	dice := rand.New(rand.NewPCG(seed, 1))
	x.fetchesAre(func() bool { return x.loss > 0 && dice.IntN(x.loss) == 0 })
	return x
}

func (x *removals) fetchesAre(lost func() bool) {
	x.net.Lose(func(_, _ transport.Addr, f transport.Frame) bool {
		if f.Kind != transport.Kind(KindFetch) {
			return false
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if now := time.Now(); !now.Equal(x.instant) {
			x.instant, x.fetches = now, 0
		}
		x.fetches++
		x.most = max(x.most, x.fetches)
		return lost() || x.fetches > instantly
	})
}

// any is one of the partitions, and who leads it, as he believes; nil: nobody.
func (x *removals) any() (partition.ID, *Node) {
	id := x.ids[x.rng.IntN(len(x.ids))]
	return id, x.leader(id)
}

func (x *removals) write() {
	id, n := x.any()
	for range 1 + x.rng.IntN(20) {
		if n == nil {
			return
		}
		records := 1 + x.rng.IntN(3)
		x.callers.Go(func() {
			req := all(id)
			req.TimeoutMs = 5_000
			if resp := n.Produce(x.t.Context(), req, batch(records, 10)); resp.Code == partition.OK {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.acked[id] = max(x.acked[id], resp.First+1)
			}
		})
	}
}

func (x *removals) remove() {
	id, n := x.any()
	if n == nil {
		return
	}
	before := log.Offset(-1)
	if r := n.replica(id); x.rng.IntN(2) == 0 {
		before = (r.log.Start() + r.highWatermark()) / 2
	}
	x.callers.Go(func() {
		if resp := n.HandleDeleteBefore(x.t.Context(), partition.DeleteBeforeRequest{ID: id, Before: before}); resp.Code == partition.OK {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.removed[id] = max(x.removed[id], resp.Start)
		}
	})
}

// move has others lead, or keep the copies.
func (x *removals) move() {
	id, _ := x.any()
	var to []partition.BrokerID
	for _, i := range x.rng.Perm(4)[:3] {
		to = append(to, partition.BrokerID(i+1))
	}
	x.callers.Go(func() { x.node(1).HandleTransfer(x.t.Context(), partition.TransferRequest{ID: id, To: to[0]}) })
	if x.rng.IntN(3) == 0 {
		x.callers.Go(func() { x.node(1).HandleReassign(x.t.Context(), partition.ReassignRequest{ID: id, Replicas: to}) })
	}
}

// fault lets something go wrong. Broker 1 runs the controller, and stays.
func (x *removals) fault() {
	one := partition.BrokerID(2 + x.rng.IntN(3))
	switch x.rng.IntN(4) {
	case 0:
		if x.late == 0 {
			x.kill(one)
			x.write()
			x.remove()
			time.Sleep(time.Duration(x.rng.IntN(4000)) * time.Millisecond)
			x.start(one)
			x.ready(one)
		}
	case 1:
		x.mu.Lock()
		defer x.mu.Unlock()
		x.loss = []int{0, 3, 10, 50}[x.rng.IntN(4)]
	case 2:
		if x.late != 0 {
			x.a.release(x.late)
			x.late = 0
		} else {
			x.late = one
			x.a.hold(one)
		}
	case 3:
		x.members[one].disk.Delay([]time.Duration{0, time.Millisecond, 50 * time.Millisecond}[x.rng.IntN(3)])
	}
}

// check demands that nobody leads with what was removed.
func (x *removals) check() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, start := range x.removed {
		st, _ := x.node(1).State(id)
		if m := x.members[st.Leader]; st.Leader != partition.NoBroker && m.node != nil {
			if r := m.node.replica(id); r != nil && r.standing.Load().leads && r.standing.Load().epoch == st.Epoch {
				require.GreaterOrEqual(x.t, r.log.Start(), start, "broker %d brings back what was removed of %v", m.id, id)
			}
		}
	}
}

// recover ends all faults, and waits until everything is at rest.
func (x *removals) recover() {
	x.mu.Lock()
	x.loss = 0
	x.mu.Unlock()
	if x.late != 0 {
		x.a.release(x.late)
	}
	for _, m := range x.members {
		m.disk.Delay(0)
	}
	x.callers.Wait()
	x.until("all copies in sync, and at rest", func() bool {
		for _, id := range x.ids {
			if st, _ := x.node(1).State(id); st.Target != nil || len(st.ISR) != len(st.Replicas) {
				return false
			}
		}
		all := 0
		for id, m := range x.members {
			for leader := range x.members {
				if id != leader {
					hot, _, kept := lanesOf(m.node, leader)
					if hot > 0 {
						return false
					}
					all += kept
				}
			}
		}
		return all == 2*len(x.ids)
	})
}

// What was removed no later leader has, whatever happens meanwhile, and nothing else is
// missing; nobody asks without an end, and everything comes to rest.
func TestRemovalsUnderFaults(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			t.Logf("seed %d", seed)
			x := newRemovals(t, seed)
			for range 100 {
				switch x.rng.IntN(8) {
				case 0, 1, 2:
					x.write()
				case 3, 4:
					x.remove()
				case 5, 6:
					x.move()
				case 7:
					x.fault()
				}
				time.Sleep(time.Duration(x.rng.IntN(100)) * time.Millisecond)
				x.check()
			}
			x.recover()
			time.Sleep(time.Second)
			synctest.Wait()
			x.check()
			x.mu.Lock() // there are still fetches
			defer x.mu.Unlock()
			require.NotEmpty(t, x.removed)
			require.LessOrEqual(t, x.most, instantly)
			for _, id := range x.ids {
				st, _ := x.node(1).State(id)
				led := x.node(st.Leader).replica(id)
				require.GreaterOrEqual(t, led.highWatermark(), x.acked[id])
				for _, b := range st.Replicas {
					r := x.node(b).replica(id)
					require.Equal(t, led.highWatermark(), r.highWatermark(), "broker %d, partition %v", b, id)
					require.Equal(t, led.log.End(), r.log.End())
					require.GreaterOrEqual(t, r.log.Start(), x.removed[id])
					require.Empty(t, r.removals)
				}
			}
		})
	}
}
