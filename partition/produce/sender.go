package produce

import (
	"math"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// run sends one batch after another until the queue is empty. The caller has the
// role of the sender.
func (q *queue) run() {
	linger := q.producer.cfg.Linger > 0
	for {
		b := q.next(linger)
		if b == nil {
			return
		}
		q.deliver(b)
		linger = false // the batch before has been answered
	}
}

// handOver gives the role of the sender back, or to a goroutine if it is needed.
func (q *queue) handOver() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open != nil || len(q.full) > 0 {
		go q.rest()
		return
	}
	q.active, q.hurry = false, false
	q.producer.senders.Done()
}

// rest is run for a queue whose batches have waited already.
func (q *queue) rest() {
	for b := q.next(false); b != nil; b = q.next(false) {
		q.deliver(b)
	}
}

// deliver sends b until its outcome is settled, and tells its senders.
func (q *queue) deliver(b *batch) outcome {
	var out outcome
	var t trial
	if data := b.finish(q.producer.cfg.Compression); data != nil {
		out = q.send(b, data, &t)
	}
	q.producer.buffer.give(b.bytes) // before the callbacks, which may send again
	b.tell(q.topic.name, q.id.Partition, out)
	q.landed(b)
	q.producer.grow(q.topic)
	q.producer.recycle(b, t.unclean)
	return out
}

// send makes one attempt after another, in the same bytes each time.
func (q *queue) send(b *batch, data log.Batch, t *trial) outcome {
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		now := time.Now()
		if reason := q.over(now, b); reason != nil {
			return outcome{err: t.fail(q.topic.name, q.id.Partition, reason)}
		}
		resp, err := q.attempt(now, b, data)
		if err == nil && (resp.Code == partition.UnknownTopic || resp.Code == partition.TopicDeleted) {
			q.producer.forget(q.topic)
		}
		switch t.judge(resp, err) {
		case written:
			return outcome{first: resp.First, epoch: resp.Epoch}
		case refused:
			return outcome{err: t.fail(q.topic.name, q.id.Partition, nil)}
		case again:
		}
		q.pause(b, backoff)
	}
}

// over returns why there may be no further attempt, or nil.
func (q *queue) over(now time.Time, b *batch) error {
	switch {
	case q.producer.ctx.Err() != nil:
		return ErrClosed
	case b.unwanted():
		return b.contexts[0].Err()
	case !now.Before(b.deadline):
		return ErrTimeout
	}
	return nil
}

// attempt makes one.
func (q *queue) attempt(now time.Time, b *batch, data log.Batch) (partition.ProduceResponse, error) {
	timeout := min(q.producer.cfg.AttemptTimeout, b.deadline.Sub(now))
	ctx := q.begin(b, timeout)
	defer q.end()
	return q.producer.cluster.Produce(ctx, partition.ProduceRequest{
		ID: q.id, Epoch: log.NoEpoch, Acks: q.producer.cfg.Acks,
		// A little less, so that the leader's own word comes in time.
		TimeoutMs: int32(min(max(1, (timeout-timeout/16)/time.Millisecond), math.MaxInt32)),
	}, data)
}

// pause waits before the next attempt.
func (q *queue) pause(b *batch, backoff time.Duration) {
	if limit := min(backoff, time.Until(b.deadline)); limit > 0 {
		<-q.begin(b, limit).Done()
		q.end()
	}
}
