package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport"
)

var errKilled = errors.New("killed")

// An agreement is a quorum that agrees at once: it hands each entry to all nodes,
// in order. Its leader is whoever the test says.
type agreement struct {
	mu      sync.Mutex // guards all below; held while an entry is applied
	entries [][]byte
	nodes   map[partition.BrokerID]*Node
	late    map[partition.BrokerID][]func() // nodes that do not hear of anything for now
	gate    chan struct{}                   // proposals wait until it is closed; nil: they do not

	watch   sync.Mutex // guards all below
	leader  partition.BrokerID
	term    log.Epoch
	changed chan struct{}
}

func newAgreement() *agreement {
	return &agreement{
		nodes: make(map[partition.BrokerID]*Node), late: make(map[partition.BrokerID][]func()), changed: make(chan struct{}),
	}
}

func (a *agreement) lead(id partition.BrokerID) {
	a.watch.Lock()
	defer a.watch.Unlock()
	a.leader = id
	a.term++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agreement) join(id partition.BrokerID, n *Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nodes[id] == n {
		return // it has joined already
	}
	for i, e := range a.entries {
		n.Apply(log.Offset(i+1), e)
	}
	a.nodes[id] = n
}

func (a *agreement) leave(id partition.BrokerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.nodes, id)
	delete(a.late, id)
}

// hold keeps entries from a node until release.
func (a *agreement) hold(id partition.BrokerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late[id] = []func(){}
}

func (a *agreement) release(id partition.BrokerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, apply := range a.late[id] {
		apply()
	}
	delete(a.late, id)
}

func (a *agreement) propose(data []byte) log.Offset {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, data)
	index := log.Offset(len(a.entries))
	for id, n := range a.nodes {
		if late, ok := a.late[id]; ok {
			a.late[id] = append(late, func() { n.Apply(index, data) })
			continue
		}
		n.Apply(index, data)
	}
	return index
}

// A voter is the agreement as one broker sees it.
type voter struct {
	a  *agreement
	id partition.BrokerID
}

