package node

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

func TestProduceRefusesWhatItMustNotWrite(t *testing.T) {
	flipped := append(log.Batch(nil), batch(1, 10)...)
	flipped[len(flipped)-1] ^= 1
	for _, tt := range []struct {
		name  string
		edit  func(*partition.ProduceRequest)
		batch log.Batch
		want  partition.Code
	}{
		{"nothing at all", nil, nil, partition.CorruptBatch},
		{"half a batch", nil, batch(1, 100)[:80], partition.CorruptBatch},
		{"two batches", nil, append(batch(1, 10), batch(1, 10)...), partition.CorruptBatch},
		{"a flipped bit", nil, flipped, partition.CorruptBatch},
		{"a batch above the topic's limit", nil, batch(1, 5000), partition.BatchTooLarge},
		{"records that inflate to too much", nil, packed(log.Gzip, 70_000), partition.BatchTooLarge},
		{"compressed records of which none is good", nil, garbage(log.Zstd), partition.CorruptBatch},
		{"compression by lz4", nil, garbage(3), partition.Unsupported},
		{"acks that there are none of", func(r *partition.ProduceRequest) { r.Acks = 9 }, batch(1, 10), partition.Malformed},
		{"a partition that there is none of", func(r *partition.ProduceRequest) { r.ID.Partition = 7 }, batch(1, 10), partition.UnknownPartition},
		{"an epoch that is over", func(r *partition.ProduceRequest) { r.Epoch = 0 }, batch(1, 10), partition.FencedEpoch},
		{"an epoch to come", func(r *partition.ProduceRequest) { r.Epoch = 99 }, batch(1, 10), partition.UnknownEpoch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				id := c.create(partition.TopicConfig{Name: "rides", MaxBatchBytes: 4096})
				require.NoError(t, c.stop(1)) // so that an epoch is over
				c.start(1)
				c.until("leader", func() bool { return c.leader(id) != nil })
				req := all(id)
				if tt.edit != nil {
					tt.edit(&req)
				}
				got := c.node(1).Produce(t.Context(), req, tt.batch)
				require.Equal(t, tt.want, got.Code)
				require.False(t, got.Code.OutcomeUnknown())
				if r := c.node(1).replica(id); r != nil {
					require.Zero(t, r.log.End())
				}
			})
		})
	}
}

// packed returns a compressed batch of one large record.
func packed(codec log.Compression, size int) log.Batch {
	var b log.Builder
	b.Append(1_000, nil, make([]byte, size), nil)
	return b.Compress(codec)
}

// garbage returns a batch that says that it is compressed, and is not.
func garbage(codec log.Compression) log.Batch {
	b := batch(1, 10)
	b[22] = byte(codec)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// A compressed batch counts as it travels, and is stored as it came, everywhere.
func TestCompressedBatchesAreKeptAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 2, MaxBatchBytes: 4096})
		c.waitISR(id, 2)
		var want [][]byte
		for _, codec := range []log.Compression{log.Gzip, log.Snappy, log.Zstd} {
			b := packed(codec, 60_000)
			require.Equal(t, codec, b.Compression())
			require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), b).Code)
			want = append(want, b[log.BatchOverhead:])
		}
		for n := range 2 {
			r := c.node(partition.BrokerID(n + 1)).replica(id)
			data, err := r.log.Read(0, r.log.End(), 1<<20)
			require.NoError(t, err)
			for _, section := range want {
				var b log.Batch
				b, data, err = log.SplitBatch(data)
				require.NoError(t, err)
				require.Equal(t, section, []byte(b[log.BatchOverhead:]))
				for rec, err := range b.Records() {
					require.NoError(t, err)
					require.Len(t, rec.Value, 60_000)
				}
			}
			require.Empty(t, data)
		}
	})
}

func TestProduceElsewhereNamesTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 1})
		leader := c.leader(id)
		other := c.node(3 - leader.self)
		c.until("the other's metadata", func() bool { _, ok := other.State(id); return ok })
		got := other.Produce(t.Context(), all(id), batch(1, 10))
		require.Equal(t, partition.NotLeader, got.Code)
		require.Equal(t, leader.self, got.Leader)
	})
}

func TestBatchesAboveADefaultAreTakenWhereTheTopicAllowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "films", MaxBatchBytes: 4 << 20})
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(1, 3<<20)).Code)
		require.NoError(t, c.stop(1))
		c.start(1)
		c.until("leader", func() bool { return c.leader(id) != nil })
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(1, 3<<20)).Code)
	})
}

// What an answer promises, and when it comes: each sync takes 10 ms.
func TestAcks(t *testing.T) {
	const sync = 10 * time.Millisecond
	for _, tt := range []struct {
		name       string
		durability partition.Durability
		acks       partition.Acks
		flushed    bool // by the leader, when the answer comes
		committed  bool
	}{
		{"synced, all", partition.Synced, partition.AcksAll, true, true},
		{"synced, leader", partition.Synced, partition.AcksLeader, true, false},
		{"synced, none", partition.Synced, partition.AcksNone, false, false},
		{"unsynced, all", partition.Unsynced, partition.AcksAll, false, true},
		{"unsynced, leader", partition.Unsynced, partition.AcksLeader, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2)
				id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 2, Durability: tt.durability})
				c.waitISR(id, 2)
				n := c.leader(id)
				require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
				time.Sleep(time.Second)
				for _, m := range c.members {
					m.disk.Delay(sync)
				}
				// The follower is cut off, so that nothing is committed while that lasts.
				r, follower := n.replica(id), 3-n.self
				c.net.Cut(transport.Addr(addr(follower)), transport.Addr(addr(n.self)))
				answered := make(chan time.Duration, 1)
				begun := time.Now()
				go func() {
					req := all(id)
					req.Acks = tt.acks
					if n.Produce(t.Context(), req, batch(1, 10)).Code == partition.OK {
						answered <- time.Since(begun)
					}
				}()
				time.Sleep(100 * time.Millisecond)
				if !tt.committed {
					took := <-answered
					require.Equal(t, tt.flushed, took >= sync, "answered after %v", took)
					require.Equal(t, log.Offset(1), r.highWatermark())
					return
				}
				require.Empty(t, answered)
				require.Equal(t, log.Offset(1), r.highWatermark())
				c.net.Heal()
				<-answered
				require.Equal(t, log.Offset(2), r.highWatermark())
				require.Equal(t, log.Offset(2), c.node(follower).replica(id).log.End())
				if tt.flushed {
					require.Equal(t, log.Offset(2), c.node(follower).replica(id).log.Flushed())
				} else {
					require.Less(t, c.node(follower).replica(id).log.Flushed(), log.Offset(2), "nobody asked for a sync")
				}
			})
		})
	}
}

// stuck returns a cluster of two whose leader waits for a follower that lives, and
// whose fetches are lost.
func stuck(t *testing.T) (*cluster, partition.ID, *Node) {
	c := newCluster(t, 2)
	id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 2})
	c.waitISR(id, 2)
	n := c.leader(id)
	c.net.Lose(func(_, to transport.Addr, f transport.Frame) bool {
		return string(to) == addr(n.self) && f.Kind == transport.Kind(KindFetch)
	})
	return c, id, n
}

func TestAWaitThatEndsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, n := stuck(t)
		req := all(id)
		req.TimeoutMs = 50
		begun := time.Now()
		require.Equal(t, partition.TimedOut, n.Produce(t.Context(), req, batch(1, 10)).Code)
		require.Equal(t, 50*time.Millisecond, time.Since(begun))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.Equal(t, partition.TimedOut, n.Produce(ctx, all(id), batch(1, 10)).Code)
		r := n.replica(id)
		look := make(chan int)
		r.do(lookOp(func() { go func(n int) { look <- n }(len(r.waiters)) }))
		require.Zero(t, <-look)
		c.net.Heal()
		c.until("high watermark", func() bool { return r.highWatermark() == 2 })
	})
}

