package node

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// contents returns a file as hex; "" if it is not there.
func contents(t testing.TB, fsys log.FS, name string) string {
	f, err := fsys.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// What is on the disks of users must be read for ever: if this test fails, bump
// fileVersion and add files to testdata/golden; do not change one.
func TestFilesKeepTheirBytes(t *testing.T) {
	fsys := log.NewMemFS()
	require.NoError(t, fsys.MkdirAll("data"))
	directory, err := identify(fsys, "data", 7, partition.UUID{0: 0xAB, 15: 0xCD})
	require.NoError(t, err)
	require.Equal(t, partition.UUID{0: 0xAB, 15: 0xCD}, directory)
	require.NoError(t, writeCleanMark(fsys, "data", 0x1122))
	_, err = countLife(fsys, "data")
	require.NoError(t, err)
	id := partition.ID{Topic: partition.UUID{0: 1, 15: 2}, Partition: 3}
	topic := partition.TopicConfig{Name: "rides", Durability: partition.Replicated, SegmentBytes: 1 << 26, MaxBatchBytes: 1 << 20}
	require.NoError(t, writePartition(fsys, "data", label{id, topic, true, 7}))

	for name, file := range map[string]string{"broker": "broker-1", "lives": "lives-1", "clean": "clean-1", "partition": "partition-2"} {
		require.Equal(t, golden(t, file), contents(t, fsys, filepath.Join("data", name)), name)
	}
	got, err := readPartition(fsys, "data")
	require.NoError(t, err)
	require.Equal(t, label{id, topic, true, 7}, got)
	overwrite(t, fsys, "data/partition", golden(t, "partition-1"))
	got, err = readPartition(fsys, "data")
	require.NoError(t, err)
	require.Equal(t, label{id, topic, true, 0}, got)
	_, err = identify(fsys, "data", 7, partition.UUID{})
	require.NoError(t, err)
	epoch, err := takeCleanMark(fsys, "data")
	require.NoError(t, err)
	require.EqualValues(t, 0x1122, epoch)
}

// overwrite makes a file of what is given as hex.
func overwrite(t *testing.T, fsys log.FS, name, text string) {
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	f, err := fsys.Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// golden returns the hex of a file in which what follows a # is a comment.
func golden(t *testing.T, name string) string {
	b, err := os.ReadFile(filepath.Join("testdata", "golden", name+".hex"))
	require.NoError(t, err)
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		out.WriteString(strings.TrimSpace(line))
	}
	return out.String()
}

func TestADirectoryIsOneBrokersForGood(t *testing.T) {
	fsys := log.NewMemFS()
	require.NoError(t, fsys.MkdirAll("a/b/data"))
	first, err := identify(fsys, "a/b/data", 7, partition.UUID{1})
	require.NoError(t, err)
	again, err := identify(fsys, "a/b/data", 7, partition.UUID{2})
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, err = identify(fsys, "a/b/data", 8, partition.UUID{3})
	require.ErrorContains(t, err, "is broker 7's, not broker 8's")
	require.NoError(t, log.WriteFile(fsys, "a/b/data/broker", brokerMagic, fileVersion+1, nil))
	_, err = identify(fsys, "a/b/data", 7, partition.UUID{2})
	require.ErrorIs(t, err, log.ErrNewer)
}

// Each process that opens a directory is known from those before it, whatever became
// of them.
func TestLivesOfADirectoryAreCounted(t *testing.T) {
	fsys := log.NewMemFS()
	require.NoError(t, fsys.MkdirAll("data"))
	for life := uint64(1); life < 4; life++ {
		got, err := countLife(fsys, "data")
		require.NoError(t, err)
		require.Equal(t, life, got)
		now, next := partition.UUID{9}.WithLife(got), partition.UUID{1}.WithLife(got+1)
		require.True(t, now.Before(next) && !next.Before(now) && !now.Before(now))
		require.False(t, partition.UUID{1}.Before(now) || now.Before(partition.UUID{1}), "not counted")
	}
	require.NoError(t, log.WriteFile(fsys, "data/lives", livesMagic, fileVersion, []byte("short")))
	_, err := countLife(fsys, "data")
	require.ErrorContains(t, err, "lives")
}

func TestTheCleanMarkIsTakenOnce(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	require.NoError(t, log.MakeDir(disk, "data"))
	take := func() partition.BrokerEpoch {
		epoch, err := takeCleanMark(disk, "data")
		require.NoError(t, err)
		return epoch
	}
	require.Zero(t, take(), "there is none")
	require.NoError(t, writeCleanMark(disk, "data", 12))
	require.Equal(t, partition.BrokerEpoch(12), take())
	require.NoError(t, disk.PowerFail(nil))
	require.Zero(t, take(), "it is gone for good")

	require.NoError(t, writeCleanMark(disk, "data", 12))
	require.NoError(t, disk.FlipBit("data/clean", 20, 3))
	require.Zero(t, take(), "a damaged one says nothing")
	require.Empty(t, contents(t, disk, "data/clean"))

	require.NoError(t, log.WriteFile(disk, "data/clean", cleanMagic, fileVersion+1, nil))
	_, err := takeCleanMark(disk, "data")
	require.ErrorIs(t, err, log.ErrNewer)
}

// Nothing may be written while the mark of the stop before still stands.
func TestTheCleanMarkGoesBeforeAnythingIsWritten(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	c := &cluster{t: t, members: map[partition.BrokerID]*member{1: {id: 1, disk: disk}}}
	require.NoError(t, disk.MkdirAll("data"))
	_, err := identify(disk, "data", 1, partition.UUID{1})
	require.NoError(t, err)
	require.NoError(t, writeCleanMark(disk, "data", 5))
	disk.FailNth(logtest.SyncDir, 1, errors.New("bad disk"))
	_, err = Open(c.config(1))
	require.ErrorContains(t, err, "bad disk")
}

func TestCloseLeavesTheMark(t *testing.T) {
	for _, tt := range []struct {
		name string
		live func(c *cluster) // from the opened, not yet running node on
		want partition.BrokerEpoch
	}{
		{"after a stop in good order", func(c *cluster) {
			c.ready(1)
			require.NoError(t, c.stop(1))
		}, 9},
		{"not after a failure", func(c *cluster) {
			c.ready(1)
			c.node(1).Fail(errors.New("no more"))
			require.ErrorContains(t, c.stop(1), "no more")
		}, 0},
		{"not after a failure that comes while it stops", func(c *cluster) {
			c.ready(1)
			m := c.members[1]
			m.cancel()
			<-m.ended
			m.node.Fail(errors.New("too late to be told"))
			m.ended <- nil
			require.NoError(t, c.stop(1))
		}, 0},
		{"once: a second Close touches nothing", func(c *cluster) {
			c.ready(1)
			n := c.node(1)
			require.NoError(t, c.stop(1))
			epoch, err := takeCleanMark(c.members[1].disk, "data")
			require.NoError(t, err)
			require.NotZero(t, epoch)
			require.NoError(t, n.Close())
		}, 0},
		{"the old one, if it never was registered", func(c *cluster) {
			c.a.lead(partition.NoBroker)
			require.NoError(t, c.stop(1))
			require.NoError(t, writeCleanMark(c.members[1].disk, "data", 4))
			n, err := Open(c.config(1))
			require.NoError(t, err)
			require.Empty(t, contents(t, c.members[1].disk, "data/clean"))
			require.NoError(t, n.Close())
		}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				epoch := c.node(1).Epoch()
				tt.live(c)
				if tt.want == 9 {
					tt.want = epoch
				}
				got, err := takeCleanMark(c.members[1].disk, "data")
				require.NoError(t, err)
				require.Equal(t, tt.want, got)
			})
		})
	}
}

