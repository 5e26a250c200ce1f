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
// after any other input [Engine.Work] until it reports that nothing is left; messages of
// raft and proposals may come several in a row, also behind another input, before that.
// What an input makes the engine promise, such as a vote, leaves it only from there, once
// it is durable. After a fault of the disk or a broken invariant no input does anything,
// and Work returns that fault.
type Engine struct {
	cfg  Config
	host Host
	me   uint64 // this voter's raft id
	disk *storage
	form *former
	node *machine // nil until this voter belongs to a cluster

	status  Status
	roster  roster            // as of the newest entry that this member has applied
	names   map[uint64]Member // its members by raft id
	known   map[uint64]Member // others that have sent raft messages, and where they are
	wait    time.Duration     // between two rounds of greetings
	tickNo  int
	silent  int  // ticks without a leader
	eager   bool // this voter may be alone, and lead nobody: it campaigns once it has applied what it has
	stands  bool // it waits for its turn to take a dead leader's place
	state   Role // what raft does
	led     bool // it has heard of a leader, or is it
	outside bool // another has said that this member was removed
	err     error

	shown    uint64 // index of the newest entry that the host has been given
	applied  uint64 // index and term of the newest entry that raft has had applied
	termOf   uint64
	since    int64 // bytes of entries applied since the newest snapshot
	tokens   Token
	unplaced []proposal // taken by raft, index not known yet; in order
	placed   []proposal // in rising order of term and index
	decided  []decision // of the Ready under way
	changing bool       // one of the proposals is a change of the voters
	barriers []barrier  // in the order of their calls
	lost     []Message  // that the host could not take

	strangers []stranger
	watchers  []watcher
	foreign   map[foreigner]bool // of which it was told
	shipments []shipment
	notBefore int // the tick before which no snapshot is tried again that there was no room for
	unserved  int // ticks since a piece of a snapshot was asked for
	follow    *observer
	hearsay   news // what this broker knows of the voters without being one
	pulling   *pull
	arrived   snapshot // fetched, for raft to go on from
}

// A proposal is an entry that somebody waits for.
type proposal struct {
	token       Token // 0: nobody waits
	term, index uint64
	change      bool // of the voters
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
		cfg:   cfg,
		host:  host,
		me:    raftID(cfg.Self, cfg.Directory),
		disk:  disk,
		known: make(map[uint64]Member), foreign: make(map[foreigner]bool),
		status: Status{Self: cfg.Self, Voters: cfg.Voters, Term: log.NoEpoch},
	}, nil
}

// Begin takes part: a member of a cluster goes on in it, another broker that is
// configured as a voter begins to form one, and one that is not follows the voters. It
// is called once, before any other input.
func (e *Engine) Begin() {
	var fresh partition.UUID
	rand.Read(fresh[:]) // never fails
	known := e.disk.kept
	if known.isMember() {
		e.form = newFormer(e.self(), e.cfg.Voters, fresh, known.formation)
	} else {
		e.form = newFormer(e.self(), e.cfg.Voters, fresh, formation{})
	}
	switch {
	case e.form.isFormed():
		if snap := e.disk.snap; snap.index > 0 {
			e.restore(snap)
			e.disk.snap.state = nil
		}
		e.join()
	case known.Observes && e.isConfigured():
		e.take(e.form.exists(known.Cluster))
	case known.Observes:
		e.status.Role, e.status.Cluster = Observer, known.Cluster
		e.observe()
	case e.isConfigured():
		e.wait = firstRetry
		e.host.Wake(e.wait)
		e.take(e.form.begin())
	default:
		e.status.Role = Observer
		e.observe()
	}
}

// self is this broker as others are to know it.
func (e *Engine) self() Member {
	return located([]Member{{ID: e.cfg.Self, Directory: e.cfg.Directory, Addr: e.cfg.Addr}}, e.cfg.Voters)[0]
}

// Tick says that another of Config.Tick has passed. See [Engine.NeedsTicks].
func (e *Engine) Tick() {
	if !e.works() || e.fail(e.node.tick()) {
		return
	}
	e.tickNo++
	e.watchShipments()
	e.forgetWatchers()
	e.noteStrangers()
	e.tellOutsiders()
	e.miss()
	e.tend()
}

// NeedsTicks reports whether time has a meaning for this broker now. It has none
// for a voter that nobody else has to do with, and for one that is no member; a tick does
// no harm.
func (e *Engine) NeedsTicks() bool {
	return e.works() && (len(e.names) > 1 || len(e.watchers) > 0 || len(e.strangers) > 0 || !e.roster.alone(e.self()))
}

// Wake says that the time has passed which the host was asked for.
func (e *Engine) Wake() {
	switch {
	case e.err != nil:
		return
	case e.follow != nil:
		e.pollSource()
	case !e.form.isFormed():
		e.greetAll()
		e.wait = min(2*e.wait, lastRetry)
		e.host.Wake(e.wait)
	}
	e.stand()
}

