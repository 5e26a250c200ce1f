package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport"
)

func readRequest(id partition.ID, from log.Offset, wait time.Duration, least int32) partition.ReadRequest {
	return partition.ReadRequest{
		MaxWaitMs: int32(wait / time.Millisecond), MinBytes: least, MaxBytes: 1 << 20,
		Partitions: []partition.ReadPartition{{ID: id, Epoch: log.NoEpoch, From: from, MaxBytes: 1 << 20}},
	}
}

type readResult struct {
	answer partition.ReadAnswer
	data   []byte
	took   time.Duration
}

// read reads in the background.
func read(ctx context.Context, n *Node, req partition.ReadRequest) <-chan readResult {
	done := make(chan readResult, 1)
	begun := time.Now()
	go func() {
		resp, data := n.HandleRead(ctx, req)
		done <- readResult{resp.Partitions[0], data[0], time.Since(begun)}
	}()
	return done
}

func TestAReaderWaitsForWhatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, n := stuck(t)
		r := n.replica(id)
		begun := time.Now()
		got := read(t.Context(), n, readRequest(id, 0, time.Minute, 1))
		time.Sleep(50 * time.Millisecond)
		require.Equal(t, 1, n.Stats().Parked-parkedFollowers(n))
		go n.Produce(t.Context(), all(id), batch(2, 10))
		time.Sleep(50 * time.Millisecond)
		require.Empty(t, got, "written, and not committed")
		require.Equal(t, log.Offset(2), r.log.End())
		res := <-read(t.Context(), n, readRequest(id, 0, 0, 1))
		require.Equal(t, partition.OK, res.answer.Code)
		require.Empty(t, res.data)
		res = <-read(t.Context(), n, readRequest(id, 1, 0, 1))
		require.Equal(t, partition.OutOfRange, res.answer.Code, "nobody can have read so far")
		c.net.Heal()
		res = <-got
		require.Equal(t, len(batch(2, 10)), len(res.data))
		require.Equal(t, log.Offset(2), res.answer.HighWatermark)
		require.Less(t, time.Since(begun), 5*time.Second)
		c.until("nothing parked", func() bool { return n.Stats().Parked == parkedFollowers(n) })
	})
}

func parkedFollowers(n *Node) int {
	parked := 0
	for _, r := range n.hosted() {
		r.mu.Lock()
		for _, p := range r.parked.All() {
			if p.Follower != partition.NoBroker {
				parked++
			}
		}
		r.mu.Unlock()
	}
	return parked
}

func TestHowAParkedReadEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *cluster, n *Node, cancel func())
		want partition.Code
		took time.Duration
	}{
		{"by its time", func(*cluster, *Node, func()) {}, partition.OK, time.Minute},
		{"by its caller", func(_ *cluster, _ *Node, cancel func()) { cancel() }, partition.OK, time.Second},
		{"by a stop of the broker", func(c *cluster, _ *Node, _ func()) { c.members[1].cancel() }, partition.NotLeader, time.Second},
		{"by a failing disk", func(c *cluster, n *Node, _ func()) {
			r := n.replica(c.first())
			r.do(lookOp(func() { r.fail(errors.New("bad disk")) }))
		}, partition.NotLeader, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				id := c.create(partition.TopicConfig{Name: "rides"})
				n := c.node(1)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := read(ctx, n, readRequest(id, 0, time.Minute, 1))
				time.Sleep(time.Second)
				require.Equal(t, 1, n.Stats().Parked)
				tt.end(c, n, cancel)
				res := <-got
				require.Equal(t, tt.want, res.answer.Code)
				require.Equal(t, tt.took, res.took)
				require.Zero(t, n.Stats().Parked)
			})
		})
	}
}

// A reader who wants more than there is sleeps; one who looked again and again
// would never let a bubble's clock go on.
func TestAReaderWhoWantsMoreSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		n := c.node(1)
		size := int32(len(batch(1, 100)))
		produce := func() { require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 100)).Code) }
		produce()
		got := read(t.Context(), n, readRequest(id, 0, time.Minute, 2*size))
		time.Sleep(time.Second)
		require.Empty(t, got)
		produce()
		res := <-got
		require.Equal(t, time.Second, res.took)
		require.Len(t, res.data, int(2*size))
		res = <-read(t.Context(), n, readRequest(id, 0, time.Second, 1<<20))
		require.Equal(t, time.Second, res.took)
		require.Len(t, res.data, int(2*size))

		req := readRequest(id, 0, time.Minute, 1<<20)
		req.MaxBytes = size // less than MinBytes: the least that fills it is enough
		require.Zero(t, (<-read(t.Context(), n, req)).took)
	})
}

