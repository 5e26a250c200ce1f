package quorum

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

var (
	quorumPath = filepath.Join("data", "quorum")
	twinPath   = quorumPath + twinSuffix
)

// copyTree puts the files of one disk's directory onto another disk, durably.
func copyTree(t testing.TB, to, from log.FS, dir string) {
	t.Helper()
	names, err := from.ReadDir(dir)
	require.NoError(t, err)
	require.NoError(t, to.MkdirAll(dir))
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := from.ReadDir(path); err == nil {
			copyTree(t, to, from, path)
			continue
		}
		f, err := from.Open(path)
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		b := make([]byte, size)
		if size > 0 {
			_, err = f.ReadAt(b, 0)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
		g, err := to.Create(path)
		require.NoError(t, err)
		_, err = g.WriteAt(b, 0)
		require.NoError(t, err)
		require.NoError(t, g.Sync())
		require.NoError(t, g.Close())
	}
	require.NoError(t, to.SyncDir(dir))
	require.NoError(t, to.SyncDir(filepath.Dir(dir)))
}

// Each case is what a voter did between the making of an old copy of its directory and
// the loss of the directory, in whose place the copy is put. Where it has promised
// something it would promise otherwise now, so that it must not vote.
func TestAnOldCopyOfAVotersDirectoryIsRefused(t *testing.T) {
	reopen := func(t *testing.T, s *storage) *storage {
		require.NoError(t, s.close())
		again, err := openStorage(storageConfig(s.fs))
		require.NoError(t, err)
		return again
	}
	one := []*pb.Entry{entry(2, 2, "b")}
	tests := []struct {
		name string
		do   func(*testing.T, *storage) *storage
		want string // empty: it has promised nothing since
	}{
		{"nothing", func(_ *testing.T, s *storage) *storage { return s }, ""},
		{"was opened again", reopen, ""},
		{"saw a later term", func(t *testing.T, s *storage) *storage {
			require.NoError(t, s.save(hardState(3, 0, 0), nil))
			return s
		}, "knows of no term above 2"},
		{"voted", func(t *testing.T, s *storage) *storage {
			require.NoError(t, s.save(hardState(2, 7, 0), nil))
			return s
		}, "lacks its vote"},
		{"heard that much is agreed on", func(t *testing.T, s *storage) *storage {
			require.NoError(t, s.save(hardState(2, 0, 1), nil))
			return s
		}, "of the first 1 entries"},
		{"took entries of the same term in another life", func(t *testing.T, s *storage) *storage {
			s = reopen(t, s)
			require.NoError(t, s.save(nil, one))
			return s
		}, "of its life 1, and there were 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk, old := log.NewMemFS(), log.NewMemFS()
			s := formedStorage(t, disk)
			require.NoError(t, s.save(hardState(2, 0, 0), []*pb.Entry{entry(1, 2, "a")}))
			copyTree(t, old, disk, quorumPath)
			require.NoError(t, tt.do(t, s).close())
			require.NoError(t, logtest.RemoveTree(disk, quorumPath))
			copyTree(t, disk, old, quorumPath)

			s, err := openStorage(storageConfig(disk))
			if tt.want == "" {
				require.NoError(t, err)
				require.NoError(t, s.close())
				return
			}
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, quorumPath)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "put it back")
		})
	}
}

// The twin is a second copy: while the first is there, it is not missed.
func TestATwinThatIsLostIsWrittenAnew(t *testing.T) {
	for name, harm := range map[string]func(*testing.T, log.FS){
		"lost":    func(t *testing.T, fsys log.FS) { require.NoError(t, fsys.Remove(twinPath)) },
		"damaged": func(t *testing.T, fsys log.FS) { flip(t, fsys, twinPath, 30) },
		"old": func(t *testing.T, fsys log.FS) {
			old := kept{formation: formationOf3(), Self: 1, Directory: directoryOf(1)}
			require.NoError(t, log.WriteFile(fsys, twinPath, twinMagic, 1, encodeKept(old)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := log.NewMemFS()
			s := formedStorage(t, disk)
			require.NoError(t, s.save(hardState(2, 3, 0), []*pb.Entry{entry(1, 2, "a")}))
			require.NoError(t, s.close())
			harm(t, disk)
			var text strings.Builder
			cfg := storageConfig(disk)
			cfg.Logger = slog.New(slog.NewTextHandler(&text, nil))
			s, err := openStorage(cfg)
			require.NoError(t, err)
			require.NoError(t, s.close())
			require.Equal(t, name == "damaged", strings.Contains(text.String(), "written anew"), text.String())

			twin, err := loadTwin(disk, twinPath)
			require.NoError(t, err)
			require.Equal(t, s.kept, twin)
			require.NoError(t, logtest.RemoveTree(disk, quorumPath))
			_, err = openStorage(storageConfig(disk))
			require.ErrorContains(t, err, "up to term 2: it is gone")
		})
	}
}

func TestATwinThatCannotBeReadIsNoSignOfANewVoter(t *testing.T) {
	disk := log.NewMemFS()
	require.NoError(t, formedStorage(t, disk).close())
	require.NoError(t, logtest.RemoveTree(disk, quorumPath))
	flip(t, disk, twinPath, 30)
	_, err := openStorage(storageConfig(disk))
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, twinPath)

	require.NoError(t, log.WriteFile(disk, twinPath, twinMagic, stateVersion+1, nil))
	_, err = openStorage(storageConfig(disk))
	require.ErrorIs(t, err, log.ErrNewer)
}

// The identity is the caller's. If that is lost and the promises are not, they are nobody's.
func TestPromisesWithoutTheirIdentityAreRefused(t *testing.T) {
	disk := log.NewMemFS()
	require.NoError(t, formedStorage(t, disk).close())
	cfg := storageConfig(disk)
	cfg.Directory = directoryOf(9)
	_, err := openStorage(cfg)
	require.ErrorIs(t, err, ErrIdentity)
	require.ErrorContains(t, err, fmt.Sprint("directory ", directoryOf(1)))
	require.ErrorContains(t, err, "or remove "+quorumPath)
	require.NoError(t, logtest.RemoveTree(disk, quorumPath))
	s, err := openStorage(cfg)
	require.NoError(t, err)
	require.NoError(t, s.close())
}

// A process dies before it has synced the twin's name. The next one sees it, and must not
// promise anything while the power can take it.
func TestATwinThatWasNotSyncedIsSyncedBeforeItCounts(t *testing.T) {
	disk := logtest.NewDisk(log.NewMemFS())
	s, err := openStorage(storageConfig(disk))
	require.NoError(t, err)
	disk.Inject(logtest.Fault{Op: logtest.SyncDir, Name: "data", Err: errDisk})
	require.ErrorIs(t, s.keep(kept{formation: formationOf3(), Self: 1, Directory: directoryOf(1)}), errDisk)
	disk.Fail(errDisk)
	disk.Revive()

	s, err = openStorage(storageConfig(disk))
	require.NoError(t, err)
	require.NoError(t, s.close())
	require.NoError(t, disk.PowerFail(nil))
	twin, err := loadTwin(disk, twinPath)
	require.NoError(t, err)
	require.Equal(t, formationOf3(), twin.formation)
}
