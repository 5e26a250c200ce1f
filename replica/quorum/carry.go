package quorum

import (
	"errors"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// work does what the machine wants, until it wants no more.
func (r *runner) work() error {
	for r.node != nil {
		rd, ok, err := r.node.ready()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := r.carry(rd); err != nil {
			return err
		}
	}
	return nil
}

// carry does one Ready. The order is part of the protocol: disk, then messages,
// then the committed entries, then those who wait for them.
func (r *runner) carry(rd raft.Ready) error {
	first, rest := r.split(rd)
	r.send(first)
	if err := r.q.disk.save(rd.HardState, rd.Entries); err != nil {
		return err
	}
	r.place(rd.Entries)
	r.send(rest)
	if err := r.applyAll(rd.CommittedEntries); err != nil {
		return err
	}
	r.note(rd)
	if err := r.node.advance(rd); err != nil {
		return err
	}
	for _, d := range r.decided {
		d.p.done <- d.o
	}
	r.decided = nil
	for _, id := range r.full {
		if err := r.node.unreachable(id); err != nil {
			return err
		}
	}
	r.full = nil
	return nil
}

// split returns the messages that may leave before the disk has been written to,
// and those that may not. Entries of a leader may: it does not count its own copy
// before that is synced, and its term and vote were durable before it led.
func (r *runner) split(rd raft.Ready) (first, rest []*pb.Message) {
	kept := r.q.disk.kept
	hard := rd.HardState
	if hard != nil && (hard.GetTerm() != kept.Term || hard.GetVote() != kept.Vote) {
		return nil, rd.Messages
	}
	for _, m := range rd.Messages {
		if m.GetType() == pb.MsgApp && m.GetTerm() == kept.Term {
			first = append(first, m)
		} else {
			rest = append(rest, m)
		}
	}
	return first, rest
}

// send leaves messages with the senders. A message that finds no room is lost, as
// it could be on the way, and raft hears of it.
func (r *runner) send(messages []*pb.Message) {
	for _, m := range messages {
		data, err := proto.Marshal(m)
		if err != nil {
			continue // no message of raft's can do that
		}
		to := r.names[m.GetTo()].ID
		for _, s := range r.senders {
			if s.id == to && !s.send(letter{to: m.GetTo(), data: data}) {
				r.full = append(r.full, m.GetTo())
			}
		}
	}
}

// place finds the index of each proposal among the entries that raft has made of
// them. A leader's entries of its term are its own proposals, in order.
func (r *runner) place(entries []*pb.Entry) {
	for _, e := range entries {
		if len(r.unplaced) == 0 {
			return
		}
		p := r.unplaced[0]
		if e.GetTerm() != p.term || len(e.GetData()) == 0 {
			continue
		}
		p.index = e.GetIndex()
		r.placed = append(r.placed, p)
		r.unplaced = r.unplaced[1:]
	}
	// What is left was overwritten before it had a place, but perhaps not before
	// it was sent.
	for _, p := range r.unplaced {
		r.decide(p, outcome{err: &unknownError{errDeposed}})
	}
	r.unplaced = nil
}

// errDeposed: another has taken the lead meanwhile.
var errDeposed = errors.New("quorum: deposed")

// applyAll tells the caller of entries that are committed and durable here.
func (r *runner) applyAll(entries []*pb.Entry) error {
	for _, e := range entries {
		if e.GetType() != pb.EntryNormal {
			return unknownEntry(log.Offset(e.GetIndex()), int32(e.GetType()))
		}
		var data []byte
		if len(e.GetData()) > 0 {
			data = e.GetData()
		}
		r.q.apply(log.Offset(e.GetIndex()), data)
		r.applied, r.termOf = e.GetIndex(), e.GetTerm()
		r.settle(e.GetIndex(), e.GetTerm())
	}
	return nil
}

// settle decides proposals by a committed entry. Behind an entry of a later term
// no entry of an earlier one can follow, so those that wait with an earlier term
// are certainly lost.
func (r *runner) settle(index, term uint64) {
	for len(r.placed) > 0 {
		p := r.placed[0]
		switch {
		case p.term == term && p.index == index:
			r.decide(p, outcome{index: log.Offset(index)})
		case p.term < term:
			r.decide(p, outcome{err: ErrDropped})
		default:
			return
		}
		r.placed = r.placed[1:]
	}
}

func (r *runner) decide(p *proposal, o outcome) {
	r.decided = append(r.decided, decision{p, o})
}

// note makes the status follow the machine, and publishes it.
func (r *runner) note(rd raft.Ready) {
	s := &r.status
	if rd.SoftState != nil {
		s.Role = roleOf(rd.RaftState)
		leader := r.names[rd.Lead]
		s.Leader, s.LeaderAddr = leader.ID, leader.Addr
	}
	if rd.HardState != nil {
		s.Term = log.Epoch(rd.HardState.GetTerm())
		s.Commit = log.Offset(rd.HardState.GetCommit())
	}
	s.Applied = log.Offset(r.applied)
	s.Leading = s.Role == Leader && log.Epoch(r.termOf) == s.Term
	r.q.publish(*s)
}

func roleOf(state raft.StateType) Role {
	switch state {
	case raft.StateLeader:
		return Leader
	case raft.StateCandidate, raft.StatePreCandidate:
		return Candidate
	case raft.StateFollower:
	}
	return Follower
}

// end tells everybody who waits that Run is over.
func (r *runner) end(err error) {
	if err == nil {
		err = ErrClosed
	}
	for _, p := range append(r.placed, r.unplaced...) {
		r.decide(p, outcome{err: &unknownError{err}})
	}
	for _, d := range r.decided {
		d.p.done <- d.o
	}
	r.retry.Stop()
	if r.ticker != nil {
		r.ticker.Stop()
	}
	s := r.status
	s.Leading, s.Leader, s.LeaderAddr = false, partition.NoBroker, ""
	if s.Role == Leader || s.Role == Candidate {
		s.Role = Follower
	}
	r.q.publish(s)
}