// The log may be another's by the time that a read returns, and what it returns of another
// history.
func TestAReadThatARoleDoesNotOutlastCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 10)).Code)
		require.NoError(t, c.stop(1)) // so that the disk is read
		c.start(1)
		c.until("it leads", func() bool { return c.leader(id) != nil })
		n, disk := c.node(1), c.members[1].disk
		r, reads := n.replica(id), 0
		disk.Before(func(op logtest.Op, _ string) {
			if op == logtest.Read {
				reads++
				r.standing.Store(&role{epoch: r.standing.Load().epoch + 1, leader: 2})
			}
		})
		res := <-read(t.Context(), n, readRequest(id, 0, 0, 1))
		disk.Before(nil)
		require.NotZero(t, reads)
		require.Equal(t, partition.NotLeader, res.answer.Code)
		require.Empty(t, res.data)
	})
}

// fetchRequest is what a follower of that log end asks for.
func fetchRequest(n *Node, from partition.BrokerID, id partition.ID, seq int64, at log.Offset, maxBytes int32) replica.FetchRequest {
	b, _ := n.Broker(from)
	st, _ := n.State(id)
	r := n.replica(id)
	last := log.NoEpoch
	if at > 0 {
		last, _ = r.log.EpochAt(at - 1)
	}
	return replica.FetchRequest{
		From: from, BrokerEpoch: b.Epoch, Sequence: seq, MaxWaitMs: 10_000, MinBytes: 1, MaxBytes: 1 << 20,
		Partitions: []replica.FetchPartition{{
			ID: id, Epoch: st.Epoch, Fetch: at, LastEpoch: last, Ack: at, MaxBytes: maxBytes, HighWatermark: r.highWatermark(),
		}},
	}
}

// byHand returns a cluster of two whose follower the test plays itself.
func byHand(t *testing.T) (c *cluster, id partition.ID, n *Node, follower partition.BrokerID) {
	c, id, n = stuck(t)
	follower = 3 - n.self
	time.Sleep(2 * time.Second) // what was parked has gone
	return c, id, n, follower
}

func TestAFollowersFetchParks(t *testing.T) {
	const far = 1 << 40 // above the follower's own sequence
	type result struct {
		resp replica.FetchResponse
		data [][]byte
		took time.Duration
	}
	for _, tt := range []struct {
		name string
		wake func(c *cluster, id partition.ID, n *Node, follower partition.BrokerID)
		want func(t *testing.T, r result)
	}{
		{"until there are records", func(_ *cluster, id partition.ID, n *Node, _ partition.BrokerID) {
			go n.Produce(context.Background(), partition.ProduceRequest{ID: id, Epoch: log.NoEpoch, TimeoutMs: 1000}, batch(1, 10))
		}, func(t *testing.T, r result) {
			require.Len(t, r.data[0], len(batch(1, 10)))
			require.Equal(t, time.Second, r.took)
		}},
		{"until the role changes", func(c *cluster, _ partition.ID, n *Node, _ partition.BrokerID) {
			b, _ := n.Broker(n.self)
			c.a.propose(partition.EncodeRecords([]partition.Record{partition.ChangeBroker{ID: n.self, Epoch: b.Epoch, Fenced: true}}))
		}, func(t *testing.T, r result) {
			require.Equal(t, partition.NotLeader, r.resp.Partitions[0].Code)
			require.Equal(t, time.Second, r.took)
		}},
		{"until its time is over", func(*cluster, partition.ID, *Node, partition.BrokerID) {}, func(t *testing.T, r result) {
			require.Equal(t, partition.OK, r.resp.Partitions[0].Code)
			require.Empty(t, r.data[0])
			require.Equal(t, 2*time.Second, r.took)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, id, n, follower := byHand(t)
				done := make(chan result, 1)
				begun := time.Now()
				go func() {
					req := fetchRequest(n, follower, id, far, 0, 1<<20)
					req.MaxWaitMs = 2000
					resp, data := n.HandleFetch(t.Context(), req)
					done <- result{resp, data, time.Since(begun)}
				}()
				time.Sleep(time.Second)
				require.Empty(t, done)
				require.Equal(t, 1, n.Stats().Parked)
				tt.wake(c, id, n, follower)
				tt.want(t, <-done)
				require.Zero(t, n.Stats().Parked)
			})
		})
	}
}

