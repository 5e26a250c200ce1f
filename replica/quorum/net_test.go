package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

var errRefused = errors.New("refused")

// A network joins the voters of one test, each at its own address.
type network struct {
	mu    sync.Mutex
	nodes map[string]*Quorum
	cut   map[[2]string]bool // from, to: what is sent is lost

	// lose says which requests and answers are lost besides; nil: none.
	lose func(from, to string, msg []byte) bool
}

func newNetwork() *network {
	return &network{nodes: make(map[string]*Quorum), cut: make(map[[2]string]bool)}
}

func (n *network) join(addr string, q *Quorum) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[addr] = q
}

func (n *network) leave(addr string) { n.join(addr, nil) }

// isolate cuts, or heals, all links of addr in both directions.
func (n *network) isolate(addr string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.nodes {
		n.cut[[2]string{addr, other}] = on
		n.cut[[2]string{other, addr}] = on
	}
}

func (n *network) losing(lose func(from, to string, msg []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = lose
}

// carry returns who lives at an address, and whether msg is lost on the way there.
func (n *network) carry(from, to string, msg []byte) (q *Quorum, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[to], n.cut[[2]string{from, to}] || n.lose != nil && n.lose(from, to, msg)
}

// An end is the network as one voter sees it.
type end struct {
	net  *network
	addr string
}

func (e end) Call(ctx context.Context, addr string, msg []byte) ([]byte, error) {
	q, lost := e.net.carry(e.addr, addr, msg)
	if lost {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if q == nil {
		return nil, errRefused
	}
	answer, err := q.Handle(ctx, msg)
	if _, lost := e.net.carry(addr, e.addr, answer); lost {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return answer, err
}

// A machineRoom is a set of voters with their disks, which outlive them.
type machineRoom struct {
	t      *testing.T
	net    *network
	voters []Voter
	rooms  map[partition.BrokerID]*room
}

// A room is one voter's place.
type room struct {
	id        partition.BrokerID
	fs        log.FS
	directory partition.UUID
	q         *Quorum
	cancel    context.CancelFunc
	ended     chan error

	mu      sync.Mutex
	applied []string // since the start; an empty entry is "-"
	senders int      // as of the newest entry
}

func newMachineRoom(t *testing.T, n int) *machineRoom {
	m := &machineRoom{t: t, net: newNetwork(), rooms: make(map[partition.BrokerID]*room)}
	for i := 1; i <= n; i++ {
		id := partition.BrokerID(i)
		m.voters = append(m.voters, Voter{ID: id, Addr: fmt.Sprintf("voter-%d", i)})
		m.rooms[id] = &room{id: id, fs: log.NewMemFS(), directory: partition.UUID{15: byte(i)}}
	}
	return m
}

func (m *machineRoom) addr(id partition.BrokerID) string { return fmt.Sprintf("voter-%d", id) }

func (m *machineRoom) start(ids ...partition.BrokerID) {
	m.t.Helper()
	for _, id := range ids {
		m.startOne(m.rooms[id])
	}
}

func (m *machineRoom) startOne(r *room) {
	m.t.Helper()
	id := r.id
	r.applied = nil
	cfg := Config{Self: id, Directory: r.directory, Dir: "quorum", FS: r.fs, Voters: m.voters}
	q, err := Open(cfg, end{m.net, m.addr(id)}, applyFunc(func(index log.Offset, data []byte) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if want := log.Offset(len(r.applied) + 1); index != want {
			m.t.Errorf("voter %d applied %d, want %d", id, index, want)
		}
		text := "-"
		if data != nil {
			text = string(data)
		}
		r.applied = append(r.applied, text)
		r.senders = len(r.q.host.senders) // this is the goroutine that they belong to
	}))
	require.NoError(m.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	m.net.mu.Lock()
	r.q = q
	m.net.mu.Unlock()
	r.cancel, r.ended = cancel, make(chan error, 1)
	m.net.join(m.addr(id), q)
	go func() { r.ended <- q.Run(ctx) }()
}

// at returns the newest life of a voter.
func (m *machineRoom) at(id partition.BrokerID) *Quorum {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	return m.rooms[id].q
}

// stop ends a voter and returns what its Run said.
func (m *machineRoom) stop(id partition.BrokerID) error {
	r := m.rooms[id]
	m.net.leave(m.addr(id))
	r.cancel()
	return <-r.ended
}

func (m *machineRoom) stopAll(ids ...partition.BrokerID) {
	for _, id := range ids {
		require.NoError(m.t, m.stop(id))
	}
}

// leading waits until one of the voters may act as controller.
func (m *machineRoom) leading(ids ...partition.BrokerID) partition.BrokerID {
	m.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		for _, id := range ids {
			if m.rooms[id].q.Status().Leading {
				return id
			}
		}
		time.Sleep(time.Millisecond)
	}
	for _, id := range ids {
		m.t.Logf("voter %d: %+v", id, m.rooms[id].q.Status())
	}
	require.FailNow(m.t, "nobody leads")
	return partition.NoBroker
}

// history waits until the voter has applied want entries beside the empty ones.
func (m *machineRoom) history(id partition.BrokerID, want int) []string {
	m.t.Helper()
	r := m.rooms[id]
	deadline := time.Now().Add(time.Minute)
	for {
		r.mu.Lock()
		got := slices.DeleteFunc(slices.Clone(r.applied), func(s string) bool { return s == "-" })
		r.mu.Unlock()
		if len(got) >= want {
			return got
		}
		if time.Now().After(deadline) {
			require.FailNow(m.t, "not applied", "voter %d has %d entries, want %d; %+v", id, len(got), want, r.q.Status())
		}
		time.Sleep(time.Millisecond)
	}
}

// applied returns all that the voter has applied in this life.
func (m *machineRoom) applied(id partition.BrokerID) []string {
	r := m.rooms[id]
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.applied)
}

// propose proposes at whoever leads, until it is known to be applied.
func (m *machineRoom) propose(at partition.BrokerID, text string) log.Offset {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	index, err := m.rooms[at].q.Propose(ctx, log.NoEpoch, []byte(text))
	require.NoError(m.t, err)
	return index
}

// An applyFunc is an applier of which no snapshot is ever taken.
type applyFunc func(index log.Offset, data []byte)

func (f applyFunc) Apply(index log.Offset, data []byte) { f(index, data) }

func (f applyFunc) Snapshot() ([]byte, error) { return nil, errors.New("no snapshots here") }

func (f applyFunc) Restore(log.Offset, []byte) error { return errors.New("no snapshots here") }