// Step takes a message of another broker and returns the answer to it, which may
// be sent at once. An error means that the message is malformed or of a newer
// release, or that this voter takes nothing any more.
func (e *Engine) Step(msg []byte) (answer []byte, err error) {
	kind, body, err := openEnvelope(msg)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindHello:
		h, err := decodeHello(body)
		if err != nil {
			return nil, err
		}
		return e.greeted(h)
	case kindPost:
		p, err := decodePost(body)
		if err != nil {
			return nil, err
		}
		if p.cluster != e.status.Cluster || !e.status.formed() || p.to != e.me {
			return e.refuse(p.from, p.cluster, p.to == e.me), e.err
		}
		e.receive(p)
		return encodeReceipt(taken), e.err
	case kindChunk:
		return e.serveChunk(body)
	case kindFailure:
		return e.serveFailure(body)
	case kindFetch:
		return e.serveFetch(body)
	case kindNews:
		return e.hearNews(body)
	}
	return nil, fmt.Errorf("%w: kind %d", errMalformed, kind)
}

// greeted takes a peer's hello, and returns this voter's. What that says is durable.
func (e *Engine) greeted(h hello) ([]byte, error) {
	if e.err == nil {
		e.noteForeign(h)
		e.meet(h)
		if e.isConfigured() {
			e.take(e.form.heard(h, 0))
		}
	}
	return encodeHello(e.greeting()), e.err
}

// receive hands raft the messages of another member, which this one may not know of
// yet: the entry that brought it in may be among them.
func (e *Engine) receive(p post) {
	if p.from.check() != nil || !e.works() {
		return
	}
	from := p.from.raftID()
	if len(e.known) > 4*maxVoters {
		clear(e.known) // each is learned again by its next message
	}
	e.known[from] = p.from
	for _, m := range p.messages {
		switch {
		case m.GetFrom() != from || !e.works(): // raft would believe anybody
		case m.GetType() == pb.MsgSnap:
			e.pullSnapshot(pull{mark: mark{m.GetSnapshot().GetMetadata().GetIndex(), m.GetSnapshot().GetMetadata().GetTerm()}, from: p.from, msg: m})
		default:
			e.fail(e.node.step(m))
		}
	}
}

// Answered says what became of a message: its answer, or why there is none.
func (e *Engine) Answered(m Message, answer []byte, err error) {
	if e.err != nil {
		return
	}
	switch m.kind {
	case kindHello:
		h, ok := readHello(answer, err)
		if ok && h.ID == m.To {
			e.noteForeign(h)
			e.take(e.form.heard(h, m.round))
		} else {
			e.take(e.form.lost(m.To))
		}
	case kindPost:
		if err != nil || !wasTaken(answer) {
			e.heardInstead(answer, err)
			e.unreachable(m)
		}
	case kindChunk:
		e.gotPiece(m, answer, err)
	case kindFetch:
		e.gotNews(m, answer, err)
	case kindNews:
		e.newsTold(m, answer, err)
	}
}

// unreachable tells raft that a post did not arrive.
func (e *Engine) unreachable(m Message) {
	if !e.works() {
		return
	}
	e.fail(e.node.unreachable(m.raft))
	if m.snap {
		e.lose(m.raft)
	}
}

// Propose asks for one entry to be agreed on in a term, as [Quorum.Propose] has it;
// [Host.Decided] tells what becomes of it. Data is copied. After an error, which is one
// of [Quorum.Propose], nothing was proposed, unless it matches [ErrOutcomeUnknown].
func (e *Engine) Propose(term log.Epoch, data []byte) (Token, error) {
	if err := checkEntry(data); err != nil {
		return 0, err
	}
	return e.propose(term, slices.Clone(data))
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
func (e *Engine) propose(term log.Epoch, data []byte) (Token, error) {
	if e.err != nil {
		return 0, ErrClosed
	}
	if e.node == nil {
		return 0, ErrNotLeader
	}
	taken, refusal, err := e.node.propose(term, data)
	if err != nil {
		e.fail(err)
		return 0, &unknownError{err}
	}
	if refusal != nil {
		return 0, refusal
	}
	e.tokens++
	e.unplaced = append(e.unplaced, proposal{token: e.tokens, term: taken})
	return e.tokens, nil
}

// ReadBarrier asks whether this voter still leads: [Host.Decided] tells, with an index
// that has been applied here, once a majority has confirmed it since. Whatever any voter
// was told to be agreed on before the call is known here then. The error, at once or
// then, is [ErrNotLeader] or [ErrClosed].
func (e *Engine) ReadBarrier() (Token, error) {
	if e.err != nil {
		return 0, ErrClosed
	}
	if e.node == nil || !e.status.Leading {
		return 0, ErrNotLeader
	}
	var name [16]byte
	rand.Read(name[:]) // never fails; an answer to an earlier barrier must not fit this one
	if err := e.node.readIndex(name[:]); e.fail(err) {
		return 0, ErrClosed
	}
	e.tokens++
	e.barriers = append(e.barriers, barrier{token: e.tokens, name: name})
	return e.tokens, nil
}

// Status returns what is known now.
func (e *Engine) Status() Status { return e.status }

// Close frees the files. An engine that has not failed leaves a note of how much
// is committed, so that its next life has less to wait for. To drop an engine without
// Close is what a crash does.
func (e *Engine) Close() error {
	var err error
	if e.err == nil {
		err = e.disk.hint(e.applied) // not what the status says: that may be hearsay
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
