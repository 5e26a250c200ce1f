package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Snapshot file format, version 1
//
// A snapshot stands for all entries up to one. Its file is named after the index
// and the term of that entry, in 20 and in 10 digits: "%020d-%010d.snap". It is a
// file of [log.WriteFile]: magic 0x5351534E ("SQSN"), version, checksum, and this
// payload. Integers are big-endian; a count or a length is an unsigned varint.
//
//	cluster   16 bytes
//	index     int64
//	term      int64
//	voters    count, then each as in quorum-state, in the order in which they came
//	learners  the same
//	state     length + 1, bytes: what the applier made of the entries
//
// It is durable before any entry that it stands for is dropped. So a log that
// begins above 1 without a snapshot of what came before, or a snapshot that cannot be
// read, is damage. Of two snapshots the older is to be removed.
//
// One that another member has sent lies under its name with ".new" behind it until
// it is to take the place of the entries: whether there is room for it is known before
// raft goes on from it. Such a file that is found at a start is removed.
const (
	snapMagic   = 0x5351534E
	snapVersion = 1
	snapSuffix  = ".snap"
	newSuffix   = ".new"
	tempSuffix  = ".tmp" // of what log.WriteFile has not finished

	maxSnapshot = 1<<30 - 1<<16 // bytes of a payload
)

// A mark is the place of one entry.
type mark struct{ index, term uint64 }

// A snapshot is the state as of one entry.
type snapshot struct {
	mark
	cluster partition.UUID
	roster  roster
	state   []byte
}

func (m mark) fileName() string { return fmt.Sprintf("%020d-%010d%s", m.index, m.term, snapSuffix) }

func encodeSnapshot(s snapshot) []byte {
	w := wire.NewWriter(make([]byte, 0, len(s.state)+1024))
	w.ID(s.cluster)
	w.Int64(int64(s.index))
	w.Int64(int64(s.term))
	s.roster.encode(w)
	w.Blob(s.state)
	return w.Bytes()
}

func decodeSnapshot(b []byte) (snapshot, error) {
	r := wire.NewReader(b)
	s := snapshot{cluster: r.ID()}
	s.index, s.term = uint64(r.Int64()), uint64(r.Int64())
	s.roster = decodeRoster(r)
	s.state = r.Blob(maxSnapshot)
	if err := r.Done(); err != nil {
		return snapshot{}, fmt.Errorf("quorum: snapshot: %w", err)
	}
	if s.cluster == (partition.UUID{}) || s.index < firstOf || s.index >= maxIndex || s.term < 1 || s.term > maxTerm {
		return snapshot{}, fmt.Errorf("quorum: snapshot of entry %d, term %d, cluster %s", s.index, s.term, s.cluster)
	}
	if err := s.roster.check(); err != nil {
		return snapshot{}, fmt.Errorf("quorum: snapshot: %w", err)
	}
	return s, nil
}

// readSnapshot finds the newest snapshot and removes what else there is of them:
// older ones, and one that was never finished.
func (s *storage) readSnapshot() error {
	names, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("quorum: read %s: %w", s.dir, err)
	}
	newest := ""
	var gone []string
	for _, name := range names { // rising
		switch {
		case strings.HasSuffix(strings.TrimSuffix(name, tempSuffix), snapSuffix+newSuffix),
			strings.HasSuffix(name, snapSuffix+tempSuffix):
			gone = append(gone, name)
		case strings.HasSuffix(name, snapSuffix):
			if newest != "" {
				gone = append(gone, newest)
			}
			newest = name
		}
	}
	if newest != "" {
		if err := s.loadSnapshot(newest); err != nil {
			return err
		}
	}
	for _, name := range gone {
		if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("quorum: remove %s: %w", name, err)
		}
	}
	return nil
}

func (s *storage) loadSnapshot(name string) error {
	b, err := log.ReadFile(s.fs, filepath.Join(s.dir, name), snapMagic, snapVersion)
	switch {
	case errors.Is(err, log.ErrCorrupt):
		return &CorruptError{Reason: name, Err: err}
	case err != nil:
		return fmt.Errorf("quorum: read %s: %w", name, err)
	}
	snap, err := decodeSnapshot(b)
	switch {
	case err != nil:
		return &CorruptError{Reason: name, Err: err}
	case snap.fileName() != name:
		return &CorruptError{Reason: fmt.Sprintf("%s is a snapshot of entry %d, term %d", name, snap.index, snap.term)}
	case snap.cluster != s.kept.Cluster:
		return &CorruptError{Reason: fmt.Sprintf("%s is of cluster %s, and %s of cluster %s", name, snap.cluster, stateName, s.kept.Cluster)}
	case snap.term > s.kept.Term:
		return &CorruptError{Reason: fmt.Sprintf("%s is of term %d, but no term above %d is known", name, snap.term, s.kept.Term)}
	}
	s.snap = snap
	return nil
}

