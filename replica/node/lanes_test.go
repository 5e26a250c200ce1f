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
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport"
)

// lanesOf counts the partitions of a broker's fetcher by lane.
func lanesOf(n *Node, leader partition.BrokerID) (hot, cold, kept int) {
	f := n.fetcher(leader)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lanes.Count()
}

// many makes a topic of that many partitions, all of which are cold at their end.
func many(t *testing.T, brokers, partitions int) (*cluster, []partition.ID) {
	c := newCluster(t, brokers)
	first := c.create(partition.TopicConfig{Name: "rides", Partitions: partitions, Replicas: brokers, MinISR: 2})
	ids := make([]partition.ID, partitions)
	for i := range ids {
		ids[i] = partition.ID{Topic: first.Topic, Partition: partition.PartitionID(i)}
		c.waitISR(ids[i], brokers)
	}
	c.cold(partitions)
	return c, ids
}

// cold waits until every followed partition is kept by its leader.
func (c *cluster) cold(partitions int) {
	c.t.Helper()
	c.until("rest", func() bool {
		all := 0
		for id, m := range c.members {
			for leader := range c.members {
				if id != leader && m.node != nil {
					hot, _, kept := lanesOf(m.node, leader)
					if hot > 0 {
						return false
					}
					all += kept
				}
			}
		}
		return all == partitions*(len(c.members)-1)
	})
}

// fetches has each fetch of a cluster looked at, and lost if look says so.
func (c *cluster) fetches(look func(from, to transport.Addr, req replica.FetchRequest) (lost bool)) {
	var mu sync.Mutex // guards what look touches
	c.net.Lose(func(from, to transport.Addr, f transport.Frame) bool {
		req, err := replica.DecodeFetchRequest(f.Head)
		if f.Kind != transport.Kind(KindFetch) || err != nil || req.From == 0 {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		return look(from, to, req)
	})
}

func TestAnIdlePartitionIsNamedInNoFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 3, 30)
		var fetches, named int
		c.fetches(func(_, _ transport.Addr, req replica.FetchRequest) bool {
			fetches, named = fetches+1, named+len(req.Partitions)
			return false
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.LessOrEqual(t, fetches, 6*21, "one a pair of brokers and wait")
		require.NotZero(t, fetches)
		require.Zero(t, named)
		// A lone record is told, and then that it is committed; what follows names it alone.
		fetches = 0
		begun := time.Now()
		require.Equal(t, partition.OK, c.leader(ids[7]).Produce(t.Context(), all(ids[7]), batch(1, 10)).Code)
		require.Zero(t, time.Since(begun), "it does not wait for any fetch to end")
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.LessOrEqual(t, named, 8, "two followers: an ack, twice named anew, and once more if the first crossed the ack")
		c.cold(30)
		for _, m := range c.members {
			require.Equal(t, log.Offset(1), m.node.replica(ids[7]).highWatermark())
		}
	})
}

func TestWhatMovesIsHotAndCoolsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 2, 20)
		n := c.leader(ids[3])
		other := c.node(3 - n.self)
		hot := func() int { h, _, _ := lanesOf(other, n.self); return h }
		for range 200 {
			require.Equal(t, partition.OK, n.Produce(t.Context(), all(ids[3]), batch(1, 10)).Code)
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, 1, hot())
		c.cold(20)
		time.Sleep(time.Second)
		require.Nil(t, other.fetcher(n.self).calls[replica.Hot].ctx, "the lane has ended with its partitions")
	})
}

// An ack that is lost has no later fetch to say the same, unless it makes one.
func TestALostAckOfAColdPartitionIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 2, 5)
		lost := 0
		c.fetches(func(_, _ transport.Addr, req replica.FetchRequest) bool {
			ack := len(req.Partitions) == 1 && req.Partitions[0].MaxBytes == 0
			if ack {
				lost++
			}
			return ack
		})
		for _, m := range c.members {
			m.disk.Delay(time.Millisecond) // so that acks go beside the fetches
		}
		begun := time.Now()
		require.Equal(t, partition.OK, c.leader(ids[0]).Produce(t.Context(), all(ids[0]), batch(1, 10)).Code)
		require.NotZero(t, lost)
		require.Less(t, time.Since(begun), 3*time.Second)
	})
}

