package node

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/transport/wire"
)

// An exchange is a follower's fetch and its answer. Its memory serves again.
type exchange struct {
	req  replica.FetchRequest
	resp replica.FetchResponse
	head wire.Slab // of what is sent: the request, or the answer
}

// handleFetch answers a follower's fetch. It returns soon after ctx has ended.
func (n *Node) handleFetch(ctx context.Context, m Message) (Message, error) {
	x, _ := n.exchanges.Get().(*exchange)
	if x == nil {
		x = new(exchange)
	}
	defer n.exchanges.Put(x)
	if err := x.req.Decode(m.Head); err != nil {
		return Message{}, err
	}
	data := n.fetch(ctx, &x.req, &x.resp)
	w := x.head.Writer()
	x.resp.Encode(&w)
	return Message{Kind: m.Kind, Head: x.head.Take(&w), Data: data}, nil
}

// fetch answers req in resp.
func (n *Node) fetch(ctx context.Context, req *replica.FetchRequest, resp *replica.FetchResponse) [][]byte {
	*resp = replica.FetchResponse{Partitions: resp.Partitions[:0]}
	if b, ok := n.Broker(req.From); ok && req.BrokerEpoch < b.Epoch {
		resp.Code = partition.StaleBroker
		return nil
	}
	if req.Cold {
		return n.fetchCold(ctx, req, resp)
	}
	s := n.serve(replica.Serving{
		Follower: req.From, Number: req.Number(), Budget: int(req.MaxBytes), Least: int(req.MinBytes),
	}, len(req.Partitions))
	defer n.release(s)
	ackOnly := true
	if !n.find(req.Partitions, s.parts) {
		n.catchUp(ctx, req.Partitions)
		n.find(req.Partitions, s.parts)
	}
	now := time.Now()
	for i := range req.Partitions {
		s.fetched(now, &s.parts[i], req, &req.Partitions[i])
		ackOnly = ackOnly && req.Partitions[i].MaxBytes == 0
	}
	var data [][]byte
	if !ackOnly {
		data = s.wait(ctx, time.Duration(req.MaxWaitMs)*time.Millisecond)
	}
	s.tell(resp)
	return data
}

// find gives each place the replica that its part of a fetch asks for, and reports
// whether all have the roles of which the follower knows.
func (n *Node) find(parts []replica.FetchPartition, places []served) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	all := true
	for i := range parts {
		r := n.replicas[parts[i].ID]
		places[i].r = r
		all = all && r != nil && r.standing.Load().epoch >= parts[i].Epoch
	}
	return all
}

