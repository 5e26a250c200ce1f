package node

import (
	"context"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A Led is a partition while this broker leads it, in one leader epoch. It is how
// a state machine that lives at a partition's leader keeps its records. Once the
// epoch is over every call fails.
type Led struct {
	r     *Replica
	epoch log.Epoch
}

// Epoch is the leader epoch.
func (l *Led) Epoch() log.Epoch { return l.epoch }

// Append writes records as one batch, in the order of the calls, and returns the
// end of the batch. It is not committed yet; see Wait. Without records it fails.
func (l *Led) Append(records []log.Record) (log.Offset, error) {
	size := 64
	for _, r := range records {
		size += log.RecordSize(r.Key, r.Value, r.Headers)
	}
	var b log.Builder
	b.Reset(make([]byte, 0, size))
	now := time.Now().UnixMilli()
	for _, r := range records {
		if r.Timestamp == 0 {
			r.Timestamp = now
		}
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	// It waits by its end, not in the queue of the producers.
	o := l.r.node.produceOp(l.epoch, partition.AcksNone, b.Build())
	l.r.await(time.Now(), &ledAppend{o}, o.appended)
	code, end := o.code, o.end
	l.r.node.free(o)
	if code != partition.OK {
		return 0, fmt.Errorf("append to %s: %w", l.r.name(), code)
	}
	l.r.flushInTurn()
	return end, nil
}

// ledAppend demands of the ISR what an acks=all producer does, and does not wait.
type ledAppend struct{ o *produceOp }

func (a *ledAppend) perform(r *Replica, now time.Time) {
	if r.leader != nil {
		if code := r.leader.CanAppend(partition.AcksAll); code != partition.OK {
			a.o.code = code
			return
		}
	}
	a.o.perform(r, now)
}

// Wait returns nil once all below end is committed. After any error that is open.
func (l *Led) Wait(ctx context.Context, end log.Offset) error {
	b := &bell{wake: make(chan struct{}, 1)}
	for {
		s := l.r.standing.Load()
		if !s.leads || s.epoch != l.epoch {
			return fmt.Errorf("wait on %s: %w", l.r.name(), partition.NotLeader)
		}
		if l.r.highWatermark() >= end {
			return nil
		}
		p := &parked{bell: b, role: s, Parked: replica.Parked{High: end - 1}}
		l.r.park(p)
		select {
		case <-b.wake:
		case <-ctx.Done():
			l.r.unpark(p)
			return context.Cause(ctx)
		}
		l.r.unpark(p)
	}
}

// Scan calls each for every committed record, from the log's start to where the
// high watermark stands once this leader knows it.
func (l *Led) Scan(ctx context.Context, each func(log.Record) error) error {
	s := l.r.standing.Load()
	if err := l.Wait(ctx, s.begin); err != nil {
		return err
	}
	high := l.r.highWatermark()
	for at := l.r.log.Start(); at < high; {
		data, err := l.r.log.Read(at, high, partitionBytes)
		if err == nil && len(data) == 0 {
			err = partition.Internal // the high watermark stands within a batch
		}
		if err != nil {
			_ = l.r.readFault(err)
			return fmt.Errorf("scan %s: %w", l.r.name(), err)
		}
		for len(data) > 0 {
			var b log.Batch
			if b, data, err = log.SplitBatch(data); err != nil {
				return fmt.Errorf("scan %s: %w", l.r.name(), err)
			}
			for rec, err := range b.Records() {
				if err != nil {
					return fmt.Errorf("scan %s: %w", l.r.name(), err)
				}
				if err := each(rec); err != nil {
					return err
				}
			}
			at = b.Next()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