func TestSuspectsAfterAStop(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop func(c *cluster)
		want []string // topics
	}{
		{"none after a stop in good order", func(c *cluster) { require.NoError(c.t, c.stop(1)) }, nil},
		{"after a kill those that do not sync before they acknowledge", func(c *cluster) { c.kill(1) }, []string{"fast"}},
		{"after a power cut likewise: what was synced is there", func(c *cluster) {
			m := c.members[1]
			c.net.Detach("broker-1")
			require.NoError(c.t, m.disk.PowerFail(nil))
			_ = c.stop(1)
			m.disk.Revive()
		}, []string{"fast"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				safe := c.create(partition.TopicConfig{Name: "safe"})
				fast := c.create(partition.TopicConfig{Name: "fast", Durability: partition.Unsynced})
				for _, id := range []partition.ID{safe, fast} {
					require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 10)).Code)
				}
				tt.stop(c)
				n, err := Open(c.config(1))
				require.NoError(t, err)
				var got []string
				for _, id := range n.suspects {
					got = append(got, n.found[id].topic)
				}
				require.Equal(t, tt.want, got)
				require.NoError(t, n.Close())
			})
		})
	}
}

// A log that had to be cut is remembered until the controller has been told.
func TestALossIsReportedUntilItIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 10)).Code)
		c.kill(1)
		disk := c.members[1].disk
		segment := "data/rides-0/00000000000000000000.log"
		f, err := disk.Open(segment)
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("torn, and not zeros: this many bytes at least, and then some more of them, for a whole header"), size)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		for range 2 { // the first dies before it is registered
			n, err := Open(c.config(1))
			require.NoError(t, err)
			require.Equal(t, []partition.ID{id}, n.suspects)
			disk.Fail(errKilled)
			_ = n.Close()
			disk.Revive()
		}
		c.start(1)
		c.ready(1)
		c.until("balanced election", func() bool { return c.leader(id) != nil })
		c.kill(1)
		n, err := Open(c.config(1))
		require.NoError(t, err)
		require.Empty(t, n.suspects)
		require.NoError(t, n.Close())
	})
}

