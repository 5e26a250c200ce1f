package samsa

import (
	"context"
	"sync"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/node"
)

// coordinators are the group coordinators that live at this broker: one service
// for each partition of __consumer_offsets that it leads.
type coordinators struct {
	b      *Broker
	absent *group.Service // never run, it says that the coordinator is not here

	mu       sync.Mutex // guards all below
	closed   bool
	services map[PartitionID]*coordinator
	running  sync.WaitGroup
}

// A coordinator is one service, in one leader epoch of its partition.
type coordinator struct {
	cancel  context.CancelFunc
	service *group.Service
}

func newCoordinators(b *Broker) *coordinators {
	absent := group.NewService(group.ServiceConfig{}, nil, nil)
	return &coordinators{b: b, absent: absent, services: make(map[PartitionID]*coordinator)}
}

// roleChanged follows the leaders of __consumer_offsets. It does not block.
func (c *coordinators) roleChanged(id partition.ID, topic string, led *node.Led) {
	if topic != control.OffsetsTopic {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.services[id.Partition]; old != nil {
		old.cancel()
		delete(c.services, id.Partition)
	}
	if led == nil || c.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &coordinator{cancel: cancel, service: group.NewService(group.ServiceConfig{Logger: c.b.cfg.Logger}, led, groupTopics{c.b})}
	c.services[id.Partition] = k
	c.running.Go(func() { _ = k.service.Run(ctx) }) // it ends with ctx, and says just that
}

// watch has every service look at the topics again when the metadata has moved.
func (c *coordinators) watch(ctx context.Context) error {
	for {
		_, changed := c.b.node.Changed()
		for _, s := range c.all() {
			s.TopicsChanged()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *coordinators) close() {
	c.mu.Lock()
	c.closed = true
	for _, k := range c.services {
		k.cancel()
	}
	clear(c.services)
	c.mu.Unlock()
	c.running.Wait()
}

// of returns the service of a group, or absent.
func (c *coordinators) of(name string) *group.Service {
	t, ok := c.b.node.Topic(control.OffsetsTopic)
	if !ok {
		return c.absent
	}
	return c.in(group.PartitionOf(name, len(t.Partitions)))
}

// in returns the service of a partition, or absent.
func (c *coordinators) in(n PartitionID) *group.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.services[n]; k != nil && c.b.node.InTouch() {
		return k.service
	}
	return c.absent // cut off, it may have been replaced: it must prolong nobody's lease
}

func (c *coordinators) all() []*group.Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*group.Service, 0, len(c.services))
	for _, k := range c.services {
		all = append(all, k.service)
	}
	return all
}

func (c *coordinators) heartbeat(ctx context.Context, req group.HeartbeatRequest) group.HeartbeatResponse {
	return c.of(req.Group).Heartbeat(ctx, req)
}

func (c *coordinators) commit(ctx context.Context, req offsets.CommitRequest) offsets.CommitResponse {
	return c.of(req.Group).Commit(ctx, req)
}

func (c *coordinators) fetch(ctx context.Context, req offsets.FetchRequest) offsets.FetchResponse {
	return c.of(req.Group).Fetch(ctx, req)
}

func (c *coordinators) describe(ctx context.Context, req group.DescribeRequest) group.DescribeResponse {
	return c.of(req.Group).Describe(ctx, req.Group)
}

func (c *coordinators) list(ctx context.Context, req group.ListRequest) group.ListResponse {
	return c.in(req.Partition).List(ctx)
}

// groupTopics is what a coordinator knows of topics.
type groupTopics struct{ b *Broker }

func (t groupTopics) Topic(name string) (partition.UUID, int, bool) {
	found, ok := t.b.node.Topic(name)
	return found.ID, len(found.Partitions), ok
}
