package node

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
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
	s := n.serve(req.From, len(req.Partitions), int(req.MaxBytes))
	defer n.release(s)
	s.number = req.Number()
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
		data = s.wait(ctx, time.Duration(req.MaxWaitMs)*time.Millisecond, int(req.MinBytes))
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
	*at = served{from: p.Fetch, max: int(p.MaxBytes), answer: replica.FetchAnswer{ID: p.ID, Code: partition.UnknownPartition}}
	if r == nil {
		return
	}
	o := &s.fetch
	if o.done == nil {
		o.done = make(chan struct{}, 1)
	}
	o.from, o.number, o.part = req.From, s.number, *p
	r.await(now, o, o.done)
	at.r, at.role = r, o.role
	at.answer, at.removed = o.answer, p.Removed
	at.read = o.read && p.MaxBytes > 0
	at.stale, at.news = o.stale, o.news
}

// A fetchedOp has a leader judge a fetch. It may be used again once done.
type fetchedOp struct {
	from   partition.BrokerID
	number replica.FetchNumber
	part   replica.FetchPartition
	answer replica.FetchAnswer
	read   bool
	stale  bool
	news   bool
	role   *role // at the verdict
	done   chan struct{}
}

func (o *fetchedOp) perform(r *Replica, now time.Time) {
	o.read, o.stale, o.news = false, false, false
	o.answer, o.role = replica.FetchAnswer{ID: r.id, Code: partition.NotLeader}, r.standing.Load()
	if r.lost.Load() || r.state == nil {
		return
	}
	if r.leader == nil {
		o.answer = replica.NotLeading(r.state.Epoch, o.part)
		return
	}
	e, end, known := r.log.EndOf(o.part.LastEpoch)
	out := r.step(now, replica.Fetched{
		From: o.from, BrokerEpoch: o.number.Broker, Sequence: o.number.Sequence, Partition: o.part,
		LogEpoch: e, LogEnd: end, Known: known,
	})
	v := out.Fetch
	if v == nil {
		return
	}
	o.answer = v.Answer(r.id)
	o.read, o.stale, o.news = v.Read, v.Stale, v.News
	if o.part.MaxBytes != 0 && (v.Read || v.Diverging) {
		r.unparkOlder(o.from, o.number)
	}
}

// A served is one partition of a request that is being answered.
type served struct {
	r       *Replica
	role    *role // that it was admitted in
	from    log.Offset
	max     int
	removed log.Offset // below which tombstones may be missing from a follower's log
	read    bool       // there may be records for the asker, now or later
	stale   bool
	news    bool // a follower does not know the high watermark yet
	answer  replica.FetchAnswer
	parked  *parked
	entry   parked // for parked to point at
}

// settled reports whether the partition has an answer that must not wait.
func (s *served) settled() bool {
	return s.answer.Code != partition.OK || s.answer.Diverging || s.stale
}

// A serving is one request of a follower or a reader under way.
type serving struct {
	n        *Node
	follower partition.BrokerID  // NoBroker: a reader, who sees what is committed
	number   replica.FetchNumber // a follower's
	parts    []served
	budget   int
	data     [][]byte // what was gathered, by partition
	fetch    fetchedOp
	bell     bell
}

// serve returns a serving to be given back by release, without its parts: of the node's
// own, for the reason that produceOp tells.
func (n *Node) serve(follower partition.BrokerID, parts, budget int) *serving {
	s, _ := n.servings.Get().(*serving)
	if s == nil {
		s = &serving{n: n}
	}
	s.follower, s.budget = follower, budget
	s.parts = slices.Grow(s.parts[:0], parts)[:parts]
	return s
}

func (n *Node) release(s *serving) {
	clear(s.parts)
	s.data = nil
	n.servings.Put(s)
}

