package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/samsalog/samsa/log"
)

// openStorage recovers what a voter has kept, and refuses what it cannot trust.
func openStorage(cfg Config) (*storage, error) {
	s := &storage{fs: cfg.FS, dir: cfg.Dir}
	if err := log.MakeDir(s.fs, s.dir); err != nil {
		return nil, fmt.Errorf("quorum: make %s: %w", s.dir, err)
	}
	if err := s.readState(cfg); err != nil {
		return nil, err
	}
	if err := s.readTwin(cfg); err != nil {
		return nil, err
	}
	if err := s.readSnapshot(); err != nil {
		return nil, err
	}
	l, recovery, err := log.Open(s.fs, filepath.Join(s.dir, logName), log.Config{
		MaxBatchBytes: 2 * MaxEntryBytes, SegmentBytes: cfg.SnapshotBytes / 4, // what is dropped leaves in segments
	})
	if errors.Is(err, log.ErrCorrupt) {
		return nil, &CorruptError{Reason: "its log is damaged", Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("quorum: open log: %w", err)
	}
	s.log = l
	err = s.check()
	if err == nil && recovery.Lost {
		// Nothing that this voter ever answered for: answers wait for the sync.
		cfg.Logger.Info("quorum log had an unfinished write at its end", "cut", int64(recovery.CutAt))
		if err = l.Reported(); err != nil {
			err = fmt.Errorf("quorum: log: %w", err)
		}
	}
	if err != nil {
		_ = l.Close() // the first error is the one to report
		return nil, err
	}
	return s, nil
}

func (s *storage) readState(cfg Config) error {
	b, err := log.ReadFile(s.fs, filepath.Join(s.dir, stateName), stateMagic, stateVersion)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, log.ErrCorrupt):
		return &CorruptError{Reason: stateName, Err: err}
	case err != nil:
		return fmt.Errorf("quorum: read %s: %w", stateName, err)
	}
	k, err := decodeKept(b)
	if err != nil {
		return &CorruptError{Reason: stateName, Err: err}
	}
	if k.Self != cfg.Self || k.Directory != cfg.Directory {
		return identityError(s.dir, k.Self, k.Directory)
	}
	if !k.holds(k.Self, k.Directory) && !k.Joined && !k.Observes {
		return &CorruptError{Reason: stateName + " lists voters without this one"}
	}
	// A process that died while it wrote may have left a name that only it and this one
	// have seen, and that the power could take: what is promised from here on would rest
	// on a promise that is gone.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("quorum: sync %s: %w", s.dir, err)
	}
	s.kept = k
	return nil
}

// check compares the log with the state and the snapshot. It makes a new log begin
// at 1, and one that a snapshot was about to replace where that ends.
func (s *storage) check() error {
	member := s.kept.isMember()
	snap := s.snap.mark
	var begin uint64
	switch at, has := s.log.EpochAt(log.Offset(snap.index)); {
	case member && s.log.End() == 0:
		return &CorruptError{Reason: "there is a " + stateName + ", but no log"} // that one was begun before
	case snap.index == 0 && s.log.End() == 0:
		begin = firstOf
	case snap.index == 0:
	case s.last() < snap.index || has && s.log.Start() <= log.Offset(snap.index) && uint64(at) != snap.term:
		begin = snap.index + 1
	}
	if begin > 0 {
		if err := s.log.Reset(log.Offset(begin)); err != nil {
			return fmt.Errorf("quorum: begin log: %w", err)
		}
	}
	if !member && s.log.End() > firstOf {
		return &CorruptError{Reason: "there are entries, but no " + stateName + " of a member"}
	}
	if err := s.findBase(); err != nil {
		return err
	}
	if s.last() < s.kept.Commit {
		return &CorruptError{Reason: fmt.Sprintf("its log ends with entry %d, but %d was committed", s.last(), s.kept.Commit)}
	}
	for at := s.log.Start(); at < s.log.End(); {
		epoch, ok := s.log.EpochAt(at)
		_, end, known := s.log.EndOf(epoch)
		if !ok || !known || end <= at {
			return &CorruptError{Reason: fmt.Sprintf("entry %d has no term", at)}
		}
		s.addTerm(uint64(at), uint64(epoch))
		at = end
	}
	if n := len(s.terms); n > 0 && s.terms[n-1].term > s.kept.Term {
		return &CorruptError{Reason: fmt.Sprintf("it has an entry of term %d, but knows of none above %d", s.terms[n-1].term, s.kept.Term)}
	}
	return s.verify()
}

// findBase tells behind which entry the log begins.
func (s *storage) findBase() error {
	start := uint64(s.log.Start())
	switch epoch, ok := s.log.EpochAt(log.Offset(start)); {
	case start == firstOf:
		s.base = mark{}
	case start == s.snap.index+1:
		s.base = s.snap.mark
	case start > firstOf && start <= s.snap.index && ok:
		s.base = mark{start, uint64(epoch)}
	case s.snap.index == 0:
		return &CorruptError{Reason: fmt.Sprintf("its log begins at %d, not at %d", start, firstOf)}
	default:
		return &CorruptError{Reason: fmt.Sprintf("its log begins at %d, but its snapshot ends with entry %d", start, s.snap.index)}
	}
	return nil
}

// verify reads all entries once: a voter must know of a hole before it votes, and
// recovery checks no more than the end of a log.
func (s *storage) verify() error {
	for next := s.base.index + 1; next <= s.last(); {
		entries, err := s.read(next, s.last()+1, readSize)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if term, err := s.Term(e.GetIndex()); err != nil || term != e.GetTerm() {
				return &CorruptError{Reason: fmt.Sprintf("entry %d is of term %d, not %d", e.GetIndex(), e.GetTerm(), term)}
			}
		}
		s.addTail(entries)
		s.noteChanges(entries)
		next += uint64(len(entries))
	}
	return nil
}
