package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// MaxEntryBytes is the size of the largest entry that may be proposed.
const MaxEntryBytes = 1 << 20

// A Voter is one member of the quorum, as it is configured.
type Voter struct {
	ID   partition.BrokerID
	Addr string
}

// Peers is how a quorum reaches the other voters: msg is handed to the
// [Quorum.Handle] of the voter at addr, and its answer comes back. Calls
// overlap. An error means that msg may or may not have arrived. Neither side
// writes to the bytes once they are handed over.
type Peers interface {
	Call(ctx context.Context, addr string, msg []byte) ([]byte, error)
}

// A Config says who a voter is and what it works with. Self and Directory have
// no default.
type Config struct {
	// Self is this voter's broker id.
	Self partition.BrokerID

	// Directory identifies the data directory. The caller makes it at random once
	// and keeps it there, durably, before Open. With Self it is the identity under
	// which this voter votes.
	Directory partition.UUID

	// Dir is the directory for the quorum's files; it is made if absent.
	Dir string

	// FS is the disk.
	//
	// Nil means memory: a new one, which ends with the value.
	FS log.FS

	// Addr is where the others reach this broker.
	//
	// Empty means what Voters says; a quorum of one may have none.
	Addr string

	// Voters lists all voters, and is the same on each. It counts until the cluster is
	// formed; after that it only says where a voter is to be found. A broker that is not
	// in it follows the voters, and has no vote until it is let in.
	//
	// Empty means a quorum of this voter alone.
	Voters []Voter

	// Tick is the unit of the quorum's time: a leader is heard of once a tick.
	//
	// Zero means 100 ms.
	Tick time.Duration

	// ElectionTicks is how many ticks of silence make a follower campaign; each
	// draws its time anew between this and twice as much.
	//
	// Zero means 10.
	ElectionTicks int

	// SnapshotBytes is how many bytes of entries are applied between two snapshots.
	//
	// Zero means 64 MiB.
	SnapshotBytes int64

	// KeepEntries is how many entries a snapshot leaves in the log, so that a voter that
	// is that far behind need not fetch a snapshot.
	//
	// Zero means 10,000.
	KeepEntries int

	// Logger takes what an operator may want to know.
	//
	// Nil is silent.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = log.NewMemFS()
	}
	if c.Tick == 0 {
		c.Tick = 100 * time.Millisecond
	}
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 10
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 64 << 20
	}
	if c.KeepEntries == 0 {
		c.KeepEntries = 10_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Voters) == 0 {
		c.Voters = []Voter{{ID: c.Self, Addr: c.Addr}}
	}
	c.Voters = slices.SortedFunc(slices.Values(c.Voters), func(a, b Voter) int { return int(a.ID) - int(b.ID) })
	return c
}

// validate reports every problem of a complete config at once.
func (c Config) validate() error {
	var errs []error
	if c.Self < 1 {
		errs = append(errs, fmt.Errorf("Self is %d; broker ids begin at 1", c.Self))
	}
	if c.Directory == (partition.UUID{}) {
		errs = append(errs, errors.New("Directory is zero"))
	}
	if c.Tick < 0 {
		errs = append(errs, fmt.Errorf("Tick is %v", c.Tick))
	}
	if c.ElectionTicks < 2 {
		errs = append(errs, fmt.Errorf("ElectionTicks is %d; it must be above 1", c.ElectionTicks))
	}
	if c.SnapshotBytes < 0 || c.KeepEntries < 0 {
		errs = append(errs, fmt.Errorf("SnapshotBytes is %d and KeepEntries %d", c.SnapshotBytes, c.KeepEntries))
	}
	if len(c.Voters) > maxVoters {
		errs = append(errs, fmt.Errorf("%d Voters; the limit is %d", len(c.Voters), maxVoters))
	}
	self := false
	for i, v := range c.Voters {
		self = self || v.ID == c.Self
		if v.ID < 1 {
			errs = append(errs, fmt.Errorf("Voters has id %d; broker ids begin at 1", v.ID))
		}
		if i > 0 && c.Voters[i-1].ID == v.ID {
			errs = append(errs, fmt.Errorf("Voters has id %d twice", v.ID))
		}
		if v.Addr == "" && v.ID != c.Self || len(v.Addr) > maxAddr {
			errs = append(errs, fmt.Errorf("Voters has a bad address for %d: %q", v.ID, v.Addr))
		}
	}
	if !self && c.Addr == "" || len(c.Addr) > maxAddr {
		errs = append(errs, fmt.Errorf("Voters does not hold Self, %d, and Addr is %q", c.Self, c.Addr))
	}
	if len(errs) > 0 {
		return fmt.Errorf("quorum: bad Config: %w", errors.Join(errs...))
	}
	return nil
}

// A Quorum is one voter, and the goroutines that drive its [Engine]. Its methods
// may be called from any goroutine.
type Quorum struct {
	cfg    Config
	peers  Peers
	me     uint64  // this voter's raft id
	engine *Engine // of Run, once it has begun
	host   *shellHost

	inbox     chan post
	steps     chan stepCall
	orders    chan order
	proposals chan *submission
	gone      chan partition.BrokerID // room for one: who was found dead
	ended     chan struct{}           // closed when Run takes nothing any more

	running atomic.Bool

	mu      sync.Mutex // guards status and changed; held for a few instructions only
	status  Status
	changed chan struct{}
}