// A lookOp looks at what is the owner's.
type lookOp func()

func (o lookOp) perform(*Replica, time.Time) { o() }

func TestWhoeverWaitsIsAnsweredWhenTheRoleEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *cluster, n *Node)
		want partition.Code
	}{
		{"by a stop", func(c *cluster, n *Node) { _ = c.stop(n.self) }, partition.Resigned},
		{"by a failing disk", func(c *cluster, n *Node) {
			r := c.leader(c.first()).replica(c.first())
			r.do(lookOp(func() { r.fail(errors.New("bad disk")) }))
		}, partition.StorageFailed},
		{"by fencing, though the metadata still names it", func(c *cluster, n *Node) {
			c.a.lead(partition.NoBroker) // nobody elects another
			b, _ := n.Broker(n.self)
			c.a.propose(partition.EncodeRecords([]partition.Record{partition.ChangeBroker{ID: n.self, Epoch: b.Epoch, Fenced: true}}))
		}, partition.Resigned},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, id, n := stuck(t)
				codes := make(chan partition.Code, 3)
				for range 3 {
					go func() { codes <- n.Produce(t.Context(), all(id), batch(1, 10)).Code }()
				}
				time.Sleep(100 * time.Millisecond)
				require.Empty(t, codes)
				tt.end(c, n)
				for range 3 {
					code := <-codes
					require.Equal(t, tt.want, code)
					require.True(t, code.OutcomeUnknown())
				}
			})
		})
	}
}

// first returns the only topic's first partition.
func (c *cluster) first() partition.ID {
	for _, m := range c.members {
		if m.node != nil {
			for _, t := range m.node.Topics() {
				return partition.ID{Topic: t.ID}
			}
		}
	}
	return partition.ID{}
}

// Who asks a broker that has stopped is told so, and not left to wait for roles
// that nobody takes any more.
func TestAStoppedNodeKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		n := c.node(1)
		n.Fail(errors.New("no more"))
		<-n.ctx.Done()
		n.mu.Lock()
		n.moved()
		n.mu.Unlock()
		err := <-c.members[1].ended
		require.ErrorContains(t, err, "no more")
		c.members[1].ended <- nil
		begun := time.Now()
		require.Equal(t, partition.NotLeader, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		got, _ := n.HandleRead(t.Context(), partition.ReadRequest{MaxWaitMs: 60_000, Partitions: []partition.ReadPartition{{ID: id, Epoch: log.NoEpoch}}})
		require.Equal(t, partition.NotLeader, got.Partitions[0].Code)
		require.Zero(t, time.Since(begun))
	})
}

// A full disk refuses; the broker lives, and goes on when there is room again.
func TestAFullDiskRefusesAndNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		n, disk := c.node(1), c.members[1].disk
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		disk.FailNth(logtest.Write, 1, syscall.ENOSPC)
		code := n.Produce(t.Context(), all(id), batch(1, 10)).Code
		require.Equal(t, partition.DiskFull, code)
		require.False(t, code.OutcomeUnknown())
		resp := n.Produce(t.Context(), all(id), batch(1, 10))
		require.Equal(t, partition.OK, resp.Code)
		require.Equal(t, log.Offset(1), resp.First)

		disk.FailNth(logtest.Create, 1, syscall.ENOSPC) // a new partition waits for room
		other := c.create(partition.TopicConfig{Name: "other"})
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(other), batch(1, 10)).Code)
		require.NoError(t, c.stop(1))
	})
}

