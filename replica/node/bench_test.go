package node

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// One node, alone and in memory: what a batch of 1 KiB costs from the request to
// the answer at acks=all.
func BenchmarkProduce(b *testing.B) {
	for _, durability := range []partition.Durability{partition.Synced, partition.Unsynced} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%v/%d callers", durability, callers), func(b *testing.B) {
				c := newCluster(b, 1)
				require.NoError(b, c.stop(1))
				cfg := c.config(1)
				cfg.FS, cfg.Incarnation[2] = log.NewMemFS(), 1 // the test's own disk has its price
				alone, err := Open(cfg)
				require.NoError(b, err)
				c.a = newAgreement()
				c.a.lead(1)
				c.run(1, alone)
				c.ready(1)
				id := c.create(partition.TopicConfig{Name: "rides", Durability: durability, SegmentBytes: 1 << 30})
				n, data := c.node(1), batch(1, 1000)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				b.SetParallelism(callers)
				b.ResetTimer()
				if callers == 1 {
					for b.Loop() {
						produce(b, n, id, data)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						produce(b, n, id, data)
					}
				})
			})
		}
	}
}

func produce(b *testing.B, n *Node, id partition.ID, data log.Batch) {
	if code := n.Produce(b.Context(), all(id), data).Code; code != partition.OK {
		b.Error(code)
	}
}
