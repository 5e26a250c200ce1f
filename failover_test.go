package samsa_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

const orders = "orders"

// A load is some senders at work, and what has been acknowledged to them.
type load struct {
	t      *testing.T
	client *samsa.Client
	stop   atomic.Bool
	done   sync.WaitGroup
	acked  atomic.Int64

	started int // senders, so far
	// For those started from now on: bytes behind the number in each value, and how long
	// each sender rests after a record, in a bubble.
	pad  int
	rest time.Duration

	mu     sync.Mutex
	places map[uint64]samsa.Record // by the number of the record
	last   time.Time               // of an acknowledgement
	gap    time.Duration           // the longest without one
}

// startLoad starts senders that each send one record after another.
func startLoad(ctx context.Context, t *testing.T, client *samsa.Client, senders int) *load {
	l := &load{t: t, client: client, places: make(map[uint64]samsa.Record)}
	l.start(ctx, senders)
	return l
}

// start starts more senders: those of a load that has been finished.
func (l *load) start(ctx context.Context, senders int) {
	l.stop.Store(false)
	base, pad, rest := l.started, l.pad, l.rest
	l.started += senders
	producer, err := l.client.NewProducer(samsa.ProducerConfig{DeliveryTimeout: 2 * time.Minute})
	require.NoError(l.t, err)
	for s := base; s < l.started; s++ {
		l.done.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				number := uint64(s)<<32 | uint64(i)
				value := append(binary.BigEndian.AppendUint64(nil, number), make([]byte, pad)...)
				rec, err := producer.Send(ctx, samsa.Record{Topic: orders, Key: fmt.Appendf(nil, "%d-%d", s, i%7), Value: value})
				if err != nil {
					// The load waits out every failover, so nothing but the test's end stops it.
					l.t.Errorf("sender %d, record %d: %v", s, i, err)
					return
				}
				l.mu.Lock()
				l.places[number] = rec
				l.heard(time.Now())
				l.mu.Unlock()
				l.acked.Add(1)
				if rest > 0 {
					time.Sleep(rest)
				}
			}
		})
	}
}

// heard notes an acknowledgement. The lock is held.
func (l *load) heard(now time.Time) {
	if !l.last.IsZero() {
		l.gap = max(l.gap, now.Sub(l.last))
	}
	l.last = now
}

// silence returns the longest time without an acknowledgement so far, and counts anew.
func (l *load) silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap := max(l.gap, time.Since(l.last))
	l.gap, l.last = 0, time.Now()
	return gap
}

// until waits for that many acknowledged records.
func (l *load) until(n int64) {
	for l.acked.Load() < n && !l.t.Failed() {
		time.Sleep(time.Millisecond) // in a bubble
	}
}

func (l *load) finish() map[uint64]samsa.Record {
	l.stop.Store(true)
	l.done.Wait()
	return l.places
}

// checkRead has a fresh group read everything and look for each acknowledged record
// at its place.
func checkRead(ctx context.Context, t *testing.T, client *samsa.Client, group string, acked map[uint64]samsa.Record) {
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: group, Topics: []string{orders}})
	require.NoError(t, err)
	defer consumer.Close()
	found := make(map[uint64]bool)
	next := make(map[samsa.PartitionID]samsa.Offset)
	for rec, err := range consumer.Records(ctx) {
		require.NoError(t, err)
		require.Equal(t, next[rec.Partition], rec.Offset, "partition %d", rec.Partition)
		next[rec.Partition]++
		number := binary.BigEndian.Uint64(rec.Value)
		if want, ok := acked[number]; ok && want.Partition == rec.Partition && want.Offset == rec.Offset {
			require.Equal(t, want.Key, rec.Key)
			found[number] = true
		}
		if len(found) == len(acked) {
			break
		}
	}
	for number, rec := range acked {
		require.True(t, found[number], "%d of %d acknowledged records are missing from their places, one of them at %d/%d",
			len(acked)-len(found), len(acked), rec.Partition, rec.Offset)
	}
}

// checkCopies compares the replicas' logs, batch for batch, up to the high watermarks.
// The brokers must be down.
func checkCopies(t *testing.T, cluster *samsatest.Cluster, high []samsa.PartitionInfo) {
	for _, p := range high {
		var first []byte
		for _, id := range p.Replicas {
			disk := cluster.Disk(id)
			disk.Revive()
			l, _, err := log.Open(disk, filepath.Join("samsa", fmt.Sprintf("%s-%d", orders, p.ID)), log.Config{})
			require.NoError(t, err)
			var all []byte
			for at := l.Start(); at < p.HighWatermark; {
				data, err := l.Read(at, p.HighWatermark, 1<<20)
				require.NoError(t, err)
				all = append(all, data...)
				for len(data) > 0 {
					var b log.Batch
					b, data, err = log.SplitBatch(data)
					require.NoError(t, err)
					at = b.Next()
				}
			}
			require.NoError(t, l.Close())
			if first == nil {
				first = all
			}
			require.Equal(t, len(first), len(all), "partition %d of broker %d", p.ID, id)
			require.Equal(t, first, all, "partition %d of broker %d", p.ID, id)
		}
	}
}

func newOrders(ctx context.Context, t *testing.T, cluster *samsatest.Cluster) {
	require.NoError(t, cluster.Client().CreateTopic(ctx, samsa.TopicConfig{Name: orders, Partitions: 6}))
	require.NoError(t, cluster.WaitISR(ctx, orders, 3))
	for _, id := range cluster.Brokers() {
		cluster.Disk(id).Delay(200 * time.Microsecond)
	}
}

