package node

import (
	"errors"
	"flag"
	"math/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

var crashEvery = flag.Int("crash.every", 9, "at how many of the calls that make a copy anew the broker dies: one in so many")

// Wherever the broker dies while its copy is made anew, with and without its unsynced
// bytes, the next life goes on with it.
func TestACrashWhileACopyIsMadeAnew(t *testing.T) {
	last := 0
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		id := w.follower()
		before := w.members[id].disk.Mutations()
		w.flip(id, 2)
		time.Sleep(2 * scrubDelay)
		w.alike()
		last = w.members[id].disk.Mutations() - before
	})
	require.Greater(t, last, 50)
	for n := 1; n <= last; n += *crashEvery {
		for _, power := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { makeAnewAndCrash(t, n, power) })
			require.False(t, t.Failed(), "power cut %t, at call %d of %d", power, n, last)
		}
	}
}

func makeAnewAndCrash(t *testing.T, n int, power bool) {
	w := newWorn(t, 2)
	id := w.follower()
	disk := w.members[id].disk
	w.flip(id, 2)
	before := disk.Mutations()
	disk.Crash(n)
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		if w.node(id).ctx.Err() != nil {
			break
		}
	}
	// A broker may not have noticed, if it can do without the call that failed.
	if disk.Mutations()-before < n {
		disk.Revive() // it took fewer calls this time
		w.alike()
		return
	}
	if power {
		w.net.Detach(transport.Addr(addr(id)))
		require.NoError(t, disk.PowerFail(rand.New(rand.NewSource(int64(n)))))
	}
	w.kill(id)
	w.fill(2)
	w.start(id)
	time.Sleep(2 * scrubDelay)
	w.alike()
}

// An outdated copy is discarded as a whole, wherever its broker dies within that.
func TestACrashWhileAnOutdatedCopyIsDiscarded(t *testing.T) {
	for n, crashed := 1, true; crashed && n <= 60; n++ {
		for _, power := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { crashed = outdateAndCrash(t, n, power) })
			require.False(t, t.Failed(), "power cut %t, at call %d", power, n)
		}
	}
}

// outdateAndCrash has an election give records up of a topic that is compacted since, and
// tells whether the disk of a follower lived for as long.
func outdateAndCrash(t *testing.T, n int, power bool) bool {
	w := newWorn(t, 2)
	id := w.follower()
	disk := w.members[id].disk
	require.NoError(t, w.node(id).replica(w.id).log.NoteRemoved(1<<20)) // a mark of the old copy
	topic, _ := w.node(id).TopicByID(w.id.Topic)
	compact, lossy := topic.Config, *topic.Partitions[0]
	compact.Compact = true
	lossy.Epoch++
	lossy.PartitionEpoch++
	lossy.LossyEpoch, lossy.ISR = lossy.Epoch, []partition.BrokerID{lossy.Leader}
	begun := disk.Mutations()
	disk.Crash(n)
	w.a.propose(partition.EncodeRecords([]partition.Record{
		partition.ChangeTopic{Topic: w.id.Topic, Expect: topic.Config, Config: compact},
		partition.ChangePartition{ID: w.id, State: lossy},
	}))
	time.Sleep(10 * time.Second)
	crashed := disk.Mutations()-begun >= n
	if crashed {
		if power {
			w.net.Detach(transport.Addr(addr(id)))
			require.NoError(t, disk.PowerFail(rand.New(rand.NewSource(int64(n)))))
		}
		w.kill(id)
		w.start(id)
	}
	w.waitISR(w.id, 3)
	require.Less(t, w.node(id).replica(w.id).log.RemovedBelow(), log.Offset(1))
	return crashed
}

func TestTheFilesOfCopiesKeepTheirBytes(t *testing.T) {
	fsys := log.NewMemFS()
	require.NoError(t, fsys.MkdirAll("data"))
	copies := map[string]partition.ID{
		"rides-3":    {Topic: partition.UUID{0: 1, 15: 2}, Partition: 3},
		"payments-0": {Topic: partition.UUID{0: 4}},
	}
	require.NoError(t, writeCopies(fsys, "data", copies))
	require.Equal(t, golden(t, "copies-1"), contents(t, fsys, "data/copies"))
	got, err := readCopies(fsys, "data")
	require.NoError(t, err)
	require.Equal(t, copies, got)

	known, err := readDamage(fsys, "data")
	require.NoError(t, err)
	require.Nil(t, known)
	require.NoError(t, writeDamage(fsys, "data", &damage{err: errors.New("a bit"), discarded: true}))
	require.Equal(t, golden(t, "damage-1"), contents(t, fsys, "data/damage"))
	known, err = readDamage(fsys, "data")
	require.NoError(t, err)
	require.Equal(t, &damage{err: errors.New("a bit"), discarded: true, noted: true}, known)
	require.NoError(t, writeDamage(fsys, "data", &damage{err: errors.New(strings.Repeat("x", maxReason+1))}))
	_, err = readDamage(fsys, "data")
	require.NoError(t, err)
	require.NoError(t, removeDamage(fsys, "data"))
	require.NoError(t, removeDamage(fsys, "data"))
	require.Empty(t, contents(t, fsys, "data/damage"))
}
