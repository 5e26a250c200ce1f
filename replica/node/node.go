package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/quorum"
)

// ErrUnreachable is matched by an error of [Peers] when the other side certainly
// is not there: nobody answers at the address.
var ErrUnreachable = errors.New("node: unreachable")

var errShape = errors.New("node: the answer has another shape than the request")

// A Kind says what a message between brokers is.
type Kind uint8

// The kinds of messages that brokers send one another.
const (
	KindPing Kind = iota + 1
	KindFetch
	KindRegister
	KindHeartbeat
	KindAlterISR
	KindLogEnds
	KindQuorum
)

// A Message is a request to another broker, or its answer. It is immutable once
// it has been handed over.
type Message struct {
	Kind Kind
	Head []byte
	Data [][]byte
}

// Peers reaches other brokers at their addresses. Calls overlap.
type Peers interface {
	Call(ctx context.Context, addr string, m Message) (Message, error)
}

// Quorum is the controllers' agreement: a *quorum.Quorum. Calls overlap.
type Quorum interface {
	Propose(ctx context.Context, data []byte) (log.Offset, error)
	Status() quorum.Status
	Watch() (quorum.Status, <-chan struct{})
}

// Config says how a node works. All fields are needed unless they say otherwise.
type Config struct {
	Self        partition.BrokerID
	Addr        string // where other brokers and clients reach this one; may be empty for a broker alone
	Rack        string // may be empty
	Dir         string
	FS          log.FS
	InMemory    bool           // the FS is memory: topics get bounds by default
	Voters      []quorum.Voter // empty: a broker alone
	Incarnation partition.UUID // new at each start
	Fresh       partition.UUID // the directory's id if it is new

	HeartbeatInterval time.Duration
	SessionTimeout    time.Duration
	ReplicaLag        time.Duration
	FetchWait         time.Duration
	CallTimeout       time.Duration // of a call that does not park

	Logger *slog.Logger
	// OnRole is told of each change of a replica's role, in order a partition. Led is
	// nil when this broker does not lead it. It must not block.
	OnRole func(id partition.ID, topic string, led *Led)
}

// A Node runs the partitions of one broker.
type Node struct {
	cfg     Config
	self    partition.BrokerID
	logger  *slog.Logger
	flushes *log.FlushLimit
	peers   Peers
	quorum  Quorum

	directory  partition.UUID
	cleanEpoch partition.BrokerEpoch // of the clean stop before; 0: none
	suspects   []partition.ID

	ctx     context.Context // ends with Run
	stop    context.CancelCauseFunc
	workers workers
	ops     sync.Pool    // of *produceOp, idle
	epoch   atomic.Int64 // this incarnation's broker epoch; 0: not registered
	fencing atomic.Bool  // this broker asks to be fenced: it is about to stop

	mu         sync.RWMutex // guards all below; held for steps and look-ups, never across a wait
	table      *partition.Table
	control    *control.Controller
	leads      bool // the controller is active here
	replies    map[uint64]chan any
	token      uint64
	replicas   map[partition.ID]*Replica
	found      map[partition.ID]found // on the disk, and not yet a replica
	fetchers   map[partition.BrokerID]*fetcher
	pending    map[partition.ID]bool // changed since the roles were last looked at
	allPending bool                  // so has a broker: every replica's peers may differ
	changed    chan struct{}         // closed and replaced whenever the table moves
	settled    chan struct{}         // closed when the pending roles have been taken; nil: none pending
	hurry      context.CancelFunc    // ends the heartbeat under way
	dirtied    map[*Replica]bool     // to be flushed within a second
}

