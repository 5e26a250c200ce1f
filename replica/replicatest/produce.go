package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/node"
)

// produce appends one batch to a partition that this process leads, and answers when
// it is as safe as its sender asked.
func (p *process) produce(req partition.ProduceRequest, batch log.Batch, answer func(partition.ProduceResponse)) {
	p.leading(req.ID, req.Epoch, func(c *copyOf, _ role, code partition.Code) {
		if code == partition.OK {
			code = node.CheckBatch(batch, c.topic.MaxBatchBytes)
		}
		if code == partition.OK && batch.MaxTimestamp() > p.w.clock().Add(p.b.skew+partition.MaxAhead).UnixMilli() {
			code = partition.InvalidTimestamp
		}
		if code != partition.OK {
			answer(partition.ProduceResponse{Code: code})
			return
		}
		p.w.at(0, p.b, disk, "append", func() { c.produce(req, batch, answer) })
	})
}

func (c *copyOf) produce(req partition.ProduceRequest, batch log.Batch, answer func(partition.ProduceResponse)) {
	if c.leader == nil {
		answer(partition.ProduceResponse{Code: partition.NotLeader})
		return
	}
	if code := c.leader.Admit(req.Epoch, req.Acks); code != partition.OK {
		answer(partition.ProduceResponse{Code: code})
		return
	}
	epoch := c.leader.Epoch()
	first, err := c.log.Append(epoch, batch)
	if err != nil {
		code := node.WriteCode(err)
		answer(partition.ProduceResponse{Code: code})
		if code == partition.StorageFailed {
			c.p.trouble(err)
		}
		return
	}
	end := c.log.End()
	c.p.w.watch.appends(c, epoch)
	c.mirror.append(placed(batch, first, epoch), end)
	resp := partition.ProduceResponse{First: first, Epoch: epoch, Leader: c.p.id}
	c.flushInTurn()
	if req.Acks == partition.AcksAll {
		w := &waiter{end: end}
		over := false
		w.done = func(code partition.Code) {
			if over {
				c.p.w.fail("I34", "broker %d answers a producer twice", c.p.id)
			}
			over = true
			if code == partition.OK {
				c.p.w.watch.acks(c, first, end)
			}
			resp.Code = code
			answer(resp)
		}
		c.waiters = append(c.waiters, w)
		c.p.w.atUnless(&over, time.Duration(req.TimeoutMs)*time.Millisecond, c.p.b, disk, "withdraw", func() {
			if i := slices.Index(c.waiters, w); i >= 0 {
				c.waiters = slices.Delete(c.waiters, i, i+1)
				w.done(partition.TimedOut)
			}
		})
	} else {
		answer(resp)
	}
	c.step(replica.Appended{End: end})
	c.settle()
}

// placed is a copy of a batch as a leader's log has it.
func placed(b log.Batch, first log.Offset, epoch log.Epoch) log.Batch {
	b = slices.Clone(b)
	b.Place(first, epoch)
	return b
}

// answerProducers answers those whose batch the high watermark has passed.
func (c *copyOf) answerProducers() {
	if c.leader == nil {
		return
	}
	for len(c.waiters) > 0 && c.waiters[0].end <= c.high {
		w := c.waiters[0]
		c.waiters = c.waiters[1:]
		w.done(c.leader.CommitCode())
	}
}

// read answers a reader of committed records of one partition.
func (p *process) read(req partition.ReadPartition, answer func(partition.ReadAnswer, []byte)) {
	p.leading(req.ID, req.Epoch, func(c *copyOf, r role, code partition.Code) {
		s := &serving{p: p, limit: fetchWait, Serving: replica.Serving{Budget: partitionBytes}, parts: []served{{c: c, epoch: r.epoch}}}
		part := &s.parts[0]
		s.answer = func() {
			a := part.Answer
			var data []byte
			if s.data != nil {
				data = s.data[0]
			}
			answer(partition.ReadAnswer{Code: a.Code, HighWatermark: a.HighWatermark, Start: a.Start, Epoch: r.epoch}, data)
		}
		if code != partition.OK {
			part.Served = replica.RefuseRead(&req, code)
			s.end()
			return
		}
		part.Served = replica.ServeRead(&req, part.view(), r.begin)
		s.begin()
	})
}
