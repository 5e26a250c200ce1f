package node

import (
	"context"
	"errors"
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
	if err := checkBatch(batch); err != nil {
		return partition.ProduceResponse{Code: partition.CorruptBatch}
	}
	r, code := n.leading(ctx, req.ID, req.Epoch)
	if code != partition.OK {
		return n.refusal(req.ID, code)
	}
	if r.topic.MaxBatchBytes > 0 && len(batch) > r.topic.MaxBatchBytes {
		return partition.ProduceResponse{Code: partition.BatchTooLarge}
	}
	if req.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	o := n.produceOp(req.Epoch, req.Acks, batch)
	r.do(o)
	if code := <-o.appended; code != partition.OK {
		n.free(o)
		return n.refusal(req.ID, code)
	}
	resp := partition.ProduceResponse{First: o.first, Epoch: o.epoch}
	code = r.await(ctx, o)
	if code == partition.OK {
		n.free(o) // else the owner may still have an answer to leave
	}
	resp.Code = code
	return resp
}

// checkBatch is what a leader demands of a batch that is not a peer's.
func checkBatch(b log.Batch) error {
	one, rest, err := log.SplitBatch(b)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return errors.New("node: more than one batch")
	}
	if err := one.Check(); err != nil {
		return err
	}
	return one.CheckRecords()
}

// await waits until an appended batch is as safe as its producer asked.
func (r *Replica) await(ctx context.Context, o *produceOp) partition.Code {
	if o.acks == partition.AcksNone {
		if r.topic.Durability != partition.Unsynced {
			r.flushSoon()
		}
		return partition.OK
	}
	if r.topic.Durability == partition.Synced {
		// The caller who finds no flush in flight runs it. The end may be more than
		// its own batch: those who came meanwhile ride along.
		end, err := r.log.Flush()
		if err != nil {
			r.node.fail(err)
			return partition.StorageFailed
		}
		r.do(&flushedOp{end: end})
	} else if r.topic.Durability == partition.Replicated {
		r.node.dirty(r)
	}
	if o.acks == partition.AcksLeader {
		return partition.OK
	}
	select {
	case code := <-o.done:
		return code
	case <-ctx.Done():
		return partition.TimedOut
	}
}

// A produceOp is one batch on its way into the log, and then a caller who waits
// for the high watermark to pass it.
type produceOp struct {
	epoch log.Epoch // asked for, then the one that the batch has got
	acks  partition.Acks
	batch log.Batch

	first, end log.Offset
	appended   chan partition.Code // room for one: the owner never waits for a caller
	done       chan partition.Code // likewise
}

// produceOp takes an op from the node's own pool: one for all nodes would carry
// channels from one synctest bubble into another.
func (n *Node) produceOp(epoch log.Epoch, acks partition.Acks, b log.Batch) *produceOp {
	o, _ := n.ops.Get().(*produceOp)
	if o == nil {
		o = &produceOp{appended: make(chan partition.Code, 1), done: make(chan partition.Code, 1)}
	}
	o.epoch, o.acks, o.batch = epoch, acks, b
	return o
}

// free may be called once both answers have been taken, or will never come.
func (n *Node) free(o *produceOp) {
	o.batch = nil
	n.ops.Put(o)
}

func (o *produceOp) perform(r *Replica, now time.Time) { o.appended <- o.append(r, now) }

func (o *produceOp) append(r *Replica, now time.Time) partition.Code {
	switch {
	case r.lost.Load():
		return partition.StorageFailed
	case r.leader == nil:
		return partition.NotLeader
	case o.epoch != log.NoEpoch && o.epoch < r.leader.Epoch():
		return partition.FencedEpoch
	case o.epoch > r.leader.Epoch():
		return partition.UnknownEpoch
	}
	if code := r.leader.CanAppend(o.acks); code != partition.OK {
		return code
	}
	o.epoch = r.leader.Epoch()
	first, err := r.log.Append(o.epoch, o.batch)
	if err != nil {
		r.fail(err)
		return partition.StorageFailed
	}
	o.first, o.end = first, first+log.Offset(o.batch.Count())
	if o.acks == partition.AcksAll {
		r.waiters = append(r.waiters, o)
	}
	r.step(now, replica.Appended{End: o.end})
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