func TestAFailingDiskEndsTheNode(t *testing.T) {
	bad := errors.New("bad disk")
	for _, tt := range []struct {
		name string
		op   logtest.Op
		err  error
		want partition.Code
	}{
		{"a sync", logtest.Sync, bad, partition.StorageFailed},
		{"a sync that finds no room", logtest.Sync, syscall.ENOSPC, partition.StorageFailed},
		{"a write", logtest.Write, bad, partition.StorageFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				id := c.create(partition.TopicConfig{Name: "rides"})
				m := c.members[1]
				require.Equal(t, partition.OK, m.node.Produce(t.Context(), all(id), batch(1, 10)).Code)
				m.disk.FailNth(tt.op, 1, tt.err)
				require.Equal(t, tt.want, m.node.Produce(t.Context(), all(id), batch(1, 10)).Code)
				err := <-m.ended
				require.ErrorIs(t, err, tt.err)
				require.ErrorContains(t, err, "node: broker 1: storage: ")
				require.Equal(t, partition.NotLeader, m.node.Produce(t.Context(), all(id), batch(1, 10)).Code, "nothing is written any more")
				m.ended <- nil
				_ = c.stop(1)
				require.Empty(t, contents(t, m.disk, "data/clean"))
			})
		})
	}
}

// Many callers at once: each record is there once, at the place that was told, in
// the order of its sender. Run it with the race detector.
func TestManyCallersShareAPartition(t *testing.T) {
	for _, durability := range []partition.Durability{partition.Synced, partition.Unsynced} {
		t.Run(durability.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 2)
				id := c.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 2, Durability: durability})
				c.waitISR(id, 2)
				n := c.leader(id)
				for _, m := range c.members {
					m.disk.Delay(100 * time.Microsecond)
				}
				const senders, each = 16, 60
				places := make([][]log.Offset, senders)
				var sending sync.WaitGroup
				for s := range senders {
					sending.Go(func() {
						acks := rand.New(rand.NewSource(int64(s)))
						for range each {
							req := all(id)
							req.Acks = partition.Acks(acks.Intn(3))
							resp := n.Produce(t.Context(), req, batch(1, s))
							if resp.Code != partition.OK {
								t.Errorf("sender %d: %v", s, resp.Code)
								return
							}
							places[s] = append(places[s], resp.First)
						}
					})
				}
				sending.Wait()
				r := n.replica(id)
				c.until("all committed", func() bool { return r.highWatermark() == senders*each })
				sizes := make(map[log.Offset]int)
				for _, m := range c.members {
					at := log.Offset(0)
					for at < senders*each {
						data, err := m.node.replica(id).log.Read(at, senders*each, 1<<20)
						require.NoError(t, err)
						for len(data) > 0 {
							var b log.Batch
							b, data, err = log.SplitBatch(data)
							require.NoError(t, err)
							for rec, err := range b.Records() {
								require.NoError(t, err)
								sizes[rec.Offset] = len(rec.Value)
							}
							at = b.Next()
						}
					}
				}
				for s, offsets := range places {
					require.IsIncreasing(t, offsets)
					for _, off := range offsets {
						require.Equal(t, s, sizes[off], "offset %d", off)
					}
				}
			})
		})
	}
}

// What is appended while a flush is under way is not part of it.
func TestAFlushCoversNoMoreThanWasThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		n := c.node(1)
		r := n.replica(id)
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		c.members[1].disk.Delay(10 * time.Millisecond)
		first := make(chan partition.Code, 1)
		go func() { first <- n.Produce(t.Context(), all(id), batch(1, 10)).Code }()
		time.Sleep(5 * time.Millisecond)
		second := make(chan partition.Code, 1)
		go func() { second <- n.Produce(t.Context(), all(id), batch(1, 10)).Code }()
		time.Sleep(6 * time.Millisecond)
		require.Equal(t, partition.OK, <-first)
		require.Empty(t, second)
		require.Equal(t, log.Offset(3), r.log.End())
		require.Equal(t, log.Offset(2), r.highWatermark())
		require.Equal(t, partition.OK, <-second)
	})
}
