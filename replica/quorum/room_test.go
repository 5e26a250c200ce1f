package quorum

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

// There is no room at one call after another while a snapshot is taken. Unless that was a
// sync, the voter has its whole log, promises more, and takes the snapshot later.
func TestNoRoomForASnapshotIsNoFailure(t *testing.T) {
	passed := 0
	for n := 1; n <= 20; n++ {
		disk := logtest.NewDisk(log.NewMemFS())
		s := formedStorage(t, disk)
		var entries []*pb.Entry
		for i := uint64(1); i <= 30; i++ {
			entries = append(entries, entry(i, 1, fmt.Sprint("entry ", i)))
		}
		require.NoError(t, s.save(hardState(1, 0, 10), entries[:20]))
		require.NoError(t, s.saveSnapshot(snapshotAt(5, 1), 12))
		end := disk.Inject(logtest.Fault{Op: logtest.Create | logtest.Write | logtest.Truncate | logtest.Rename | logtest.Remove, Nth: n, Err: syscall.ENOSPC})
		err := s.saveSnapshot(snapshotAt(15, 1), 3)
		end()
		if err != nil {
			require.True(t, log.NoRoom(err), "call %d: %v", n, err)
			passed++
		}
		require.NoError(t, s.err)
		require.NoError(t, s.save(hardState(2, 3, 15), []*pb.Entry{entry(21, 2, "entry 21")}))
		first, _ := s.FirstIndex()
		for i := first; i <= 21; i++ {
			got, err := s.Entries(i, i+1, 1)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("entry ", i), string(got[0].GetData()))
		}
		require.NoError(t, s.saveSnapshot(snapshotAt(18, 1), 3))
		first, _ = s.FirstIndex()
		require.EqualValues(t, 19, first)
		require.NoError(t, disk.PowerFail(nil))
		s, err = openStorage(storageConfig(disk))
		require.NoError(t, err, "call %d", n)
		require.Equal(t, mark{18, 1}, s.snap.mark)
		require.EqualValues(t, 21, s.last())
		require.NoError(t, s.close())
	}
	require.Greater(t, passed, 4)
}

func TestASyncWithoutRoomIsAFailure(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s := formedStorage(t, disk)
	require.NoError(t, s.save(hardState(1, 0, 10), []*pb.Entry{entry(1, 1, "a"), entry(2, 1, "b")}))
	disk.FailNth(logtest.Sync, 1, syscall.ENOSPC)
	require.ErrorIs(t, s.saveSnapshot(snapshotAt(1, 1), 0), log.ErrFailed)
	require.ErrorIs(t, s.save(hardState(2, 0, 10), nil), log.ErrFailed)
}

// attempts counts how often a disk is asked to make a file of that name.
func attempts(disk *logtest.Disk, pattern string) *int {
	n := new(int)
	disk.Before(func(op logtest.Op, name string) {
		if ok, _ := filepath.Match(pattern, filepath.Base(name)); ok && op == logtest.Create {
			*n++
		}
	})
	return n
}

// full is a disk without room for files of that name, until ended.
func full(disk *logtest.Disk, pattern string) (end func()) {
	return disk.Inject(logtest.Fault{Op: logtest.Write, Name: pattern, Every: 1, Err: syscall.ENOSPC})
}

// No voter has room for snapshots: the quorum goes on, its log grows, and it is tried again
// now and then, until there is room.
func TestAQuorumWithoutRoomForSnapshots(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " voters"), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 31)
			r := newRig(t, 31, n)
			r.compact(16<<10, 2)
			var ends []func()
			var tries []*int
			var texts []*strings.Builder
			for _, h := range r.hosts {
				texts = append(texts, h.listen())
				tries = append(tries, attempts(h.disk, "*.snap.tmp"))
				ends = append(ends, full(h.disk, "*.snap.tmp"))
			}
			r.startAll()
			for i := range 200 { // 40 KiB
				r.say(fmt.Sprintf("entry %d %0200d", i, i))
			}
			r.alike(time.Minute)
			for i, h := range r.hosts {
				require.Zero(t, h.engine.disk.base.index, "all of the log is there")
				require.Positive(t, *tries[i])
				require.LessOrEqual(t, *tries[i], 1+32<<10/(1<<10), "not more often than that")
				require.Equal(t, *tries[i], strings.Count(texts[i].String(), "level=WARN"), texts[i].String())
				ends[i]()
			}
			for i := range 8 { // enough for the next attempt
				r.say(fmt.Sprintf("entry %d %0200d", i, i))
			}
			all := r.alike(time.Minute)
			for _, h := range r.hosts {
				require.Greater(t, h.engine.disk.base.index, uint64(150))
				h.crash(true)
			}
			r.startAll()
			r.say("after")
			require.Equal(t, all, r.alike(time.Minute)[:len(all)])
		})
	}
}

// A voter that needs a snapshot has no room for it: it votes, asks for it now and then, and
// has it as soon as there is room.
func TestAVoterWithoutRoomForTheLeadersSnapshot(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 32)
	r := newRig(t, 32, 3)
	r.compact(2<<10, 2)
	r.startAll()
	r.say("first")
	r.alike(time.Minute)
	away := r.hosts[r.leader().cfg.Self%3]
	away.crash(true)
	for i := range 100 {
		r.say(fmt.Sprintf("entry %d %0100d", i, i))
	}
	text := away.listen()
	tries := attempts(away.disk, "*.snap.new.tmp")
	end := full(away.disk, "*.snap.new.tmp")
	away.start()
	r.pass(30 * time.Second)
	require.NoError(t, away.engine.err)
	require.Equal(t, Follower, away.engine.Status().Role)
	require.GreaterOrEqual(t, *tries, 3)
	require.LessOrEqual(t, *tries, 7, "once in five seconds")
	require.Contains(t, text.String(), `level=WARN msg="no room for the snapshot`)
	end()
	r.say("more")
	r.alike(time.Minute)
	require.Equal(t, 1, away.restored)
	names, err := away.disk.ReadDir("quorum")
	require.NoError(t, err)
	for _, name := range names {
		require.False(t, strings.Contains(name, newSuffix) || strings.Contains(name, tempSuffix), "%v", names)
	}
}

// A snapshot that was fetched and has come to nothing, as its receiver died, is removed.
func TestAStagedSnapshotDoesNotOutliveItsProcess(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s := formedStorage(t, disk)
	require.NoError(t, s.save(hardState(2, 0, 0), []*pb.Entry{entry(1, 1, "a")}))
	require.NoError(t, s.stage(snapshotAt(9, 2)))
	require.NoError(t, s.stage(snapshotAt(10, 2)), "in the place of the last")
	disk.Fail(errors.New("dead"))
	disk.Revive()
	names, err := disk.ReadDir(quorumPath)
	require.NoError(t, err)
	require.Contains(t, names, snapshotAt(10, 2).fileName()+newSuffix)
	require.NotContains(t, names, snapshotAt(9, 2).fileName()+newSuffix)
	s, err = openStorage(storageConfig(disk))
	require.NoError(t, err)
	require.Zero(t, s.snap.index)
	names, err = disk.ReadDir(quorumPath)
	require.NoError(t, err)
	require.NotContains(t, names, snapshotAt(10, 2).fileName()+newSuffix)
	require.NoError(t, s.close())
}
