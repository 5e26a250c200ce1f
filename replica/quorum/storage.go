package quorum

import (
	"errors"
	"fmt"
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
// What holds: the log's epochs are at most kept.Term; it holds all entries behind
// base, and up to kept.Commit if that lies behind base; base is no later than the
// newest snapshot. terms and tail say the same as the log does.
type storage struct {
	fs      log.FS
	dir     string
	log     *log.Log
	kept    kept      // as on the disk; its Cluster is zero while there is no file
	life    uint64    // this process is that one; kept.Lives from its first promise on
	snap    snapshot  // the newest; its index is 0 if there is none, its state only read by Open
	base    mark      // the entry before the first; the log may still hold it
	terms   []termRun // every change of term, rising
	changes []uint64  // entries behind kept.Commit that change the voters, rising
	tail    []*pb.Entry
	bytes   int // of the tail's entries
	builder log.Builder
	stale   bool   // the voters have changed since the newest snapshot
	wanted  bool   // raft waits for one that is not
	served  served // its index is 0 while nobody asks
	staged  mark   // of a snapshot that is to be installed; zero: none
	err     error  // the first failed call; nothing works after it
}

// A termRun says that entries from first on are of that term.
type termRun struct{ first, term uint64 }

func (s *storage) close() error {
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("quorum: close log: %w", err)
	}
	return nil
}

// last is the index of the newest entry.
func (s *storage) last() uint64 { return uint64(s.log.End()) - 1 }

// keep makes k durable as the voter's state, and outside of Dir that it is so.
func (s *storage) keep(k kept) error {
	k.Lives = s.life
	err := log.WriteFile(s.fs, filepath.Join(s.dir, stateName), stateMagic, k.version(), encodeKept(k))
	if err != nil {
		return s.fail(fmt.Errorf("quorum: write %s: %w", stateName, err))
	}
	s.kept = k
	for len(s.changes) > 0 && s.changes[0] <= k.Commit {
		s.changes = s.changes[1:]
	}
	return s.writeTwin()
}

// saveAll makes durable what raft asks for, in the order that recovery relies on: a
// higher term before what is of it. A snapshot takes the place of all entries before.
// When it returns nil all of it is synced.
func (s *storage) saveAll(hard *pb.HardState, snap *snapshot, entries []*pb.Entry) error {
	if s.err != nil {
		return s.err
	}
	if err := s.promise(hard, snap, entries); err != nil {
		return err
	}
	if snap != nil {
		if err := s.installSnapshot(*snap); err != nil {
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
		// What the log does not know to be synced would, damaged, pass for the torn end of a
		// write, and be cut: a voter would forget what it has promised.
		if err := s.log.Checkpoint(); err != nil {
			return s.fail(fmt.Errorf("quorum: checkpoint of the log: %w", err))
		}
	}
	commit := hard.GetCommit()
	if s.mustHint(commit) {
		return s.hint(commit)
	}
	return nil
}

// promise keeps another term or vote, and that this process has promised something.
func (s *storage) promise(hard *pb.HardState, snap *snapshot, entries []*pb.Entry) error {
	k := s.kept
	if hard == nil || hard.GetTerm() == k.Term && hard.GetVote() == k.Vote {
		if s.kept.Lives == s.life || snap == nil && len(entries) == 0 {
			return nil
		}
		return s.keep(k)
	}
	k.Term, k.Vote = hard.GetTerm(), hard.GetVote()
	if k.Term > maxTerm {
		return s.fail(fmt.Errorf("quorum: term %d is above the last that a log can hold", k.Term))
	}
	// Of what is committed, the part that is here already: entries that are
	// about to be cut are not, nor those in whose place a snapshot is to come.
	commit := min(hard.GetCommit(), s.last())
	switch {
	case snap != nil:
		commit = 0
	case len(entries) > 0:
		commit = min(commit, entries[0].GetIndex()-1)
	}
	k.Commit = max(k.Commit, commit)
	return s.keep(k)
}

// mustHint reports whether it is to be kept that so much is committed. That a change
// of the voters is may not be forgotten: raft counts on it that whoever has the next
// one knows, so that two quorums of its time overlap.
func (s *storage) mustHint(commit uint64) bool {
	return s.kept.Commit == 0 && commit > 0 || commit >= s.kept.Commit+hintEvery ||
		len(s.changes) > 0 && s.changes[0] <= commit
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
	if first <= s.kept.Commit || first <= s.base.index || first > s.last()+1 {
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
	s.noteChanges(entries)
	return nil
}

// noteChanges remembers those of the entries that change the voters.
func (s *storage) noteChanges(entries []*pb.Entry) {
	for _, e := range entries {
		if e.GetType() == pb.EntryConfChangeV2 && e.GetIndex() > s.kept.Commit {
			s.changes = append(s.changes, e.GetIndex())
		}
	}
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
	for len(s.changes) > 0 && s.changes[len(s.changes)-1] >= first {
		s.changes = s.changes[:len(s.changes)-1]
	}
}

// fail keeps the first error: an error of a disk is final, and damage that is come upon is
// the voter's.
func (s *storage) fail(err error) error {
	if s.err == nil {
		if errors.Is(err, log.ErrCorrupt) && !errors.Is(err, ErrCorrupt) {
			err = &CorruptError{Reason: "what it keeps is damaged", Err: err}
		}
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