// The high watermark alone wakes a follower too, but only after a lull: the next
// record may come first. An ack never waits.
func TestAnAckWakesTheFetchBesideIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, id, n, follower := byHand(t)
		produced := make(chan partition.Code, 1)
		go func() { produced <- n.Produce(t.Context(), all(id), batch(1, 10)).Code }()
		time.Sleep(time.Millisecond)
		req := fetchRequest(n, follower, id, 1<<40, 1, 1<<20)
		req.Partitions[0].Ack = 0 // it has the record, and has not flushed it
		done := make(chan replica.FetchResponse, 1)
		go func() {
			resp, _ := n.HandleFetch(t.Context(), req)
			done <- resp
		}()
		time.Sleep(time.Second)
		require.Empty(t, produced)
		require.Empty(t, done)
		begun := time.Now()
		ack, _ := n.HandleFetch(t.Context(), fetchRequest(n, follower, id, 1<<40+1, 1, 0))
		require.Equal(t, partition.OK, ack.Partitions[0].Code)
		require.Equal(t, partition.OK, <-produced)
		require.Zero(t, time.Since(begun))
		require.Equal(t, log.Offset(1), (<-done).Partitions[0].HighWatermark)
		require.Equal(t, replica.Lull, time.Since(begun))
	})
}

// Nor does a follower wait for longer that has yet to hear of it when it asks.
func TestAFetchThatKnowsTooLittleIsAnsweredAfterALull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, id, n, follower := byHand(t)
		go n.Produce(t.Context(), all(id), batch(1, 10))
		synctest.Wait()
		n.HandleFetch(t.Context(), fetchRequest(n, follower, id, 1<<40, 1, 0))
		req := fetchRequest(n, follower, id, 1<<40+1, 1, 1<<20)
		require.Equal(t, log.Offset(1), req.Partitions[0].HighWatermark)
		req.Partitions[0].HighWatermark = 0
		begun := time.Now()
		resp, data := n.HandleFetch(t.Context(), req)
		require.Equal(t, log.Offset(1), resp.Partitions[0].HighWatermark)
		require.Empty(t, data[0])
		require.Equal(t, replica.Lull, time.Since(begun))
	})
}

// Records that come within the lull bring the high watermark along, and end it.
func TestRecordsEndALull(t *testing.T) {
	for _, told := range []int64{0, 1} { // by the fetch itself, and while it is parked
		synctest.Test(t, func(t *testing.T) {
			_, id, n, follower := byHand(t)
			produce := func() { n.Produce(t.Context(), all(id), batch(1, 10)) }
			go produce()
			synctest.Wait()
			req := fetchRequest(n, follower, id, 1<<40+told, 1, 1<<20)
			req.Partitions[0].Ack = log.Offset(1 - told)
			done := make(chan replica.FetchResponse, 1)
			go func() {
				resp, data := n.HandleFetch(t.Context(), req)
				assert.NotEmpty(t, data[0])
				done <- resp
			}()
			synctest.Wait()
			if told == 1 {
				n.HandleFetch(t.Context(), fetchRequest(n, follower, id, 1<<40+2, 1, 0))
			}
			begun := time.Now()
			time.Sleep(replica.Lull / 2)
			require.Empty(t, done)
			go produce()
			require.Equal(t, log.Offset(1), (<-done).Partitions[0].HighWatermark)
			require.Equal(t, replica.Lull/2, time.Since(begun))
		})
	}
}

func TestFetchesThatProveNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*replica.FetchRequest)
		want func(t *testing.T, resp replica.FetchResponse)
	}{
		{"of an earlier incarnation", func(r *replica.FetchRequest) { r.BrokerEpoch-- }, func(t *testing.T, resp replica.FetchResponse) {
			require.Equal(t, partition.StaleBroker, resp.Code)
		}},
		{"of another epoch", func(r *replica.FetchRequest) { r.Partitions[0].Epoch++ }, func(t *testing.T, resp replica.FetchResponse) {
			require.Equal(t, partition.UnknownEpoch, resp.Partitions[0].Code)
		}},
		{"of a partition that is not here", func(r *replica.FetchRequest) { r.Partitions[0].ID.Partition = 9 }, func(t *testing.T, resp replica.FetchResponse) {
			require.Equal(t, partition.UnknownPartition, resp.Partitions[0].Code)
		}},
		{"of an older number", func(r *replica.FetchRequest) { r.Sequence = 0 }, func(t *testing.T, resp replica.FetchResponse) {
			require.Equal(t, partition.OK, resp.Partitions[0].Code)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, id, n, follower := byHand(t)
				go n.Produce(t.Context(), partition.ProduceRequest{ID: id, Epoch: log.NoEpoch, TimeoutMs: 1000}, batch(1, 10))
				time.Sleep(time.Millisecond)
				req := fetchRequest(n, follower, id, 1<<40, 1, 1<<20)
				n.HandleFetch(t.Context(), fetchRequest(n, follower, id, 1<<39, 0, 0))
				tt.edit(&req)
				begun := time.Now()
				resp, _ := n.HandleFetch(t.Context(), req)
				tt.want(t, resp)
				require.LessOrEqual(t, time.Since(begun), newsPatience)
				require.Zero(t, n.replica(id).highWatermark())
			})
		})
	}
}

// A request of a higher number never says less of a replica than one of a lower.
func TestFetchesAreNumberedInTheOrderOfWhatTheySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 2})
		c.waitISR(id, 2)
		n := c.leader(id)
		var newest int64
		var ack log.Offset
		seen := make(map[int64]log.Offset)
		c.net.Lose(func(_, _ transport.Addr, f transport.Frame) bool {
			if req, err := replica.DecodeFetchRequest(f.Head); f.Kind == transport.Kind(KindFetch) && err == nil && len(req.Partitions) == 1 {
				n.mu.Lock() // guards seen; nobody holds it here
				seen[req.Sequence] = req.Partitions[0].Ack
				n.mu.Unlock()
			}
			return false
		})
		for _, m := range c.members {
			m.disk.Delay(50 * time.Microsecond)
		}
		for range 300 {
			require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		require.Greater(t, len(seen), 300)
		for newest = range int64(len(seen)) {
			if a, ok := seen[newest]; ok {
				require.GreaterOrEqual(t, a, ack, "request %d", newest)
				ack = a
			}
		}
	})
}

func TestInfoAndMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		n := c.node(1)
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(4, 10)).Code)
		st, _ := n.State(id)
		require.Equal(t, partition.InfoResponse{Epoch: st.Epoch, Leader: 1, HighWatermark: 4, End: 4}, n.HandleInfo(t.Context(), partition.InfoRequest{ID: id}))
		require.Equal(t, partition.UnknownPartition, n.HandleInfo(t.Context(), partition.InfoRequest{}).Code)

		image := n.HandleMetadata(t.Context(), partition.MetadataRequest{After: -1, MaxWaitMs: 60_000})
		require.Len(t, image.Topics, 1)
		begun := time.Now()
		require.Equal(t, image.Offset, n.HandleMetadata(t.Context(), partition.MetadataRequest{After: image.Offset, Controller: 1, MaxWaitMs: 700}).Offset)
		require.Equal(t, 700*time.Millisecond, time.Since(begun))
		newer := make(chan partition.Image, 1)
		go func() {
			newer <- n.HandleMetadata(t.Context(), partition.MetadataRequest{After: image.Offset, Controller: 1, MaxWaitMs: 60_000})
		}()
		time.Sleep(time.Second)
		c.create(partition.TopicConfig{Name: "more"})
		require.Greater(t, (<-newer).Offset, image.Offset)

		// A change of the controller is in no record.
		image = n.image()
		begun = time.Now()
		old := partition.MetadataRequest{After: image.Offset, Controller: 3, MaxWaitMs: 60_000}
		require.Equal(t, partition.BrokerID(1), n.HandleMetadata(t.Context(), old).Controller)
		require.Zero(t, time.Since(begun))
		old.After++ // who knows more than this broker may know better
		old.MaxWaitMs = 300
		n.HandleMetadata(t.Context(), old)
		require.Equal(t, 300*time.Millisecond, time.Since(begun))
		go func() {
			newer <- n.HandleMetadata(t.Context(), partition.MetadataRequest{After: image.Offset, Controller: 1, MaxWaitMs: 60_000})
		}()
		synctest.Wait()
		c.a.lead(2)
		require.Equal(t, partition.BrokerID(2), (<-newer).Controller)
		require.Equal(t, 300*time.Millisecond, time.Since(begun))
	})
}
