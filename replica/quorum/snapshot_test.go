package quorum

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

// The bytes below are a promise to files already on users' disks. If this test
// fails, bump snapVersion; do not edit want.
func TestSnapshotGolden(t *testing.T) {
	s := snapshot{
		mark: mark{258, 7}, cluster: partition.UUID{0: 0xAA, 15: 1}, state: []byte("state"),
		roster: roster{
			voters:   []Member{{ID: 2, Directory: partition.UUID{0: 0xBB}, Addr: "a:1"}, {ID: 1, Directory: partition.UUID{0: 0xCC}}},
			learners: []Member{{ID: 3, Directory: partition.UUID{0: 0xDD}, Addr: "b"}},
		},
	}
	const want = "aa000000000000000000000000000001" + "0000000000000102" + "0000000000000007" +
		"02" + "00000002" + "bb000000000000000000000000000000" + "03613a31" +
		"00000001" + "cc000000000000000000000000000000" + "00" +
		"01" + "00000003" + "dd000000000000000000000000000000" + "0162" +
		"06" + "7374617465"
	require.Equal(t, want, hex.EncodeToString(encodeSnapshot(s)))
	require.Equal(t, "00000000000000000258-0000000007.snap", s.fileName())
	back, err := decodeSnapshot(encodeSnapshot(s))
	require.NoError(t, err)
	require.Equal(t, s, back)
}

