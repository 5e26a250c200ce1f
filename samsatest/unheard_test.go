package samsatest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// A replica that had not heard of its partition when all died has a copy that was
// made late, and lacks nothing.
func TestAllDieBeforeAReplicaHearsOfItsPartition(t *testing.T) {
	for _, durability := range []samsa.Durability{samsa.Synced, samsa.Replicated, samsa.Unsynced} {
		t.Run(durability.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				c := samsatest.Start(t, 3)
				client := c.Client()
				require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: topic, Durability: durability}))
				deaf := client.Cluster().Controller%3 + 1
				c.Isolate(deaf)
				require.NoError(t, client.AddPartitions(ctx, topic, 2))
				require.NoError(t, c.KillAll())
				c.Heal()
				for _, id := range c.Brokers() {
					require.NoError(t, c.Restart(ctx, id))
				}
				require.NoError(t, c.WaitISR(ctx, topic, 3))
			})
		})
	}
}
