package samsa_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// Every broker in turn is shut down under load and started again, the controller each
// time. Nobody who sends or reads sees an error, and neither they nor an operator have to
// wait for an election.
func TestARollingRestartIsNotFelt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		reader, err := cluster.Client().NewConsumer(samsa.ConsumerConfig{Group: "live", Topics: []string{orders}})
		require.NoError(t, err)
		read := make(map[samsa.PartitionID]samsa.Offset)
		var reading sync.WaitGroup
		readCtx, stopReading := context.WithCancel(ctx)
		reading.Go(func() {
			for rec, err := range reader.Records(readCtx) {
				if err != nil {
					t.Errorf("live reader: %v", err)
					return
				}
				if rec.Offset > read[rec.Partition] {
					t.Errorf("live reader: partition %d goes from %d to %d", rec.Partition, read[rec.Partition], rec.Offset)
				}
				read[rec.Partition] = max(read[rec.Partition], rec.Offset+1)
			}
		})
		l := &load{t: t, client: cluster.Client(), places: make(map[uint64]samsa.Record), rest: 20 * time.Millisecond}
		l.start(ctx, 6)
		l.until(100)
		operator := startOperator(readCtx, t, cluster.Client())
		controllers := 0
		for range cluster.Brokers() {
			id := cluster.Client().Cluster().Controller
			if cluster.Broker(id).Quorum().Leading {
				controllers++
			}
			led := cluster.Broker(id).Stats().Leading
			l.silence()
			operator.silence()
			begun := time.Now()
			require.NoError(t, cluster.Broker(id).Shutdown(ctx))
			took := time.Since(begun)
			l.until(l.acked.Load() + 100)
			time.Sleep(3 * time.Second) // whatever has to be waited for is over
			silence, metadata := l.silence(), operator.silence()
			t.Logf("controller %d, which led %d, was shut down in %v; producers waited for %v, an operator for %v", id, led, took, silence, metadata)
			require.Less(t, took, 200*time.Millisecond)
			require.Less(t, silence, 200*time.Millisecond)
			require.Less(t, metadata, 200*time.Millisecond)
			require.NoError(t, cluster.Kill(id)) // its place is free for the next
			require.NoError(t, cluster.Restart(ctx, id))
			require.NoError(t, cluster.Broker(id).Ready(ctx))
			require.NoError(t, cluster.WaitISR(ctx, orders, 3))
			l.until(l.acked.Load() + 100)
		}
		require.Equal(t, 3, controllers)
		operator.finish()
		acked := l.finish()
		require.NoError(t, cluster.WaitLagZero(ctx, "live"))
		stopReading()
		reading.Wait()
		checkRead(ctx, t, cluster.Client(), "fresh", acked)
		closeAndCompare(ctx, t, cluster)
	})
}

// startOperator starts somebody who changes a topic again and again: each change is a
// sign that there is a controller.
func startOperator(ctx context.Context, t *testing.T, client *samsa.Client) *load {
	o := &load{t: t, client: client}
	o.done.Go(func() {
		for i := 1; !o.stop.Load(); i++ {
			if err := client.AlterTopic(ctx, samsa.TopicConfig{Name: orders, Retention: time.Duration(i) * time.Hour}); err != nil {
				t.Errorf("operator, change %d: %v", i, err)
				return
			}
			o.mu.Lock()
			o.heard(time.Now())
			o.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
	})
	return o
}
