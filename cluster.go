package samsa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/group/consume"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/produce"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/wire"
)

// errMoved ends a call whose broker no longer is the one to ask.
var errMoved = errors.New("samsa: the leader has changed")

// A view is what a client knows of the cluster: a broker's own tables, or a copy.
type view interface {
	Topic(name string) (partition.Topic, bool)
	TopicByID(id partition.UUID) (partition.Topic, bool)
	Topics() []partition.Topic
	State(id partition.ID) (partition.State, bool)
	Broker(id partition.BrokerID) (partition.Broker, bool)
	Brokers() []partition.Broker
	Controller() partition.BrokerID
	Voters() []partition.BrokerID
	Cluster() partition.UUID
	// Changed returns the offset of the newest metadata, and a channel that is closed
	// at the next change.
	Changed() (log.Offset, <-chan struct{})
}

// A link reaches brokers.
type link func(ctx context.Context, b partition.Broker, f transport.Frame) (transport.Frame, error)

// A cluster routes the calls of one client: to the leader of a partition, to the
// coordinator of a group, to the controller. It is what the producers' and the
// consumers' shells work with.
type cluster struct {
	view   view
	link   link
	logger *slog.Logger
	ctx    context.Context // ends with the client
	close  context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex // guards flights
	flights map[*flight]struct{}
}

// A flight is a call under way to a broker that was the right one when it left. It ends
// with the client.
type flight struct {
	right  func() bool // it still is
	cancel context.CancelCauseFunc
}

var (
	_ produce.Cluster = (*cluster)(nil)
	_ consume.Cluster = (*cluster)(nil)
)

func newCluster(v view, l link, logger *slog.Logger) *cluster {
	c := &cluster{view: v, link: l, logger: logger, flights: make(map[*flight]struct{})}
	c.ctx, c.close = context.WithCancel(context.Background())
	c.ended.Go(c.watch)
	return c
}

// watch ends the calls that newer metadata shows to be at the wrong place: a
// broker that was cut off says nothing, and would be waited for in vain.
func (c *cluster) watch() {
	for {
		_, changed := c.view.Changed()
		ended := c.ctx.Err() != nil
		c.mu.Lock()
		for f := range c.flights {
			if ended {
				f.cancel(ErrClosed)
			} else if !f.right() {
				f.cancel(errMoved)
			}
		}
		c.mu.Unlock()
		if ended {
			return
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
		}
	}
}

// call sends one request to one broker, for as long as right says that it is the
// one to ask.
func (c *cluster) call(ctx context.Context, to partition.BrokerID, f transport.Frame, right func() bool) (transport.Frame, error) {
	b, ok := c.view.Broker(to)
	if !ok {
		return transport.Frame{}, fmt.Errorf("broker %d is not known: %w", to, transport.ErrRefused)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if right == nil {
		right = func() bool { return true }
	}
	fl := &flight{right: right, cancel: cancel}
	c.mu.Lock()
	c.flights[fl] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.flights, fl)
		c.mu.Unlock()
	}()
	switch {
	case c.ctx.Err() != nil:
		cancel(ErrClosed)
	case !right():
		return transport.Frame{}, fmt.Errorf("%w: %w", errMoved, transport.ErrRefused)
	}
	got, err := c.link(ctx, b, f)
	if err == nil && got.Kind != f.Kind {
		err = fmt.Errorf("samsa: broker %d answered kind %d with kind %d", to, f.Kind, got.Kind)
	}
	return got, err
}

func encoded(kind transport.Kind, encode func(*wire.Writer)) transport.Frame {
	w := wire.NewWriter(nil)
	encode(w)
	return transport.Frame{Kind: kind, Head: w.Bytes()}
}

