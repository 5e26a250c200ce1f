package node

import (
	"testing"
	"testing/synctest"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A broker that comes back to a snapshot, in place of the entries, takes part as one
// that was given them all; so does one that is given a snapshot while it runs.
func TestBrokerGoesOnFromASnapshot(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 3)
			id := c.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: 2})
			c.waitISR(id, 3)
			require.NoError(t, c.stop(3))
			second := c.create(partition.TopicConfig{Name: "second", Replicas: 2, MinISR: 1})
			require.Equal(t, partition.OK, c.leader(id).Produce(t.Context(), all(id), batch(1, 10)).Code)

			n, err := Open(c.config(3))
			require.NoError(t, err)
			if running {
				early := c.a.entries[:3]
				for i, e := range early {
					n.Apply(log.Offset(i+1), e)
				}
			}
			c.a.mu.Lock()
			state, err := c.a.nodes[1].Snapshot()
			require.NoError(t, err)
			index := log.Offset(len(c.a.entries))
			require.NoError(t, n.Restore(index, state))
			c.a.nodes[3] = n // what comes now it is told like the others
			c.a.mu.Unlock()
			again, err := n.Snapshot()
			require.NoError(t, err)
			require.Equal(t, state, again)
			c.run(3, n)
			c.waitISR(id, 3)
			third := c.create(partition.TopicConfig{Name: "third", Replicas: 3, MinISR: 3})
			for _, p := range []partition.ID{id, second, third} {
				require.Equal(t, partition.OK, c.leader(p).Produce(t.Context(), all(p), batch(1, 10)).Code)
			}
			_, known := n.Topic("third")
			require.True(t, known)
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.create(partition.TopicConfig{Name: "rides"})
		n := c.members[1].node
		state, err := n.Snapshot()
		require.NoError(t, err)
		require.Error(t, n.Restore(1000, state[:len(state)-1]))
		offset, _ := n.Changed()
		require.ErrorContains(t, n.Restore(offset-1, state), "is said to be of entry")
		require.NoError(t, c.stop(1))
		_, err = n.Snapshot()
		require.Error(t, err, "it applies nothing any more")
	})
}
