package quorum

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/transport/wire"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A Member is a broker together with the directory that it keeps its promises in,
// which is part of its identity: after the loss of a disk the broker is another member.
type Member struct {
	ID        partition.BrokerID
	Directory partition.UUID
	Addr      string // where it is to be found
}

func (m Member) raftID() uint64 { return raftID(m.ID, m.Directory) }

// is reports whether m and other are the same member, wherever they are.
func (m Member) is(other Member) bool {
	return m.ID == other.ID && (m.Directory == other.Directory || mutate.On("wiped voter keeps its name"))
}

// check reports what makes a member impossible.
func (m Member) check() error {
	switch {
	case m.ID < 1:
		return fmt.Errorf("quorum: member has id %d; broker ids begin at 1", m.ID)
	case m.Directory == (partition.UUID{}):
		return fmt.Errorf("quorum: member %d has no directory", m.ID)
	case len(m.Addr) > maxAddr:
		return fmt.Errorf("quorum: member %d has an address of %d bytes", m.ID, len(m.Addr))
	}
	return nil
}

// A roster says who takes part in the quorum as of some entry. It is a value: a
// change makes a new one. Both lists are in the order in which their members came.
type roster struct {
	voters   []Member
	learners []Member // they get all entries and have no vote, until they are promoted
}

// The changes of a roster. The numbers lie in the log.
const (
	addLearner = 1
	promote    = 2
	remove     = 3
)

// A rosterChange is one change, as an entry of the log holds it.
type rosterChange struct {
	kind   uint8
	member Member
}

// rosterOf is the roster of a cluster before its first entry.
func rosterOf(f formation) roster { return roster{voters: slices.Clone(f.Members)} }

func indexOf(members []Member, m Member) int { return slices.IndexFunc(members, m.is) }

func (r roster) all() []Member { return slices.Concat(r.voters, r.learners) }

func (r roster) holds(m Member) bool { return indexOf(r.voters, m) >= 0 || indexOf(r.learners, m) >= 0 }

// alone reports whether m is the only one who has a vote, so that nobody can object.
func (r roster) alone(m Member) bool { return len(r.voters) == 1 && r.voters[0].is(m) }

// apply returns the roster after a change, or why there can be no such change.
func (r roster) apply(c rosterChange) (roster, error) {
	m := c.member
	if err := m.check(); err != nil {
		return r, err
	}
	voter, learner := indexOf(r.voters, m), indexOf(r.learners, m)
	without := func(list []Member, i int) []Member { return slices.Delete(slices.Clone(list), i, i+1) }
	switch {
	case c.kind == addLearner && voter < 0 && learner < 0:
		for _, other := range r.all() {
			if other.raftID() == m.raftID() {
				return r, fmt.Errorf("quorum: broker %d in directory %s would share the name of broker %d", m.ID, m.Directory, other.ID)
			}
		}
		if len(r.voters)+len(r.learners) >= maxVoters {
			return r, fmt.Errorf("quorum: there are %d voters and learners already", maxVoters)
		}
		r.learners = append(slices.Clone(r.learners), m)
	case c.kind == promote && learner >= 0:
		r.voters = append(slices.Clone(r.voters), r.learners[learner])
		r.learners = without(r.learners, learner)
	case c.kind == remove && learner >= 0:
		r.learners = without(r.learners, learner)
	case c.kind == remove && voter >= 0 && len(r.voters) > 1:
		r.voters = without(r.voters, voter)
	default:
		return r, fmt.Errorf("quorum: change %d of broker %d in directory %s does not fit the voters", c.kind, m.ID, m.Directory)
	}
	return r, nil
}

// superseded returns a voter that a later one has replaced: it has the same broker
// id, and a directory that is no more.
func (r roster) superseded() (Member, bool) {
	for i, m := range r.voters {
		for _, later := range r.voters[i+1:] {
			if later.ID == m.ID {
				return m, true
			}
		}
	}
	return Member{}, false
}

// confState is the roster in raft's words.
func (r roster) confState() *pb.ConfState {
	conf := &pb.ConfState{}
	for _, m := range r.voters {
		conf.Voters = append(conf.Voters, m.raftID())
	}
	for _, m := range r.learners {
		conf.Learners = append(conf.Learners, m.raftID())
	}
	return conf
}

// check reports what makes a roster impossible.
func (r roster) check() error {
	if len(r.voters) == 0 {
		return fmt.Errorf("quorum: a roster without voters")
	}
	names := make(map[uint64]bool)
	for _, m := range r.all() {
		if err := m.check(); err != nil {
			return err
		}
		if names[m.raftID()] {
			return fmt.Errorf("quorum: two members share a name, one is broker %d", m.ID)
		}
		names[m.raftID()] = true
	}
	return nil
}

func (r roster) encode(w *wire.Writer) {
	encodeMembers(w, r.voters)
	encodeMembers(w, r.learners)
}

func decodeRoster(r *wire.Reader) roster {
	return roster{voters: decodeMembers(r), learners: decodeMembers(r)}
}

func encodeMember(w *wire.Writer, m Member) {
	w.Int32(int32(m.ID))
	w.ID(m.Directory)
	w.String(m.Addr)
}

func decodeMember(r *wire.Reader) Member {
	return Member{ID: partition.BrokerID(r.Int32()), Directory: r.ID(), Addr: r.String(maxAddr)}
}

// encode returns the change as raft carries it: what raft needs, and beside it, as
// context, what only we do.
//
//	version  1 byte, 1
//	kind     1 byte
//	member   id int32, directory 16 bytes, addr string
func (c rosterChange) encode() *pb.ConfChangeV2 {
	var w wire.Writer
	w.Uint8(1)
	w.Uint8(c.kind)
	encodeMember(&w, c.member)
	kind := pb.ConfChangeRemoveNode
	switch c.kind {
	case addLearner:
		kind = pb.ConfChangeAddLearnerNode
	case promote:
		kind = pb.ConfChangeAddNode
	}
	return &pb.ConfChangeV2{
		Changes: []*pb.ConfChangeSingle{{Type: kind.Enum(), NodeId: new(c.member.raftID())}},
		Context: w.Bytes(),
	}
}

// decodeChange is the inverse of encode.
func decodeChange(context []byte) (rosterChange, error) {
	r := wire.NewReader(context)
	version := r.Uint8()
	c := rosterChange{kind: r.Uint8(), member: decodeMember(r)}
	if err := r.Done(); err != nil {
		return rosterChange{}, fmt.Errorf("quorum: change of the voters: %w", err)
	}
	if version != 1 || c.kind < addLearner || c.kind > remove {
		return rosterChange{}, fmt.Errorf("quorum: change of the voters of version %d, kind %d: %w", version, c.kind, partition.Unsupported)
	}
	return c, nil
}

// votersByID lists members for a status: by rising id, then by directory.
func votersByID(members []Member) []Voter {
	sorted := slices.SortedFunc(slices.Values(members), func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), bytes.Compare(a.Directory[:], b.Directory[:]))
	})
	voters := make([]Voter, len(sorted))
	for i, m := range sorted {
		voters[i] = Voter{ID: m.ID, Addr: m.Addr}
	}
	return voters
}

// located returns the members where they are to be found: a configured address is
// newer than the one that was kept.
func located(members []Member, configured []Voter) []Member {
	members = slices.Clone(members)
	for i := range members {
		for _, c := range configured {
			if c.ID == members[i].ID && c.Addr != "" {
				members[i].Addr = c.Addr
			}
		}
	}
	return members
}