func FuzzSnapshot(f *testing.F) {
	f.Add(encodeSnapshot(snapshotAt(5, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSnapshot(b)
		if err != nil {
			return
		}
		back, err := decodeSnapshot(encodeSnapshot(s))
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}

func snapshotAt(index, term uint64) snapshot {
	f := formationOf3()
	return snapshot{mark: mark{index, term}, cluster: f.Cluster, roster: rosterOf(f), state: []byte(fmt.Sprint("state at ", index))}
}

// Power fails at every call that changes the disk, while a voter appends, takes
// snapshots, is given others in the place of its entries, and goes on. It comes back with the
// snapshot before or after, and with all that it answered for.
func TestSnapshotsSurvivePowerCuts(t *testing.T) {
	at := 1
	for ; ; at++ {
		disk := logtest.NewDisk(log.NewMemFS())
		disk.Crash(at)
		done, err := snapshotScript(disk)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, logtest.ErrCrashed, "call %d", at)
		require.NoError(t, disk.PowerFail(nil))
		s, err := openStorage(storageConfig(disk))
		require.NoError(t, err, "call %d, after step %d", at, done)
		first, _ := s.FirstIndex()
		require.LessOrEqual(t, first, s.snap.index+1, "call %d", at)
		require.GreaterOrEqual(t, s.last(), s.snap.index)
		if done >= 0 {
			want := snapshotSteps[done]
			require.GreaterOrEqual(t, s.last(), want.last, "call %d: answered for", at)
			require.GreaterOrEqual(t, s.snap.index, want.snap, "call %d", at)
		}
		for i := first; i <= s.last(); i++ {
			entries, err := s.Entries(i, i+1, 1<<20)
			require.NoError(t, err)
			term, err := s.Term(i)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("entry ", i, " of ", term), string(entries[0].GetData()))
		}
		if s.snap.index > 0 {
			require.Equal(t, fmt.Sprint("state at ", s.snap.index), string(s.snap.state))
			hard, _, err := s.InitialState()
			require.NoError(t, err)
			require.GreaterOrEqual(t, hard.GetCommit(), s.snap.index)
		}
		_, err = s.Term(first - 1)
		require.NoError(t, err, "call %d: the term before the first", at)
		require.NoError(t, s.close())
		names, err := disk.ReadDir(filepath.Join("data", "quorum"))
		require.NoError(t, err)
		require.LessOrEqual(t, strings.Count(strings.Join(names, " "), snapSuffix), 1, "%v", names)
	}
	require.Greater(t, at, 60)
}

// snapshotSteps says what a voter has answered for after each step of the script.
var snapshotSteps = []struct{ last, snap uint64 }{
	{0, 0}, {20, 0}, {20, 12}, {30, 12}, {30, 25}, {100, 100}, {110, 100}, {110, 105},
}

func snapshotScript(fs log.FS) (done int, err error) {
	s, err := openStorage(storageConfig(fs))
	if err != nil {
		return -1, err
	}
	write := func(from, to, term uint64) error {
		var entries []*pb.Entry
		for i := from; i <= to; i++ {
			entries = append(entries, entry(i, term, fmt.Sprint("entry ", i, " of ", term)))
		}
		return s.save(hardState(term, 1, from-1), entries)
	}
	steps := []func() error{
		func() error {
			return s.keep(kept{formation: formationOf3(), Self: 1, Directory: directoryOf(1)})
		},
		func() error { return write(1, 20, 2) },
		func() error { return s.saveSnapshot(snapshotAt(12, 2), 5) },
		func() error { return write(21, 30, 2) },
		func() error { return s.saveSnapshot(snapshotAt(25, 2), 8) },
		func() error {
			snap := snapshotAt(100, 4)
			return errors.Join(s.stage(snap), s.saveAll(hardState(4, 0, 100), &snap, nil))
		},
		func() error { return write(101, 110, 5) },
		func() error { return s.saveSnapshot(snapshotAt(105, 5), 1000) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return i - 1, err
		}
	}
	return len(steps) - 1, s.close()
}

// A snapshot comes with a higher term, in the place of entries that were never agreed on:
// whenever power fails, none of them counts as committed afterwards.
func TestASnapshotDoesNotVouchForWhatItReplaces(t *testing.T) {
	for at, crashed := 1, true; crashed; at++ {
		disk := logtest.NewDisk(log.NewMemFS())
		s := formedStorage(t, disk)
		var entries []*pb.Entry
		for i := uint64(1); i <= 30; i++ {
			entries = append(entries, entry(i, 1, "entry"))
		}
		require.NoError(t, s.save(hardState(1, 0, 10), entries))
		disk.Crash(at)
		snap := snapshotAt(20, 3)
		err := s.saveAll(hardState(4, 0, 20), &snap, nil)
		crashed = err != nil
		if crashed {
			require.ErrorIs(t, err, logtest.ErrCrashed, "call %d", at)
		}
		require.NoError(t, disk.PowerFail(nil))
		s, err = openStorage(storageConfig(disk))
		require.NoError(t, err)
		if s.snap.index == 0 {
			require.EqualValues(t, 10, s.kept.Commit, "call %d", at)
			continue
		}
		require.Equal(t, snap.mark, s.snap.mark)
		require.EqualValues(t, 20, s.last())
	}
}

// Each case damages a voter that has a snapshot of entry 12 and the entries 16 to 20.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	dir := filepath.Join("data", "quorum")
	name := filepath.Join(dir, snapshotAt(12, 2).fileName())
	tests := []struct {
		name   string
		damage func(*testing.T, log.FS)
		want   error
	}{
		{"undamaged", func(*testing.T, log.FS) {}, nil},
		{"lost", func(t *testing.T, fs log.FS) { require.NoError(t, fs.Remove(name)) }, ErrCorrupt},
		{"bit flipped", func(t *testing.T, fs log.FS) { flip(t, fs, name, 40) }, ErrCorrupt},
		{"renamed", func(t *testing.T, fs log.FS) {
			require.NoError(t, fs.Rename(name, filepath.Join(dir, mark{13, 2}.fileName())))
		}, ErrCorrupt},
		{"of another cluster", func(t *testing.T, fs log.FS) {
			s := snapshotAt(12, 2)
			s.cluster = partition.UUID{1}
			require.NoError(t, log.WriteFile(fs, name, snapMagic, snapVersion, encodeSnapshot(s)))
		}, ErrCorrupt},
		{"of a newer release", func(t *testing.T, fs log.FS) {
			require.NoError(t, log.WriteFile(fs, name, snapMagic, snapVersion+1, nil))
		}, log.ErrNewer},
		{"of a term above the kept one", func(t *testing.T, fs log.FS) {
			s := snapshotAt(12, 9)
			require.NoError(t, log.WriteFile(fs, filepath.Join(dir, s.fileName()), snapMagic, snapVersion, encodeSnapshot(s)))
		}, ErrCorrupt},
		{"all but the log", func(t *testing.T, fs log.FS) {
			names, err := fs.ReadDir(filepath.Join(dir, logName))
			require.NoError(t, err)
			for _, n := range names {
				require.NoError(t, fs.Remove(filepath.Join(dir, logName, n)))
			}
		}, ErrCorrupt},
		{"one that was not finished", func(t *testing.T, fs log.FS) {
			_, err := fs.Create(filepath.Join(dir, mark{20, 2}.fileName()) + ".tmp")
			require.NoError(t, err)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := log.NewMemFS()
			s := formedStorage(t, fs)
			var entries []*pb.Entry
			for i := uint64(1); i <= 20; i++ {
				entries = append(entries, entry(i, 2, "entry"))
			}
			require.NoError(t, s.save(hardState(2, 0, 0), entries))
			require.NoError(t, s.saveSnapshot(snapshotAt(12, 2), 5))
			require.Equal(t, mark{12, 2}, s.base)
			require.NoError(t, s.close())
			tt.damage(t, fs)
			s, err := openStorage(storageConfig(fs))
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, mark{12, 2}, s.snap.mark)
			require.NoError(t, s.close())
		})
	}
}

