package quorum

import (
	"errors"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Work carries out some of what the inputs have made necessary: it writes and
// syncs, sends, and applies. It reports whether there was anything to do, and so may
// be again. The error is the engine's first fault, which is final.
func (e *Engine) Work() (worked bool, err error) {
	if !e.works() {
		return false, e.err
	}
	rd, ok, err := e.node.ready()
	if e.fail(err) || !ok {
		return false, e.err
	}
	e.fail(e.carry(rd))
	return e.err == nil, e.err
}

// carry does one Ready. The order is part of the protocol: disk, then messages,
// then the committed entries, then those who wait for them.
func (e *Engine) carry(rd raft.Ready) error {
	first, rest := e.split(rd)
	e.send(first)
	if err := e.disk.save(rd.HardState, rd.Entries); err != nil {
		return err
	}
	e.place(rd.Entries)
	e.send(rest)
	if err := e.applyAll(rd.CommittedEntries); err != nil {
		return err
	}
	e.note(rd)
	if err := e.node.advance(rd); err != nil {
		return err
	}
	for _, d := range e.decided {
		e.host.Decided(d.token, d.index, d.err)
	}
	e.decided = nil
	for _, id := range e.full {
		if err := e.node.unreachable(id); err != nil {
			return err
		}
	}
	e.full = nil
	return nil
}

// split returns the messages that may leave before the disk has been written to,
// and those that may not. Entries of a leader may: it does not count its own copy
// before that is synced, and its term and vote were durable before it led.
func (e *Engine) split(rd raft.Ready) (first, rest []*pb.Message) {
	kept := e.disk.kept
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

// send hands messages to the host. One that it loses is lost, as it could be on the
// way, and raft hears of it.
func (e *Engine) send(messages []*pb.Message) {
	for _, m := range messages {
		data, err := proto.Marshal(m)
		if err != nil {
			continue // no message of raft's can do that
		}
		to, known := e.names[m.GetTo()]
		if !known {
			continue
		}
		sent := e.host.Send(Message{
			To: to.ID, Addr: to.Addr, kind: kindPost,
			cluster: e.status.Cluster, raft: m.GetTo(), letters: [][]byte{data},
		})
		if !sent {
			e.full = append(e.full, m.GetTo())
		}
	}
}

// place finds the index of each proposal among the entries that raft has made of
// them. A leader's entries of its term are its own proposals, in order.
func (e *Engine) place(entries []*pb.Entry) {
	for _, entry := range entries {
		if len(e.unplaced) == 0 {
			return
		}
		p := e.unplaced[0]
		if entry.GetTerm() != p.term || len(entry.GetData()) == 0 {
			continue
		}
		p.index = entry.GetIndex()
		e.placed = append(e.placed, p)
		e.unplaced = e.unplaced[1:]
	}
	// What is left was overwritten before it had a place, but perhaps not before
	// it was sent.
	for _, p := range e.unplaced {
		e.decide(p, 0, &unknownError{errDeposed})
	}
	e.unplaced = nil
}

// errDeposed: another has taken the lead meanwhile.
var errDeposed = errors.New("quorum: deposed")

// applyAll tells the host of entries that are committed and durable here.
func (e *Engine) applyAll(entries []*pb.Entry) error {
	for _, entry := range entries {
		if entry.GetType() != pb.EntryNormal {
			return unknownEntry(log.Offset(entry.GetIndex()), int32(entry.GetType()))
		}
		var data []byte
		if len(entry.GetData()) > 0 {
			data = entry.GetData()
		}
		e.host.Apply(log.Offset(entry.GetIndex()), data)
		e.applied, e.termOf = entry.GetIndex(), entry.GetTerm()
		e.settle(entry.GetIndex(), entry.GetTerm())
	}
	return nil
}

// settle decides proposals by a committed entry. Behind an entry of a later term
// no entry of an earlier one can follow, so those that wait with an earlier term
// are certainly lost.
func (e *Engine) settle(index, term uint64) {
	for len(e.placed) > 0 {
		p := e.placed[0]
		switch {
		case p.term == term && p.index == index:
			e.decide(p, log.Offset(index), nil)
		case p.term < term:
			e.decide(p, 0, ErrDropped)
		default:
			return
		}
		e.placed = e.placed[1:]
	}
}

func (e *Engine) decide(p proposal, index log.Offset, err error) {
	e.decided = append(e.decided, decision{token: p.token, index: index, err: err})
}

// note makes the status follow the machine.
func (e *Engine) note(rd raft.Ready) {
	s := &e.status
	if rd.SoftState != nil {
		s.Role = roleOf(rd.RaftState)
		leader := e.names[rd.Lead]
		s.Leader, s.LeaderAddr = leader.ID, leader.Addr
	}
	if rd.HardState != nil {
		s.Term = log.Epoch(rd.HardState.GetTerm())
		s.Commit = log.Offset(rd.HardState.GetCommit())
	}
	s.Applied = log.Offset(e.applied)
	s.Leading = s.Role == Leader && log.Epoch(e.termOf) == s.Term
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

// retired is the status of a voter that takes part no more.
func (s Status) retired() Status {
	s.Leading, s.Leader, s.LeaderAddr = false, partition.NoBroker, ""
	if s.Role == Leader || s.Role == Candidate {
		s.Role = Follower
	}
	return s
}
