package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func storageConfig(fs log.FS) Config {
	return Config{Self: 1, Directory: directoryOf(1), Dir: filepath.Join("data", "quorum"), FS: fs, Logger: slog.New(slog.DiscardHandler)}
}

func formationOf3() formation { return joined(1, 1, 1, 2, 3).formation }

// formedStorage is the storage of voter 1 of 3, without entries.
func formedStorage(t *testing.T, fs log.FS) *storage {
	s, err := openStorage(storageConfig(fs))
	require.NoError(t, err)
	require.NoError(t, s.keep(kept{formation: formationOf3(), Self: 1, Directory: directoryOf(1)}))
	return s
}

func hardState(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
}

// save is saveAll without a snapshot.
func (s *storage) save(hard *pb.HardState, entries []*pb.Entry) error {
	return s.saveAll(hard, nil, entries)
}

func requireEntries(t *testing.T, want, got []*pb.Entry) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, proto.Equal(want[i], got[i]), "entry %d: %v, want %v", i, got[i], want[i])
	}
}

func TestStorageBeginsAtOne(t *testing.T) {
	s := formedStorage(t, log.NewMemFS())
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	require.EqualValues(t, 1, first)
	require.EqualValues(t, 0, last)
	term, err := s.Term(0)
	require.NoError(t, err)
	require.Zero(t, term)
	_, err = s.Term(1)
	require.ErrorIs(t, err, raft.ErrUnavailable)
	_, err = s.Entries(0, 1, 10)
	require.ErrorIs(t, err, raft.ErrCompacted)
	_, err = s.Entries(1, 2, 10)
	require.ErrorIs(t, err, raft.ErrUnavailable)
	_, conf, err := s.InitialState()
	require.NoError(t, err)
	require.Len(t, conf.GetVoters(), 3)
}

// Of entries that were synced, and that the log does not know to be, a flipped bit would
// make the torn end of a write.
func TestDamageOfSyncedEntriesIsNoTornWrite(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s := formedStorage(t, disk)
	require.NoError(t, s.save(hardState(1, 0, 0), []*pb.Entry{entry(1, 1, "a")}))
	require.NoError(t, s.save(nil, []*pb.Entry{entry(2, 1, "b")}))
	end, err := s.log.Size()
	require.NoError(t, err)
	require.NoError(t, disk.PowerFail(nil))
	require.NoError(t, disk.FlipBit(filepath.Join("data", "quorum", logName, fmt.Sprintf("%020d.log", 1)), end-1, 0))
	_, err = openStorage(storageConfig(disk))
	require.ErrorIs(t, err, log.ErrCorrupt)
}

// A log is a slice: whatever is saved, cut and reopened, reads agree with it.
func TestStorageAgainstASlice(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			fs := log.NewMemFS()
			s := formedStorage(t, fs)
			var model []*pb.Entry
			term, commit := uint64(1), uint64(0)
			for range 150 {
				switch rng.IntN(10) {
				case 0:
					term++
				case 1:
					require.NoError(t, s.close())
					var err error
					s, err = openStorage(storageConfig(fs))
					require.NoError(t, err)
				case 2:
					commit += rng.Uint64N(uint64(len(model)) - commit + 1)
				case 3: // as if there had never been a memory
					s.tail, s.bytes = nil, 0
				}
				from := uint64(len(model))
				if rng.IntN(4) == 0 {
					from -= rng.Uint64N(from - commit + 1)
				}
				model = model[:from:from]
				var entries []*pb.Entry
				for range rng.IntN(8) {
					e := entry(uint64(len(model))+1, term, strings.Repeat("x", rng.IntN(3)*rng.IntN(2000)))
					if rng.IntN(10) == 0 {
						e.Type = pb.EntryConfChangeV2.Enum()
					}
					entries, model = append(entries, e), append(model, e)
				}
				if len(entries) == 0 && s.last() > from {
					model = readAll(t, s) // nothing overwrites it
					continue
				}
				require.NoError(t, s.save(hardState(term, 0, commit), entries))
				require.EqualValues(t, len(model), s.last())
				requireEntries(t, model, readAll(t, s))
				for _, e := range model {
					got, err := s.Term(e.GetIndex())
					require.NoError(t, err)
					require.Equal(t, e.GetTerm(), got)
				}
			}
		})
	}
}

