package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A compaction may take hours. What other topics need not keep goes meanwhile.
func TestRetentionWaitsForNoCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		compacted := c.create(partition.TopicConfig{Name: "compacted", Compact: true})
		id := c.create(partition.TopicConfig{Name: "rides", Retention: time.Hour})
		r := c.node(1).replica(compacted)
		r.tidying <- struct{}{} // somebody compacts it
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 10)).Code)
		time.Sleep(2 * time.Hour)
		require.Equal(t, log.Offset(3), c.node(1).replica(id).log.Start())
		<-r.tidying
	})
}
