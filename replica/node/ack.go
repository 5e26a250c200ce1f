package node

import (
	"context"
	"slices"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// ack tells the leader, beside the fetches under way, how far r is flushed. Acks
// that come while one is on its way go together with the next.
func (f *fetcher) ack(r *Replica) {
	f.mu.Lock()
	if !slices.Contains(f.acks, r) {
		f.acks = append(f.acks, r)
	}
	start := !f.acking
	f.acking = true
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.sendAcks)
	}
}

func (f *fetcher) sendAcks() {
	for f.n.ctx.Err() == nil {
		f.mu.Lock()
		parts := f.acks
		f.acks = nil
		f.acking = len(parts) > 0
		f.mu.Unlock()
		if len(parts) == 0 {
			return
		}
		f.sendAck(parts)
	}
}

// sendAck sends one ack. Where it did no good a fetch has to say the same, and a
// cold partition may not have one for long.
func (f *fetcher) sendAck(parts []*Replica) {
	req, asked := f.askAcks(parts)
	if len(asked) == 0 || req.BrokerEpoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(f.n.ctx, f.n.cfg.CallTimeout)
	defer cancel()
	resp, _, err := f.call(ctx, req)
	if err != nil {
		f.n.logger.Debug("ack", "leader", f.leader, "error", err)
	}
	for i, r := range asked {
		if err != nil || resp.Partitions[i].Code != partition.OK || resp.Partitions[i].Diverging {
			f.heat(r)
		}
	}
}

func (f *fetcher) askAcks(parts []*Replica) (replica.FetchRequest, []*Replica) {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	o := newRequestOp(0)
	acked := make([]*Replica, 0, len(parts))
	said := make([]replica.FetchPartition, 0, len(parts))
	for _, r := range parts {
		if f.request(o, r) {
			acked, said = append(acked, r), append(said, o.asked.part)
		}
	}
	return f.number(said), acked
}
