package node

import (
	"cmp"
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
	KindDiscard
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
	Propose(ctx context.Context, term log.Epoch, data []byte) (log.Offset, error)
	Status() quorum.Status
	Watch() (quorum.Status, <-chan struct{})
	Gone(id partition.BrokerID)
	StepAside(ctx context.Context)
	ChangeVoters(ctx context.Context, c quorum.Change) (log.Offset, error)
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
	VoterOnly   bool           // it gets no copies of partitions
	Incarnation partition.UUID // new at each start; Open has the directory's lives counted in it
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
	unlock  func() error // the directory, at the end of Close
	logger  *slog.Logger
	memory  *log.Memory // of all partitions
	flushes *log.FlushLimit
	space   *log.Space
	eager   bool // the disk syncs for nothing, so that each append is flushed at once
	peers   Peers
	quorum  Quorum

	directory  partition.UUID
	cleanEpoch partition.BrokerEpoch // of the clean stop before; 0: none
	suspects   []partition.ID
	lossy      []*log.Log              // those of the suspects that open
	dirs       map[string]partition.ID // whose the directories are; of Open, then of runRoles
	listed     map[string]partition.ID // those that the list on the disk has; likewise
	unwritten  bool                    // the two may differ; likewise
	whole      bool                    // nothing that is not listed was here; likewise

	ctx       context.Context // ends with Run
	stop      context.CancelCauseFunc
	workers   workers
	ops       sync.Pool // of *produceOp, idle
	servings  sync.Pool // of *serving, likewise
	exchanges sync.Pool // of *exchange, likewise
	born      time.Time
	lease     atomic.Int64 // how long after born the controller's last answer holds
	epoch     atomic.Int64 // this incarnation's broker epoch; 0: not registered
	leaving   atomic.Bool  // this broker wants to stop
	refused   atomic.Int64 // how long after born the disk had no room; 0: it has

	failed  atomic.Bool // no clean mark may be left
	closing sync.Once
	closed  error // what Close returned

	cold coldSets // of those who follow this broker
	due  dueList  // replicas that wait for the clock

	mu         sync.RWMutex // guards all below; held for steps and look-ups, never across a wait
	table      *partition.Table
	control    *control.Controller
	leads      bool      // the controller is active here
	reign      log.Epoch // the term in which it leads, or did
	replies    map[uint64]chan any
	token      uint64
	replicas   map[partition.ID]*Replica
	found      map[partition.ID]found // on the disk, and not a replica, or not yet
	fetchers   map[partition.BrokerID]*fetcher
	pending    map[partition.ID]bool // changed since the roles were last looked at
	allPending bool                  // so has a broker: every replica's peers may differ
	announced  map[partition.ID]bool // copies that must begin anew, while the controller is told
	again      map[partition.ID]bool // those of which it is to be told again
	gone       map[partition.ID]bool // copies that a committed record has taken from this broker
	changed    chan struct{}         // closed and replaced whenever the table moves
	settled    chan struct{}         // closed when the pending roles have been taken; nil: none pending
	hurry      context.CancelFunc    // ends the heartbeat under way
	hurried    bool                  // it has, so that the next one follows at once
	later      bool                  // for want of room something is still to be done in assign
}

// tailBytes is how much of what was appended last a broker keeps in memory.
const tailBytes = 16 << 20

// Open locks the directory, reads it, and opens every partition in it. It starts
// nothing. The directory stays locked until Close returns; somebody else's is
// log.ErrLocked.
func Open(cfg Config) (*Node, error) {
	unlock, err := log.LockDir(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, self: cfg.Self, unlock: unlock, logger: cfg.Logger, born: time.Now(),
		memory: log.NewMemory(tailBytes), flushes: log.NewFlushLimit(16), space: log.NewSpace(cfg.FS, cfg.Dir, reserve),
		found: make(map[partition.ID]found), dirs: make(map[string]partition.ID),
		table: partition.NewTable(), replies: make(map[uint64]chan any),
		replicas: make(map[partition.ID]*Replica), fetchers: make(map[partition.BrokerID]*fetcher),
		pending: make(map[partition.ID]bool), gone: make(map[partition.ID]bool), changed: make(chan struct{}),
		announced: make(map[partition.ID]bool), again: make(map[partition.ID]bool),
	}
	_, n.eager = cfg.FS.(*log.MemFS)
	n.ctx, n.stop = context.WithCancelCause(context.Background())
	n.control = control.New(control.Config{Session: cfg.SessionTimeout, InMemory: cfg.InMemory, Voters: max(1, len(cfg.Voters))}, n.table)
	if err := n.readDir(); err != nil {
		return nil, errors.Join(err, n.closeLogs(), unlock())
	}
	return n, nil
}