// newTwoCopies returns a broker with two partitions of three records each.
func newTwoCopies(t *testing.T) (c *cluster, bad, good partition.ID) {
	c = newCluster(t, 1)
	bad = c.create(partition.TopicConfig{Name: "bad"})
	good = c.create(partition.TopicConfig{Name: "good"})
	for _, id := range []partition.ID{bad, good} {
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 10)).Code)
	}
	return c, bad, good
}

func TestADamagedPartitionStaysOutAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, bad, good := newTwoCopies(t)
		time.Sleep(2 * time.Second)
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(bad), batch(3, 10)).Code) // syncs the flushed end
		c.kill(1)
		require.NoError(t, c.members[1].disk.FlipBit("data/bad-0/00000000000000000000.log", 80, 1))
		c.start(1)
		c.ready(1)
		c.until("the good one", func() bool { return c.leader(good) != nil })
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(good), batch(1, 10)).Code)
		require.Equal(t, partition.NotLeader, c.node(1).Produce(t.Context(), all(bad), batch(1, 10)).Code)
		end, ok := c.node(1).logEnd(bad)
		require.True(t, ok && end.Damaged)
	})
}

// A partition that cannot be read for a moment must not begin anew.
func TestAReadErrorHidesNoPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.create(partition.TopicConfig{Name: "rides"})
		require.NoError(t, c.stop(1))
		for n := 1; n < 40; n++ {
			c.members[1].disk.FailNth(logtest.Read|logtest.Open, n, syscall.EIO)
			opened, err := Open(c.config(1))
			if err != nil {
				require.ErrorIs(t, err, syscall.EIO)
			} else {
				require.Len(t, opened.found, 1, "call %d", n)
				require.NoError(t, opened.Close())
			}
			c.members[1].disk.Revive()
		}
	})
}

// A topic of the same name in a cluster that is gone has left its directory behind.
func TestTopicsOfOneNameDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		old := c.create(partition.TopicConfig{Name: "rides"})
		require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(old), batch(5, 10)).Code)
		require.NoError(t, c.stop(1))
		c.a = newAgreement()
		c.a.lead(1)
		c.start(1)
		c.ready(1)
		c.create(partition.TopicConfig{Name: "before"})
		id := c.create(partition.TopicConfig{Name: "rides"})
		require.NotEqual(t, old, id)
		resp := c.node(1).Produce(t.Context(), all(id), batch(1, 10))
		require.Equal(t, partition.OK, resp.Code)
		require.Zero(t, resp.First)
		c.kill(1)
		n, err := Open(c.config(1))
		require.NoError(t, err)
		require.Equal(t, log.Offset(5), n.found[old].log.End())
		require.Equal(t, log.Offset(1), n.found[id].log.End())
		require.NoError(t, n.Close())
	})
}

// The flushed end is written down once a second at most, so that a log which falls silent
// has records of which it does not know that they are synced: damage there would pass for
// the torn end of a write, and be cut.
func TestASilentLogKnowsWhatIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides", Retention: -1})
		for range 2 {
			require.Equal(t, partition.OK, c.node(1).Produce(t.Context(), all(id), batch(3, 100)).Code)
		}
		time.Sleep(cleanPace + time.Second)
		const dir = "data/rides-0"
		report, err := log.Verify(c.members[1].disk, dir)
		require.NoError(t, err)
		require.Equal(t, log.Offset(6), report.End)
		disk := c.members[1].disk
		c.net.Detach(transport.Addr(addr(1)))
		require.NoError(t, disk.PowerFail(nil))
		c.kill(1)
		require.NoError(t, disk.FlipBit(filepath.Join(dir, "00000000000000000000.log"), 2*int64(len(batch(3, 100)))-1, 0))
		c.start(1)
		c.until("the damage", func() bool { return c.node(1).damageOf(id) != "" })
	})
}