// Whoever is taken out of the ISR must fetch to join it again.
func TestWhoLeavesTheISRIsHot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 3, 6)
		st, _ := c.node(1).State(ids[0])
		st.PartitionEpoch++
		out := st.Leader%3 + 1
		st.ISR = []partition.BrokerID{st.Leader, out%3 + 1}
		time.Sleep(20 * time.Second) // the leader has forgotten when it had caught up
		c.a.propose(partition.EncodeRecords([]partition.Record{partition.ChangePartition{ID: ids[0], State: st}}))
		c.waitISR(ids[0], 3)
		c.cold(6)
	})
}

// An answer counts only if nothing has been asked since, in either lane.
func TestAnAnswerThatWasOvertakenIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 2, 1)
		n := c.leader(ids[0])
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(ids[0]), batch(1, 10)).Code)
		time.Sleep(100 * time.Millisecond)
		c.cold(1)
		r := c.node(3 - n.self).replica(ids[0])
		ask := func(sequence int64) *replica.LanesAsk[*Replica] {
			a := &replica.LanesAsk[*Replica]{Copy: r, Sequence: sequence}
			o := newRequestOp(n.self)
			o.max = 1
			o.put(time.Now(), a)
			require.True(t, a.Wants)
			return a
		}
		older, newer := ask(1<<40), ask(1<<40+1)
		lower := replica.FetchAnswer{ID: ids[0]} // of before the high watermark that is known here
		newAnsweredOp().hand(time.Now(), older, lower, nil)
		require.Equal(t, log.Offset(1), r.highWatermark())
		newAnsweredOp().hand(time.Now(), newer, lower, nil)
		require.Zero(t, r.highWatermark())
	})
}

// Another incarnation of the same process proves nothing by what the leader kept.
func TestAnotherBrokerEpochBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := many(t, 2, 10)
		n := c.node(2)
		named := make(chan int, 100)
		c.fetches(func(from, _ transport.Addr, req replica.FetchRequest) bool {
			if from == "broker-2" && req.Cold && req.After == 0 {
				named <- len(req.Partitions)
			}
			return false
		})
		n.epoch.Add(1_000)
		_, led, _ := lanesOf(n, 1)
		require.Equal(t, led, <-named)
	})
}

func TestAChainThatIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, id, n, follower := byHand(t)
		const far = 1 << 40
		cold := func(seq, after int64, wait int32, parts ...int) replica.FetchResponse {
			req := fetchRequest(n, follower, id, seq, 0, 1<<20)
			req.Cold, req.After, req.MaxWaitMs = true, after, wait
			req.Partitions = req.Partitions[:len(parts)]
			resp, _ := n.HandleFetch(t.Context(), req)
			return resp
		}
		require.True(t, cold(far+1, far, 0, 0).Lost, "nothing is known of the one before")
		require.False(t, cold(far+2, 0, 0, 0).Lost)
		require.Equal(t, 1, n.Stats().Parked, "it is kept beyond the fetch")
		require.True(t, cold(far+4, far+1, 0).Lost, "the one before is not the newest")
		require.True(t, cold(far+1, 0, 0).Lost, "late")
		require.True(t, cold(far+2, far+2, 0).Lost, "repeated")
		require.False(t, cold(far+5, far+2, 0).Lost, "and the chain holds")
		require.Equal(t, 1, n.Stats().Parked)
		go n.Produce(t.Context(), partition.ProduceRequest{ID: id, Epoch: log.NoEpoch, TimeoutMs: 1000}, batch(1, 10))
		synctest.Wait()
		require.Len(t, cold(far+6, far+5, 60_000).Partitions, 1, "there was news between two fetches")
		require.Zero(t, n.Stats().Parked, "what is told is kept no more")
		require.Empty(t, cold(far+7, far+6, 1000).Partitions)
		require.False(t, cold(far+8, 0, 0).Lost)
		require.Zero(t, n.Stats().Parked)
	})
}

// A request that is overtaken by a newer one leaves it its place at the leader.
func TestAnOlderRequestLeavesTheNewerOneItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, id, n, follower := byHand(t)
		r := n.replica(id)
		at := func(seq int64) *parked {
			return &parked{bell: new(bell), role: r.standing.Load(), Parked: replica.Parked{
				Follower: follower, Number: replica.FetchNumber{Broker: 1, Sequence: seq}, High: 9, End: 9,
			}}
		}
		older, newer := at(1), at(2)
		r.park(newer)
		r.park(older)
		require.Equal(t, []*parked{newer}, r.parked.All())
		r.unparkOlder(follower, replica.FetchNumber{Broker: 1, Sequence: 2})
		require.Equal(t, []*parked{newer}, r.parked.All())
		r.unparkOlder(follower, replica.FetchNumber{Broker: 2, Sequence: 1})
		require.Empty(t, r.parked.All())
	})
}