// A stepCall is a message on its way to Run, and the answer back.
type stepCall struct {
	msg    []byte
	answer chan stepAnswer // has room for one
}

type stepAnswer struct {
	msg []byte
	err error
}

// Open recovers what the voter has kept and starts nothing. Damage below what
// was synced is an error that matches [ErrCorrupt]: the voter must not vote.
//
// Once Run has begun, it calls the applier on its goroutine, which must not wait for
// anything that waits for Run, such as Propose.
func Open(cfg Config, peers Peers, applier Applier) (*Quorum, error) {
	host := &shellHost{Applier: applier}
	engine, err := OpenEngine(cfg, host)
	if err != nil {
		return nil, err
	}
	return &Quorum{
		cfg:       engine.cfg,
		peers:     peers,
		me:        engine.me,
		engine:    engine,
		host:      host,
		inbox:     make(chan post, 64), // so that peers rarely wait for a sync of ours
		steps:     make(chan stepCall),
		orders:    make(chan order),
		proposals: make(chan *submission),
		gone:      make(chan partition.BrokerID, 1),
		ended:     make(chan struct{}),
		changed:   make(chan struct{}),
		status:    engine.Status(),
	}, nil
}

// Close frees the files of a quorum whose Run has not been called. Otherwise Run
// does so itself, and Close has no effect.
func (q *Quorum) Close() error {
	if !q.running.CompareAndSwap(false, true) {
		return nil
	}
	close(q.ended)
	return q.engine.Close()
}

// Status returns what is known now.
func (q *Quorum) Status() Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.status
}

// Watch returns what is known now, and a channel that is closed when anything of
// it but Applied and Commit changes.
func (q *Quorum) Watch() (Status, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.status, q.changed
}

// Gone says that nobody answers at a voter's address any more: its process has
// ended. If that was the leader, its followers need not wait until its silence has
// lasted for an election's time: they forget it and vote anew, one candidate after
// another. A word of mouth alone is no ground for it, silence neither. A call
// too many is harmless: a leader that lives goes on, or another is elected.
func (q *Quorum) Gone(id partition.BrokerID) {
	select {
	case q.gone <- id:
	default: // it has not dealt with the last one yet
	}
}

// publish makes s known, and wakes those who wait for a change.
func (q *Quorum) publish(s Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.status.alike(s) {
		close(q.changed)
		q.changed = make(chan struct{})
	}
	q.status = s
}

// Propose asks for one entry to be agreed on, and returns its index once it is
// applied here. Data is copied. It succeeds only on the leader, and in the given term
// alone: what was decided in one may be wrong in the next, before which others have led.
// Log.NoEpoch stands for whichever term it is.
//
// An error that matches [ErrOutcomeUnknown] leaves open what becomes of the
// entry; that is so when ctx or Run ends after the entry was taken. Any other
// error means that the entry is not applied anywhere, ever. A leader that is
// deposed meanwhile finds out as soon as it hears of its successor's first entry.
func (q *Quorum) Propose(ctx context.Context, term log.Epoch, data []byte) (log.Offset, error) {
	if err := checkEntry(data); err != nil {
		return 0, err
	}
	p := &submission{term: term, data: slices.Clone(data), done: make(chan outcome, 1)}
	select {
	case q.proposals <- p:
	case <-q.ended:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	// From here on Run answers, also when it ends.
	select {
	case o := <-p.done:
		return o.index, o.err
	case <-ctx.Done():
		return 0, &unknownError{context.Cause(ctx)}
	}
}

// Handle takes a message that a peer has sent by [Peers], and returns the answer
// to it. It waits while Run is busy; before Run it waits until ctx ends.
func (q *Quorum) Handle(ctx context.Context, msg []byte) ([]byte, error) {
	kind, body, err := openEnvelope(msg)
	if err != nil {
		return nil, err
	}
	switch kind {
	case kindPost:
		post, err := decodePost(body)
		if err != nil {
			return nil, err
		}
		if s := q.Status(); s.Cluster == post.cluster && s.formed() && post.to == q.me {
			return q.handleRaft(ctx, post)
		}
	case kindOrder:
		return q.handleOrder(ctx, body)
	}
	call := stepCall{msg: msg, answer: make(chan stepAnswer, 1)}
	select {
	case q.steps <- call:
	case <-q.ended:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// The answer may need a sync: what it says is durable.
	select {
	case a := <-call.answer:
		return a.msg, a.err
	case <-q.ended:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// over reports whether Run takes nothing any more.
func (q *Quorum) over() bool {
	select {
	case <-q.ended:
		return true
	default:
		return false
	}
}

// handleRaft leaves messages of raft to this voter with Run.
func (q *Quorum) handleRaft(ctx context.Context, post post) ([]byte, error) {
	if q.over() {
		return nil, ErrClosed // though the inbox may have room
	}
	select {
	case q.inbox <- post:
		return encodeReceipt(taken), nil
	case <-q.ended:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
