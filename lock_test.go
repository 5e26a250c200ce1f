package samsa_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/samsatest"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// osDir returns a directory on the system's disk, which on some systems locks
// nothing.
func osDir(t *testing.T) string {
	if _, ok := log.OS().(log.Locker); !ok {
		t.Skip("the system's disk is no log.Locker here")
	}
	return filepath.Join(t.TempDir(), "a", "b")
}

func TestADirectoryIsOpenedByOneBrokerAtATime(t *testing.T) {
	ctx, dir := bounded(t), osDir(t)
	first, err := samsa.Open(ctx, samsa.Config{Dir: dir})
	require.NoError(t, err)
	_, err = samsa.Open(ctx, samsa.Config{Dir: dir})
	require.ErrorIs(t, err, samsa.ErrLocked)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	held, ok := errors.AsType[*log.LockedError](err)
	require.True(t, ok)
	require.Equal(t, dir, held.Dir)

	other, err := samsa.Open(ctx, samsa.Config{Dir: filepath.Join(dir, "..", "other")})
	require.NoError(t, err, "a directory each")
	require.NoError(t, first.Ready(ctx), "the first one works on")
	require.NoError(t, other.Close())
	require.NoError(t, first.Close())
	again, err := samsa.Open(ctx, samsa.Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, again.Ready(ctx))
	require.NoError(t, again.Shutdown(ctx))
	again, err = samsa.Open(ctx, samsa.Config{Dir: dir})
	require.NoError(t, err, "after Shutdown too")
	require.NoError(t, again.Close())
}

func TestABrokerThatDoesNotOpenLeavesNoLock(t *testing.T) {
	ctx, dir := bounded(t), osDir(t)
	network := transport.NewNetwork()
	taken, err := samsa.Open(ctx, samsa.Config{Addr: "a", Transport: network})
	require.NoError(t, err)
	_, err = samsa.Open(ctx, samsa.Config{Dir: dir, Addr: "a", Transport: network})
	require.ErrorContains(t, err, "open broker 1")
	require.NotErrorIs(t, err, samsa.ErrLocked)
	require.NoError(t, taken.Close())

	_, err = samsa.Open(ctx, samsa.Config{Dir: dir, ID: 2})
	require.ErrorContains(t, err, "is broker 1's, not broker 2's")

	state := filepath.Join(dir, "__cluster", "quorum-state") // not written before there is a quorum
	require.NoError(t, os.WriteFile(state, []byte("no state at all"), 0o600))
	_, err = samsa.Open(ctx, samsa.Config{Dir: dir})
	require.ErrorIs(t, err, samsa.ErrCorrupt)
	require.NoError(t, os.Remove(state))

	broker, err := samsa.Open(ctx, samsa.Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, broker.Close())
}

func TestTheDeathOfABrokerFreesItsDirectory(t *testing.T) {
	ctx, dir := bounded(t), osDir(t)
	cluster, err := samsatest.New(ctx, samsatest.Config{Dir: dir})
	require.NoError(t, err)
	for _, id := range cluster.Brokers() {
		_, err := samsa.Open(ctx, samsa.Config{ID: id, Dir: filepath.Join(dir, fmt.Sprint(id))})
		require.ErrorIs(t, err, samsa.ErrLocked)
		end := cluster.Kill
		if id == 2 {
			end = cluster.PowerFail
		}
		require.NoError(t, end(id))
		unlock, err := log.LockDir(log.OS(), filepath.Join(dir, fmt.Sprint(id)))
		require.NoError(t, err)
		require.ErrorIs(t, cluster.Restart(ctx, id), samsa.ErrLocked)
		require.NoError(t, unlock())
		require.NoError(t, cluster.Restart(ctx, id))
		require.NoError(t, cluster.Broker(id).Ready(ctx))
	}
	require.NoError(t, cluster.Close())
}
