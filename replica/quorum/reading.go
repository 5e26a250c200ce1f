package quorum

import (
	"errors"
	"fmt"
	"sort"

	"github.com/samsalog/samsa/log"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// This file has what raft asks of its storage. An error of the disk is kept in
// s.err, because raft only panics about it.

// InitialState returns the term and the vote that were kept, and the voters as of the
// newest snapshot.
func (s *storage) InitialState() (*pb.HardState, *pb.ConfState, error) {
	commit := max(s.kept.Commit, s.snap.index)
	hard := &pb.HardState{Term: new(s.kept.Term), Vote: new(s.kept.Vote), Commit: new(commit)}
	return hard, s.roster().confState(), nil
}

// roster is who takes part as of the newest snapshot.
func (s *storage) roster() roster {
	if s.snap.index == 0 {
		return rosterOf(s.kept.formation)
	}
	return s.snap.roster
}

// FirstIndex returns the index of the first entry that can be had.
func (s *storage) FirstIndex() (uint64, error) { return s.base.index + 1, nil }

// LastIndex returns the index of the newest entry, 0 if there is none.
func (s *storage) LastIndex() (uint64, error) { return s.last(), nil }

// Term returns the term of one entry, and of the one before the first: 0 for index 0.
func (s *storage) Term(index uint64) (uint64, error) {
	switch {
	case index == s.base.index:
		return s.base.term, nil
	case index < s.base.index:
		return 0, raft.ErrCompacted
	case index > s.last():
		return 0, raft.ErrUnavailable
	}
	n := sort.Search(len(s.terms), func(i int) bool { return s.terms[i].first > index })
	return s.terms[n-1].term, nil
}

// Entries returns entries from lo up to, not including, hi: at least one, and no
// more than about maxSize bytes.
func (s *storage) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if lo <= s.base.index {
		return nil, raft.ErrCompacted
	}
	if hi > s.last()+1 {
		return nil, raft.ErrUnavailable
	}
	if len(s.tail) > 0 && lo >= s.tail[0].GetIndex() {
		first := s.tail[0].GetIndex()
		return limit(s.tail[lo-first:hi-first:hi-first], maxSize), nil
	}
	entries, err := s.read(lo, hi, maxSize)
	if err != nil {
		return nil, s.fail(err)
	}
	return limit(entries, maxSize), nil
}

// read decodes entries from the log, at least one.
func (s *storage) read(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	var entries []*pb.Entry
	size := uint64(0)
	for next := lo; next < hi && (len(entries) == 0 || size < maxSize); {
		data, err := s.log.Read(log.Offset(next), s.log.End(), int(min(maxSize, readSize)))
		if errors.Is(err, log.ErrCorrupt) {
			return nil, &CorruptError{Reason: fmt.Sprintf("entry %d", next), Err: err}
		}
		if err != nil {
			return nil, fmt.Errorf("quorum: read entry %d: %w", next, err)
		}
		more, err := decodeEntries(data, next, hi)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			return nil, &CorruptError{Reason: fmt.Sprintf("entry %d is not in the log", next)}
		}
		for _, e := range more {
			size += uint64(sizeOf(e))
		}
		entries = append(entries, more...)
		next += uint64(len(more))
	}
	return entries, nil
}

// decodeEntries returns the entries of some batches, those from lo up to hi.
func decodeEntries(data []byte, lo, hi uint64) ([]*pb.Entry, error) {
	var entries []*pb.Entry
	for len(data) > 0 {
		batch, rest, err := log.SplitBatch(data)
		if err != nil {
			return nil, fmt.Errorf("quorum: split batches: %w", err)
		}
		data = rest
		for r, err := range batch.Records() {
			if err != nil {
				return nil, fmt.Errorf("quorum: read a batch: %w", err)
			}
			index := uint64(r.Offset)
			if index < lo || index >= hi {
				continue
			}
			if index != lo+uint64(len(entries)) {
				return nil, &CorruptError{Reason: fmt.Sprintf("entry %d follows entry %d", index, lo+uint64(len(entries))-1)}
			}
			e, err := entryOf(batch.Epoch(), r)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// limit returns as many of the first entries as maxSize allows, at least one.
func limit(entries []*pb.Entry, maxSize uint64) []*pb.Entry {
	size := uint64(0)
	for i, e := range entries {
		size += uint64(sizeOf(e))
		if i > 0 && size > maxSize {
			return entries[:i:i]
		}
	}
	return entries
}
