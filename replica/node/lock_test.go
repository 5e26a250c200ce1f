package node

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
)

// requireFree checks that nobody has the directory.
func requireFree(t testing.TB, fsys log.FS, why string, args ...any) {
	t.Helper()
	unlock, err := log.LockDir(fsys, "data")
	require.NoError(t, err, append([]any{why}, args...)...)
	require.NoError(t, unlock())
}

// kept is a broker's directory with a clean mark and a partition in it.
func kept(t testing.TB, disk *logtest.Disk) {
	require.NoError(t, disk.MkdirAll("data/rides-0"))
	_, err := identify(disk, "data", 1, partition.UUID{1})
	require.NoError(t, err)
	require.NoError(t, writeCleanMark(disk, "data", 5))
	topic := partition.TopicConfig{Name: "rides", SegmentBytes: 1 << 20, MaxBatchBytes: 1 << 20}
	require.NoError(t, writePartition(disk, "data/rides-0", label{partition.ID{Topic: partition.UUID{1}}, topic, false, 0}))
}

func TestADirectoryIsLockedFromOpenToClose(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	c := &cluster{t: t, members: map[partition.BrokerID]*member{1: {id: 1, disk: disk}}}
	kept(t, disk)
	n, err := Open(c.config(1))
	require.NoError(t, err)
	before := disk.Mutations()
	_, err = Open(c.config(1))
	require.ErrorIs(t, err, log.ErrLocked)
	require.Equal(t, before, disk.Mutations(), "the second one has touched nothing")
	require.NoError(t, n.Close())
	again, err := Open(c.config(1))
	require.NoError(t, err)
	require.NoError(t, n.Close())
	_, err = Open(c.config(1))
	require.ErrorIs(t, err, log.ErrLocked, "a second Close of the first node frees nothing of another's")

	again.Fail(errors.New("no more"))
	_, err = Open(c.config(1))
	require.ErrorIs(t, err, log.ErrLocked, "a node that failed has it until it is closed")
	require.NoError(t, again.Close())
	requireFree(t, disk, "after a failure")
}

func TestTheLockIsFreedLast(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	c := &cluster{t: t, members: map[partition.BrokerID]*member{1: {id: 1, disk: disk}}}
	kept(t, disk)
	cfg := c.config(1)
	watched := &lockWatch{Disk: disk}
	cfg.FS = watched
	n, err := Open(cfg)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	require.False(t, watched.held)
	require.Equal(t, disk.Mutations(), watched.mutations, "nothing was written after the lock was freed")
	epoch, err := takeCleanMark(disk, "data")
	require.NoError(t, err)
	require.Equal(t, partition.BrokerEpoch(5), epoch, "it was written before")
}

// A lockWatch notes when the lock is freed, and refuses to be read without it.
type lockWatch struct {
	*logtest.Disk
	held      bool
	mutations int // when it was first freed
}

func (w *lockWatch) Lock(dir string) (func() error, error) {
	unlock, err := w.Disk.Lock(dir)
	w.held = err == nil
	return func() error {
		if w.held {
			w.held, w.mutations = false, w.Mutations()
		}
		return unlock()
	}, err
}

func (w *lockWatch) Open(name string) (log.File, error) {
	if !w.held {
		return nil, errors.New("read without the lock: " + name)
	}
	return w.Disk.Open(name)
}

func TestAnOpenThatFailsLeavesNoLock(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(disk *logtest.Disk) error
		want   string
	}{
		{"another broker's directory", func(disk *logtest.Disk) error {
			err := disk.Remove("data/broker")
			_, made := identify(disk, "data", 2, partition.UUID{2})
			return errors.Join(err, made)
		}, "is broker 2's, not broker 1's"},
		{"a clean mark of a newer version", func(disk *logtest.Disk) error {
			return log.WriteFile(disk, "data/clean", cleanMagic, fileVersion+1, nil)
		}, "newer"},
		{"a partition of a newer version", func(disk *logtest.Disk) error {
			return log.WriteFile(disk, "data/rides-0/partition", partMagic, partVersion+1, nil)
		}, "newer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := logtest.NewDisk(log.NewMemFS())
			c := &cluster{t: t, members: map[partition.BrokerID]*member{1: {id: 1, disk: disk}}}
			kept(t, disk)
			require.NoError(t, tt.damage(disk))
			_, err := Open(c.config(1))
			require.ErrorContains(t, err, tt.want)
			requireFree(t, disk, tt.name)
		})
	}
}

func TestAnOpenThatTheDiskFailsLeavesNoLock(t *testing.T) {
	bad := errors.New("bad disk")
	for op, name := range map[logtest.Op]string{
		logtest.Open: "open", logtest.Read: "read", logtest.Lock: "lock", logtest.Mutate: "mutate",
	} {
		for _, fresh := range []bool{true, false} {
			for nth := 1; ; nth++ {
				disk := logtest.NewDisk(log.NewMemFS())
				c := &cluster{t: t, members: map[partition.BrokerID]*member{1: {id: 1, disk: disk}}}
				if !fresh {
					kept(t, disk)
				}
				disk.FailNth(op, nth, bad)
				n, err := Open(c.config(1))
				disk.Revive() // takes away what was not met
				if err == nil {
					require.NoError(t, n.Close())
				}
				requireFree(t, disk, "%s %d, fresh %t", name, nth, fresh)
				if err == nil {
					require.Greater(t, nth, 1, "%s, fresh %t: nothing was failed", name, fresh)
					break
				}
			}
		}
	}
}