// until waits until look has what it looks for, or ctx ends. look is asked again
// at each change of the metadata.
func (c *cluster) until(ctx context.Context, look func() bool) error {
	for {
		_, changed := c.view.Changed()
		if look() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
}

// leader waits until a partition has a leader. The id came out of the metadata, so
// that a topic which is not there has been deleted.
func (c *cluster) leader(ctx context.Context, id partition.ID) (st partition.State, err error) {
	deleted := false
	err = c.until(ctx, func() bool {
		if _, ok := c.view.TopicByID(id.Topic); !ok {
			deleted = true
			return true
		}
		var ok bool
		st, ok = c.view.State(id)
		return ok && st.Leader != partition.NoBroker
	})
	if deleted {
		return st, ErrUnknownTopic
	}
	return st, err
}

// leads returns a test of whether the leadership that st tells of still stands.
func (c *cluster) leads(id partition.ID, st partition.State) func() bool {
	return func() bool {
		now, ok := c.view.State(id)
		return ok && now.Leader == st.Leader && now.Epoch == st.Epoch
	}
}

// illegalTopic says that there can be no topic of that name, so that nobody waits
// for it.
func illegalTopic(name string) error {
	return fmt.Errorf("topic %q: %w: a name is 1 to 249 of a-z A-Z 0-9 . _ -", name, ErrInvalidTopic)
}

// Topic implements [produce.Cluster].
func (c *cluster) Topic(ctx context.Context, name string) (produce.Topic, error) {
	if !partition.NameIsLegal(name) {
		return produce.Topic{}, illegalTopic(name)
	}
	var t partition.Topic
	err := c.until(ctx, func() bool {
		var ok bool
		t, ok = c.view.Topic(name)
		return ok
	})
	if err != nil {
		return produce.Topic{}, fmt.Errorf("topic %q: %w: %w", name, ErrUnknownTopic, err)
	}
	return produce.Topic{ID: t.ID, Partitions: len(t.Partitions), MaxBatchBytes: t.Config.MaxBatchBytes, Keyed: t.Config.Compact}, nil
}

// Produce implements [produce.Cluster].
func (c *cluster) Produce(ctx context.Context, req partition.ProduceRequest, batch log.Batch) (partition.ProduceResponse, error) {
	st, err := c.leader(ctx, req.ID)
	if errors.Is(err, ErrUnknownTopic) {
		return partition.ProduceResponse{Code: partition.TopicDeleted}, nil // another of that name has another id
	}
	if err != nil {
		return partition.ProduceResponse{}, fmt.Errorf("no leader: %w: %w", produce.ErrNotSent, err)
	}
	req.Epoch = st.Epoch
	f := encoded(kindProduce, req.Encode)
	f.Data = [][]byte{batch}
	got, err := c.call(ctx, st.Leader, f, c.leads(req.ID, st))
	if errors.Is(err, transport.ErrRefused) {
		c.moved(ctx, req.ID, st)
		return partition.ProduceResponse{}, fmt.Errorf("%w: %w", produce.ErrNotSent, err)
	}
	if err != nil {
		return partition.ProduceResponse{}, err
	}
	resp, err := partition.DecodeProduceResponse(got.Head)
	if err == nil {
		c.catchUp(ctx, req.ID, resp.Code, resp.Epoch)
	}
	return resp, err
}

// moved waits, for a moment, until the metadata shows another leadership than that
// of a broker who is not there: no attempt before can succeed.
func (c *cluster) moved(ctx context.Context, id partition.ID, st partition.State) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	still := c.leads(id, st)
	_ = c.until(ctx, func() bool { return !still() })
}

