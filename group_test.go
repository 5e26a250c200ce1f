package samsa_test

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// A tally is what a group has been given.
type tally struct {
	mu       sync.Mutex
	seen     map[uint64]int
	furthest map[samsa.PartitionID]samsa.Offset // of the first deliveries
	skipped  []samsa.Record
}

func newTally() *tally {
	return &tally{seen: make(map[uint64]int), furthest: make(map[samsa.PartitionID]samsa.Offset)}
}

func (y *tally) take(rec samsa.Record) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.seen[binary.BigEndian.Uint64(rec.Value)]++
	if next := y.furthest[rec.Partition]; rec.Offset > next {
		y.skipped = append(y.skipped, rec) // what came before was given to nobody
	}
	y.furthest[rec.Partition] = max(y.furthest[rec.Partition], rec.Offset+1)
}

func (y *tally) has(acked map[uint64]samsa.Record) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	for number := range acked {
		if y.seen[number] == 0 {
			return false
		}
	}
	return true
}

// A group of three shares a topic. One member dies without a word, and so does the
// broker that coordinates the group; nothing is skipped.
func TestGroupLosesAMemberAndItsCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		given := newTally()
		var members sync.WaitGroup
		var clients []*samsa.Client
		readCtx, stop := context.WithCancel(ctx)
		for range 3 {
			client, err := cluster.Dial(ctx)
			require.NoError(t, err)
			clients = append(clients, client)
			consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{orders}})
			require.NoError(t, err)
			members.Go(func() {
				for rec, err := range consumer.Records(readCtx) {
					if err != nil {
						return // of the one that dies
					}
					given.take(rec)
				}
			})
		}
		require.NoError(t, cluster.WaitAssigned(ctx, "g", 3))
		info, err := cluster.Client().Group("g").Info(ctx)
		require.NoError(t, err)
		for _, m := range info.Members {
			require.Len(t, m.Assigned, 2, "six partitions over three members")
		}

		l := startLoad(ctx, t, cluster.Client(), 4)
		l.until(1000)
		require.NoError(t, clients[1].Close())
		l.until(2000)
		l.finish()
		before := time.Now()
		require.NoError(t, cluster.WaitAssigned(ctx, "g", 2))
		t.Logf("two members after %v", time.Since(before))
		l.start(ctx, 4)
		for _, id := range cluster.Brokers() { // one of them is the coordinator
			require.NoError(t, cluster.Kill(id))
			l.until(l.acked.Load() + 500)
			require.NoError(t, cluster.Restart(ctx, id))
			require.NoError(t, cluster.WaitISR(ctx, orders, 3))
		}
		acked := l.finish()
		for !given.has(acked) && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, cluster.WaitLagZero(ctx, "g"))
		stop()
		members.Wait()
		require.True(t, given.has(acked), "records that no member was given")
		require.Empty(t, given.skipped)
	})
}

// Groups are listed over all their coordinators, whoever has them.
func TestGroupsAreListed(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		names, err := client.Groups(ctx)
		require.NoError(t, err)
		require.Empty(t, names, "before the first")
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders}))
		want := []string{"a", "b", "c", "d", "e", "f"}
		for _, name := range want {
			member, err := client.NewConsumer(samsa.ConsumerConfig{Group: name, Topics: []string{orders}})
			require.NoError(t, err)
			defer func() { require.NoError(t, member.Close()) }()
			short, cancel := context.WithTimeout(ctx, time.Second)
			_, err = member.Poll(short, 1) // it joins
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		names, err = client.Groups(ctx)
		require.NoError(t, err)
		require.Equal(t, want, names)
		leader, err := c.Leader(ctx, "__consumer_offsets", 0)
		require.NoError(t, err)
		require.NoError(t, c.Kill(leader))
		names, err = client.Groups(ctx)
		require.NoError(t, err)
		require.Equal(t, want, names, "the others coordinate them")
	})
}

// How a loop is left decides what is delivered again.
func TestLoopSaysWhatIsProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cluster := samsatest.Start(t, 1)
		client := cluster.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		for i := range 10 {
			_, err := producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte{byte(i)}})
			require.NoError(t, err)
		}
		// loop reads n records in a consumer of its own and leaves by the last.
		loop := func(n int, leave func(c *samsa.Consumer, rec samsa.Record)) (got []byte) {
			consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}})
			require.NoError(t, err)
			defer func() { require.NoError(t, consumer.Close()) }()
			defer func() { _ = recover() }()
			for rec, err := range consumer.Records(ctx) {
				require.NoError(t, err)
				if got = append(got, rec.Value[0]); len(got) == n {
					leave(consumer, rec)
					break
				}
			}
			return got
		}
		nothing := func(*samsa.Consumer, samsa.Record) {}
		require.Equal(t, []byte{0, 1, 2}, loop(3, nothing))
		require.Equal(t, []byte{2, 3}, loop(2, nothing), "break: the last one was not processed")
		loop(2, func(*samsa.Consumer, samsa.Record) { panic("at record 4") })
		require.Equal(t, []byte{4, 5}, loop(2, func(c *samsa.Consumer, rec samsa.Record) {
			require.NoError(t, c.Commit(ctx, rec))
		}), "a panic is no better")
		require.Equal(t, []byte{6}, loop(1, nothing), "Commit said otherwise")

		consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}})
		require.NoError(t, err)
		defer consumer.Close()
		ended, cancel := context.WithCancel(ctx)
		defer cancel()
		n := 0
		for _, err := range consumer.Records(ended) {
			require.NoError(t, err)
			if n++; n == 2 {
				cancel() // the body goes on to its end, and that one counts
			}
		}
		require.Equal(t, 2, n)
		recs, err := consumer.Poll(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, []byte{8}, recs[0].Value)
	})
}