// closeAndCompare ends the cluster and compares what its disks hold.
func closeAndCompare(ctx context.Context, t *testing.T, cluster *samsatest.Cluster) {
	info, err := cluster.Client().Topic(orders).Info(ctx)
	require.NoError(t, err)
	require.NoError(t, cluster.Close())
	checkCopies(t, cluster, info.Partitions)
}

// Each broker in turn dies while it leads partitions at which requests are parked,
// and comes back.
func TestEachBrokerDiesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		reader, err := cluster.Client().NewConsumer(samsa.ConsumerConfig{Group: "live", Topics: []string{orders}})
		require.NoError(t, err)
		var reading sync.WaitGroup
		readCtx, stopReading := context.WithCancel(ctx)
		reading.Go(func() {
			for _, err := range reader.Records(readCtx) {
				if err != nil {
					t.Errorf("live reader: %v", err)
				}
			}
		})
		l := startLoad(ctx, t, cluster.Client(), 8)
		const step = 1800
		l.until(step)
		for i, id := range cluster.Brokers() {
			stats := cluster.Broker(id).Stats()
			for try := 0; stats.Parked == 0 && try < 1000; try++ {
				time.Sleep(10 * time.Microsecond) // under load they come and go
				stats = cluster.Broker(id).Stats()
			}
			require.Positive(t, stats.Leading, "broker %d leads nothing", id)
			require.Positive(t, stats.Parked, "nothing is parked at broker %d", id)
			before := time.Now()
			require.NoError(t, cluster.Kill(id))
			l.until(l.acked.Load() + step)
			t.Logf("broker %d killed, led %d; %d records more after %v", id, stats.Leading, step, time.Since(before))
			require.NoError(t, cluster.Restart(ctx, id))
			require.NoError(t, cluster.WaitISR(ctx, orders, 3))
			l.until(int64(2*i+3) * step)
			leadAgain(ctx, t, cluster, id%3+1)
		}
		acked := l.finish()
		require.GreaterOrEqual(t, len(acked), 10_000)
		stopReading()
		reading.Wait()
		checkRead(ctx, t, cluster.Client(), "fresh", acked)
		closeAndCompare(ctx, t, cluster)
	})
}

// leadAgain sees to it that the broker to die next leads something: leadership does
// not come back by itself, so the leaders of the rest are hurried off one by one.
func leadAgain(ctx context.Context, t *testing.T, cluster *samsatest.Cluster, next samsa.BrokerID) {
	for _, id := range cluster.Brokers() {
		if cluster.Broker(next).Stats().Leading > 0 {
			return
		}
		if id != next {
			require.NoError(t, cluster.Kill(id))
			require.NoError(t, waitLeading(ctx, cluster, next))
			require.NoError(t, cluster.Restart(ctx, id))
			require.NoError(t, cluster.WaitISR(ctx, orders, 3))
		}
	}
}

func waitLeading(ctx context.Context, cluster *samsatest.Cluster, id samsa.BrokerID) error {
	for range 5000 {
		if cluster.Broker(id).Stats().Leading > 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.Join(errors.New("it leads nothing"), ctx.Err())
}

// All brokers die at once, once by the death of their processes and once by a power
// cut that takes what was not synced, and come back unattended.
func TestAllBrokersDieAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		l := startLoad(ctx, t, cluster.Client(), 8)
		const step = 2500
		l.until(step)
		for round, kill := range []func() error{cluster.KillAll, cluster.PowerFailAll, cluster.PowerFailAll} {
			before := time.Now()
			require.NoError(t, kill())
			for _, id := range cluster.Brokers() {
				require.NoError(t, cluster.Restart(ctx, id))
			}
			require.NoError(t, cluster.WaitISR(ctx, orders, 3))
			l.until(l.acked.Load() + step)
			t.Logf("round %d: %d records more after %v", round, step, time.Since(before))
		}
		acked := l.finish()
		require.GreaterOrEqual(t, len(acked), 10_000)
		checkRead(ctx, t, cluster.Client(), "fresh", acked)
		closeAndCompare(ctx, t, cluster)
	})
}

// A failed fsync is final: the broker goes offline and says why, others lead in its
// place, and the process lives.
func TestFailedSyncTakesTheBrokerOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		l := startLoad(ctx, t, cluster.Client(), 4)
		l.until(500)
		id, err := cluster.Leader(ctx, orders, 0)
		require.NoError(t, err)
		broker := cluster.Broker(id)
		require.NoError(t, broker.Err())
		broken := errors.New("medium error")
		cluster.Disk(id).FailNth(logtest.Sync, 1, broken)
		<-broker.Done()
		require.ErrorIs(t, broker.Err(), broken)
		require.ErrorIs(t, broker.Ready(ctx), samsa.ErrClosed)
		l.until(l.acked.Load() + 500)

		// What it had not called synced may be gone; all else is there.
		require.NoError(t, cluster.PowerFail(id))
		require.NoError(t, cluster.Restart(ctx, id))
		require.NoError(t, cluster.WaitISR(ctx, orders, 3))
		acked := l.finish()
		checkRead(ctx, t, cluster.Client(), "fresh", acked)
		closeAndCompare(ctx, t, cluster)
	})
}
