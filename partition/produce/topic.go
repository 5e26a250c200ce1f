package produce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/partition"
)

// A topic is what the producer keeps of one that it has sent to.
type topic struct {
	name     string
	id       partition.UUID
	maxBatch int
	keyed    atomic.Bool              // records without a key are refused
	queues   atomic.Pointer[[]*queue] // by partition; replaced when there are more
	sticky   atomic.Int32
	asked    atomic.Int64 // when the cluster was last asked for it, in Unix nanoseconds
}

// askAgain is how often a producer looks whether a topic that it sends to has got
// more partitions.
const askAgain = time.Second

// moveOn makes another partition that of the records without a key, if it was
// this one: its batch has left or is full.
func (t *topic) moveOn(from partition.PartitionID) {
	next := (int(from) + 1) % len(*t.queues.Load())
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
	part, queues := rec.Partition, *t.queues.Load()
	if p.cfg.Partitioner == partition.Manual && int(part) >= len(queues) {
		if _, err := p.lookUp(ctx, rec.Topic); err != nil {
			return nil, &Error{Topic: rec.Topic, Partition: part, Err: err}
		}
		queues = *t.queues.Load()
	}
	if p.cfg.Partitioner != partition.Manual {
		chosen, ok := p.cfg.Partitioner.Partition(rec.Key, len(queues))
		if !ok {
			chosen = partition.PartitionID(t.sticky.Load())
		}
		part = chosen
	}
	if part < 0 || int(part) >= len(queues) {
		return nil, &Error{Topic: rec.Topic, Partition: part,
			Err: fmt.Errorf("%w: the topic has %d partitions", partition.UnknownPartition, len(queues))}
	}
	return queues[part], nil
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
	why := ctx.Err()
	switch {
	case err == nil:
		return p.remember(name, found)
	case why == nil && p.ctx.Err() != nil:
		return nil, ErrClosed
	case why == nil && asking.Err() != nil:
		why = ErrTimeout
	}
	if why == nil || errors.Is(err, why) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", why, err) // err says what was waited for
}

// grow looks whether a topic has got more partitions, if it has not just been asked
// about. It waits for nothing.
func (p *Producer) grow(t *topic) {
	now, asked := time.Now().UnixNano(), t.asked.Load()
	if now-asked < int64(askAgain) || !t.asked.CompareAndSwap(asked, now) {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	cancel()
	if found, err := p.cluster.Topic(ctx, t.name); err == nil && found.ID == t.id {
		_, _ = p.remember(t.name, found)
	}
}

// remember keeps what is known of a topic. A topic that is known by its id keeps
// its queues, and gets more if it has more partitions now: two for one partition would
// know no order.
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
	t.keyed.Store(found.Keyed)
	t.extend(p, found.Partitions)
	topics := maps.Clone(*p.topics.Load())
	if topics == nil {
		topics = make(map[string]*topic)
	}
	topics[name] = t
	p.topics.Store(&topics)
	return t, nil
}

func (p *Producer) newTopic(name string, found Topic) *topic {
	t := &topic{name: name, id: found.ID, maxBatch: found.MaxBatchBytes}
	if t.maxBatch <= 0 {
		t.maxBatch = 1 << 20
	}
	t.queues.Store(new([]*queue))
	return t
}

// extend makes the queues that are lacking; the caller holds the producer's mu.
func (t *topic) extend(p *Producer, partitions int) {
	t.asked.Store(time.Now().UnixNano())
	have := *t.queues.Load()
	if partitions <= len(have) {
		return
	}
	queues := slices.Clone(have)
	for n := len(have); n < partitions; n++ {
		queues = append(queues, &queue{
			producer: p, topic: t, id: partition.ID{Topic: t.id, Partition: partition.PartitionID(n)},
			wake: make(chan struct{}, 1),
		})
	}
	t.queues.Store(&queues)
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
