package samsa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/node"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport"
)

// What is not worth an option yet.
const (
	replicaLag  = 10 * time.Second
	fetchWait   = 500 * time.Millisecond
	callTimeout = time.Second
	quorumDir   = "__cluster"
)

// A Broker keeps the copies of partitions that the cluster assigns to it, and
// serves them. All its methods may be called at any time, from any goroutine.
type Broker struct {
	cfg    Config
	node   *node.Node
	quorum *quorum.Quorum
	link   transport.Node // nil for a broker alone
	client *Client
	groups *coordinators

	started chan struct{} // closed when requests can be handled
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // valid once done is closed

	closing  sync.Once
	closeErr error
}

// Open recovers the broker's directory and serves it; a directory that another
// broker has open is [ErrLocked]. ctx bounds Open alone. The broker is part of the
// cluster's work once [Broker.Ready] says so, which with several voters needs them
// to be opened too.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("samsa: open broker %d: %w", cfg.ID, context.Cause(ctx))
	}
	b := &Broker{cfg: cfg, started: make(chan struct{}), done: make(chan struct{})}
	fsys, dir, inMemory := cfg.FS, cfg.Dir, false
	switch {
	case fsys == nil && dir == "":
		fsys, dir, inMemory = log.NewMemFS(), "samsa", true
	case fsys == nil:
		fsys = log.OS()
	case dir == "":
		dir = "samsa"
	}
	b.groups = newCoordinators(b)
	var err error
	b.node, err = node.Open(node.Config{
		Self: cfg.ID, Addr: cfg.Addr, Rack: cfg.Rack, Dir: dir, FS: fsys, InMemory: inMemory, Voters: cfg.Voters, VoterOnly: cfg.VoterOnly,
		Incarnation: newUUID(), Fresh: newUUID(),
		HeartbeatInterval: cfg.HeartbeatInterval, SessionTimeout: cfg.SessionTimeout,
		ReplicaLag: replicaLag, FetchWait: fetchWait, CallTimeout: callTimeout,
		Logger: cfg.Logger, OnRole: b.groups.roleChanged,
	})
	if err != nil {
		return nil, fmt.Errorf("samsa: open broker %d: %w", cfg.ID, err)
	}
	b.quorum, err = quorum.Open(quorum.Config{
		Self: cfg.ID, Addr: cfg.Addr, Directory: b.node.Directory(), Dir: filepath.Join(dir, quorumDir), FS: fsys, Voters: cfg.Voters,
		Tick: cfg.ElectionTimeout / 10, ElectionTicks: 10, Logger: cfg.Logger,
	}, quorumPeers{b}, b.node)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("samsa: open broker %d: %w", cfg.ID, err), b.node.Close())
	}
	b.node.Attach(nodePeers{b}, b.quorum)
	if cfg.Transport != nil {
		b.link, err = cfg.Transport.Join(transport.Addr(cfg.Addr), b.handle)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("samsa: open broker %d: %w", cfg.ID, err), b.quorum.Close(), b.node.Close())
		}
	}
	b.client = newClient(newCluster(localView{b.node, b.quorum}, localLink(b), cfg.Logger))
	b.start()
	return b, nil
}

// start runs what works for as long as the broker lives.
func (b *Broker) start() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	close(b.started)
	failed := make(chan error, 3)
	var running sync.WaitGroup
	run := func(f func(context.Context) error) {
		running.Go(func() {
			err := f(ctx)
			if err != nil {
				failed <- err
				b.node.Fail(err) // whatever failed: no mark of a clean stop
			}
			cancel() // one without the other is no broker
		})
	}
	run(b.quorum.Run)
	run(b.node.Run)
	run(b.groups.watch)
	go func() {
		running.Wait()
		b.groups.close()
		if b.link != nil {
			_ = b.link.Close() // who has failed is not there for the others either
		}
		select {
		case b.err = <-failed:
		default:
		}
		close(b.done)
		_ = b.client.Close() // who waits for this broker would wait for ever
	}()
}

// ID is the broker's id.
func (b *Broker) ID() BrokerID { return b.cfg.ID }

// Client returns the broker's own client, which needs no network to reach it. It
// does not outlive the broker.
func (b *Broker) Client() *Client { return b.client }

// Done is closed when the broker has stopped: after Close or Shutdown, or because
// its disk failed. See Err.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Err says why the broker stopped by itself. It is nil before Done is closed, and
// after Close or Shutdown.
func (b *Broker) Err() error {
	select {
	case <-b.done:
		return b.err
	default:
		return nil
	}
}

// Ready returns nil when the quorum stands, and this broker is registered with the
// controller and may lead: acks=all can succeed.
func (b *Broker) Ready(ctx context.Context) error {
	for {
		_, changed := b.node.Changed()
		status, moved := b.quorum.Watch()
		self, ok := b.node.Broker(b.cfg.ID)
		select {
		case <-b.done:
			return fmt.Errorf("samsa: broker %d is not ready: %w", b.cfg.ID, errors.Join(ErrClosed, b.err))
		default:
		}
		if ok && self.Epoch == b.node.Epoch() && !self.Fenced {
			return nil
		}
		select {
		case <-changed:
		case <-moved:
		case <-b.done:
			return fmt.Errorf("samsa: broker %d is not ready: %w", b.cfg.ID, errors.Join(ErrClosed, b.err))
		case <-ctx.Done():
			err := context.Cause(ctx)
			if status.Problem != "" {
				return fmt.Errorf("samsa: broker %d is not ready: %s: %w", b.cfg.ID, status.Problem, err)
			}
			return fmt.Errorf("samsa: broker %d is not ready: %w", b.cfg.ID, err)
		}
	}
}

// Shutdown hands leadership over, flushes, leaves the mark of a clean stop, and
// stops. When ctx ends first it stops as Close does, and returns ctx's error.
func (b *Broker) Shutdown(ctx context.Context) error {
	select {
	case <-b.done:
		return b.Close()
	default:
	}
	err := b.node.HandOver(ctx)
	if err != nil {
		err = fmt.Errorf("samsa: shut down broker %d: %w", b.cfg.ID, err)
	}
	return errors.Join(err, b.Close())
}

// Close stops the broker: it flushes and leaves the mark of a clean stop, and hands
// nothing over. It returns when all that the broker started has ended. Again, or
// after Shutdown: no effect.
func (b *Broker) Close() error {
	b.closing.Do(func() {
		_ = b.client.Close() // what it gives up it has told its callers
		b.cancel()
		<-b.done
		if err := errors.Join(b.quorum.Close(), b.node.Close()); err != nil {
			b.closeErr = fmt.Errorf("samsa: close broker %d: %w", b.cfg.ID, err)
		}
	})
	return b.closeErr
}

func newUUID() partition.UUID {
	var id partition.UUID
	rand.Read(id[:]) // never fails: it would end the program
	return id
}