// readDir learns what the directory holds.
func (n *Node) readDir() error {
	var err error
	if n.directory, err = identify(n.cfg.FS, n.cfg.Dir, n.self, n.cfg.Fresh); err != nil {
		return err
	}
	life, err := countLife(n.cfg.FS, n.cfg.Dir)
	if err != nil {
		return err
	}
	n.cfg.Incarnation = n.cfg.Incarnation.WithLife(life)
	if n.cleanEpoch, err = takeCleanMark(n.cfg.FS, n.cfg.Dir); err != nil {
		return err
	}
	if n.whole, err = readWhole(n.cfg.FS, n.cfg.Dir); err != nil {
		return err
	}
	switch n.listed, err = readCopies(n.cfg.FS, n.cfg.Dir); {
	case errors.Is(err, log.ErrCorrupt):
		n.whole = false
		n.logger.Warn("which copies there were is not known", "broker", n.self, "error", err)
	case err != nil:
		return err
	}
	if err := n.openFound(n.cleanEpoch != 0); err != nil {
		return err
	}
	n.findMissing()
	n.unwritten = !maps.Equal(n.dirs, n.listed)
	for id, f := range n.found {
		if f.suspect {
			n.suspects = append(n.suspects, id)
			if f.log != nil {
				n.lossy = append(n.lossy, f.log)
			}
		}
	}
	slices.SortFunc(n.suspects, partition.ID.Compare)
	return nil
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
	loops.Go(n.runCleaner)
	loops.Go(n.runCompactor)
	loops.Go(n.runScrubber)
	loops.Wait()
	n.resignAll()
	n.workers.close()
	if err := context.Cause(n.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Fail takes the node offline for good: Run ends, and no clean mark is left. Only
// the first failure is told.
func (n *Node) Fail(err error) {
	n.failed.Store(true)
	if n.ctx.Err() == nil {
		n.logger.Error("broker goes offline", "broker", n.self, "error", err)
	}
	n.stop(fmt.Errorf("node: broker %d: %w", n.self, err))
}

// failStorage is Fail for a disk that can be trusted no more.
func (n *Node) failStorage(err error) { n.Fail(fmt.Errorf("storage: %w", err)) }

// Close flushes and closes all logs, after Run has returned or if it was never
// called, leaves the clean mark if that went well and the node had not failed, and
// unlocks the directory. Again: no effect.
func (n *Node) Close() error {
	n.closing.Do(func() {
		n.stop(nil)
		n.closed = n.closeLogs()
		// A life that never got an epoch leaves the mark that it found.
		epoch := cmp.Or(n.Epoch(), n.cleanEpoch)
		if n.closed == nil && !n.failed.Load() && epoch != 0 {
			n.closed = writeCleanMark(n.cfg.FS, n.cfg.Dir, epoch)
		}
		n.closed = errors.Join(n.closed, n.unlock()) // last: nothing of this node writes any more
	})
	return n.closed
}

func (n *Node) closeLogs() error {
	n.mu.RLock()
	logs := make([]*log.Log, 0, len(n.replicas)+len(n.found))
	for _, r := range n.replicas {
		logs = append(logs, r.log)
	}
	for _, f := range n.found {
		if f.log != nil {
			logs = append(logs, f.log)
		}
	}
	n.mu.RUnlock()
	var errs []error
	for _, l := range logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func (n *Node) replica(id partition.ID) *Replica {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.replicas[id]
}

// A sight is what a node knows of a partition at one moment.
type sight struct {
	r       *Replica         // nil: there is none here
	st      *partition.State // nil: the metadata does not know it
	settled <-chan struct{}  // closes when the roles have caught up with the table; nil: they have
	changed <-chan struct{}  // closes when the metadata changes
}

func (n *Node) look(id partition.ID) sight {
	n.mu.RLock()
	defer n.mu.RUnlock()
	st, _ := n.table.Partition(id)
	return sight{n.replicas[id], st, n.settled, n.changed}
}

func (n *Node) hosted() []*Replica {
	n.mu.RLock()
	defer n.mu.RUnlock()
	ids := slices.SortedFunc(maps.Keys(n.replicas), partition.ID.Compare)
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
		f = newFetcher(n, leader)
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
