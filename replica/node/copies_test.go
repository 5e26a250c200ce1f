package node

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestTheMarkOfAWholeListKeepsItsBytes(t *testing.T) {
	fsys := log.NewMemFS()
	require.NoError(t, fsys.MkdirAll("data"))
	whole, err := readWhole(fsys, "data")
	require.NoError(t, err)
	require.False(t, whole)
	require.NoError(t, log.WriteFile(fsys, "data/whole", wholeMagic, fileVersion, nil))
	require.Equal(t, golden(t, "whole-1"), contents(t, fsys, "data/whole"))
	whole, err = readWhole(fsys, "data")
	require.NoError(t, err)
	require.True(t, whole)
}

// A directory that took another's place says that its list is whole once all that the
// broker was assigned before is listed. Before that a copy that is made late may be
// one that was there, and must not speak for what it has acknowledged.
func TestAWipedBrokerThatDiesBeforeItHasItsCopiesVouchesForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		id := c.create(partition.TopicConfig{Name: "rides", Replicas: 1, Partitions: 3})
		for c.leader(id).self == 1 { // broker 1 runs the controller
			id.Partition++
			c.until("leader", func() bool { return c.leader(id) != nil })
		}
		n := c.leader(id)
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		c.until("its list is whole", func() bool { return contains(t, c.members[n.self].disk, wholeFile) })
		c.kill(n.self)
		time.Sleep(time.Second)
		disk := logtest.NewDisk(log.NewMemFS())
		c.members[n.self].disk = disk
		disk.Inject(logtest.Fault{Op: logtest.Mkdir, Name: "rides-*", Every: 1, Err: syscall.ENOSPC})
		c.start(n.self)
		c.ready(n.self)
		time.Sleep(10 * time.Second)
		require.False(t, contains(t, disk, wholeFile), "it has no copy yet")
		disk.Fail(errors.New("killed"))
		c.kill(n.self)
		disk.Revive()
		c.start(n.self)
		c.ready(n.self)
		time.Sleep(10 * time.Second)
		st, _ := c.node(1).State(id)
		require.Equal(t, partition.NoBroker, st.Leader)
		require.Equal(t, []partition.BrokerID{n.self}, st.LastKnownELR)
		require.True(t, contains(t, disk, wholeFile))
	})
}

func contains(t *testing.T, fsys log.FS, name string) bool {
	t.Helper()
	names, err := fsys.ReadDir("data")
	require.NoError(t, err)
	return slices.Contains(names, name)
}
