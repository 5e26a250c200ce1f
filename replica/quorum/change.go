package quorum

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// promoteLag is how many entries a learner may lack when it gets its vote.
const promoteLag = 64

// A Change is one change of the voters. Exactly one of its fields is set.
type Change struct {
	// Add lets in a broker, which may be one that Status.Strangers has. It gets all
	// entries first, as a learner, and its vote once it has them. If a voter of the same
	// ID is there under another directory, that one is removed then: its disk is lost.
	Add Member

	// Remove takes a broker out: it goes on as one without a vote. With three voters
	// remove one, rather than add another first, only if it is truly dead.
	Remove partition.BrokerID
}

// ChangeVoters asks for one change of the voters, on the leader. [Host.Decided] tells
// when it is agreed on; that a broker which was added has its vote is seen in
// Status.Voters. After an error nothing was proposed, unless it matches
// [ErrOutcomeUnknown]. It is [ErrNotLeader], [ErrBusy] while another change is under
// way, or matches [ErrBadChange], which one that matches [ErrNoChange] does.
func (e *Engine) ChangeVoters(c Change) (Token, error) {
	if e.err != nil {
		return 0, ErrClosed
	}
	if e.node == nil || e.status.Role != Leader {
		return 0, ErrNotLeader
	}
	change, err := e.roster.resolve(c)
	if err != nil {
		return 0, err
	}
	e.tokens++
	return e.tokens, e.proposeChange(change, e.tokens)
}

// resolve says what a change comes to.
func (r roster) resolve(c Change) (rosterChange, error) {
	change := rosterChange{kind: addLearner, member: c.Add}
	switch {
	case (c.Add == Member{}) == (c.Remove == partition.NoBroker):
		return change, fmt.Errorf("%w: it adds a broker or removes one", ErrBadChange)
	case c.Remove != partition.NoBroker:
		change.kind = remove
		all := slices.Concat(r.learners, r.voters) // who is not in yet leaves first
		i := slices.IndexFunc(all, func(m Member) bool { return m.ID == c.Remove })
		if i < 0 {
			return change, fmt.Errorf("%w: broker %d is no voter", ErrNoChange, c.Remove)
		}
		change.member = all[i]
	case c.Add.Addr == "":
		return change, fmt.Errorf("%w: broker %d has no address", ErrBadChange, c.Add.ID)
	case indexOf(r.all(), c.Add) >= 0:
		return change, fmt.Errorf("%w: broker %d votes, or is on the way to", ErrNoChange, c.Add.ID)
	}
	if _, err := r.apply(change); err != nil {
		return change, fmt.Errorf("%w: %w", ErrBadChange, err)
	}
	return change, nil
}

// proposeChange proposes a change; token 0: nobody waits for it.
func (e *Engine) proposeChange(c rosterChange, token Token) error {
	// raft puts an empty entry in the place of a second change; before this leader has
	// applied an entry of its own there may be one that it does not know.
	if e.changing || !e.status.Leading {
		return ErrBusy
	}
	term, refusal, err := e.node.proposeChange(c)
	if err != nil {
		e.fail(err)
		return &unknownError{err}
	}
	if refusal != nil {
		return refusal
	}
	e.changing = true
	e.unplaced = append(e.unplaced, proposal{token: token, term: term, change: true})
	return nil
}

// tend does, on a leader, what follows from a change: a learner that has the entries
// gets its vote, and a voter whose place another has taken leaves.
func (e *Engine) tend() {
	if !e.works() || !e.status.Leading || e.changing {
		return
	}
	if m, ok := e.roster.superseded(); ok {
		_ = e.proposeChange(rosterChange{kind: remove, member: m}, 0) // or else at the next tick
		return
	}
	for _, m := range e.roster.learners {
		match, active := e.node.progress(m.raftID())
		if active && match+promoteLag >= e.disk.last() {
			_ = e.proposeChange(rosterChange{kind: promote, member: m}, 0)
			return
		}
	}
}

