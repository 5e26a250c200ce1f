package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// Twin file format, version 3
//
// A voter's identity is the caller's to keep, and its promises lie in Dir. So that the
// one does not outlive the other, a second copy of quorum-state lies beside Dir, in the
// file of its name with "-state" behind it. It is a file of [log.WriteFile]: magic
// 0x5351545A ("SQTZ"), and version and payload as quorum-state has them.
//
// It is written after quorum-state, before anything is answered. So it is never the
// newer one: where it is, Dir was lost, or an old copy of it was put back, and the
// voter could promise again what it has promised before. What it does not tell:
//
//   - an old copy of both, as of a whole disk
//   - a copy of Dir that was made in the life in which the voter promised last, and
//     lacks entries, but neither term, vote nor as many entries as are told of
//   - an old copy of the log alone that has as many entries as are told of
const (
	twinSuffix = "-state"
	twinMagic  = 0x5351545A
)

func twinName(dir string) string { return filepath.Clean(dir) + twinSuffix }

// writeTwin makes the copy say what quorum-state does.
func (s *storage) writeTwin() error {
	name := twinName(s.dir)
	if err := log.WriteFile(s.fs, name, twinMagic, s.kept.version(), encodeKept(s.kept)); err != nil {
		return s.fail(fmt.Errorf("quorum: write %s: %w", name, err))
	}
	return nil
}

// readTwin refuses a quorum-state that is older than its twin, and brings the twin up to
// one that is newer. Its name was synced with that of Dir.
func (s *storage) readTwin(cfg Config) error {
	name := twinName(s.dir)
	known := s.kept.Cluster != partition.UUID{}
	twin, err := loadTwin(s.fs, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, log.ErrCorrupt) && known:
		cfg.Logger.Warn("second copy of the quorum's state is damaged, and written anew", "file", name, "error", err)
	case errors.Is(err, log.ErrCorrupt):
		return &CorruptError{Reason: fmt.Sprintf("%s is damaged, and there is no %s in %s", name, stateName, s.dir), Err: err}
	case err != nil:
		return fmt.Errorf("quorum: read %s: %w", name, err)
	}
	if twin.Self != cfg.Self || twin.Directory != cfg.Directory {
		twin = kept{} // of an identity that is no more
	}
	if lacks := s.kept.lacks(twin); lacks != "" {
		return s.lostError(twin, lacks)
	}
	s.life = max(s.kept.Lives, twin.Lives) + 1
	switch {
	case !known && twin.Observes: // which cluster it is of need not be forgotten
		return s.keep(twin)
	case known && !s.kept.equal(twin): // a crash came between, or it is of a release without twins
		return s.writeTwin()
	}
	return nil
}

func loadTwin(fsys log.FS, name string) (kept, error) {
	b, err := log.ReadFile(fsys, name, twinMagic, stateVersion)
	if err != nil {
		return kept{}, err
	}
	k, err := decodeKept(b)
	if err != nil {
		return kept{}, &CorruptError{Reason: filepath.Base(name), Err: errors.Join(log.ErrCorrupt, err)}
	}
	return k, nil
}

// lacks says what of its twin's promises is not in k; empty: nothing.
func (k kept) lacks(twin kept) string {
	switch {
	case twin.Cluster == partition.UUID{}:
		return ""
	case k.Cluster == partition.UUID{} && twin.Observes:
		return ""
	case k.Cluster == partition.UUID{}:
		return "it is gone"
	case k.Cluster != twin.Cluster:
		return fmt.Sprintf("it is of cluster %s, not %s", k.Cluster, twin.Cluster)
	case k.Observes && !twin.Observes:
		return "it is of the time before it was let in"
	case k.Lives < twin.Lives:
		return fmt.Sprintf("it is of its life %d, and there were %d", k.Lives, twin.Lives)
	case k.Term < twin.Term:
		return fmt.Sprintf("it knows of no term above %d", k.Term)
	case k.Term == twin.Term && twin.Vote != 0 && k.Vote != twin.Vote:
		return "it lacks its vote in that term"
	case k.Commit < twin.Commit:
		return fmt.Sprintf("of the first %d entries, which were agreed on, it knows of %d", twin.Commit, k.Commit)
	}
	return ""
}

// equal reports whether both promise the same.
func (k kept) equal(other kept) bool {
	return k.Cluster == other.Cluster && k.Self == other.Self && k.Directory == other.Directory && k.Observes == other.Observes &&
		k.Lives == other.Lives && k.Term == other.Term && k.Vote == other.Vote && k.Commit == other.Commit
}

// lostError says that a voter's promises are lost, and how its broker may come back.
func (s *storage) lostError(twin kept, lacks string) error {
	return &CorruptError{Reason: fmt.Sprintf("%s is not what voter %d in directory %s kept there up to term %d: %s; "+
		"put it back whole, or have the broker begin with an empty directory: it is then a new voter, which is to be let in",
		s.dir, twin.Self, twin.Directory, twin.Term, lacks)}
}
