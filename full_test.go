package samsa_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// reserve is what a broker keeps free on its disk.
const reserve = 32 << 20

// The disk of a broker fills up under load. Others lead what it led and commit without
// it; nobody who sends sees an error, and nothing moves to and fro. When there is room
// again it comes back into every ISR, and may lead.
func TestAFullDiskHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		id, err := cluster.Leader(ctx, orders, 0)
		require.NoError(t, err)
		led := cluster.Broker(id).Stats().Leading
		require.Positive(t, led)
		disk := cluster.Disk(id)
		disk.Limit(disk.Used() + reserve + 2<<20)

		l := &load{t: t, client: cluster.Client(), places: make(map[uint64]samsa.Record), rest: 100 * time.Millisecond}
		l.start(ctx, 4)
		flood := &load{t: t, client: cluster.Client(), places: make(map[uint64]samsa.Record), started: 100, pad: 8 << 10}
		flood.start(ctx, 4)
		begun := time.Now()
		waitFull(t, cluster, id, true)
		acked := flood.finish()
		for cluster.Broker(id).Stats().Leading > 0 || inSync(ctx, t, cluster, id) > 0 {
			time.Sleep(time.Millisecond) // in a bubble
		}
		t.Logf("broker %d, which led %d, was full after %v; the longest silence so far was %v", id, led, time.Since(begun), l.silence())

		l.until(l.acked.Load() + 20)
		before := epochs(ctx, t, cluster)
		time.Sleep(25 * time.Second) // more than twice the lag after which a replica leaves
		require.Equal(t, before, epochs(ctx, t, cluster), "leaders and ISRs stay as they are")
		require.Less(t, l.silence(), time.Second)
		require.NoError(t, cluster.Broker(id).Err())

		disk.Limit(-1)
		require.NoError(t, cluster.WaitISR(ctx, orders, 3))
		waitFull(t, cluster, id, false)
		require.NoError(t, cluster.Client().TransferLeader(ctx, orders, 0, id))
		l.until(l.acked.Load() + 20)
		maps.Copy(acked, l.finish())
		checkRead(ctx, t, cluster.Client(), "fresh", acked)
		closeAndCompare(ctx, t, cluster)
	})
}

// Where the disks of all are full all leaders stay, senders wait, and all goes on when
// one after another has room.
func TestAllDisksFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		cluster := samsatest.Start(t, 3)
		newOrders(ctx, t, cluster)
		for _, id := range cluster.Brokers() {
			cluster.Disk(id).Limit(cluster.Disk(id).Used() + reserve + 1<<20)
		}
		l := &load{t: t, client: cluster.Client(), places: make(map[uint64]samsa.Record), pad: 8 << 10}
		l.start(ctx, 4)
		for acked := int64(-1); acked != l.acked.Load(); { // and who had no room for a leader's last record lags by then
			acked = l.acked.Load()
			time.Sleep(15 * time.Second)
		}
		full := func(b samsa.BrokerInfo) bool { return b.Full } // one that had nothing to refuse is not
		require.True(t, slices.ContainsFunc(cluster.Client().Cluster().Brokers, full))
		acked, before, all := l.acked.Load(), epochs(ctx, t, cluster), cluster.Client().Cluster()
		time.Sleep(15 * time.Second)
		require.Equal(t, acked, l.acked.Load())
		require.Equal(t, before, epochs(ctx, t, cluster))
		require.Equal(t, all, cluster.Client().Cluster())
		l.stop.Store(true) // each sender still has a record that waits
		for _, id := range cluster.Brokers() {
			require.NoError(t, cluster.Broker(id).Err())
			cluster.Disk(id).Limit(-1)
		}
		places := l.finish()
		require.Equal(t, acked+4, l.acked.Load())
		require.NoError(t, cluster.WaitISR(ctx, orders, 3))
		checkRead(ctx, t, cluster.Client(), "fresh", places)
		closeAndCompare(ctx, t, cluster)
	})
}

func waitFull(t *testing.T, cluster *samsatest.Cluster, id samsa.BrokerID, full bool) {
	for range 600_000 {
		brokers := cluster.Client().Cluster().Brokers
		if slices.ContainsFunc(brokers, func(b samsa.BrokerInfo) bool { return b.ID == id && b.Full == full }) {
			return
		}
		time.Sleep(time.Millisecond) // in a bubble
	}
	require.FailNow(t, "waited in vain", "broker %d full: %v", id, full)
}

// inSync counts the partitions in whose ISR a broker is.
func inSync(ctx context.Context, t *testing.T, cluster *samsatest.Cluster, id samsa.BrokerID) (n int) {
	info, err := cluster.Client().Topic(orders).Info(ctx)
	require.NoError(t, err)
	for _, p := range info.Partitions {
		if slices.Contains(p.ISR, id) {
			n++
		}
	}
	return n
}

// epochs returns what changes when a leader or an ISR does.
func epochs(ctx context.Context, t *testing.T, cluster *samsatest.Cluster) (all []samsa.PartitionInfo) {
	for n := range samsa.PartitionID(6) {
		p, err := cluster.Client().Topic(orders).Partition(n).Info(ctx)
		require.NoError(t, err)
		all = append(all, samsa.PartitionInfo{ID: p.ID, Leader: p.Leader, Epoch: p.Epoch, ISR: p.ISR})
	}
	return all
}
