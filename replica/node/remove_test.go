package node

import (
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
)

// Wherever a crash comes, and whatever of what was not synced stays, what is left is a
// whole copy, or something that the next start removes: never records without a label,
// which another topic's copy would take for its own (I13).
func TestRemovalSurvivesACrashAnywhere(t *testing.T) {
	for seed := range int64(50) {
		n := 0
		for ; removeAndCrash(t, n, seed); n++ {
		}
		require.Greater(t, n, 5)
	}
}

// removeAndCrash removes a copy, with a power cut at the n-th change of the disk. It
// reports whether it came to that.
func removeAndCrash(t *testing.T, n int, seed int64) bool {
	const dir = "data/rides-0"
	crashed := errors.New("crashed")
	disk := logtest.NewDisk(log.NewMemFS())
	require.NoError(t, disk.MkdirAll(dir))
	require.NoError(t, disk.SyncDir("data"))
	id := partition.ID{Topic: partition.UUID{1}}
	require.NoError(t, writePartition(disk, dir, label{id: id, topic: partition.TopicConfig{Name: "rides"}}))
	l, _, err := log.Open(disk, dir, log.Config{})
	require.NoError(t, err)
	_, err = l.Append(0, batch(3, 10))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	disk.FailNth(logtest.Mutate, n, crashed)
	if err := removeDir(disk, dir); err == nil {
		names, err := disk.ReadDir("data")
		require.NoError(t, err)
		require.Empty(t, names)
		return false
	}
	disk.Fail(crashed)
	require.NoError(t, disk.PowerFail(rand.New(rand.NewSource(seed*100+int64(n)))))
	disk.Revive()

	at := fmt.Sprintf("seed %d, cut at %d", seed, n)
	if _, err := readPartition(disk, dir); err == nil {
		l, recovery, err := log.Open(disk, dir, log.Config{})
		require.NoError(t, err, at)
		require.Equal(t, log.Offset(3), l.End(), at)
		require.False(t, recovery.Lost, at)
		require.NoError(t, l.Close())
		return true
	}
	removed, err := isRemoved(disk, dir)
	require.NoError(t, err, at)
	if removed {
		require.NoError(t, finishRemoval(disk, dir), at)
	}
	if names, err := disk.ReadDir(dir); err == nil {
		require.Empty(t, names, at)
	}
	return true
}

// Records are read again at each start, those too that took a copy away for a while.
func TestCopiesGoOnlyOnceTheRegistrationIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		n := c.node(1)
		gone := partition.ID{Topic: id.Topic, Partition: 7}
		n.mu.Lock()
		n.gone[id], n.gone[gone] = true, true
		n.mu.Unlock()
		require.False(t, n.isGone(id), "the metadata gives it to this broker")
		require.True(t, n.isGone(gone))
		epoch := n.epoch.Swap(0)
		require.False(t, n.isGone(gone), "not registered")
		n.epoch.Store(epoch + 1)
		require.False(t, n.isGone(gone), "the registration is not applied")
		n.epoch.Store(epoch)
	})
}