// catchUp waits, for a moment, until this broker has taken the roles that a
// follower knows of: it may have heard of them first, and what it would be
// answered makes it wait for longer.
func (n *Node) catchUp(ctx context.Context, parts []replica.FetchPartition) {
	var patience <-chan time.Time
	for i := range parts {
		p := &parts[i]
		for {
			at := n.look(p.ID)
			if at.r != nil && at.r.standing.Load().epoch >= p.Epoch {
				break
			}
			if patience == nil {
				timer := time.NewTimer(newsPatience)
				defer timer.Stop()
				patience = timer.C
			}
			wait := at.changed
			if at.settled != nil {
				wait = at.settled
			}
			select {
			case <-wait:
			case <-patience:
				return
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
		}
	}
}

// fetched hands one partition's part of a fetch to its leader machine, which is that
// of the replica that has its place.
func (s *serving) fetched(now time.Time, at *served, req *replica.FetchRequest, p *replica.FetchPartition) {
	r := at.r
	*at = served{Served: replica.ServeFetch(p, partition.UnknownPartition)}
	if r == nil {
		return
	}
	o := &s.fetch
	if o.done == nil {
		o.done = make(chan struct{}, 1)
	}
	o.from, o.number, o.part, o.served = req.From, s.Number, *p, &at.Served
	r.await(now, o, o.done)
	at.r, at.role = r, o.role
}

// A fetchedOp has a leader judge a fetch. It may be used again once done.
type fetchedOp struct {
	from   partition.BrokerID
	number replica.FetchNumber
	part   replica.FetchPartition
	served *replica.Served
	role   *role // at the verdict
	done   chan struct{}
}

func (o *fetchedOp) perform(r *Replica, now time.Time) {
	o.role = r.standing.Load()
	o.served.Answer.Code = partition.NotLeader
	if r.lost.Load() || r.state == nil {
		return
	}
	if r.leader == nil {
		o.served.Answer = replica.NotLeading(r.state.Epoch, o.part)
		return
	}
	e, end, known := r.log.EndOf(o.part.LastEpoch)
	out := r.step(now, replica.Fetched{
		From: o.from, BrokerEpoch: o.number.Broker, Sequence: o.number.Sequence, Partition: o.part,
		LogEpoch: e, LogEnd: end, Known: known, LogStart: r.log.Start(),
	})
	v := out.Fetch
	if v == nil {
		return
	}
	o.served.Judge(v)
	if o.part.MaxBytes != 0 && (v.Read || v.Diverging) {
		r.unparkOlder(o.from, o.number)
	}
}

// A served is one partition of a request that is being answered.
type served struct {
	replica.Served
	r      *Replica // nil: there is none
	role   *role    // that it was admitted in
	parked *parked
	entry  parked // for parked to point at
}

// view is what the replica says of itself, in the role in which it was asked.
func (r *Replica) view(in *role) replica.View {
	return replica.View{Leads: r.standing.Load() == in, Start: r.log.Start(), High: r.highWatermark(), End: r.log.End()}
}

// A serving is one request of a follower or a reader under way.
type serving struct {
	replica.Serving
	n     *Node
	parts []served
	data  [][]byte // what was gathered, by partition; the asker keeps it
	fetch fetchedOp
	bell  bell
}

// serve returns a serving to be given back by release, without its parts: of the node's
// own, for the reason that produceOp tells.
func (n *Node) serve(request replica.Serving, parts int) *serving {
	s, _ := n.servings.Get().(*serving)
	if s == nil {
		s = &serving{n: n}
	}
	s.Serving = request
	s.parts = slices.Grow(s.parts[:0], parts)[:parts]
	return s
}

func (n *Node) release(s *serving) {
	clear(s.parts)
	s.data = nil
	n.servings.Put(s)
}

// wait gathers what there is, parks while that is not enough, and gathers again.
func (s *serving) wait(ctx context.Context, limit time.Duration) [][]byte {
	if s.gather(false) || limit <= 0 {
		return s.data
	}
	s.bell.hang(limit)
	defer s.bell.take()
	defer s.unpark()
	for i := range s.parts {
		if s.parts[i].News {
			s.bell.soon()
		}
	}
	for {
		s.park()
		select {
		case <-s.bell.wake:
		case <-s.bell.limit.C:
			s.gather(true)
			return s.data
		case <-ctx.Done():
			return s.data
		}
		if s.gather(true) {
			return s.data
		}
	}
}

// gather reads what the asker may have, and reports whether that is to be told now.
// again says that the partitions were looked at some time ago.
func (s *serving) gather(again bool) bool {
	if s.data == nil {
		s.data = make([][]byte, len(s.parts))
	}
	s.Begin()
	for i := range s.parts {
		p := &s.parts[i]
		s.data[i] = nil
		if again && p.r != nil {
			s.Refresh(&p.Served, p.r.view(p.role))
		}
		upTo, limit, ok := s.Next(&p.Served)
		if !ok {
			continue
		}
		b, err := p.r.log.Read(p.From, upTo, limit)
		if err != nil {
			s.Fail(&p.Served, p.readFault(err))
		} else if s.Take(&p.Served, len(b), p.leads(), p.r.log.RemovedBelow()) {
			s.data[i] = b
		}
	}
	return s.Enough()
}

// leads reports whether the replica is still in the role in which it was asked.
func (p *served) leads() bool { return p.r.standing.Load() == p.role }

// readFault notes that a read has failed, and returns what the asker is told.
func (p *served) readFault(err error) partition.Code {
	if !p.leads() {
		return partition.NotLeader
	}
	code := p.r.readFault(err)
	if code != partition.OutOfRange {
		p.r.node.logger.Error("read", "partition", p.r.name(), "offset", p.From, "error", err)
	}
	return code
}

func (s *serving) park() {
	for i := range s.parts {
		p := &s.parts[i]
		at, ok := s.Parked(&p.Served)
		if !ok {
			continue
		}
		s.unparkOne(p)
		p.entry = parked{bell: &s.bell, role: p.role, Parked: at}
		p.parked = &p.entry
		p.r.park(p.parked)
	}
}

func (s *serving) unpark() {
	for i := range s.parts {
		s.unparkOne(&s.parts[i])
	}
}

func (s *serving) unparkOne(p *served) {
	if p.parked != nil {
		p.r.unpark(p.parked)
		p.parked = nil
	}
}

// tell puts the answers into resp.
func (s *serving) tell(resp *replica.FetchResponse) {
	for i := range s.parts {
		resp.Partitions = append(resp.Partitions, s.parts[i].Answer)
	}
}