// saveSnapshot makes durable what stands for all entries up to snap's, which this
// voter has, and forgets those that nobody needs: all but keep of them. If there was no
// room, see [log.NoRoom], nothing is lost, and it may be tried again.
func (s *storage) saveSnapshot(snap snapshot, keep uint64) error {
	if s.err != nil {
		return s.err
	}
	if err := s.writeSnapshot(snap); err != nil {
		return s.failUnlessFull(err)
	}
	// The entry at base is of no use but for its term.
	base := min(snap.index, s.last()-min(keep, s.last()))
	if base <= s.base.index {
		return nil
	}
	term, err := s.Term(base)
	if err != nil {
		return s.fail(fmt.Errorf("quorum: term of entry %d: %w", base, err))
	}
	start := s.log.Start()
	left := s.log.DeleteBefore(log.Offset(base))
	if left != nil {
		left = s.failUnlessFull(fmt.Errorf("quorum: shorten log: %w", left))
		if s.err != nil || s.log.Start() == start {
			return left
		}
	}
	if s.log.Start() != log.Offset(base) {
		// Each entry is a batch of its own: one that covers another is not what was written.
		return s.fail(&CorruptError{Reason: fmt.Sprintf("its log was shortened to begin at %d, not at %d", s.log.Start(), base)})
	}
	s.base = mark{base, term}
	for len(s.terms) > 1 && s.terms[1].first <= base {
		s.terms = s.terms[1:]
	}
	return left
}

// failUnlessFull is fail of what may be tried again if there was no room for it.
func (s *storage) failUnlessFull(err error) error {
	if log.NoRoom(err) {
		return err
	}
	return s.fail(err)
}

// stage writes a snapshot that is going to take the place of all entries. If there is no
// room it may be tried again.
func (s *storage) stage(snap snapshot) error {
	if err := errors.Join(s.err, s.unstage()); err != nil {
		return err
	}
	s.staged = snap.mark
	err := log.WriteFile(s.fs, s.stagedName(), snapMagic, snapVersion, encodeSnapshot(snap))
	if err != nil {
		return errors.Join(s.failUnlessFull(fmt.Errorf("quorum: write %s: %w", snap.fileName(), err)), s.unstage())
	}
	return nil
}

// unstage removes a snapshot that was staged for nothing.
func (s *storage) unstage() error {
	if s.staged == (mark{}) {
		return nil
	}
	name := s.stagedName()
	s.staged = mark{}
	if err := s.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.failUnlessFull(fmt.Errorf("quorum: remove %s: %w", name, err))
	}
	return nil
}

func (s *storage) stagedName() string { return filepath.Join(s.dir, s.staged.fileName()+newSuffix) }

// installSnapshot puts a snapshot in the place of all entries. After a crash within
// it the snapshot counts if it is there: see check.
func (s *storage) installSnapshot(snap snapshot) error {
	if snap.cluster != s.kept.Cluster || snap.index <= s.kept.Commit || snap.index <= s.base.index {
		return s.fail(fmt.Errorf("quorum: snapshot of entry %d does not fit a log committed up to %d", snap.index, s.kept.Commit))
	}
	if err := s.writeSnapshot(snap); err != nil {
		return s.fail(err)
	}
	if err := s.log.Reset(log.Offset(snap.index + 1)); err != nil {
		return s.fail(fmt.Errorf("quorum: reset log: %w", err))
	}
	s.base, s.terms, s.tail, s.bytes, s.changes = snap.mark, nil, nil, 0, nil
	return nil
}

// writeSnapshot makes snap the newest one. Its error may be of a disk without room: then
// the newest is what it was.
func (s *storage) writeSnapshot(snap snapshot) error {
	payload := encodeSnapshot(snap)
	if err := s.placeSnapshot(snap.mark, payload); err != nil {
		return fmt.Errorf("quorum: write %s: %w", snap.fileName(), err)
	}
	old := s.snap.mark
	s.snap = snap
	s.snap.state = nil
	s.stale, s.wanted = false, false
	if s.served.index != 0 {
		s.served = serving(snap.mark, payload) // somebody is after it, or after the last one
	}
	if old.index == 0 || old == snap.mark {
		return nil
	}
	err := s.fs.Remove(filepath.Join(s.dir, old.fileName()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !log.NoRoom(err) { // the next start removes it, too
		return s.fail(fmt.Errorf("quorum: remove %s: %w", old.fileName(), err))
	}
	return nil
}

// placeSnapshot puts a snapshot's file where it belongs.
func (s *storage) placeSnapshot(m mark, payload []byte) error {
	name := filepath.Join(s.dir, m.fileName())
	if s.staged != m {
		return log.WriteFile(s.fs, name, snapMagic, snapVersion, payload)
	}
	staged := s.stagedName()
	s.staged = mark{}
	return errors.Join(s.fs.Rename(staged, name), s.fs.SyncDir(s.dir))
}

// A served snapshot is kept in memory while others ask for it.
type served struct {
	mark
	payload []byte
	sum     uint64 // of the payload
}

func serving(m mark, payload []byte) served { return served{m, payload, xxhash.Sum64(payload)} }

// serve returns a snapshot to be served; without a payload: there is no such one any more.
func (s *storage) serve(m mark) (served, error) {
	switch {
	case m.index > 0 && s.served.mark == m:
		return s.served, nil
	case m.index == 0 || s.snap.mark != m:
		return served{}, nil
	}
	b, err := log.ReadFile(s.fs, filepath.Join(s.dir, m.fileName()), snapMagic, snapVersion)
	if err != nil {
		return served{}, s.fail(fmt.Errorf("quorum: read %s: %w", m.fileName(), err))
	}
	s.served = serving(m, b)
	return s.served, nil
}

// Snapshot tells raft of the newest snapshot. The state is not in it: who gets the
// message fetches it by the index and the term.
//
// One from before the newest change of the voters will not do: it may not know whom it
// is for. The engine takes another then.
func (s *storage) Snapshot() (*pb.Snapshot, error) {
	if s.stale {
		s.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return s.snap.metadata(), nil
}

func (s snapshot) metadata() *pb.Snapshot {
	return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		ConfState: s.roster.confState(), Index: proto.Uint64(s.index), Term: proto.Uint64(s.term),
	}}
}