// wait gathers what there is, parks while that is nothing, and gathers again.
func (s *serving) wait(ctx context.Context, limit time.Duration, least int) [][]byte {
	least = min(max(least, 1), max(s.budget, 1))
	data, bytes, told := s.gather(false)
	if told || bytes >= least || limit <= 0 {
		return data
	}
	s.bell.hang(limit)
	defer s.bell.take()
	defer s.unpark()
	for i := range s.parts {
		if s.parts[i].news {
			s.bell.soon()
		}
	}
	for {
		s.park()
		select {
		case <-s.bell.wake:
		case <-s.bell.limit.C:
			data, _, _ = s.gather(true)
			return data
		case <-ctx.Done():
			return data
		}
		if data, bytes, told = s.gather(true); told || bytes >= least {
			return data
		}
	}
}

// gather reads what the asker may have. told reports that there is something to
// say beside records: an error, a divergence, a high watermark that has moved.
// again says that the verdicts are those of an earlier moment: they hold while
// the same leader epoch lasts, since a leader never cuts its log.
func (s *serving) gather(again bool) (data [][]byte, bytes int, told bool) {
	if s.data == nil {
		s.data = make([][]byte, len(s.parts)) // the asker keeps it
	}
	data = s.data
	for i := range s.parts {
		data[i] = nil
		p := &s.parts[i]
		if again && p.r != nil && !p.settled() {
			told = s.refresh(p) || told
		}
		told = told || p.settled()
		if p.settled() || !p.read || bytes >= s.budget && bytes > 0 {
			continue
		}
		upTo := p.answer.End
		if s.follower == partition.NoBroker {
			upTo = p.answer.HighWatermark
		}
		if p.from >= upTo {
			continue
		}
		b, err := p.r.log.Read(p.from, upTo, min(p.max, max(s.budget-bytes, 1)))
		if err != nil {
			if p.r.standing.Load() != p.role {
				p.answer.Code = partition.NotLeader // the log is another's by now
			} else if p.answer.Code = p.r.readFault(err); p.answer.Code != partition.OutOfRange {
				s.n.logger.Error("read", "partition", p.r.name(), "offset", p.from, "error", err)
			}
			told = true
			continue
		}
		if s.tombstonesGone(p) {
			told = true
			continue
		}
		data[i] = b
		bytes += len(b)
	}
	return data, bytes, told
}

// tombstonesGone tells whether what was read for a follower may lack tombstones that
// it has not seen, because of a compaction that has come since the leader judged it.
func (s *serving) tombstonesGone(p *served) bool {
	removed := p.r.log.RemovedBelow()
	if s.follower == partition.NoBroker || !replica.TombstonesGone(p.from, p.removed, removed) {
		return false
	}
	p.answer.Code, p.answer.Removed = partition.SnapshotRequired, removed
	return true
}

// refresh takes the snapshots anew, before the read. It reports whether a
// follower has to be told of them.
func (s *serving) refresh(p *served) bool {
	if p.r.standing.Load() != p.role {
		p.answer.Code = partition.NotLeader
		return true
	}
	high, end, start := p.r.highWatermark(), p.r.log.End(), p.r.log.Start()
	moved := high > p.answer.HighWatermark || start > p.answer.Start
	p.answer.HighWatermark, p.answer.End, p.answer.Start = high, end, start
	return moved && s.follower != partition.NoBroker
}

func (s *serving) park() {
	for i := range s.parts {
		p := &s.parts[i]
		if p.r == nil || p.settled() || !p.read {
			continue
		}
		s.unparkOne(p)
		p.entry = parked{bell: &s.bell, role: p.role, Parked: replica.Parked{
			Follower: s.follower, Number: s.number, High: p.answer.HighWatermark, End: p.answer.End, Start: p.answer.Start,
		}}
		p.parked = &p.entry
		if s.follower == partition.NoBroker {
			p.parked.High = max(p.parked.High, p.from)
		} else {
			p.parked.End = max(p.parked.End, p.from)
		}
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
		resp.Partitions = append(resp.Partitions, s.parts[i].answer)
	}
}
