package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"

	"github.com/samsalog/samsa/log"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

const (
	logName  = "quorum-log"
	firstOf  = 1       // the index of the first entry; raft keeps 0 for "before all"
	readSize = 1 << 20 // how much is read at once
	typeKey  = "t"     // header of a record whose entry is not a normal one

	hintEvery = 4096 // entries committed between two hints

	tailEntries = 1024    // how many entries are kept in memory, at least
	tailBytes   = 4 << 20 // unless they are larger than this together
)

// storage keeps a voter's promises and its entries. It is what raft reads from;
// see [raft.Storage]. One goroutine at a time may use it.
//
// What holds: the log begins at 1; its epochs are at most kept.Term; it holds
// all entries up to kept.Commit. terms and tail say the same as the log does.
type storage struct {
	fs      log.FS
	dir     string
	log     *log.Log
	kept    kept      // as on the disk; its Cluster is zero while there is no file
	terms   []termRun // every change of term, rising
	tail    []*pb.Entry
	bytes   int // of the tail's entries
	builder log.Builder
	err     error // the first failed call; nothing works after it
}

// A termRun says that entries from first on are of that term.
type termRun struct{ first, term uint64 }

// openStorage recovers what a voter has kept, and refuses what it cannot trust.
func openStorage(cfg Config) (*storage, error) {
	s := &storage{fs: cfg.FS, dir: cfg.Dir}
	if err := s.makeDir(); err != nil {
		return nil, fmt.Errorf("quorum: make %s: %w", s.dir, err)
	}
	if err := s.readState(cfg); err != nil {
		return nil, err
	}
	l, recovery, err := log.Open(s.fs, filepath.Join(s.dir, logName), log.Config{MaxBatchBytes: 2 * MaxEntryBytes})
	if errors.Is(err, log.ErrCorrupt) {
		return nil, &CorruptError{Reason: "its log is damaged", Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("quorum: open log: %w", err)
	}
	s.log = l
	if recovery.Lost {
		// Nothing that this voter ever answered for: answers wait for the sync.
		cfg.Logger.Info("quorum log had an unfinished write at its end", "cut", int64(recovery.CutAt))
	}
	if err := s.check(); err != nil {
		_ = l.Close() // the first error is the one to report
		return nil, err
	}
	return s, nil
}

// makeDir makes the directory, durably if it is new.
func (s *storage) makeDir() error {
	_, err := s.fs.ReadDir(s.dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(s.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
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
	if !k.holds(k.Self, k.Directory) {
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

// check compares the log with the state, and makes a new log begin at 1.
func (s *storage) check() error {
	formed := s.kept.Cluster != [16]byte{}
	if s.log.End() == 0 && s.kept.Commit == 0 {
		if err := s.log.Reset(firstOf); err != nil {
			return fmt.Errorf("quorum: begin log: %w", err)
		}
	}
	if !formed && s.log.End() > firstOf {
		return &CorruptError{Reason: "there are entries, but no " + stateName}
	}
	if s.log.Start() != firstOf {
		return &CorruptError{Reason: fmt.Sprintf("its log begins at %d, not at %d", s.log.Start(), firstOf)}
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

// verify reads all entries once: a voter must know of a hole before it votes, and
// recovery checks no more than the end of a log.
func (s *storage) verify() error {
	for next := uint64(firstOf); next <= s.last(); {
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
		next += uint64(len(entries))
	}
	return nil
}

func (s *storage) close() error {
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("quorum: close log: %w", err)
	}
	return nil
}

// last is the index of the newest entry.
func (s *storage) last() uint64 { return uint64(s.log.End()) - 1 }

// keep makes k durable as the voter's state.
func (s *storage) keep(k kept) error {
	err := log.WriteFile(s.fs, filepath.Join(s.dir, stateName), stateMagic, stateVersion, encodeKept(k))
	if err != nil {
		return s.fail(fmt.Errorf("quorum: write %s: %w", stateName, err))
	}
	s.kept = k
	return nil
}

// save makes durable what raft asks for, in the order that recovery relies on:
// a higher term before the entries of it. When it returns nil all of it is synced.
func (s *storage) save(hard *pb.HardState, entries []*pb.Entry) error {
	if s.err != nil {
		return s.err
	}
	if hard != nil && (hard.GetTerm() != s.kept.Term || hard.GetVote() != s.kept.Vote) {
		k := s.kept
		k.Term, k.Vote = hard.GetTerm(), hard.GetVote()
		if k.Term > maxTerm {
			return s.fail(fmt.Errorf("quorum: term %d is above the last that a log can hold", k.Term))
		}
		// Of what is committed, the part that is here already: entries that are
		// about to be cut are not.
		commit := min(hard.GetCommit(), s.last())
		if len(entries) > 0 {
			commit = min(commit, entries[0].GetIndex()-1)
		}
		k.Commit = max(k.Commit, commit)
		if err := s.keep(k); err != nil {
			return err
		}
	}
	if len(entries) > 0 {
		if err := s.write(entries); err != nil {
			return s.fail(err)
		}
		if _, err := s.log.Flush(); err != nil {
			return s.fail(fmt.Errorf("quorum: flush log: %w", err))
		}
	}
	if hard != nil && (s.kept.Commit == 0 && hard.GetCommit() > 0 || hard.GetCommit() >= s.kept.Commit+hintEvery) {
		return s.hint(hard.GetCommit())
	}
	return nil
}

// hint keeps how much is committed, now and then: a log that is lost as a whole
// is told by it, and a voter that comes back need not wait to apply so much.
func (s *storage) hint(commit uint64) error {
	k := s.kept
	k.Commit = min(commit, s.last())
	if s.err != nil || k.Commit <= s.kept.Commit {
		return s.err
	}
	return s.keep(k)
}

// write puts entries where they belong; those that were there, and all behind
// them, are cut off first.
func (s *storage) write(entries []*pb.Entry) error {
	first := entries[0].GetIndex()
	if first <= s.kept.Commit || first > s.last()+1 {
		return fmt.Errorf("quorum: entry %d does not fit a log of %d, committed up to %d", first, s.last(), s.kept.Commit)
	}
	if first <= s.last() {
		if err := s.log.Truncate(log.Offset(first)); err != nil {
			return fmt.Errorf("quorum: truncate log: %w", err)
		}
		s.forget(first)
	}
	if s.last()+1 != first {
		return fmt.Errorf("quorum: the log was cut to %d entries, not before entry %d", s.last(), first)
	}
	for _, e := range entries {
		if err := s.writeEntry(e); err != nil {
			return err
		}
	}
	s.addTail(entries)
	return nil
}

// writeEntry appends an entry as a batch of its own. A log is cut between batches
// only, and what lies before a cut was answered for and must not be touched.
func (s *storage) writeEntry(e *pb.Entry) error {
	term := e.GetTerm()
	if term == 0 || term > s.kept.Term {
		return fmt.Errorf("quorum: entry %d of term %d, in term %d", e.GetIndex(), term, s.kept.Term)
	}
	s.builder.Reset(nil)
	s.builder.Append(0, nil, e.GetData(), headersOf(e))
	at, err := s.log.Append(log.Epoch(term), s.builder.Build())
	if err != nil {
		return fmt.Errorf("quorum: append to log: %w", err)
	}
	if uint64(at) != e.GetIndex() {
		return fmt.Errorf("quorum: entry %d was put at offset %d", e.GetIndex(), at)
	}
	s.addTerm(uint64(at), term)
	return nil
}

func (s *storage) addTerm(first, term uint64) {
	if n := len(s.terms); n == 0 || s.terms[n-1].term != term {
		s.terms = append(s.terms, termRun{first, term})
	}
}

// addTail keeps entries in memory, and lets go of old ones from time to time.
// Slices that raft has been given stay as they are.
func (s *storage) addTail(entries []*pb.Entry) {
	s.tail = append(s.tail, entries...)
	for _, e := range entries {
		s.bytes += sizeOf(e)
	}
	if len(s.tail) < 2*tailEntries && s.bytes < 2*tailBytes {
		return
	}
	from := max(0, len(s.tail)-tailEntries)
	s.bytes = 0
	for i := len(s.tail) - 1; i >= from; i-- {
		s.bytes += sizeOf(s.tail[i])
		if s.bytes > tailBytes {
			from = i + 1
			s.bytes -= sizeOf(s.tail[i])
		}
	}
	s.tail = append([]*pb.Entry(nil), s.tail[from:]...)
}

// forget drops from memory the entries from index first on.
func (s *storage) forget(first uint64) {
	n := sort.Search(len(s.terms), func(i int) bool { return s.terms[i].first >= first })
	s.terms = s.terms[:n]
	for n = len(s.tail); n > 0 && s.tail[n-1].GetIndex() >= first; n-- {
		s.bytes -= sizeOf(s.tail[n-1])
	}
	s.tail = s.tail[:n:n] // what is appended goes elsewhere
}

// fail keeps the first error: an error of a disk is final.
func (s *storage) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// sizeOf is about what an entry takes in a message.
func sizeOf(e *pb.Entry) int { return len(e.GetData()) + 24 }

func headersOf(e *pb.Entry) []log.Header {
	if e.GetType() == pb.EntryNormal {
		return nil
	}
	return []log.Header{{Key: typeKey, Value: []byte{byte(e.GetType())}}}
}

// entryOf is the entry of a record in a batch of that epoch.
func entryOf(epoch log.Epoch, r log.Record) (*pb.Entry, error) {
	e := &pb.Entry{Term: new(uint64(epoch)), Index: new(uint64(r.Offset)), Data: r.Value}
	kind := pb.EntryNormal
	for _, h := range r.Headers {
		if h.Key == typeKey && len(h.Value) == 1 {
			kind = pb.EntryType(h.Value[0])
		}
	}
	if _, known := pb.EntryType_name[int32(kind)]; !known {
		return nil, unknownEntry(r.Offset, int32(kind))
	}
	e.Type = kind.Enum()
	return e, nil
}

var _ raft.Storage = (*storage)(nil)
