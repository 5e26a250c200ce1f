package node

import (
	"context"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// HandleRead answers a reader of committed records. It returns soon after ctx has
// ended.
func (n *Node) HandleRead(ctx context.Context, req partition.ReadRequest) (partition.ReadResponse, [][]byte) {
	s := n.serve(replica.Serving{Budget: int(req.MaxBytes), Least: int(req.MinBytes)}, len(req.Partitions))
	defer n.release(s)
	for i := range req.Partitions {
		s.parts[i] = n.admit(ctx, &req.Partitions[i])
	}
	data := s.wait(ctx, time.Duration(req.MaxWaitMs)*time.Millisecond)
	resp := partition.ReadResponse{Partitions: make([]partition.ReadAnswer, len(s.parts))}
	for i := range s.parts {
		a := s.parts[i].Answer
		epoch, leader := n.leaderOf(req.Partitions[i].ID)
		resp.Partitions[i] = partition.ReadAnswer{
			Code: a.Code, HighWatermark: a.HighWatermark, Start: a.Start, Epoch: epoch, Leader: leader,
		}
	}
	return resp, data
}

// admit decides whether this broker may serve a reader at that offset.
func (n *Node) admit(ctx context.Context, p *partition.ReadPartition) served {
	r, role, code := n.leading(ctx, p.ID, p.Epoch)
	if code != partition.OK {
		return served{Served: replica.RefuseRead(p, code)}
	}
	return served{Served: replica.ServeRead(p, r.view(role), role.begin), r: r, role: role}
}

// HandleInfo answers with the offsets of a partition that this broker leads, and with
// what is wrong with its copy of it.
func (n *Node) HandleInfo(ctx context.Context, req partition.InfoRequest) partition.InfoResponse {
	r, role, code := n.leading(ctx, req.ID, log.NoEpoch)
	epoch, leader := n.leaderOf(req.ID)
	resp := partition.InfoResponse{Code: code, Epoch: epoch, Leader: leader, Damage: n.damageOf(req.ID)}
	if code != partition.OK {
		return resp
	}
	resp.Leader = n.self
	resp.Epoch, resp.Start, resp.HighWatermark, resp.End = role.epoch, r.log.Start(), r.highWatermark(), r.log.End()
	if resp.HighWatermark < role.begin {
		resp.Code = partition.NotAvailable
	}
	o := &followersOp{done: make(chan struct{})}
	r.do(o)
	<-o.done
	resp.Followers = o.followers
	return resp
}

// HandleFindTime answers with the first committed record at or after a time.
func (n *Node) HandleFindTime(ctx context.Context, req partition.FindTimeRequest) partition.FindTimeResponse {
	r, role, code := n.leading(ctx, req.ID, log.NoEpoch)
	epoch, leader := n.leaderOf(req.ID)
	resp := partition.FindTimeResponse{Code: code, Epoch: epoch, Leader: leader}
	if code != partition.OK {
		return resp
	}
	resp.Leader, resp.Epoch, resp.Offset = n.self, role.epoch, r.highWatermark()
	if resp.Offset < role.begin {
		resp.Code = partition.NotAvailable
		return resp
	}
	off, found, err := r.log.OffsetAt(req.Time, resp.Offset)
	switch {
	case err != nil:
		resp.Code = r.readFault(err)
	case found:
		resp.Found, resp.Offset = true, off
	}
	return resp
}

// followersOp asks a leader how far its followers have come.
type followersOp struct {
	followers []partition.FollowerAnswer
	done      chan struct{}
}

func (o *followersOp) perform(r *Replica, _ time.Time) {
	defer close(o.done)
	if r.leader == nil {
		return
	}
	for _, f := range r.leader.Followers() {
		o.followers = append(o.followers, partition.FollowerAnswer{ID: f.ID, Held: f.Ack})
	}
}

// newsPatience is how long a request waits for metadata that its sender has and
// this broker has not.
const newsPatience = 100 * time.Millisecond

// leading finds the replica of a partition that this broker leads, and its role.
// Metadata that has been applied and not yet been acted on is waited for, and for a
// moment that of which the asker knows more.
func (n *Node) leading(ctx context.Context, id partition.ID, epoch log.Epoch) (*Replica, *role, partition.Code) {
	var patience <-chan time.Time
	for {
		at := n.look(id)
		wait, code := at.settled, partition.NotLeader
		switch {
		case at.st == nil:
			wait, code = at.changed, partition.UnknownPartition
		case epoch > at.st.Epoch:
			wait, code = at.changed, partition.UnknownEpoch
		case at.r != nil:
			s := at.r.standing.Load()
			switch leads := s.leads && s.epoch == at.st.Epoch; {
			case leads && epoch != log.NoEpoch && epoch < s.epoch:
				return nil, nil, partition.FencedEpoch
			case leads:
				return at.r, s, partition.OK
			}
		}
		if wait == nil {
			return nil, nil, code
		}
		if code != partition.NotLeader && patience == nil {
			timer := time.NewTimer(newsPatience)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-wait:
		case <-patience:
			return nil, nil, code
		case <-ctx.Done():
			return nil, nil, code
		case <-n.ctx.Done(): // nobody settles anything any more
			return nil, nil, code
		}
	}
}

// refusal is the answer to a producer that was turned away: who leads, so far as
// this broker knows.
func (n *Node) refusal(id partition.ID, code partition.Code) partition.ProduceResponse {
	epoch, leader := n.leaderOf(id)
	return partition.ProduceResponse{Code: code, Epoch: epoch, Leader: leader}
}

func (n *Node) leaderOf(id partition.ID) (log.Epoch, partition.BrokerID) {
	if st, ok := n.State(id); ok {
		return st.Epoch, st.Leader
	}
	return log.NoEpoch, partition.NoBroker
}
