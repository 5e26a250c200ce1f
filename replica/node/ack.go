package node

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// ack tells the leader, beside the fetches under way, how far r is flushed. Acks
// that come while one is on its way go together with the next. An ack of what was
// flushed with its append leaves with the fetch that is about to go.
func (f *fetcher) ack(r *Replica) {
	f.mu.Lock()
	if m := f.members[r]; f.n.eager && f.hot.follows && m != nil && m.pace.Lane() == replica.Hot {
		f.mu.Unlock()
		return
	}
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

// An ackRound is the acks that go together. Its memory is used again in the next.
type ackRound struct {
	exchange
	ctx     context.Context
	flushed []*Replica
	acked   []*Replica // those of them that req names
	request *requestOp
}

func (f *fetcher) sendAcks() {
	for f.n.ctx.Err() == nil {
		a := f.beginAck()
		if a == nil {
			return
		}
		f.sendAck(a)
	}
}

// beginAck takes over what is to be acked; nil: that is nothing, and the run is over.
func (f *fetcher) beginAck() *ackRound {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.ackRound
	if a == nil {
		a = &ackRound{request: newRequestOp(0)}
		f.ackRound = a
	}
	clear(a.flushed) // who is removed is not to be kept
	clear(a.acked)
	if f.acking = len(f.acks) > 0; !f.acking {
		if f.beside.limit != nil { // else the first one was taken back before it went
			f.beside.limit.Stop()
		}
		return nil
	}
	a.flushed, f.acks = f.acks, a.flushed[:0]
	a.ctx = f.begin(&f.beside, f.n.cfg.CallTimeout)
	return a
}

// sendAck sends one ack. Where it did no good a fetch has to say the same, and a
// cold partition may not have one for long.
func (f *fetcher) sendAck(a *ackRound) {
	f.askAcks(a)
	if len(a.acked) == 0 || a.req.BrokerEpoch == 0 {
		return
	}
	_, err := f.call(a.ctx, &a.exchange)
	if err != nil {
		f.n.logger.Debug("ack", "leader", f.leader, "error", err)
	}
	for i, r := range a.acked {
		if err != nil || a.resp.Partitions[i].Code != partition.OK || a.resp.Partitions[i].Diverging {
			f.heat(r)
		}
	}
}

func (f *fetcher) askAcks(a *ackRound) {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	a.acked = a.acked[:0]
	now := time.Now()
	said := a.req.Partitions[:0]
	for _, r := range a.flushed {
		if f.request(now, a.request, r) {
			a.acked, said = append(a.acked, r), append(said, a.request.asked.part)
		}
	}
	a.req = f.number(said)
}
