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

// What a leader has removed its followers remove, though nothing else moves, and say so:
// it takes no time, in either lane.
func TestRecordsAreRemovedByAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ids := many(t, 3, 4)
		n := c.leader(ids[2])
		removed := func(before log.Offset) {
			begun := time.Now()
			resp := n.HandleDeleteBefore(t.Context(), partition.DeleteBeforeRequest{ID: ids[2], Before: before})
			require.Equal(t, partition.OK, resp.Code)
			require.Equal(t, before, resp.Start)
			for _, m := range c.members {
				require.Equal(t, before, m.node.replica(ids[2]).log.Start())
			}
			require.Less(t, time.Since(begun), 10*time.Millisecond)
		}
		for range 6 {
			require.Equal(t, partition.OK, n.Produce(t.Context(), all(ids[2]), batch(1, 10)).Code)
		}
		time.Sleep(100 * time.Millisecond)
		removed(2)
		removed(3)
		c.cold(4)
		removed(4)
		removed(6)
		c.cold(4)
	})
}

// three has three records in a partition of three copies, and its leader.
func three(t *testing.T) (*cluster, partition.ID, *Node) {
	c, ids := many(t, 3, 1)
	n := c.leader(ids[0])
	for range 3 {
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(ids[0]), batch(1, 10)).Code)
	}
	return c, ids[0], n
}

// Who waits for followers that do not answer is told when a call is over, or when the
// leader is none any more.
func TestARemovalWaitsNoLongerThanACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, n := three(t)
		time.Sleep(100 * time.Millisecond)
		c.fetches(func(_, _ transport.Addr, _ replica.FetchRequest) bool { return true })

		begun := time.Now()
		remove := func(before log.Offset) partition.Code {
			return n.HandleDeleteBefore(t.Context(), partition.DeleteBeforeRequest{ID: id, Before: before}).Code
		}
		require.Equal(t, partition.NotAvailable, remove(2))
		require.Equal(t, n.cfg.CallTimeout, time.Since(begun))
		require.Empty(t, n.replica(id).removals)

		told := make(chan partition.Code, 1)
		go func() { told <- remove(2) }()
		synctest.Wait()
		require.Len(t, n.replica(id).removals, 1)
		require.NoError(t, c.stop(n.self))
		require.Equal(t, partition.NotLeader, <-told)
	})
}

// While a leader and its followers remove records nobody asks again and again, however
// long it takes.
func TestWhileRecordsAreRemovedNobodyAsksInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, n := three(t)
		c.cold(1)
		for _, m := range c.members {
			m.disk.Delay(20 * time.Millisecond)
		}
		fetches := 0
		c.fetches(func(_, _ transport.Addr, _ replica.FetchRequest) bool {
			fetches++
			return fetches > 1000 // else the clock of the bubble stands still
		})
		resp := n.HandleDeleteBefore(t.Context(), partition.DeleteBeforeRequest{ID: id, Before: -1})
		require.Equal(t, partition.OK, resp.Code)
		require.Less(t, fetches, 12)
	})
}

// A follower that has removed more than its leader is at rest like any other.
func TestAFollowerThatHasRemovedMoreIsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, n := three(t)
		c.cold(1)
		other := c.node(n.self%3 + 1)
		require.NoError(t, other.replica(id).trim(2))
		for range 100 {
			require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
			time.Sleep(10 * time.Millisecond)
		}
		hot, _, _ := lanesOf(other, n.self)
		require.Equal(t, 1, hot)
		time.Sleep(3 * time.Second)
		hot, _, kept := lanesOf(other, n.self)
		require.Zero(t, hot)
		require.Equal(t, 1, kept)
	})
}
