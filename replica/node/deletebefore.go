package node

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// HandleDeleteBefore removes records of a partition that this broker leads. It is done when
// nobody who may lead has them: else another leader would have them back. Who asks is told
// to ask again if that takes longer than a call.
func (n *Node) HandleDeleteBefore(ctx context.Context, req partition.DeleteBeforeRequest) partition.DeleteBeforeResponse {
	r, role, code := n.leading(ctx, req.ID, log.NoEpoch)
	epoch, leader := n.leaderOf(req.ID)
	resp := partition.DeleteBeforeResponse{Code: code, Epoch: epoch, Leader: leader}
	if code != partition.OK {
		return resp
	}
	resp.Leader, resp.Epoch = n.self, role.epoch
	high := r.highWatermark()
	before := req.Before
	if before == -1 {
		before = high
	}
	switch {
	case high < role.begin:
		resp.Code = partition.NotAvailable
		return resp
	case before > high || before < 0:
		resp.Code = partition.OutOfRange
	default:
		if err := r.trim(before); err != nil {
			resp.Code, resp.Start = readCode(err), before
			return resp
		}
	}
	if resp.Start = r.log.Start(); resp.Code == partition.OK {
		resp.Code = r.removedByAll(ctx, resp.Start)
	}
	return resp
}

// removedByAll waits until all who may lead have removed what lies below start: they hear
// of it from their fetches, and tell when it is done.
func (r *Replica) removedByAll(ctx context.Context, start log.Offset) partition.Code {
	ctx, cancel := context.WithTimeout(ctx, r.node.cfg.CallTimeout)
	defer cancel()
	o := &removalOp{start: start, done: make(chan partition.Code, 1)}
	r.do(o)
	select {
	case code := <-o.done:
		return code
	case <-ctx.Done():
	}
	r.do(&forgetOp{o})
	return partition.NotAvailable
}

// A removalOp is a caller who waits until nobody who may lead has what lies below start.
type removalOp struct {
	start log.Offset
	done  chan partition.Code // room for one: the owner never waits for a caller
}

func (o *removalOp) perform(r *Replica, _ time.Time) {
	if r.leader == nil {
		o.done <- partition.NotLeader
		return
	}
	r.removals = append(r.removals, o) // and settle looks at it
}

// answerRemovals answers those whose records nobody has any more, or who wait in vain.
func (r *Replica) answerRemovals() {
	r.removals = slices.DeleteFunc(r.removals, func(o *removalOp) bool {
		code := partition.NotLeader
		if r.leader != nil {
			code = r.leader.RemovedCode(o.start)
		}
		if code == partition.NotAvailable {
			return false
		}
		o.done <- code
		return true
	})
}

// forgetOp forgets a caller who waits no more.
type forgetOp struct{ o *removalOp }

func (f *forgetOp) perform(r *Replica, _ time.Time) {
	r.removals = slices.DeleteFunc(r.removals, func(o *removalOp) bool { return o == f.o })
}
