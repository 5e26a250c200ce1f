package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// Produce appends one batch to a partition that this broker leads, and waits as
// its Acks ask. The batch is checked and copied: it is the caller's again when
// Produce returns. Calls overlap; each partition takes them in the order in which
// they come.
func (n *Node) Produce(ctx context.Context, req partition.ProduceRequest, batch log.Batch) partition.ProduceResponse {
	if req.Acks < partition.AcksAll || req.Acks > partition.AcksNone {
		return partition.ProduceResponse{Code: partition.Malformed}
	}
	r, _, code := n.leading(ctx, req.ID, req.Epoch)
	if code == partition.OK {
		code = checkBatch(batch, r.topic.MaxBatchBytes)
	}
	now := time.Now()
	if code == partition.OK && batch.MaxTimestamp() > now.Add(partition.MaxAhead).UnixMilli() {
		code = partition.InvalidTimestamp
	}
	if code == partition.OK && r.compacted.Load() && batch.CheckKeys() != nil {
		code = partition.MissingKey
	}
	if code != partition.OK {
		return n.refusal(req.ID, code)
	}
	o := n.produceOp(req.Epoch, req.Acks, batch)
	r.await(now, o, o.appended)
	if o.code != partition.OK {
		code = o.code
		n.free(o)
		return n.refusal(req.ID, code)
	}
	resp := partition.ProduceResponse{First: o.first, Epoch: o.epoch, Leader: n.self}
	resp.Code = r.commit(ctx, o, time.Duration(req.TimeoutMs)*time.Millisecond)
	if resp.Code == partition.OK {
		n.free(o) // else the owner may still have an answer to leave
	}
	return resp
}

// checkBatch is what a leader demands of a batch that is not a peer's.
func checkBatch(b log.Batch, largest int) partition.Code {
	one, rest, err := log.SplitBatch(b)
	switch {
	case err == nil && len(rest) > 0:
		return partition.CorruptBatch // one batch, and no more
	case err == nil && largest > 0 && len(b) > largest:
		return partition.BatchTooLarge
	case err == nil:
		err = one.CheckRecordsWithin(inflatedLimit(largest))
	}
	switch {
	case errors.Is(err, log.ErrUnsupported):
		return partition.Unsupported
	case errors.Is(err, log.ErrTooLarge):
		return partition.BatchTooLarge
	case err != nil:
		return partition.CorruptBatch
	}
	return partition.OK
}

// inflatedLimit is how much the records of a batch may inflate to, by what the batch
// may have. The producers of this module count before they compress and stay below
// both; those of others count what they send.
func inflatedLimit(largest int) int {
	const times = 16
	if largest <= 0 || largest > log.MaxInflatedBytes/times {
		return log.MaxInflatedBytes
	}
	return times * largest
}

// commit waits until an appended batch is as safe as its producer asked; for the
// ISR it waits until ctx ends, or for limit if that is not 0.
func (r *Replica) commit(ctx context.Context, o *produceOp, limit time.Duration) partition.Code {
	if o.acks == partition.AcksNone || r.topic.Durability != partition.Synced {
		r.flushInTurn()
	} else {
		// The caller who finds no flush in flight runs it. The end may be more than
		// its own batch: those who came meanwhile ride along.
		end, err := r.log.Flush()
		switch {
		case errors.Is(err, log.ErrClosed):
			return partition.Resigned // the broker stops
		case err != nil:
			r.node.failStorage(err)
			return partition.StorageFailed
		case int64(end) > r.noted.Load():
			r.do(&flushedOp{end: end})
		}
	}
	if o.acks != partition.AcksAll {
		return partition.OK
	}
	select {
	case code := <-o.done: // nobody else counts, or all were faster
		return code
	default:
	}
	var late <-chan time.Time
	if limit > 0 {
		late = o.limitTo(limit)
		defer o.limit.Stop()
	}
	select {
	case code := <-o.done:
		return code
	case <-late:
	case <-ctx.Done():
	}
	r.do(&withdrawOp{o})
	return partition.TimedOut
}

// withdrawOp forgets a caller who waits no more.
type withdrawOp struct{ o *produceOp }

func (w *withdrawOp) perform(r *Replica, _ time.Time) {
	if i := slices.Index(r.waiters, w.o); i >= 0 {
		r.waiters = slices.Delete(r.waiters, i, i+1)
	}
}

// A produceOp is one batch on its way into the log, and then a caller who waits
// for the high watermark to pass it.
type produceOp struct {
	epoch log.Epoch // asked for, then the one that the batch has got
	acks  partition.Acks
	batch log.Batch

	code       partition.Code // of the append
	first, end log.Offset
	appended   chan struct{}       // room for one: the owner never waits for a caller
	done       chan partition.Code // likewise
	limit      *time.Timer         // of the wait; nil: there was none yet
}

// produceOp takes an op from the node's own pool: one for all nodes would carry
// channels from one synctest bubble into another.
func (n *Node) produceOp(epoch log.Epoch, acks partition.Acks, b log.Batch) *produceOp {
	o, _ := n.ops.Get().(*produceOp)
	if o == nil {
		o = &produceOp{appended: make(chan struct{}, 1), done: make(chan partition.Code, 1)}
	}
	o.epoch, o.acks, o.batch = epoch, acks, b
	return o
}

// limitTo returns a channel that tells when so much time has passed.
func (o *produceOp) limitTo(d time.Duration) <-chan time.Time {
	if o.limit == nil {
		o.limit = time.NewTimer(d)
	} else {
		o.limit.Reset(d)
	}
	return o.limit.C
}

// free may be called once both answers have been taken, or will never come.
func (n *Node) free(o *produceOp) {
	o.batch = nil
	n.ops.Put(o)
}

func (o *produceOp) perform(r *Replica, now time.Time) { o.code = o.append(r, now) }

// append refuses with a code of which the outcome is known, but for StorageFailed.
func (o *produceOp) append(r *Replica, now time.Time) partition.Code {
	if r.leader == nil {
		return partition.NotLeader // or its disk has failed
	}
	if code := r.leader.Admit(o.epoch, o.acks); code != partition.OK {
		return code
	}
	o.epoch = r.leader.Epoch()
	first, err := r.log.Append(o.epoch, o.batch)
	if err != nil {
		code := writeCode(err)
		switch code {
		case partition.StorageFailed:
			r.fail(err)
		case partition.DiskFull:
			r.node.noteFull()
		default:
		}
		return code
	}
	o.first, o.end = first, r.log.End()
	o.batch = nil // the caller's again, even if this op outlives the call
	if o.acks == partition.AcksAll {
		r.waiters = append(r.waiters, o)
	}
	r.step(now, replica.Appended{End: o.end})
	r.flushAtOnce(now)
	return partition.OK
}

// answerProducers answers those whose batch the high watermark has passed.
func (r *Replica) answerProducers() {
	if len(r.waiters) == 0 || r.leader == nil {
		return
	}
	high := r.highWatermark()
	n := 0
	for n < len(r.waiters) && r.waiters[n].end <= high {
		r.waiters[n].done <- r.leader.CommitCode()
		n++
	}
	if n > 0 {
		rest := copy(r.waiters, r.waiters[n:])
		clear(r.waiters[rest:])
		r.waiters = r.waiters[:rest]
	}
}