// catchUp waits, for a moment, until this client's metadata is as new as that of a
// broker that turned it away.
func (c *cluster) catchUp(ctx context.Context, id partition.ID, code partition.Code, epoch log.Epoch) {
	if code != partition.NotLeader && code != partition.FencedEpoch {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	_ = c.until(ctx, func() bool {
		st, ok := c.view.State(id)
		return ok && st.Epoch >= epoch
	})
}

// Topics implements [consume.Cluster].
func (c *cluster) Topics(names []string) ([]consume.Topic, <-chan struct{}) {
	_, changed := c.view.Changed()
	all := make([]consume.Topic, 0, len(names))
	for _, name := range names {
		t, _ := c.view.Topic(name)
		all = append(all, consume.Topic{Name: name, ID: t.ID, Partitions: len(t.Partitions)})
	}
	return all, changed
}

// Leaders implements [consume.Cluster].
func (c *cluster) Leaders(ids []partition.ID) ([]consume.Leader, <-chan struct{}) {
	_, changed := c.view.Changed()
	all := make([]consume.Leader, len(ids))
	for i, id := range ids {
		if st, ok := c.view.State(id); ok {
			all[i] = consume.Leader{Broker: st.Leader, Epoch: st.Epoch}
		}
	}
	return all, changed
}

// Read implements [consume.Cluster].
func (c *cluster) Read(ctx context.Context, from partition.BrokerID, req partition.ReadRequest) (partition.ReadResponse, [][]byte, error) {
	got, err := c.call(ctx, from, encoded(kindRead, req.Encode), func() bool {
		for _, p := range req.Partitions {
			if st, ok := c.view.State(p.ID); !ok || st.Leader != from {
				return false
			}
		}
		return true
	})
	if err != nil {
		return partition.ReadResponse{}, nil, err
	}
	resp, err := partition.DecodeReadResponse(got.Head)
	if err == nil && (len(resp.Partitions) != len(req.Partitions) || len(got.Data) != len(req.Partitions)) {
		err = fmt.Errorf("samsa: broker %d answered %d partitions with %d", from, len(req.Partitions), len(resp.Partitions))
	}
	return resp, got.Data, err
}

// Info implements [consume.Cluster]. While nobody leads, others may be asked too.
func (c *cluster) Info(ctx context.Context, from partition.BrokerID, req partition.InfoRequest) (partition.InfoResponse, error) {
	st, _ := c.view.State(req.ID)
	got, err := c.call(ctx, from, encoded(kindInfo, req.Encode), c.isLeader(req.ID, st.Leader))
	if err != nil {
		return partition.InfoResponse{}, err
	}
	return partition.DecodeInfoResponse(got.Head)
}

// FindTime implements [consume.Cluster].
func (c *cluster) FindTime(ctx context.Context, from partition.BrokerID, req partition.FindTimeRequest) (partition.FindTimeResponse, error) {
	got, err := c.call(ctx, from, encoded(kindFindTime, req.Encode), c.isLeader(req.ID, from))
	if err != nil {
		return partition.FindTimeResponse{}, err
	}
	return partition.DecodeFindTimeResponse(got.Head)
}

// deleteBefore asks a partition's leader to remove records.
func (c *cluster) deleteBefore(ctx context.Context, from partition.BrokerID, req partition.DeleteBeforeRequest) (partition.DeleteBeforeResponse, error) {
	got, err := c.call(ctx, from, encoded(kindDeleteBefore, req.Encode), c.isLeader(req.ID, from))
	if err != nil {
		return partition.DeleteBeforeResponse{}, err
	}
	return partition.DecodeDeleteBeforeResponse(got.Head)
}

// isLeader tells whether a broker still leads a partition, as far as is known.
func (c *cluster) isLeader(id partition.ID, broker partition.BrokerID) func() bool {
	return func() bool {
		st, ok := c.view.State(id)
		return ok && st.Leader == broker
	}
}

// coordinate sends one request to the coordinator of a group.
func (c *cluster) coordinate(ctx context.Context, name string, f transport.Frame) (transport.Frame, error) {
	t, err := c.offsetsTopic(ctx)
	if err != nil {
		return transport.Frame{}, err
	}
	id := partition.ID{Topic: t.ID, Partition: group.PartitionOf(name, len(t.Partitions))}
	st, err := c.leader(ctx, id)
	if err != nil {
		return transport.Frame{}, err
	}
	return c.call(ctx, st.Leader, f, c.leads(id, st))
}

// Heartbeat implements [consume.Cluster].
func (c *cluster) Heartbeat(ctx context.Context, req group.HeartbeatRequest) (group.HeartbeatResponse, error) {
	got, err := c.coordinate(ctx, req.Group, encoded(kindGroupHeartbeat, req.Encode))
	if err != nil {
		return group.HeartbeatResponse{}, err
	}
	return group.DecodeHeartbeatResponse(got.Head)
}

// Commit implements [consume.Cluster].
func (c *cluster) Commit(ctx context.Context, req offsets.CommitRequest) (offsets.CommitResponse, error) {
	got, err := c.coordinate(ctx, req.Group, encoded(kindCommit, req.Encode))
	if err != nil {
		return offsets.CommitResponse{}, err
	}
	return offsets.DecodeCommitResponse(got.Head)
}

// FetchOffsets implements [consume.Cluster].
func (c *cluster) FetchOffsets(ctx context.Context, req offsets.FetchRequest) (offsets.FetchResponse, error) {
	got, err := c.coordinate(ctx, req.Group, encoded(kindFetchOffsets, req.Encode))
	if err != nil {
		return offsets.FetchResponse{}, err
	}
	return offsets.DecodeFetchResponse(got.Head)
}

// describe asks a group's coordinator about it.
func (c *cluster) describe(ctx context.Context, name string) (group.DescribeResponse, error) {
	req := group.DescribeRequest{Group: name}
	got, err := c.coordinate(ctx, name, encoded(kindDescribeGroup, req.Encode))
	if err != nil {
		return group.DescribeResponse{}, err
	}
	return group.DecodeDescribeResponse(got.Head)
}

// offsetsTopic waits for the topic of the groups' records, which is made at the
// first use of a group.
func (c *cluster) offsetsTopic(ctx context.Context) (partition.Topic, error) {
	if t, ok := c.view.Topic(control.OffsetsTopic); ok {
		return t, nil
	}
	if err := c.createTopic(ctx, TopicConfig{Name: control.OffsetsTopic}); err != nil {
		return partition.Topic{}, err
	}
	t, _ := c.view.Topic(control.OffsetsTopic)
	return t, nil
}

// pause waits for metadata newer than when changed was asked for, or a moment. It
// returns why there is no going on.
func (c *cluster) pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ctx.Done():
		return ErrClosed
	}
	return nil
}
