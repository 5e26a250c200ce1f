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

// A disk that syncs for nothing is flushed with each append, and the next fetch says
// so: nobody is woken for a flush, and nothing travels for it alone.
func TestAFlushThatIsFreeTakesNoAckOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		for id := partition.BrokerID(1); id <= 3; id++ {
			c.members[id] = &member{id: id}
			cfg := c.config(id)
			cfg.FS = log.NewMemFS()
			n, err := Open(cfg)
			require.NoError(t, err)
			c.run(id, n)
			c.ready(id)
		}
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: 2})
		c.waitISR(id, 3)
		leader := c.leader(id)
		require.Equal(t, partition.OK, leader.Produce(t.Context(), all(id), batch(1, 10)).Code)
		time.Sleep(100 * time.Millisecond)
		acks := 0
		c.fetches(func(_, _ transport.Addr, req replica.FetchRequest) bool {
			for _, p := range req.Partitions {
				if p.MaxBytes == 0 {
					acks++
				}
			}
			return false
		})
		begun := time.Now()
		for range 20 {
			require.Equal(t, partition.OK, leader.Produce(t.Context(), all(id), batch(1, 10)).Code)
		}
		require.Zero(t, time.Since(begun))
		require.Zero(t, acks)
		for _, m := range c.members {
			l := m.node.replica(id).log
			require.EqualValues(t, 21, l.Flushed(), "of broker %d", m.id)
		}
	})
}