func readAll(t *testing.T, s *storage) []*pb.Entry {
	t.Helper()
	var all []*pb.Entry
	for next := uint64(1); next <= s.last(); {
		some, err := s.Entries(next, s.last()+1, 3000)
		require.NoError(t, err)
		require.NotEmpty(t, some)
		all = append(all, some...)
		next += uint64(len(some))
	}
	return all
}

func TestStorageKeepsOnlyTheTailInMemory(t *testing.T) {
	s := formedStorage(t, log.NewMemFS())
	var all []*pb.Entry
	for i := uint64(1); i <= 5*tailEntries; i++ {
		e := entry(i, 1, fmt.Sprint(i))
		all = append(all, e)
		require.NoError(t, s.save(hardState(1, 0, 0), []*pb.Entry{e}))
	}
	require.LessOrEqual(t, len(s.tail), 2*tailEntries)
	requireEntries(t, all, readAll(t, s))
	big := strings.Repeat("x", MaxEntryBytes)
	for i := uint64(5*tailEntries + 1); i <= 5*tailEntries+20; i++ {
		require.NoError(t, s.save(nil, []*pb.Entry{entry(i, 1, big)}))
	}
	require.LessOrEqual(t, s.bytes, 2*tailBytes)
	size := 0
	for _, e := range s.tail {
		size += sizeOf(e)
	}
	require.Equal(t, size, s.bytes)
}

