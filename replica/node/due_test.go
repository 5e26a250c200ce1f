package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport"
)

// waiting returns the partitions that the clock will look at.
func (n *Node) waiting() []partition.ID {
	n.due.mu.Lock()
	defer n.due.mu.Unlock()
	ids := make([]partition.ID, len(n.due.list))
	for i, r := range n.due.list {
		ids[i] = r.id
	}
	return ids
}

// The clock has to do with the partitions where somebody is behind, and with no others,
// however many there are.
func TestTheClockComesWhereSomethingIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 3, 30)
		for _, id := range ids {
			require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)
		}
		c.cold(30)
		time.Sleep(2 * time.Second) // each has been looked at once more, and is at rest
		for _, m := range c.members {
			require.Empty(t, m.node.waiting(), "broker %d", m.id)
		}

		n := c.leader(ids[7])
		silent := n.self%3 + 1
		c.fetches(func(_, _ transport.Addr, req replica.FetchRequest) bool { return req.From == silent })
		req := all(ids[7])
		req.Acks = partition.AcksLeader
		require.Equal(t, partition.OK, n.Produce(t.Context(), req, batch(1, 10)).Code)
		time.Sleep(5 * time.Second)
		require.Equal(t, ids[7:8], n.waiting())
		c.waitISR(ids[7], 2)
		c.fetches(func(_, _ transport.Addr, _ replica.FetchRequest) bool { return false })
		c.waitISR(ids[7], 3)
		c.cold(30)
		time.Sleep(2 * time.Second)
		for _, m := range c.members {
			require.Empty(t, m.node.waiting(), "broker %d", m.id)
		}
	})
}

// A topic that acknowledges before it flushes is flushed by the clock, on each broker.
func TestTheClockFlushesWhatIsDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: 2, Durability: partition.Replicated})
		for end := log.Offset(1); end <= 3; end++ {
			require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)
			time.Sleep(2 * time.Second)
			for _, m := range c.members {
				require.Equal(t, end, m.node.replica(id).log.Flushed(), "broker %d", m.id)
				require.Empty(t, m.node.waiting(), "broker %d", m.id)
			}
		}
	})
}
