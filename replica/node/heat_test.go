package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport"
)

// That another has left an ISR is no reason to fetch what stays as it is.
func TestWhoStaysInTheISRStaysCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 3, 60)
		led := make(map[partition.ID]partition.BrokerID)
		for _, id := range ids {
			led[id] = c.leader(id).self
		}
		named := make(map[partition.ID]int)
		c.kill(3)
		c.fetches(func(_, to transport.Addr, req replica.FetchRequest) bool {
			for _, p := range req.Partitions {
				if led[p.ID] != 3 {
					named[p.ID]++
				}
			}
			return false
		})
		for _, id := range ids {
			c.waitISR(id, 2)
		}
		time.Sleep(2 * time.Second)
		require.Empty(t, named)
	})
}