func (v voter) Propose(ctx context.Context, term log.Epoch, data []byte) (log.Offset, error) {
	v.a.mu.Lock()
	gate := v.a.gate
	v.a.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if st := v.Status(); !st.Leading || term != log.NoEpoch && st.Term != term {
		return 0, quorum.ErrNotLeader
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return v.a.propose(data), nil
}

func (v voter) Status() quorum.Status {
	st, _ := v.Watch()
	return st
}

func (v voter) Gone(partition.BrokerID) {}

func (v voter) StepAside(context.Context) {}

func (v voter) ChangeVoters(context.Context, quorum.Change) (log.Offset, error) {
	return 0, quorum.ErrBadChange
}

func (v voter) Watch() (quorum.Status, <-chan struct{}) {
	v.a.watch.Lock()
	defer v.a.watch.Unlock()
	st := quorum.Status{Self: v.id, Leader: v.a.leader, Term: v.a.term, Leading: v.a.leader == v.id}
	if v.a.leader != partition.NoBroker {
		st.LeaderAddr = addr(v.a.leader)
	}
	return st, v.a.changed
}

func addr(id partition.BrokerID) string { return fmt.Sprintf("broker-%d", id) }

// A cluster is some brokers of one test, with disks that outlive them.
type cluster struct {
	t       testing.TB
	net     *transport.Network
	a       *agreement
	members map[partition.BrokerID]*member
	lives   byte
}

type member struct {
	id     partition.BrokerID
	disk   *logtest.Disk
	node   *Node
	link   transport.Node
	cancel context.CancelFunc
	ended  chan error
}

// newCluster starts brokers 1 to n; the first one runs the controller.
func newCluster(t testing.TB, n int) *cluster {
	c := &cluster{t: t, net: transport.NewNetwork(), a: newAgreement(), members: make(map[partition.BrokerID]*member)}
	c.a.lead(1)
	t.Cleanup(func() {
		for id, m := range c.members {
			if m.node != nil {
				_ = c.stop(id)
			}
		}
	})
	for id := range partition.BrokerID(n) {
		c.members[id+1] = &member{id: id + 1, disk: logtest.NewDisk(log.NewMemFS())}
		c.start(id + 1)
	}
	for id := range c.members {
		c.ready(id)
	}
	return c
}

func (c *cluster) config(id partition.BrokerID) Config {
	c.lives++
	return Config{
		Self: id, Addr: addr(id), Dir: "data", FS: c.members[id].disk, InMemory: true,
		Incarnation: partition.UUID{byte(id), c.lives}, Fresh: partition.UUID{byte(id), 0xD1, c.lives},
		HeartbeatInterval: 500 * time.Millisecond, SessionTimeout: 3 * time.Second, ReplicaLag: 10 * time.Second,
		FetchWait: 500 * time.Millisecond, CallTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
}

func (c *cluster) start(id partition.BrokerID) {
	n, err := Open(c.config(id))
	require.NoError(c.t, err)
	c.run(id, n)
}

// run lets an opened node take part.
func (c *cluster) run(id partition.BrokerID, n *Node) {
	m := c.members[id]
	var err error
	m.node, m.ended = n, make(chan error, 1)
	m.link, err = c.net.Join(transport.Addr(addr(id)), func(ctx context.Context, _ transport.Addr, f transport.Frame) (transport.Frame, error) {
		got, err := n.Handle(ctx, Message{Kind: Kind(f.Kind), Head: f.Head, Data: f.Data})
		return transport.Frame{Kind: f.Kind, Head: got.Head, Data: got.Data}, err
	})
	require.NoError(c.t, err)
	n.Attach(peers{m.link}, voter{c.a, id})
	c.a.join(id, n)
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() { m.ended <- n.Run(ctx) }()
}

type peers struct{ link transport.Node }

func (p peers) Call(ctx context.Context, addr string, m Message) (Message, error) {
	f, err := p.link.Call(ctx, transport.Addr(addr), transport.Frame{Kind: transport.Kind(m.Kind), Head: m.Head, Data: m.Data})
	if errors.Is(err, transport.ErrRefused) {
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return Message{Kind: m.Kind, Head: f.Head, Data: f.Data}, err
}

// stop ends a broker in good order.
func (c *cluster) stop(id partition.BrokerID) error {
	m := c.members[id]
	m.cancel()
	err := <-m.ended
	c.a.leave(id)
	_ = m.link.Close()
	err = errors.Join(err, m.node.Close())
	m.node = nil
	return err
}

// kill ends a broker without warning; its disk keeps what was written.
func (c *cluster) kill(id partition.BrokerID) {
	m := c.members[id]
	c.net.Detach(transport.Addr(addr(id)))
	m.disk.Fail(errKilled)
	_ = c.stop(id)
	m.disk.Revive()
}

func (c *cluster) node(id partition.BrokerID) *Node { return c.members[id].node }

// until waits until look says so. It sleeps, which in a bubble costs nothing.
func (c *cluster) until(what string, look func() bool) {
	c.t.Helper()
	for range 60_000 {
		if look() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	require.FailNow(c.t, "waited in vain", what)
}

// ready waits until a broker may lead.
func (c *cluster) ready(id partition.BrokerID) {
	c.t.Helper()
	c.until("registration", func() bool {
		b, ok := c.node(id).Broker(id)
		return ok && b.Epoch == c.node(id).Epoch() && !b.Fenced
	})
}

// create makes a topic and waits until its first partition has a leader.
func (c *cluster) create(cfg partition.TopicConfig) partition.ID {
	c.t.Helper()
	c.a.mu.Lock()
	id := partition.ID{Topic: partition.UUID{0x70, byte(len(c.a.entries))}}
	c.a.mu.Unlock()
	cfg.Partitions = max(cfg.Partitions, 1)
	resp := c.node(c.a.leader).HandleCreateTopic(c.t.Context(), partition.CreateTopicRequest{Config: cfg}, id.Topic)
	require.Equal(c.t, partition.OK, resp.Code, resp.Text)
	c.until("leader", func() bool { return c.leader(id) != nil })
	return id
}

// leader returns the node that leads a partition now, or nil.
func (c *cluster) leader(id partition.ID) *Node {
	for _, m := range c.members {
		if m.node == nil {
			continue
		}
		if r := m.node.replica(id); r != nil && r.standing.Load().leads {
			return m.node
		}
	}
	return nil
}

// waitISR waits until the ISR has that many members, as their leader knows.
func (c *cluster) waitISR(id partition.ID, size int) {
	c.t.Helper()
	c.until("ISR", func() bool {
		n := c.leader(id)
		if n == nil {
			return false
		}
		st, _ := n.State(id)
		return len(st.ISR) == size
	})
}

// batch makes a batch of records whose values have size bytes.
func batch(records, size int) log.Batch {
	var b log.Builder
	for i := range records {
		b.Append(1_000+int64(i), []byte("key"), make([]byte, size), nil)
	}
	return b.Build()
}

func all(id partition.ID) partition.ProduceRequest {
	return partition.ProduceRequest{ID: id, Epoch: log.NoEpoch, Acks: partition.AcksAll}
}

// HandleFetch is handleFetch of what need not be encoded.
func (n *Node) HandleFetch(ctx context.Context, req replica.FetchRequest) (resp replica.FetchResponse, data [][]byte) {
	data = n.fetch(ctx, &req, &resp)
	return resp, data
}