// A snapshot that cannot be read is damage if its bytes are wrong, and else the disk's fault:
// who is damaged begins anew as another voter.
func TestSnapshotThatCannotBeServed(t *testing.T) {
	for _, corrupt := range []bool{true, false} {
		disk := logtest.NewDisk(log.NewMemFS())
		s := formedStorage(t, disk)
		require.NoError(t, s.save(hardState(2, 0, 1), []*pb.Entry{entry(1, 2, "entry")}))
		require.NoError(t, s.saveSnapshot(snapshotAt(1, 2), 5))
		snap, err := s.serve(mark{1, 1})
		require.NoError(t, err)
		require.Nil(t, snap.payload, "there is none of that term")
		if corrupt {
			flip(t, disk, filepath.Join("data", "quorum", mark{1, 2}.fileName()), 40)
		} else {
			disk.FailNth(logtest.Open, 1, errDisk)
		}
		_, err = s.serve(mark{1, 2})
		require.Equal(t, corrupt, errors.Is(err, ErrCorrupt), "%v", err)
		require.Equal(t, err, s.save(nil, nil), "the first error is final")
	}
}

// A voter that was away while the entries that it lacks were dropped gets a snapshot,
// of several pieces, and goes on from it, also over a restart.
func TestVoterThatWasAwayGetsASnapshot(t *testing.T) {
	for _, n := range []int{3, 5} {
		for _, loss := range []int{0, 6} {
			t.Run(fmt.Sprint(n, " voters, loss ", loss), func(t *testing.T) {
				cryptotest.SetGlobalRandom(t, 3)
				r := newRig(t, 3, n)
				r.compact(200<<10, 3)
				r.startAll()
				r.say("first")
				r.alike(time.Minute)
				away := r.hosts[n-1]
				away.crash(false)
				long := strings.Repeat("x", 50<<10)
				for i := range 20 {
					r.say(fmt.Sprint(i, long))
				}
				require.Greater(t, r.leader().engine.disk.base.index, uint64(10))
				r.loss = loss
				away.start()
				r.say("second")
				all := r.alike(5 * time.Minute)
				require.Len(t, all, len(r.leader().applied))
				require.Equal(t, "second", all[len(all)-1])
				require.Equal(t, 1, away.restored, "it got no snapshot")
				r.loss = 0
				away.crash(true)
				away.start()
				require.Equal(t, 1, away.restored, "its own")
				r.say("third")
				r.alike(time.Minute)
			})
		}
	}
}

// The whole quorum comes back from snapshots and what follows them.
func TestRestartFromSnapshots(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " voters"), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 4)
			r := newRig(t, 4, n)
			r.compact(300, 2)
			r.startAll()
			for i := range 60 {
				r.say(fmt.Sprint("entry ", i))
			}
			before := r.alike(time.Minute)
			for _, h := range r.hosts {
				require.Greater(t, h.engine.disk.base.index, uint64(30))
				h.crash(true)
			}
			r.startAll()
			r.say("after")
			after := r.alike(time.Minute)
			require.Equal(t, before, after[:len(before)])
			for _, h := range r.hosts {
				require.Equal(t, 1, h.restored)
			}
		})
	}
}

// The receiver of a snapshot dies while it comes, or the sender does, or nothing that
// says so arrives: it gets one in the end.
func TestSnapshotThatWasInterrupted(t *testing.T) {
	for _, who := range []string{"receiver", "sender", "nobody"} {
		t.Run(who, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 15)
			r := newRig(t, 15, 3)
			r.compact(200<<10, 3)
			r.startAll()
			r.say("first")
			away := r.hosts[r.elect(time.Minute).cfg.Self%3]
			away.crash(false)
			for i := range 30 {
				r.say(fmt.Sprint(i, strings.Repeat("x", 50<<10)))
			}
			away.start()
			r.run(time.Minute, func() bool { return away.engine.pulling != nil && len(away.engine.pulling.data) > 0 })
			sender := r.leader()
			switch who {
			case "receiver":
				away.crash(true)
				away.start()
			case "sender":
				sender.crash(true)
				r.pass(3 * time.Second)
				sender.start()
			case "nobody": // whatever tells of the failure is lost too
				r.cut[away.cfg.Self] = true
				r.pass(800 * time.Millisecond)
				delete(r.cut, away.cfg.Self)
			}
			r.say("second")
			r.alike(time.Minute)
			require.Equal(t, 1, away.restored)
		})
	}
}
