package quorum

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	pb "go.etcd.io/raft/v3/raftpb"
)

// While a cluster is being formed, peers that were not there are asked again.
// Nobody waits for this but after a lost message: who comes up greets all others.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// An Engine is one voter: raft, its storage, and how a cluster is formed. It has
// no goroutine, channel, timer or clock; its only randomness is crypto/rand, of which
// it makes the id of a cluster and raft the length of an election. [Quorum] drives one
// for a broker; a simulator may drive many from one goroutine.
//
// The methods must not overlap. Whoever drives it calls [Engine.Begin] first, and
// after any other input [Engine.Work] until it reports that nothing is left. What an
// input makes the engine promise, such as a vote, leaves it only from there, once it
// is durable. After a fault of the disk or a broken invariant no input does anything,
// and Work returns that fault.
type Engine struct {
	cfg  Config
	host Host
	me   uint64 // this voter's raft id
	disk *storage
	form *former
	node *machine // nil until this voter belongs to a cluster

	status Status
	names  map[uint64]member // the voters by raft id
	wait   time.Duration     // between two rounds of greetings
	err    error             // the first fault

	applied  uint64 // index and term of the newest applied entry
	termOf   uint64
	tokens   Token
	unplaced []proposal // taken by raft, index not known yet; in order
	placed   []proposal // in rising order of term and index
	decided  []decision // of the Ready under way
	full     []uint64   // voters to whom a message was lost at once
}

// A proposal is an entry that somebody waits for.
type proposal struct {
	token       Token
	term, index uint64
}

type decision struct {
	token Token
	index log.Offset
	err   error
}

// OpenEngine recovers what the voter has kept, and sends nothing yet. The errors
// are those of [Open]. Tick in cfg is how long the host lets pass between two calls of
// [Engine.Tick].
func OpenEngine(cfg Config, host Host) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	disk, err := openStorage(cfg)
	if err != nil {
		return nil, err
	}
	return &Engine{
		cfg:    cfg,
		host:   host,
		me:     raftID(cfg.Self, cfg.Directory),
		disk:   disk,
		status: Status{Self: cfg.Self, Voters: cfg.Voters, Term: log.NoEpoch},
	}, nil
}

// Begin takes part: a voter that belongs to a cluster goes on in it, another
// begins to form one. It is called once, before any other input.
func (e *Engine) Begin() {
	var fresh partition.UUID
	rand.Read(fresh[:]) // never fails
	self := member{ID: e.cfg.Self, Directory: e.cfg.Directory}
	e.form = newFormer(self, e.cfg.Voters, fresh, e.disk.kept.formation)
	if !e.form.isFormed() {
		e.wait = firstRetry
		e.host.Wake(e.wait)
		e.take(e.form.begin())
		return
	}
	e.join()
	if e.err == nil && len(e.form.formed.Members) == 1 { // nobody can object
		e.fail(e.node.campaign())
	}
}

// Tick says that another of Config.Tick has passed. See [Engine.NeedsTicks].
func (e *Engine) Tick() {
	if e.works() {
		e.fail(e.node.tick())
	}
}

// NeedsTicks reports whether time has a meaning for this voter now. It has none
// for one that is alone, or forms its cluster yet; a tick does it no harm.
func (e *Engine) NeedsTicks() bool { return e.works() && len(e.names) > 1 }

// Wake says that the time has passed which the host was asked for.
func (e *Engine) Wake() {
	switch {
	case e.err != nil:
	case e.form.isFormed():
		e.stand()
	default:
		e.greetAll()
		e.wait = min(2*e.wait, lastRetry)
		e.host.Wake(e.wait)
	}
}

// Step takes a message of another broker and returns the answer to it, which may
// be sent at once. An error means that the message is malformed or of a newer
// release, or that this voter takes nothing any more.
func (e *Engine) Step(msg []byte) (answer []byte, err error) {
	kind, body, err := openEnvelope(msg)
	if err != nil {
		return nil, err
	}
	if kind == kindHello {
		h, err := decodeHello(body)
		if err != nil {
			return nil, err
		}
		return e.greeted(h)
	}
	p, err := decodePost(body)
	if err != nil {
		return nil, err
	}
	if p.cluster != e.status.Cluster || !e.status.formed() || p.to != e.me {
		return encodeReceipt(refused), nil
	}
	e.receive(p.messages)
	return encodeReceipt(taken), e.err
}

// greeted takes a peer's hello, and returns this voter's. What that says is durable.
func (e *Engine) greeted(h hello) ([]byte, error) {
	if e.err == nil {
		e.take(e.form.heard(h, 0))
	}
	return encodeHello(e.form.greeting()), e.err
}

func (e *Engine) receive(messages []*pb.Message) {
	for _, m := range messages {
		if !e.works() {
			return
		}
		if _, ok := e.names[m.GetFrom()]; ok { // raft would believe anybody
			e.fail(e.node.step(m))
		}
	}
}

// Answered says what became of a message: its answer, or why there is none.
func (e *Engine) Answered(m Message, answer []byte, err error) {
	switch {
	case e.err != nil:
	case m.kind == kindHello:
		h, ok := readHello(answer, err)
		if ok && h.ID == m.To {
			e.take(e.form.heard(h, m.round))
		} else {
			e.take(e.form.lost(m.To))
		}
	case e.node != nil && (err != nil || !wasTaken(answer)):
		e.fail(e.node.unreachable(m.raft))
	}
}