// Nor does what was kept by a fetch whose follower has not come again.
func TestWhatIsKeptExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, id, n, follower := byHand(t)
		req := fetchRequest(n, follower, id, 1<<40, 0, 1<<20)
		req.Cold, req.MaxWaitMs = true, 0
		resp, _ := n.HandleFetch(t.Context(), req)
		require.False(t, resp.Lost)
		time.Sleep(2 * time.Second)
		require.Equal(t, 1, n.Stats().Parked)
		time.Sleep(3 * time.Second)
		require.Zero(t, n.Stats().Parked)
	})
}

// What nobody asks for any more does not stay.
func TestWhatIsKeptForNobodyIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 2, 8)
		n := c.node(1)
		require.NotZero(t, n.Stats().Parked)
		c.kill(2)
		time.Sleep(10 * time.Second)
		require.Zero(t, n.Stats().Parked)
		c.start(2)
		for _, id := range ids {
			c.waitISR(id, 2)
		}
		c.cold(8)
	})
}

// Hundreds of partitions move and rest by turns while frames are lost and brokers
// die. No acknowledged record is missing at the end, and everything comes to rest.
func TestLanesUnderFaults(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			const partitions = 200
			c, ids := many(t, 3, partitions)
			rng := rand.New(rand.NewPCG(seed, 0))
			t.Logf("seed %d", seed)
			var mu sync.Mutex // guards faulty and dice
			faulty, dice := true, rand.New(rand.NewPCG(seed, 1))
			c.net.Lose(func(_, _ transport.Addr, f transport.Frame) bool {
				mu.Lock()
				defer mu.Unlock()
				return faulty && f.Kind == transport.Kind(KindFetch) && dice.IntN(50) == 0
			})
			acked := make(map[partition.ID]log.Offset)
			write := func(id partition.ID) {
				n := c.leader(id)
				if n == nil {
					return
				}
				req := all(id)
				req.TimeoutMs = 5_000
				if resp := n.Produce(t.Context(), req, batch(1, 10)); resp.Code == partition.OK {
					acked[id] = max(acked[id], resp.First+1)
				}
			}
			for step := range 60 {
				at := rng.IntN(partitions - 20)
				for range 3 {
					for _, id := range ids[at : at+rng.IntN(20)] {
						write(id)
					}
				}
				time.Sleep(time.Duration(rng.IntN(1200)) * time.Millisecond)
				if step%20 == 10 {
					dead := partition.BrokerID(2 + rng.IntN(2)) // 1 runs the controller
					c.kill(dead)
					write(ids[at])
					c.start(dead)
					c.ready(dead)
				}
			}
			mu.Lock()
			faulty = false
			mu.Unlock()
			time.Sleep(2 * time.Second) // a call whose answer was lost has ended
			require.NotEmpty(t, acked)
			for _, id := range ids {
				c.waitISR(id, 3)
			}
			c.cold(partitions)
			for id, end := range acked {
				high := c.leader(id).replica(id).highWatermark()
				require.GreaterOrEqual(t, high, end)
				for _, m := range c.members {
					require.Equal(t, high, m.node.replica(id).highWatermark(), "broker %d, partition %v", m.id, id)
					require.Equal(t, c.leader(id).replica(id).log.End(), m.node.replica(id).log.End())
				}
			}
			parked := 0
			for _, m := range c.members {
				parked += m.node.Stats().Parked
			}
			require.Equal(t, 2*partitions, parked, "one entry a follower, and no other")
		})
	}
}

// Who is to ack and stops to follow before it does leaves nothing to send: also where
// nothing was ever sent.
func TestAnAckThatIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{ctx: t.Context(), cfg: Config{FetchWait: time.Second, CallTimeout: time.Second}}
		f := newFetcher(n, 1)
		m, _ := f.lanes.Follow(time.Now(), partition.ID{}, &Replica{})
		require.True(t, f.lanes.Ack(m, false).Start[replica.Beside])
		f.remove(m)
		require.Nil(t, f.beginTurn(time.Now(), replica.Beside))
		m, _ = f.lanes.Follow(time.Now(), partition.ID{}, &Replica{})
		require.True(t, f.lanes.Ack(m, false).Start[replica.Beside], "the lane has rested")
	})
}