func TestStorageReturnsAtLeastOneEntry(t *testing.T) {
	s := formedStorage(t, log.NewMemFS())
	require.NoError(t, s.save(hardState(1, 0, 0), []*pb.Entry{entry(1, 1, "aaaa"), entry(2, 1, "bbbb")}))
	for _, memory := range []bool{true, false} {
		if !memory {
			s.tail = nil
		}
		got, err := s.Entries(1, 3, 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		got, err = s.Entries(1, 3, 1<<40)
		require.NoError(t, err)
		require.Len(t, got, 2)
		got, err = s.Entries(1, 2, 1<<40)
		require.NoError(t, err)
		require.Len(t, got, 1)
	}
}

// Each case damages what a voter of three has kept, with ten entries of term 2 of
// which five were committed. It must not vote any more.
func TestDamagedVoterIsRefused(t *testing.T) {
	state, logDir := filepath.Join("data", "quorum", stateName), filepath.Join("data", "quorum", logName)
	keep := func(k kept) func(*testing.T, log.FS) {
		return func(t *testing.T, fs log.FS) {
			require.NoError(t, log.WriteFile(fs, state, stateMagic, stateVersion, encodeKept(k)))
		}
	}
	base := kept{formation: formationOf3(), Self: 1, Directory: directoryOf(1), Term: 2, Commit: 5}
	tests := []struct {
		name   string
		damage func(*testing.T, log.FS)
		want   error
	}{
		{"undamaged", func(*testing.T, log.FS) {}, nil},
		{"state lost", func(t *testing.T, fs log.FS) { require.NoError(t, fs.Remove(state)) }, ErrCorrupt},
		{"bit of the state flipped", func(t *testing.T, fs log.FS) { flip(t, fs, state, 20) }, ErrCorrupt},
		{"bit of an entry flipped", func(t *testing.T, fs log.FS) {
			names, err := fs.ReadDir(logDir)
			require.NoError(t, err)
			for _, name := range names {
				if strings.HasSuffix(name, ".log") {
					flip(t, fs, filepath.Join(logDir, name), 70)
				}
			}
		}, ErrCorrupt},
		{"log lost", func(t *testing.T, fs log.FS) {
			names, err := fs.ReadDir(logDir)
			require.NoError(t, err)
			for _, name := range names {
				require.NoError(t, fs.Remove(filepath.Join(logDir, name)))
			}
		}, ErrCorrupt},
		{"committed more than the log has", keep(kept{formation: base.formation, Self: 1, Directory: base.Directory, Term: 2, Commit: 11}), ErrCorrupt},
		{"entries of a later term", keep(kept{formation: base.formation, Self: 1, Directory: base.Directory, Term: 1, Commit: 5}), ErrCorrupt},
		{"state of a voter that is not listed", keep(kept{formation: formation{Cluster: base.Cluster, Members: base.Members[1:]}, Self: 1, Directory: base.Directory, Term: 2}), ErrCorrupt},
		{"state of another directory", keep(kept{formation: base.formation, Self: 1, Directory: directoryOf(9), Term: 2}), ErrIdentity},
		{"state of another broker", keep(kept{formation: base.formation, Self: 2, Directory: directoryOf(2), Term: 2}), ErrIdentity},
		{"state of a newer release", func(t *testing.T, fs log.FS) {
			require.NoError(t, log.WriteFile(fs, state, stateMagic, stateVersion+1, []byte{1}))
		}, log.ErrNewer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := log.NewMemFS()
			s := formedStorage(t, fs)
			var entries []*pb.Entry
			for i := uint64(1); i <= 10; i++ {
				entries = append(entries, entry(i, 2, "entry"))
			}
			require.NoError(t, s.save(hardState(2, 0, 0), entries))
			require.NoError(t, s.save(hardState(2, 0, 5), nil))
			require.NoError(t, s.close())
			tt.damage(t, fs)
			s, err := openStorage(storageConfig(fs))
			if tt.want == nil {
				require.NoError(t, err)
				require.NoError(t, s.close())
				return
			}
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// A log is begun before anything is promised. So one that is gone is not a new one, also
// if nothing of it is known to have been committed yet: it may have been counted on.
func TestLogThatIsLostBeforeItsFirstCommit(t *testing.T) {
	fs := log.NewMemFS()
	s := formedStorage(t, fs)
	require.NoError(t, s.save(hardState(1, 2, 0), []*pb.Entry{entry(1, 1, "")}))
	require.NoError(t, s.close())
	logDir := filepath.Join("data", "quorum", logName)
	names, err := fs.ReadDir(logDir)
	require.NoError(t, err)
	for _, name := range names {
		require.NoError(t, fs.Remove(filepath.Join(logDir, name)))
	}
	_, err = openStorage(storageConfig(fs))
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "no log")
}

func flip(t *testing.T, fs log.FS, name string, at int64) {
	f, err := fs.Open(name)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestStorageRefusesWhatBreaksTheOrder(t *testing.T) {
	tests := []struct {
		name    string
		entries []*pb.Entry
	}{
		{"gap", []*pb.Entry{entry(12, 2, "a")}},
		{"overwrites what is committed", []*pb.Entry{entry(5, 2, "a")}},
		{"entry above the term that was kept", []*pb.Entry{entry(11, 3, "a")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := formedStorage(t, log.NewMemFS())
			var entries []*pb.Entry
			for i := uint64(1); i <= 10; i++ {
				entries = append(entries, entry(i, 2, "entry"))
			}
			require.NoError(t, s.save(hardState(2, 0, 0), entries))
			require.NoError(t, s.save(hardState(2, 0, 5), nil))
			err := s.save(nil, tt.entries)
			require.Error(t, err)
			require.Equal(t, err, s.save(nil, nil), "the first error is final")
		})
	}
}

var errDisk = errors.New("disk on fire")

// A brokenFS fails every call once it is broken.
type brokenFS struct {
	log.FS
	broken bool
}

func (b *brokenFS) Create(name string) (log.File, error) {
	if b.broken {
		return nil, errDisk
	}
	return b.FS.Create(name)
}

func TestTermThatNoLogCanHold(t *testing.T) {
	s := formedStorage(t, log.NewMemFS())
	require.ErrorContains(t, s.save(hardState(maxTerm+1, 0, 0), nil), "term")
}

func TestStateThatCannotBeWrittenIsFinal(t *testing.T) {
	fs := &brokenFS{FS: log.NewMemFS()}
	s := formedStorage(t, fs)
	fs.broken = true
	require.ErrorIs(t, s.save(hardState(1, 1, 0), nil), errDisk)
	fs.broken = false
	require.ErrorIs(t, s.save(hardState(1, 1, 0), nil), errDisk)
	require.Equal(t, partition.UUID{0: 0xC, 15: 1}, s.kept.Cluster)
	require.Zero(t, s.kept.Vote, "it was not given")
}

// Damage that is met while the voter runs is told as damage that is met at its start.
func TestDamageThatALiveVoterMeets(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s := formedStorage(t, disk)
	err := s.fail(fmt.Errorf("quorum: shorten log: %w", &log.CorruptError{File: "a.log", Offset: 30, Reason: "epoch"}))
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorIs(t, err, log.ErrCorrupt)
	require.ErrorContains(t, err, "a.log")
	require.Same(t, err, s.fail(errDisk))
}
