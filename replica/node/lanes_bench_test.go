//go:build unix

package node

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// A traffic counts what the fetches of a cluster say.
type traffic struct{ fetches, asked atomic.Int64 }

// counted makes a cluster on plain memory whose fetches are counted, with one topic
// of that many partitions on all brokers, which stand in the ISR everywhere.
func counted(b *testing.B, brokers, partitions int) (*cluster, []partition.ID, *traffic) {
	c, seen := newCluster(b, 0), &traffic{}
	c.net.Lose(func(_, _ transport.Addr, f transport.Frame) bool {
		if f.Kind == transport.Kind(KindFetch) {
			seen.fetches.Add(1)
			seen.asked.Add(int64(len(f.Head)))
		}
		return false
	})
	for id := range partition.BrokerID(brokers) {
		c.members[id+1] = &member{id: id + 1}
		cfg := c.config(id + 1)
		cfg.FS = log.NewMemFS()
		n, err := Open(cfg)
		require.NoError(b, err)
		c.run(id+1, n)
		c.ready(id + 1)
	}
	first := c.create(partition.TopicConfig{
		Name: "rides", Partitions: partitions, Replicas: brokers, MinISR: min(brokers, 2), Durability: partition.Synced,
	})
	ids := make([]partition.ID, partitions)
	for i := range ids {
		ids[i] = partition.ID{Topic: first.Topic, Partition: partition.PartitionID(i)}
		c.until("leader", func() bool { return c.leader(ids[i]) != nil })
		c.waitISR(ids[i], brokers)
	}
	time.Sleep(2 * time.Second) // everything has come to rest
	return c, ids, seen
}

// processor returns the time that this process has had of all processors.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Ten partitions move, and the others do not: what they cost beside those.
func BenchmarkColdBesideHot(b *testing.B) {
	for _, partitions := range []int{10, 2000} {
		b.Run(fmt.Sprintf("%d partitions", partitions), func(b *testing.B) {
			c, ids, seen := counted(b, 3, partitions)
			data := batch(1, 1000)
			leaders := make([]*Node, 10)
			for i := range leaders {
				leaders[i] = c.leader(ids[i])
			}
			before, asked, begun := processor(), seen.asked.Load(), seen.fetches.Load()
			b.ResetTimer()
			var next atomic.Int64
			b.SetParallelism(10 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				at := int(next.Add(1)) % 10
				for pb.Next() {
					produce(b, leaders[at], ids[at], data)
				}
			})
			b.StopTimer()
			n := float64(b.N)
			b.ReportMetric(float64(processor()-before)/n/1000, "cpu-µs/op")
			b.ReportMetric(float64(seen.asked.Load()-asked)/n, "request-B/op")
			b.ReportMetric(float64(seen.fetches.Load()-begun)/n, "fetches/op")
		})
	}
}

// One record at a time: on a partition that moves, and on one that has not for long.
func BenchmarkFirstRecord(b *testing.B) {
	c, ids, _ := counted(b, 3, 2000)
	data := batch(1, 1000)
	for _, id := range ids {
		produce(b, c.leader(id), id, data) // the first of all opens an epoch
	}
	time.Sleep(2 * time.Second)
	for name, pick := range map[string]func(i int) partition.ID{
		"hot":  func(int) partition.ID { return ids[0] },
		"cold": func(i int) partition.ID { return ids[1+i%(len(ids)-1)] },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				id := pick(i)
				n := c.leader(id)
				begun := time.Now()
				require.Equal(b, partition.OK, n.Produce(context.Background(), all(id), data).Code)
				took = append(took, time.Since(begun))
				time.Sleep(2 * time.Millisecond)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// What a cluster costs that nobody writes to.
func BenchmarkIdle(b *testing.B) {
	for _, partitions := range []int{10, 2000} {
		b.Run(fmt.Sprintf("%d partitions", partitions), func(b *testing.B) {
			_, _, seen := counted(b, 3, partitions)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			before, asked := processor(), seen.asked.Load()
			begun := time.Now()
			for b.Loop() {
				time.Sleep(time.Second)
			}
			took := time.Since(begun).Seconds()
			b.ReportMetric((processor()-before).Seconds()/took*100, "cpu-%")
			b.ReportMetric(float64(seen.asked.Load()-asked)/took, "request-B/s")
			b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
		})
	}
}