// Open reads the directory and opens every partition in it. It starts nothing.
func Open(cfg Config) (*Node, error) {
	n := &Node{
		cfg: cfg, self: cfg.Self, logger: cfg.Logger,
		flushes: log.NewFlushLimit(16),
		found:   make(map[partition.ID]found),
		table:   partition.NewTable(), replies: make(map[uint64]chan any),
		replicas: make(map[partition.ID]*Replica), fetchers: make(map[partition.BrokerID]*fetcher),
		pending: make(map[partition.ID]bool), dirtied: make(map[*Replica]bool),
		changed: make(chan struct{}),
	}
	n.ctx, n.stop = context.WithCancelCause(context.Background())
	n.control = control.New(control.Config{Session: cfg.SessionTimeout, InMemory: cfg.InMemory, Voters: max(1, len(cfg.Voters))}, n.table)
	var err error
	if n.directory, err = identify(cfg.FS, cfg.Dir, cfg.Self, cfg.Fresh); err != nil {
		return nil, err
	}
	if n.cleanEpoch, err = takeCleanMark(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	if err := n.openFound(n.cleanEpoch != 0); err != nil {
		return nil, err
	}
	for id, f := range n.found {
		if f.suspect {
			n.suspects = append(n.suspects, id)
		}
	}
	slices.SortFunc(n.suspects, compareIDs)
	return n, nil
}

// Directory identifies the data directory, for good.
func (n *Node) Directory() partition.UUID { return n.directory }

// Epoch is this incarnation's broker epoch, or 0 while it is not registered.
func (n *Node) Epoch() partition.BrokerEpoch { return partition.BrokerEpoch(n.epoch.Load()) }

// Attach gives the node what it works with. It comes before all but Open.
func (n *Node) Attach(peers Peers, q Quorum) { n.peers, n.quorum = peers, q }

// Run registers the broker and does its work until ctx ends or the node fails,
// and returns the failure. All that it started has ended when it returns.
func (n *Node) Run(ctx context.Context) error {
	release := context.AfterFunc(ctx, func() { n.stop(nil) })
	defer release()
	var loops sync.WaitGroup
	loops.Go(n.runRoles)
	loops.Go(n.runMembership)
	loops.Go(n.runController)
	loops.Go(n.runClock)
	loops.Wait()
	n.resignAll()
	n.workers.close()
	if err := context.Cause(n.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// fail takes the node offline for good. Only the first failure counts.
func (n *Node) fail(err error) {
	if n.ctx.Err() == nil {
		n.logger.Error("storage failed: broker goes offline", "broker", n.self, "error", err)
	}
	n.stop(fmt.Errorf("node: broker %d: storage: %w", n.self, err))
}

// resignAll ends all roles, so that every waiting caller is answered.
func (n *Node) resignAll() {
	for _, r := range n.hosted() {
		o := &resignOp{done: make(chan struct{})}
		r.do(o)
		<-o.done
	}
}

// Close flushes and closes all logs, after Run has returned, and leaves the clean
// mark if that went well and the node had not failed.
func (n *Node) Close() error {
	var errs []error
	for _, r := range n.hosted() {
		errs = append(errs, r.log.Close())
	}
	for _, f := range n.found {
		if f.log != nil {
			errs = append(errs, f.log.Close())
		}
	}
	if err := context.Cause(n.ctx); err != nil && !errors.Is(err, context.Canceled) {
		return errors.Join(errs...)
	}
	if err := errors.Join(errs...); err != nil || n.Epoch() == 0 {
		return err
	}
	return writeCleanMark(n.cfg.FS, n.cfg.Dir, n.Epoch())
}

func (n *Node) replica(id partition.ID) *Replica {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.replicas[id]
}

func (n *Node) hosted() []*Replica {
	n.mu.RLock()
	defer n.mu.RUnlock()
	ids := slices.SortedFunc(maps.Keys(n.replicas), compareIDs)
	all := make([]*Replica, len(ids))
	for i, id := range ids {
		all[i] = n.replicas[id]
	}
	return all
}

func (n *Node) fetcher(leader partition.BrokerID) *fetcher {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.fetchers[leader]
	if f == nil {
		f = &fetcher{n: n, leader: leader}
		n.fetchers[leader] = f
	}
	return f
}

// call asks another broker, at the address that the metadata has for it.
func (n *Node) call(ctx context.Context, to partition.BrokerID, m Message) (Message, error) {
	b, ok := n.Broker(to)
	if !ok {
		return Message{}, fmt.Errorf("node: broker %d is not registered", to)
	}
	return n.peers.Call(ctx, b.Addr, m)
}

// dirty has r flushed within a second.
func (n *Node) dirty(r *Replica) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dirtied[r] = true
}

// runClock is the broker's one timer for its partitions: lag, lost proposals, and
// the background flush of topics that acknowledge before it.
func (n *Node) runClock() {
	ticker := time.NewTicker(min(n.cfg.ReplicaLag/2, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, r := range n.hosted() {
			r.do(tickOp{})
		}
		n.mu.Lock()
		dirtied := n.dirtied
		n.dirtied = make(map[*Replica]bool)
		n.mu.Unlock()
		for r := range dirtied {
			r.flushSoon()
		}
	}
}

type resignOp struct{ done chan struct{} }

func (o *resignOp) perform(r *Replica, _ time.Time) {
	defer close(o.done)
	r.leave(partition.Resigned)
	r.standing.Store(&role{epoch: log.NoEpoch})
	r.node.roleChanged(r, r.standing.Load())
}

// workers are goroutines that the node waits for.
type workers struct {
	mu     sync.Mutex // guards closed
	closed bool
	wg     sync.WaitGroup
}

// Go runs f in a goroutine, or here once the workers have been closed.
func (w *workers) Go(f func()) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		f()
		return
	}
	w.wg.Add(1)
	w.mu.Unlock()
	go func() {
		defer w.wg.Done()
		f()
	}()
}

func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}

// Stats counts what a node holds.
type Stats struct {
	Replicas int // partitions of which there is a copy here
	Leading  int // those that this broker leads
	Parked   int // requests of followers and readers that wait at those
}

// Stats returns the counts of this moment.
func (n *Node) Stats() Stats {
	var s Stats
	for _, r := range n.hosted() {
		s.Replicas++
		if r.standing.Load().leads {
			s.Leading++
		}
		r.mu.Lock()
		s.Parked += len(r.parked)
		r.mu.Unlock()
	}
	return s
}
