package quorum

import (
	"errors"
	"fmt"

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
	switch {
	case e.fail(err):
	case ok:
		e.fail(e.carry(rd))
	case e.eager:
		// Only now: what it has may say that there are other voters.
		e.eager, ok = false, true
		if e.roster.alone(e.self()) {
			e.fail(e.node.campaign())
		}
	default:
		if e.disk.wanted {
			e.fail(e.maySnapshot())
		}
		e.tellNews()
	}
	return ok && e.err == nil, e.err
}

// carry does one Ready. The order is part of the protocol: disk, then messages,
// then the committed entries, then those who wait for them.
func (e *Engine) carry(rd raft.Ready) error {
	first, rest := e.split(rd)
	e.send(first)
	snap, err := e.takeArrived(rd.Snapshot)
	if err != nil {
		return err
	}
	if err := e.disk.saveAll(rd.HardState, snap, rd.Entries); err != nil {
		return err
	}
	if snap != nil {
		e.leap(*snap)
	}
	e.place(rd.Entries)
	e.send(rest)
	if err := e.applyAll(rd.CommittedEntries); err != nil {
		return err
	}
	e.note(rd)
	e.passBarriers(rd.ReadStates)
	if err := e.node.advance(rd); err != nil {
		return err
	}
	for _, d := range e.decided {
		if d.token != 0 {
			e.host.Decided(d.token, d.index, d.err)
		}
	}
	e.decided = nil
	for _, m := range e.lost {
		e.unreachable(m)
	}
	e.lost = nil
	return e.err
}

// leap goes on from a snapshot in the place of entries. Proposals of earlier reigns
// may be in it, or not.
func (e *Engine) leap(snap snapshot) {
	for len(e.placed) > 0 && e.placed[0].index <= snap.index {
		e.decide(e.placed[0], 0, &unknownError{errDeposed})
		e.placed = e.placed[1:]
	}
	e.restore(snap)
	e.noteRoster()
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
		to, known := e.memberOf(m.GetTo())
		if !known {
			continue
		}
		out := Message{
			To: to.ID, Addr: to.Addr, kind: kindPost, cluster: e.status.Cluster, from: e.self(),
			raft: m.GetTo(), letters: [][]byte{data}, snap: m.GetType() == pb.MsgSnap,
		}
		if out.snap {
			e.ship(out.raft)
		}
		if !e.host.Send(out) {
			e.lost = append(e.lost, out)
		}
	}
}

// memberOf returns who has that name, and where it was last heard of.
func (e *Engine) memberOf(id uint64) (Member, bool) {
	if m, ok := e.known[id]; ok && m.Addr != "" {
		return m, true
	}
	m, ok := e.names[id]
	return m, ok
}

// place finds the index of each proposal among the entries that raft has made of
// them. A leader's entries of its term are its own proposals, in order.
func (e *Engine) place(entries []*pb.Entry) {
	for _, entry := range entries {
		if len(e.unplaced) == 0 {
			return
		}
		p := e.unplaced[0]
		if entry.GetTerm() != p.term || len(entry.GetData()) == 0 && !p.change {
			continue
		}
		if p.change && entry.GetType() != pb.EntryConfChangeV2 { // raft has refused it
			e.decide(p, 0, ErrBusy)
			e.unplaced = e.unplaced[1:]
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
	changed := false
	for _, entry := range entries {
		index, data := entry.GetIndex(), entry.GetData()
		switch entry.GetType() {
		case pb.EntryNormal:
		case pb.EntryConfChangeV2:
			if err := e.applyChange(entry); err != nil {
				return err
			}
			data, changed = nil, true
		default:
			return unknownEntry(log.Offset(index), int32(entry.GetType()))
		}
		e.show(index, data)
		e.applied, e.termOf = index, entry.GetTerm()
		e.since += int64(sizeOf(entry))
		e.settle(index, entry.GetTerm())
	}
	if changed {
		e.changeNoted()
	}
	return e.maySnapshot()
}

// changeNoted lets this voter's own role follow a change of the voters.
func (e *Engine) changeNoted() {
	if e.roster.holds(e.self()) {
		e.outside = false
		e.eager = e.state != Leader && e.roster.alone(e.self()) // nobody is left to wait for
		return
	}
	e.status.Problem = "this broker was removed from the quorum"
	e.observe()
}

// maySnapshot takes a snapshot when enough has been applied since the last one, or a
// member waits for one that knows it. For want of room it is put off, and the log stays
// as long as it is.
func (e *Engine) maySnapshot() error {
	wanted := e.disk.wanted && e.tickNo >= e.notBefore
	if e.since < e.cfg.SnapshotBytes && !wanted || e.shown > e.applied {
		return nil
	}
	e.since = 0
	state, err := e.host.Snapshot()
	if err == nil && len(state) > maxSnapshot-1<<16 {
		err = fmt.Errorf("%d bytes are too many", len(state))
	}
	if err == nil {
		snap := snapshot{mark: mark{e.applied, e.termOf}, cluster: e.status.Cluster, roster: e.roster, state: state}
		err = e.disk.saveSnapshot(snap, uint64(e.cfg.KeepEntries))
	}
	if err != nil {
		e.since = e.cfg.SnapshotBytes - max(e.cfg.SnapshotBytes/retryPart, 1)
		e.notBefore = e.tickNo + retryTicks
		e.cfg.Logger.Warn("no snapshot of the metadata; the log stays as it is", "index", e.applied, "error", err)
		return e.disk.err
	}
	e.cfg.Logger.Info("snapshot taken", "index", e.applied, "bytes", len(state), "from", e.disk.base.index+1)
	return nil
}

// How often a snapshot is tried again that came to nothing: each time that this part of
// SnapshotBytes has been applied, or so many ticks have passed while a member waits.
const (
	retryPart  = 16
	retryTicks = 50
)

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
	if p.change {
		e.changing = false
	}
	e.decided = append(e.decided, decision{token: p.token, index: index, err: err})
}

// note makes the status follow the machine.
func (e *Engine) note(rd raft.Ready) {
	s := &e.status
	if rd.SoftState != nil {
		e.state, e.led = roleOf(rd.RaftState), rd.Lead != raft.None
		if e.led || !e.outside {
			leader, _ := e.memberOf(rd.Lead)
			s.Leader, s.LeaderAddr, e.outside = leader.ID, leader.Addr, false
		}
	}
	if s.Role = e.roleNow(e.state); s.Role != Stranger {
		s.Problem = ""
	}
	if rd.HardState != nil {
		s.Term = log.Epoch(rd.HardState.GetTerm())
		s.Commit = log.Offset(rd.HardState.GetCommit())
	}
	s.Applied = log.Offset(e.shown)
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