// applyChange makes an agreed change of the voters count.
func (e *Engine) applyChange(entry *pb.Entry) error {
	raw := new(pb.ConfChangeV2)
	if err := proto.Unmarshal(entry.GetData(), raw); err != nil {
		return fmt.Errorf("quorum: entry %d: change of the voters: %w", entry.GetIndex(), err)
	}
	c, err := decodeChange(raw.GetContext())
	if err != nil {
		return fmt.Errorf("entry %d: %w", entry.GetIndex(), err)
	}
	next, err := e.roster.apply(c)
	if err != nil {
		e.cfg.Logger.Warn("change of the voters is void", "index", entry.GetIndex(), "error", err)
		return e.node.change(nil)
	}
	e.roster, e.disk.stale = next, true
	e.noteRoster()
	e.cfg.Logger.Info("voters changed", "index", entry.GetIndex(), "broker", c.member.ID,
		"directory", c.member.Directory.String(), "voters", len(next.voters), "learners", len(next.learners))
	return e.node.change(c.encode())
}

// noteRoster makes names and status follow the roster.
func (e *Engine) noteRoster() {
	e.names = make(map[uint64]Member)
	for _, m := range located(e.roster.all(), e.cfg.Voters) {
		e.names[m.raftID()] = m
	}
	e.status.Voters = votersByID(located(e.roster.voters, e.cfg.Voters))
	e.status.Learners = votersByID(located(e.roster.learners, e.cfg.Voters))
	e.noteStrangers()
}

// Transfer hands the lead to another voter; NoBroker: to the one that has most
// entries. It is over when the status names another leader. If none takes it
// within an election's time this voter goes on; until then it takes no proposals. The
// error is [ErrNotLeader], or matches [ErrBadChange].
func (e *Engine) Transfer(to partition.BrokerID) error {
	if !e.works() || e.status.Role != Leader {
		return ErrNotLeader
	}
	var heir uint64
	var most uint64
	for _, m := range e.roster.voters {
		match, active := e.node.progress(m.raftID())
		switch {
		case m.is(e.self()) || to != partition.NoBroker && m.ID != to:
		case to == partition.NoBroker && !active:
		case heir == 0 || match > most:
			heir, most = m.raftID(), match
		}
	}
	if heir == 0 {
		return fmt.Errorf("%w: there is no other voter %d to lead", ErrBadChange, to)
	}
	e.fail(e.node.transfer(heir))
	return nil
}

// A stranger is a broker that is configured as a voter, and is none.
type stranger struct {
	Member
	heard int // the tick at which it was
}

// strangerTicks is for how long a stranger is remembered.
const strangerTicks = 50

// meet remembers a stranger that has introduced itself.
func (e *Engine) meet(h hello) {
	other := h.Cluster != (partition.UUID{}) && h.Cluster != e.status.Cluster
	if e.node == nil || other || e.roster.holds(Member{ID: h.ID, Directory: h.Directory}) {
		return
	}
	i := slices.IndexFunc(e.strangers, func(s stranger) bool { return s.ID == h.ID })
	if i < 0 {
		i = len(e.strangers)
		if i >= maxVoters {
			return
		}
		e.strangers = append(e.strangers, stranger{})
	}
	m := located([]Member{{ID: h.ID, Directory: h.Directory}}, e.cfg.Voters)[0]
	e.strangers[i] = stranger{m, e.tickNo}
	e.noteStrangers()
}

func (e *Engine) noteStrangers() {
	e.strangers = slices.DeleteFunc(e.strangers, func(s stranger) bool {
		return e.tickNo-s.heard > strangerTicks || e.roster.holds(s.Member)
	})
	var all []Member
	for _, s := range e.strangers {
		all = append(all, s.Member)
	}
	slices.SortFunc(all, func(a, b Member) int { return int(a.ID) - int(b.ID) })
	e.status.Strangers = all
}

// roleNow is this member's role, given what raft says of it.
func (e *Engine) roleNow(state Role) Role {
	switch self := e.self(); {
	case indexOf(e.roster.learners, self) >= 0:
		return Learner
	case e.outside || !e.roster.holds(self):
		return Stranger
	}
	return state
}
