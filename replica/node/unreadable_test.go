package node

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// unreadable returns which of the calls that read the disk, as a broker opens, is to fail so
// that one copy does not open.
func (c *cluster) unreadable(id partition.BrokerID, bad partition.ID) (call int) {
	c.t.Helper()
	disk := c.members[id].disk
	for n := 1; n < 200; n++ {
		disk.FailNth(logtest.Read|logtest.Open, n, syscall.EIO)
		opened, err := Open(c.config(id))
		disk.Revive()
		if err != nil {
			require.ErrorIs(c.t, err, syscall.EIO)
			continue
		}
		for other, f := range opened.found {
			require.Equal(c.t, f.log == nil, f.suspect, "call %d", n)
			if f.log != nil {
				continue
			}
			require.ErrorIs(c.t, f.damage, syscall.EIO)
			require.Contains(c.t, opened.suspects, other)
			if other == bad {
				call = n
			}
		}
		require.NoError(c.t, opened.Close())
	}
	require.NotZero(c.t, call)
	return call
}

// What the disk cannot read of one copy keeps that copy out of service, and no other. If it
// was for a moment, and no other copy is there, nothing is lost.
func TestACopyThatCannotBeReadStaysOutAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, bad, good := newTwoCopies(t)
		require.NoError(t, c.stop(1))
		call := c.unreadable(1, bad)
		c.members[1].disk.FailNth(logtest.Read|logtest.Open, call, syscall.EIO)
		c.start(1)
		c.ready(1)
		c.until("the good one", func() bool { return c.leader(good) != nil })
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(good), batch(1, 10)).Code)
		require.Equal(t, partition.NotLeader, c.node(1).Produce(t.Context(), all(bad), batch(1, 10)).Code)
		end, ok := c.node(1).logEnd(bad)
		require.True(t, ok && end.Damaged)
		require.Contains(t, c.node(1).damageOf(bad), syscall.EIO.Error())

		require.NoError(t, c.stop(1))
		c.start(1)
		c.until("the bad one", func() bool { return c.leader(bad) != nil })
		require.Equal(t, log.Offset(3), c.node(1).Produce(t.Context(), all(bad), batch(1, 10)).First)
	})
}

// A sync that fails while a copy is opened is no matter of that copy: what the disk has
// made durable elsewhere is not known either.
func TestASyncThatFailsKeepsABrokerFromStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 10)).Code)
		c.kill(1)
		disk := c.members[1].disk
		refused := 0
		for n := 1; n < 40; n++ {
			f, err := disk.Open("data/rides-0/00000000000000000000.log") // there is something to cut
			require.NoError(t, err)
			_, err = f.WriteAt([]byte(strings.Repeat("torn", 30)), int64(len(batch(3, 10))))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			disk.FailNth(logtest.Sync|logtest.SyncDir, n, syscall.EIO)
			opened, err := Open(c.config(1))
			disk.Fail(errKilled)
			if err != nil {
				refused++
			} else {
				require.NotNil(t, opened.found[id].log, "call %d", n)
				_ = opened.Close()
			}
			disk.Revive()
		}
		require.Greater(t, refused, 5)
	})
}

// Where there are others the copy leaves the ISR, is made anew, and joins again.
func TestACopyThatCannotBeReadIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		bad := c.create(partition.TopicConfig{Name: "bad", Replicas: 3})
		c.waitISR(bad, 3)
		require.Equal(t, partition.OK, c.leader(bad).Produce(t.Context(), all(bad), batch(3, 10)).Code)
		other := partition.BrokerID(2)
		if c.leader(bad) == c.node(2) {
			other = 3
		}
		require.NoError(t, c.stop(other))
		call := c.unreadable(other, bad)
		c.members[other].disk.FailNth(logtest.Read|logtest.Open, call, syscall.EIO)
		c.start(other)
		require.Equal(t, []partition.ID{bad}, c.node(other).suspects)
		c.until("the copy is there again", func() bool {
			r := c.node(other).replica(bad)
			return r != nil && c.node(other).damageOf(bad) == "" && !r.behind.Load()
		})
		c.waitISR(bad, 3)
		require.Equal(t, log.Offset(3), c.node(other).replica(bad).log.End())
	})
}
