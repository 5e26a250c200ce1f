package samsatest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport"
)

// A Config says what cluster to make. The zero value is three brokers in memory.
type Config struct {
	// Brokers is how many there are; all of them are voters.
	//
	// Zero means 3.
	Brokers int

	// Dir keeps the brokers' data, in Dir/1, Dir/2 and so on.
	//
	// Empty means memory.
	Dir string

	// Broker is what all brokers are opened with; ID, Dir, FS, Addr, Transport and
	// Voters are the cluster's own.
	Broker samsa.Config

	// Logger takes what brokers and clients say.
	//
	// Nil is silent.
	Logger *slog.Logger
}

// A Cluster is some brokers in this process. Its methods may be called from any
// goroutine, but for those that name the same broker.
type Cluster struct {
	cfg     Config
	network *transport.Network
	voters  []samsa.Voter

	mu     sync.Mutex // guards all below
	hosts  []*host
	client *samsa.Client // dialled; what Client returns
	dialed []*samsa.Client
	closed bool
}

// A host is one broker's place: its disk outlives the broker.
type host struct {
	id     samsa.BrokerID
	dir    string
	disk   *logtest.Disk
	broker *samsa.Broker // nil while it is down
}

// errDown is what every call of the disk of a broker that was killed returns.
var errDown = errors.New("samsatest: the broker was killed")

// errClosed is for whoever opens something in a cluster that is closed.
var errClosed = fmt.Errorf("samsatest: cluster: %w", samsa.ErrClosed)

// New makes a cluster and waits until all its brokers are ready. Close it.
func New(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Brokers == 0 {
		cfg.Brokers = 3
	}
	if cfg.Brokers < 0 {
		return nil, fmt.Errorf("samsatest: Brokers is %d", cfg.Brokers)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{cfg: cfg, network: transport.NewNetwork()}
	for i := range cfg.Brokers {
		id := samsa.BrokerID(i + 1)
		c.voters = append(c.voters, quorum.Voter{ID: id, Addr: addr(id)})
		h := &host{id: id, dir: "samsa"}
		under := log.FS(log.NewMemFS())
		if cfg.Dir != "" {
			h.dir, under = filepath.Join(cfg.Dir, fmt.Sprint(id)), log.OS()
		}
		h.disk = logtest.NewDisk(under)
		c.hosts = append(c.hosts, h)
	}
	for _, h := range c.hosts {
		if err := c.open(ctx, h); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	for _, h := range c.hosts {
		if err := h.broker.Ready(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	var err error
	if c.client, err = c.Dial(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Start makes a cluster of n brokers in memory for a test, and fails the test if it
// cannot. It is closed when the test ends; goroutines left behind fail the test.
func Start(t testing.TB, n int) *Cluster {
	t.Helper()
	before := ours()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := New(ctx, Config{Brokers: n})
	if err != nil {
		t.Fatalf("samsatest: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("samsatest: close: %v", err)
		}
		for try := 0; ; try++ {
			left := ours()
			if len(left) <= len(before) {
				return
			}
			if try == 100 {
				t.Errorf("samsatest: %d goroutines of Samsa are left, %d before; one is\n%s", len(left), len(before), left[len(left)-1])
				return
			}
			time.Sleep(10 * time.Millisecond) // they have been told to end, and do
		}
	})
	return c
}

// ours returns the stacks of the goroutines that Samsa started.
func ours() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	return slices.DeleteFunc(strings.Split(string(buf), "\n\n"), func(stack string) bool {
		_, by, ok := strings.Cut(stack, "\ncreated by ")
		return !ok || !strings.HasPrefix(by, "github.com/samsalog/samsa") || strings.Contains(by, "_test.go")
	})
}

func addr(id samsa.BrokerID) string { return fmt.Sprintf("broker-%d", id) }

func (c *Cluster) open(ctx context.Context, h *host) error {
	cfg := c.cfg.Broker
	cfg.ID, cfg.Dir, cfg.FS, cfg.Addr, cfg.Transport, cfg.Voters = h.id, h.dir, h.disk, addr(h.id), c.network, c.voters
	if cfg.Logger == nil {
		cfg.Logger = c.cfg.Logger
	}
	b, err := samsa.Open(ctx, cfg)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.Join(errClosed, b.Close())
	}
	h.broker = b
	return nil
}

// Client returns a client of the cluster, the same at each call. It survives the
// death of any broker and is closed with the cluster.
func (c *Cluster) Client() *samsa.Client { return c.client }

// Dial returns another client, of its own connections. It is closed with the
// cluster, if not before.
func (c *Cluster) Dial(ctx context.Context) (*samsa.Client, error) {
	var addrs []string
	for _, v := range c.voters {
		addrs = append(addrs, v.Addr)
	}
	client, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: addrs, Transport: c.network, Logger: c.cfg.Logger})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.Join(errClosed, client.Close())
	}
	c.dialed = append(c.dialed, client)
	return client, nil
}

// Broker returns a broker, or nil while it is down.
func (c *Cluster) Broker(id samsa.BrokerID) *samsa.Broker {
	h, err := c.host(id)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return h.broker
}

// Brokers returns the ids of all brokers, also of those that are down.
func (c *Cluster) Brokers() []samsa.BrokerID {
	ids := make([]samsa.BrokerID, len(c.hosts))
	for i, h := range c.hosts {
		ids[i] = h.id
	}
	return ids
}

// Disk returns a broker's disk, or nil if there is no such broker. It outlives the broker.
func (c *Cluster) Disk(id samsa.BrokerID) *logtest.Disk {
	h, err := c.host(id)
	if err != nil {
		return nil
	}
	return h.disk
}

func (c *Cluster) host(id samsa.BrokerID) (*host, error) {
	if id < 1 || int(id) > len(c.hosts) {
		return nil, fmt.Errorf("samsatest: there is no broker %d", id)
	}
	return c.hosts[id-1], nil
}

// Close closes all clients and brokers. Again: no effect.
func (c *Cluster) Close() error {
	c.mu.Lock()
	dialed, closed := c.dialed, c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	var errs []error
	for _, client := range dialed {
		errs = append(errs, client.Close())
	}
	for _, h := range c.hosts {
		if broker := c.Broker(h.id); broker != nil {
			failed := broker.Err() != nil // a test that broke its disk knows
			if err := broker.Close(); !failed {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
