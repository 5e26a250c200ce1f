package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/samsalog/samsa/log"
)

// Bounds of what raft keeps under way.
const (
	maxInflight      = 64       // messages to one voter
	maxInflightBytes = 16 << 20 // of entries to one voter
	maxUncommitted   = 64 << 20 // of entries that a leader has taken; then ErrBusy
)

// A machine is raft behind a fence: it panics in here and nowhere else. After an
// error of any method the machine is not to be used again.
type machine struct {
	node *raft.RawNode
	disk *storage
}

func newMachine(cfg Config, disk *storage, id uint64) (*machine, error) {
	m := &machine{disk: disk}
	err := m.fenced(func() error {
		var err error
		m.node, err = raft.NewRawNode(&raft.Config{
			ID:                        id,
			Applied:                   disk.snap.index,
			ElectionTick:              cfg.ElectionTicks,
			HeartbeatTick:             1,
			Storage:                   disk,
			MaxSizePerMsg:             maxMessage,
			MaxInflightMsgs:           maxInflight,
			MaxInflightBytes:          maxInflightBytes,
			MaxUncommittedEntriesSize: maxUncommitted,
			CheckQuorum:               true,
			PreVote:                   true,
			DisableProposalForwarding: true, // so that who proposes learns the outcome
			StepDownOnRemoval:         true,
			Logger:                    &logger{to: cfg.Logger},
		})
		return err
	})
	return m, err
}

// fenced turns a panic of raft into an error. One that stems from the disk is
// told as the disk's own.
func (m *machine) fenced(f func() error) (err error) {
	defer func() {
		r := recover()
		switch {
		case r == nil:
		case m.disk.err != nil:
			err = m.disk.err
		default:
			err = &PanicError{Text: fmt.Sprint(r), Stack: debug.Stack()}
		}
	}()
	return f()
}

func (m *machine) tick() error {
	return m.fenced(func() error { m.node.Tick(); return nil })
}

func (m *machine) campaign() error {
	return m.fenced(m.node.Campaign)
}

// forget makes a follower leaderless, so that it may vote before it has been
// silent for an election's time.
func (m *machine) forget() error {
	return m.fenced(m.node.ForgetLeader)
}

// step hands raft a message of a peer. That raft ignores one is no error.
func (m *machine) step(msg *pb.Message) error {
	return m.fenced(func() error {
		_ = m.node.Step(msg) // only ever says that it had no use for the message
		return nil
	})
}

func (m *machine) unreachable(id uint64) error {
	return m.fenced(func() error { m.node.ReportUnreachable(id); return nil })
}

// propose returns the term in which raft has taken the entry, which is the one that is
// wanted if there is one, or why it has not: then refusal is set. Err is a broken machine.
func (m *machine) propose(wanted log.Epoch, data []byte) (term uint64, refusal, err error) {
	err = m.fenced(func() error {
		status := m.node.BasicStatus()
		term = status.GetTerm()
		if status.RaftState != raft.StateLeader || wanted != log.NoEpoch && wanted != log.Epoch(term) {
			refusal = ErrNotLeader
			return nil
		}
		if err := m.node.Propose(data); err != nil {
			refusal = ErrBusy
			if !errors.Is(err, raft.ErrProposalDropped) {
				refusal = fmt.Errorf("quorum: propose: %w", err)
			}
		}
		return nil
	})
	return term, refusal, err
}

// proposeChange is as propose, for a change of the voters.
func (m *machine) proposeChange(c rosterChange) (term uint64, refusal, err error) {
	err = m.fenced(func() error {
		term = m.node.BasicStatus().GetTerm()
		if err := m.node.ProposeConfChange(c.encode()); err != nil {
			refusal = ErrBusy
		}
		return nil
	})
	return term, refusal, err
}

// change makes a committed change of the voters count. Nil: it is one that cannot be.
func (m *machine) change(c *pb.ConfChangeV2) error {
	if c == nil {
		nobody := &pb.ConfChangeSingle{Type: pb.ConfChangeAddNode.Enum(), NodeId: new(uint64(0))}
		c = &pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{nobody}}
	}
	return m.fenced(func() error { m.node.ApplyConfChange(c); return nil })
}

// progress returns, on a leader, up to where a member is known to have its entries,
// and whether it was heard of lately.
func (m *machine) progress(id uint64) (match uint64, active bool) {
	m.node.WithProgress(func(of uint64, _ raft.ProgressType, p tracker.Progress) {
		if of == id {
			match, active = p.Match, p.RecentActive
		}
	})
	return match, active
}

func (m *machine) readIndex(name []byte) error {
	return m.fenced(func() error { m.node.ReadIndex(name); return nil })
}

func (m *machine) transfer(id uint64) error {
	return m.fenced(func() error { m.node.TransferLeader(id); return nil })
}

// shipFailed says that a snapshot has not arrived. Whether one has is known by the
// entries that its receiver takes next.
func (m *machine) shipFailed(id uint64) error {
	return m.fenced(func() error { m.node.ReportSnapshot(id, raft.SnapshotFailure); return nil })
}

func (m *machine) ready() (rd raft.Ready, ok bool, err error) {
	err = m.fenced(func() error {
		if ok = m.node.HasReady(); ok {
			rd = m.node.Ready()
		}
		return nil
	})
	return rd, ok, err
}

func (m *machine) advance(rd raft.Ready) error {
	return m.fenced(func() error { m.node.Advance(rd); return nil })
}

// A logger hands raft's own words to slog, all at debug level: what an operator
// should know is logged by the shell.
type logger struct{ to *slog.Logger }

func (l *logger) print(v ...any) {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		l.to.Debug("raft: " + fmt.Sprint(v...))
	}
}

func (l *logger) printf(format string, v ...any) {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		l.to.Debug("raft: " + fmt.Sprintf(format, v...))
	}
}

func (l *logger) Debug(v ...any)                   { l.print(v...) }
func (l *logger) Debugf(format string, v ...any)   { l.printf(format, v...) }
func (l *logger) Info(v ...any)                    { l.print(v...) }
func (l *logger) Infof(format string, v ...any)    { l.printf(format, v...) }
func (l *logger) Warning(v ...any)                 { l.print(v...) }
func (l *logger) Warningf(format string, v ...any) { l.printf(format, v...) }
func (l *logger) Error(v ...any)                   { l.print(v...) }
func (l *logger) Errorf(format string, v ...any)   { l.printf(format, v...) }

// Fatal and Panic stop the voter, at the fence, and not the process.
func (l *logger) Fatal(v ...any)                 { panic(fmt.Sprint(v...)) }
func (l *logger) Fatalf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
func (l *logger) Panic(v ...any)                 { panic(fmt.Sprint(v...)) }
func (l *logger) Panicf(format string, v ...any) { panic(fmt.Sprintf(format, v...)) }
