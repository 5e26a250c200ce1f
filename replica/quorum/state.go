package quorum

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/transport/wire"
)

// Quorum-state file format, version 1
//
// The file "quorum-state" holds what a voter may never forget or take back. It
// is a file of [log.WriteFile]: magic 0x53515253 ("SQRS"), version, checksum, and
// this payload. Integers are big-endian; a count or a length is an unsigned varint.
//
//	cluster    16 bytes  id of the cluster; never zero
//	self       int32     broker id of this voter
//	directory  16 bytes  id of this voter's directory
//	term       int64     the newest term that it has been part of
//	vote       int64     the voter that it voted for in that term, as raft names
//	                     it (see raftID); 0: none
//	commit     int64     entries up to this index are committed, and lie in the log;
//	                     others may be
//	founders   count, then for each voter of the formation by rising id:
//	  id         int32
//	  directory  16 bytes
//	  addr       string
//	standing   1 byte, from version 2: 1 if this voter is none of the founders, but was
//	           let in later; version 2 is of such a voter only. 2, from version 3: this
//	           broker is no member. It has promised nothing, and follows no other cluster
//	lives      int64, from version 3: the count of processes that have promised
//	           something under this identity. See twin.go
//
// The file is absent until the cluster is formed. It is written before the first
// entry, before an entry of a higher term, before a vote is answered, and before the
// first of these in each life. So a log that ends at or below commit, or has an entry
// above term, is damaged.
const (
	stateName    = "quorum-state"
	stateMagic   = 0x53515253
	stateVersion = 3

	standsJoined   = 1
	standsObserves = 2

	maxVoters = 15
	maxAddr   = 1 << 10
)

// A formation is what is agreed on once and for all when a cluster is formed. Its
// members are the founders; who votes later follows from the log.
type formation struct {
	Cluster partition.UUID
	Members []Member // by rising ID
}

// kept is the content of the quorum-state file.
type kept struct {
	formation
	Self      partition.BrokerID
	Directory partition.UUID
	Term      uint64
	Vote      uint64
	Commit    uint64
	Joined    bool   // this voter is no founder
	Observes  bool   // this broker is no member, and has promised nothing
	Lives     uint64 // the processes that have promised something; 0: they were not counted
}

// isMember reports whether k is of a member of a cluster.
func (k kept) isMember() bool { return k.Cluster != (partition.UUID{}) && !k.Observes }

// version is that of the file which holds k: the oldest that can.
func (k kept) version() uint16 {
	switch {
	case k.Lives > 0:
		return stateVersion
	case k.Joined:
		return 2
	}
	return 1
}

// raftID is the name under which raft knows the voter: another directory gives
// another name, so that a vote is never given twice.
func raftID(id partition.BrokerID, directory partition.UUID) uint64 {
	var b [20]byte
	binary.BigEndian.PutUint32(b[:], uint32(id))
	if !mutate.On("wiped voter keeps its name") {
		copy(b[4:], directory[:])
	}
	h := xxhash.Sum64(b[:])
	const reserved = 2 // raft keeps 0 and the two highest for itself
	if h < reserved || h >= ^uint64(0)-reserved {
		h = 1 << 32
	}
	return h
}

func encodeKept(k kept) []byte {
	var w wire.Writer
	w.ID(k.Cluster)
	w.Int32(int32(k.Self))
	w.ID(k.Directory)
	w.Int64(int64(k.Term))
	w.Int64(int64(k.Vote))
	w.Int64(int64(k.Commit))
	encodeMembers(&w, k.Members)
	switch {
	case k.Observes:
		w.Uint8(standsObserves)
	case k.Joined || k.Lives > 0:
		w.Bool(k.Joined)
	}
	if k.Lives > 0 {
		w.Int64(int64(k.Lives))
	}
	return w.Bytes()
}

func decodeKept(b []byte) (kept, error) {
	r := wire.NewReader(b)
	var k kept
	k.Cluster = r.ID()
	k.Self = partition.BrokerID(r.Int32())
	k.Directory = r.ID()
	k.Term = uint64(r.Int64())
	k.Vote = uint64(r.Int64())
	k.Commit = uint64(r.Int64())
	k.Members = decodeMembers(r)
	if r.Err() == nil && r.Left() > 0 {
		standing := r.Uint8()
		k.Joined, k.Observes = standing == standsJoined, standing == standsObserves
		counted := r.Left() > 0
		if counted {
			k.Lives = uint64(r.Int64())
		}
		if r.Err() == nil && (standing > standsObserves || counted && k.Lives == 0 || !counted && !k.Joined) {
			return kept{}, fmt.Errorf("standing %d in life %d", standing, k.Lives)
		}
	}
	if err := r.Done(); err != nil {
		return kept{}, err
	}
	if k.Term > maxTerm || k.Commit > maxIndex || k.Lives > maxIndex {
		return kept{}, fmt.Errorf("term %d, commit %d or life %d out of range", k.Term, k.Commit, k.Lives)
	}
	return k, k.formation.check()
}

// The limits of what our log can number.
const (
	maxTerm  = 1<<31 - 1
	maxIndex = 1<<63 - 1
)

// check reports what makes a formation impossible.
func (f formation) check() error {
	if f.Cluster == (partition.UUID{}) {
		return fmt.Errorf("quorum: formation without a cluster id")
	}
	if len(f.Members) == 0 {
		return fmt.Errorf("quorum: cluster %s has no voters", f.Cluster)
	}
	names := make(map[uint64]bool)
	for i, m := range f.Members {
		switch {
		case m.ID < 1 || i > 0 && f.Members[i-1].ID >= m.ID:
			return fmt.Errorf("quorum: voters of cluster %s are out of order", f.Cluster)
		case m.Directory == (partition.UUID{}):
			return fmt.Errorf("quorum: voter %d of cluster %s has no directory", m.ID, f.Cluster)
		case names[m.raftID()]:
			return fmt.Errorf("quorum: two voters of cluster %s share a name", f.Cluster)
		}
		names[m.raftID()] = true
	}
	return nil
}

// holds reports whether the voter is a member under this very directory.
func (f formation) holds(id partition.BrokerID, directory partition.UUID) bool {
	for _, m := range f.Members {
		if m.ID == id && (m.Directory == directory || mutate.On("wiped voter keeps its name")) {
			return true
		}
	}
	return false
}

func encodeMembers(w *wire.Writer, members []Member) {
	w.Count(len(members))
	for _, m := range members {
		encodeMember(w, m)
	}
}

func decodeMembers(r *wire.Reader) []Member {
	var members []Member
	for range r.Count(maxVoters, 4+16+1) {
		members = append(members, decodeMember(r))
	}
	return members
}
