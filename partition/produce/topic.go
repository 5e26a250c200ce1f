package produce

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/samsalog/samsa/partition"
)

// A topic is what the producer keeps of one that it has sent to.
type topic struct {
	name     string
	id       partition.UUID
	maxBatch int
	queues   []*queue // by partition
	sticky   atomic.Int32
}

// moveOn makes another partition that of the records without a key, if it was
// this one: its batch has left or is full.
func (t *topic) moveOn(from partition.PartitionID) {
	next := (int(from) + 1) % len(t.queues)
	t.sticky.CompareAndSwap(int32(from), int32(next))
}

// route returns the queue that a record goes to.
func (p *Producer) route(ctx context.Context, rec *Record) (*queue, error) {
	t := (*p.topics.Load())[rec.Topic]
	if t == nil {
		var err error
		if t, err = p.lookUp(ctx, rec.Topic); err != nil {
			return nil, &Error{Topic: rec.Topic, Partition: rec.Partition, Err: err}
		}
	}
	part := rec.Partition
	if p.cfg.Partitioner != partition.Manual {
		chosen, ok := p.cfg.Partitioner.Partition(rec.Key, len(t.queues))
		if !ok {
			chosen = partition.PartitionID(t.sticky.Load())
		}
		part = chosen
	}
	if part < 0 || int(part) >= len(t.queues) {
		return nil, &Error{Topic: rec.Topic, Partition: part,
			Err: fmt.Errorf("%w: the topic has %d partitions", partition.UnknownPartition, len(t.queues))}
	}
	return t.queues[part], nil
}

// lookUp asks the cluster for a topic, for as long as a record may take to be
// delivered.
func (p *Producer) lookUp(ctx context.Context, name string) (*topic, error) {
	if p.closed.Load() {
		return nil, ErrClosed
	}
	asking, cancel := context.WithTimeoutCause(ctx, p.cfg.DeliveryTimeout, ErrTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	found, err := p.cluster.Topic(asking, name)
	switch {
	case err == nil:
		return p.remember(name, found)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err) // err says what was waited for
	case p.ctx.Err() != nil:
		return nil, ErrClosed
	case asking.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return nil, err
}

// remember keeps what is known of a topic. A topic that is known by its id keeps
// its queues: two for one partition would know no order.
func (p *Producer) remember(name string, found Topic) (*topic, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return nil, ErrClosed
	}
	t := p.byID[found.ID]
	if t == nil {
		if found.Partitions < 1 {
			return nil, partition.UnknownTopic
		}
		t = p.newTopic(name, found)
		p.byID[found.ID] = t
	}
	topics := maps.Clone(*p.topics.Load())
	if topics == nil {
		topics = make(map[string]*topic)
	}
	topics[name] = t
	p.topics.Store(&topics)
	return t, nil
}

func (p *Producer) newTopic(name string, found Topic) *topic {
	t := &topic{name: name, id: found.ID, maxBatch: found.MaxBatchBytes, queues: make([]*queue, found.Partitions)}
	if t.maxBatch <= 0 {
		t.maxBatch = 1 << 20
	}
	for n := range t.queues {
		t.queues[n] = &queue{
			producer: p, topic: t, id: partition.ID{Topic: found.ID, Partition: partition.PartitionID(n)},
			wake: make(chan struct{}, 1),
		}
	}
	return t
}

// forget has the next record for a topic ask the cluster again: its leader says
// that there is no such topic, so there may be another of that name.
func (p *Producer) forget(t *topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if (*p.topics.Load())[t.name] != t {
		return
	}
	topics := maps.Clone(*p.topics.Load())
	delete(topics, t.name)
	p.topics.Store(&topics)
}