// Propose asks for one entry to be agreed on; [Host.Decided] tells what becomes of
// it. Data is copied. After an error, which is one of [Quorum.Propose], nothing was
// proposed, unless it matches [ErrOutcomeUnknown].
func (e *Engine) Propose(data []byte) (Token, error) {
	if err := checkEntry(data); err != nil {
		return 0, err
	}
	return e.propose(slices.Clone(data))
}

func checkEntry(data []byte) error {
	switch {
	case len(data) == 0:
		return ErrEmpty
	case len(data) > MaxEntryBytes:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), MaxEntryBytes)
	}
	return nil
}

// propose keeps data.
func (e *Engine) propose(data []byte) (Token, error) {
	if e.err != nil {
		return 0, ErrClosed
	}
	if e.node == nil {
		return 0, ErrNotLeader
	}
	term, refusal, err := e.node.propose(data)
	if err != nil {
		e.fail(err)
		return 0, &unknownError{err}
	}
	if refusal != nil {
		return 0, refusal
	}
	e.tokens++
	e.unplaced = append(e.unplaced, proposal{token: e.tokens, term: term})
	return e.tokens, nil
}

// Campaign makes this voter stand for election now. Others elect it only if they
// have heard of no leader for an election's time.
func (e *Engine) Campaign() {
	if e.works() {
		e.fail(e.node.campaign())
	}
}

// Gone says that nobody answers at a broker's address any more; see [Quorum.Gone].
// The followers of a leader that is gone stand one after another, in the order of their
// ids: two candidates at once would share the votes.
func (e *Engine) Gone(id partition.BrokerID) {
	if !e.works() || e.status.Role != Follower || e.status.Leader != id {
		return
	}
	if e.fail(e.node.forget()) {
		return
	}
	wait := firstStand * e.cfg.Tick / 100 // the others have to find out too
	for _, v := range e.status.Voters {
		if v.ID < e.cfg.Self && v.ID != id {
			wait += nextStand * e.cfg.Tick / 100
		}
	}
	e.host.Wake(wait)
}

// How long a follower of a dead leader waits before it stands, and for each that
// stands before it: in hundredths of a tick.
const (
	firstStand = 5
	nextStand  = 50
)

// stand campaigns, if nobody has been elected meanwhile.
func (e *Engine) stand() {
	if e.works() && e.status.Role == Follower && e.status.Leader == partition.NoBroker {
		e.fail(e.node.campaign())
	}
}

// Status returns what is known now.
func (e *Engine) Status() Status { return e.status }

// Close frees the files. An engine that has not failed leaves a note of how much
// is committed, so that its next life has less to wait for. To drop an engine without
// Close is what a crash does.
func (e *Engine) Close() error {
	var err error
	if e.err == nil {
		err = e.disk.hint(uint64(e.status.Commit))
	}
	if closing := e.disk.close(); err == nil {
		err = closing
	}
	return err
}

// works reports whether the machine runs.
func (e *Engine) works() bool { return e.err == nil && e.node != nil }

// fail keeps the first fault, and reports whether there is one.
func (e *Engine) fail(err error) bool {
	if e.err == nil {
		e.err = err
	}
	return e.err != nil
}

// take does what the former wants, in its order.
func (e *Engine) take(s step) {
	logger := e.cfg.Logger
	if s.Keep {
		k := kept{formation: e.form.formed, Self: e.cfg.Self, Directory: e.cfg.Directory}
		if e.fail(e.disk.keep(k)) {
			return
		}
		logger.Info("quorum formed", "cluster", k.Cluster.String(), "voters", len(k.Members))
		if e.join(); e.err != nil {
			return
		}
	}
	if s.Ask {
		e.greetAll()
	}
	if e.form.isStranger() && e.status.Role != Stranger {
		e.status.Role = Stranger
		logger.Warn("voter is a stranger to its quorum", "problem", s.Problem)
	}
	if e.status.Problem != s.Problem {
		e.status.Problem = s.Problem
		logger.Info("quorum is not formed yet", "problem", s.Problem)
	}
	if s.Campaign {
		e.fail(e.node.campaign())
	}
}

func (e *Engine) greetAll() {
	hello := encodeHello(e.form.greeting())
	for _, v := range e.status.Voters {
		if v.ID != e.cfg.Self {
			e.host.Send(Message{To: v.ID, Addr: v.Addr, kind: kindHello, round: e.form.round, hello: hello})
		}
	}
}

// join starts the machine, now that it is known who the voters are.
func (e *Engine) join() {
	formed := e.form.formed
	e.names = make(map[uint64]member)
	e.status.Cluster, e.status.Voters = formed.Cluster, formed.voters(e.cfg.Voters)
	e.status.Role, e.status.Problem = Follower, ""
	for i, m := range formed.Members {
		m.Addr = e.status.Voters[i].Addr
		e.names[m.raftID()] = m
	}
	e.status.Term = log.Epoch(e.disk.kept.Term)
	e.host.Wake(-1)
	node, err := newMachine(e.cfg, e.disk, e.me)
	if !e.fail(err) {
		e.node = node
	}
}
