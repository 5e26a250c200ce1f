package produce

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Producer sends records. Its methods may be called from any goroutine.
type Producer struct {
	cfg     Config
	cluster Cluster
	buffer  budget
	ctx     context.Context // ends when Close waits no longer
	giveUp  context.CancelFunc
	senders sync.WaitGroup // who have the role of the sender of a queue
	batches spares
	calls   sync.Pool // of *call, idle
	closed  atomic.Bool
	ended   sync.Once                         // the waits of all queues
	latest  atomic.Int64                      // no record may be later; as of when one was
	topics  atomic.Pointer[map[string]*topic] // by name; never written to, but replaced under mu

	mu   sync.Mutex // guards changes of topics, and byID
	byID map[partition.UUID]*topic
}

// New returns a producer, or says all that is wrong with cfg.
func New(cfg Config, cluster Cluster) (*Producer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Producer{cfg: cfg, cluster: cluster, byID: make(map[partition.UUID]*topic)}
	p.buffer.free = cfg.BufferBytes
	p.batches.limit = cfg.BufferBytes / 8
	p.ctx, p.giveUp = context.WithCancel(context.Background())
	p.topics.Store(new(map[string]*topic))
	return p, nil
}

// Send gathers a record for sending and tells done exactly once: in order within
// a partition, perhaps before Send returns. It blocks while the topic is not
// known and while the buffer is full.
//
// When ctx ends before the record's batch has left, the record is not sent, and
// done is told the error of ctx. When it ends later, the batch is given up once
// the contexts of all its records have ended; the error then matches that of ctx
// too. Done must not block: it holds up the partition. It may send, as long as
// the buffer has room.
func (p *Producer) Send(ctx context.Context, rec Record, done Receiver) {
	q, err := p.route(ctx, &rec)
	if err != nil {
		done.Receive(Placed{Partition: rec.Partition}, err)
		return
	}
	size, err := p.admit(ctx, q, &rec)
	if err != nil {
		q.refuse(q.refusal(err), done)
		return
	}
	at, err := q.add(ctx, &rec, size, done, false)
	if err != nil {
		p.buffer.give(size)
		q.refuse(q.refusal(err), done)
		return
	}
	if at.sender {
		go q.run()
	}
	at.complete(p.cfg.Compression)
}

// A call is a caller of SendSync who waits for its record.
type call struct {
	answer chan answer // room for one, so that nobody waits for the caller
}

// Receive implements [Receiver].
func (c *call) Receive(placed Placed, err error) { c.answer <- answer{placed, err} }

type answer struct {
	placed Placed
	err    error
}

// SendSync sends a record and waits until it is settled, or ctx ends: the error
// then matches that of ctx, and ErrOutcomeUnknown too if the batch had left.
func (p *Producer) SendSync(ctx context.Context, rec Record) (Placed, error) {
	q, err := p.route(ctx, &rec)
	if err != nil {
		return Placed{Partition: rec.Partition}, err
	}
	nowhere := Placed{Partition: q.id.Partition}
	size, err := p.admit(ctx, q, &rec)
	if err != nil {
		return nowhere, q.refusal(err)
	}
	c := p.call()
	at, err := q.add(ctx, &rec, size, c, p.cfg.Linger == 0)
	if err != nil {
		p.buffer.give(size)
		return nowhere, q.refusal(err)
	}
	at.complete(p.cfg.Compression)
	switch {
	case at.batch != nil:
		q.deliver(at.batch)
		q.handOver()
	case at.sender:
		go q.run()
	}
	select {
	case a := <-c.answer:
		p.calls.Put(c)
		return a.placed, a.err
	case <-ctx.Done():
	}
	left := q.hasLeft(at.number)
	select {
	case a := <-c.answer: // settled in the same moment: what is known counts
		return a.placed, a.err
	default:
		return nowhere, &Error{Topic: q.topic.name, Partition: q.id.Partition, Unknown: left, Err: ctx.Err()}
	}
}

// Flush waits until every record sent before it is settled, or ctx ends.
func (p *Producer) Flush(ctx context.Context) error {
	var waits []<-chan struct{}
	for _, q := range p.queues() {
		if finished := q.flush(); finished != nil {
			waits = append(waits, finished)
		}
	}
	for _, finished := range waits {
		select {
		case <-finished:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close refuses further records, flushes until ctx ends, gives up what is left
// then, and returns when nothing runs any more: with the error of ctx if records
// had to be given up. Their senders are told what is known of each.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed.Store(true)
	p.mu.Unlock()
	err := p.Flush(ctx)
	p.giveUp()
	p.senders.Wait()
	p.ended.Do(func() { // several may close it at once
		for _, q := range p.queues() {
			q.waitNoMore()
		}
	})
	return err
}

// admit takes the record's bytes from the buffer.
func (p *Producer) admit(ctx context.Context, q *queue, rec *Record) (int, error) {
	n := size(rec)
	if limit := min(q.topic.maxBatch-log.BatchOverhead, p.cfg.BufferBytes); n > limit {
		return 0, fmt.Errorf("%w: %d bytes, and there is room for %d", ErrTooLarge, n, limit)
	}
	// Its leader would refuse it, and all that is in one batch with it.
	if q.topic.keyed.Load() && rec.Key == nil {
		return 0, partition.MissingKey
	}
	if rec.Timestamp > p.latest.Load() {
		latest := time.Now().Add(partition.MaxAhead).UnixMilli()
		p.latest.Store(latest)
		if rec.Timestamp > latest {
			return 0, partition.InvalidTimestamp
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return n, p.buffer.take(ctx, p.ctx.Done(), n)
}

// refusal returns the error of a record that never was in a batch.
func (q *queue) refusal(err error) error {
	return &Error{Topic: q.topic.name, Partition: q.id.Partition, Err: err}
}

// queues returns the queues of all topics.
func (p *Producer) queues() []*queue {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*queue
	for t := range maps.Values(p.byID) {
		all = append(all, *t.queues.Load()...)
	}
	return all
}

func (p *Producer) batch(number uint64, r room) *batch {
	b := p.batches.take()
	b.open(number, time.Now().Add(p.cfg.DeliveryTimeout), r)
	return b
}

// recycle takes back b.
func (p *Producer) recycle(b *batch, shared bool) {
	b.reset(shared)
	p.batches.give(b)
}

func (p *Producer) call() *call {
	c, ok := p.calls.Get().(*call)
	if !ok {
		c = &call{answer: make(chan answer, 1)}
	}
	return c
}
