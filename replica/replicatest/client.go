package replicatest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
)

// An outcome is what a producer was told of a batch.
type outcome uint8

const (
	open    outcome = iota // not yet
	unknown                // it may be there, now or later, once
	refused                // it certainly never is
	acked
)

// An op is one batch that a client has sent, once.
type op struct {
	outcome outcome
	code    partition.Code
	acks    partition.Acks
	first   log.Offset
	count   log.Offset
	floor   log.Offset // behind all that was acknowledged before it was sent
	lineage int

	committed time.Duration // when it was first; 0: it never was
	records   []recordMark  // of a compacted topic
}

// A client produces to partitions, one batch at a time to each, and reads them.
type client struct {
	w       *World
	id      int
	rng     *rand.Rand
	busy    map[partition.ID]bool
	last    map[partition.ID]*op // once faults have ended
	written int
	pace    time.Duration
	builder log.Builder
	readers []*reader
}

// A reader goes through one partition.
type reader struct {
	c       *client
	id      partition.ID
	part    *part
	pos     log.Offset
	epoch   log.Epoch // of the leader that it has got the last records from
	lineage int
}

// create makes the topics, as soon as there are brokers to hold them, and then begins
// the clients and the faults.
func (w *World) create() {
	made := 0
	for _, t := range w.setup.topics {
		if _, ok := w.watch.table.Topic(t.Name); ok {
			made++
			continue
		}
		w.createTopic(t)
		break
	}
	if made < len(w.setup.topics) {
		w.at(5*time.Millisecond, nil, always, "setup", w.create)
		return
	}
	for n := range 1 + w.rng.IntN(3) {
		c := &client{w: w, id: n + 1, rng: rand.New(rand.NewPCG(w.opt.Seed, uint64(100+n))), busy: make(map[partition.ID]bool), last: make(map[partition.ID]*op)}
		c.pace = []time.Duration{5, 20, 20, 80}[w.rng.IntN(4)] * time.Millisecond
		w.clients = append(w.clients, c)
		for i, id := range w.watch.ids {
			c.follow(id, w.watch.order[i])
		}
		c.produce()
	}
	w.faults.begin()
}

// met has the clients read a partition that is new.
func (w *World) met(id partition.ID, p *part) {
	for _, c := range w.clients {
		c.follow(id, p)
	}
}

func (c *client) follow(id partition.ID, p *part) {
	r := &reader{c: c, id: id, part: p}
	c.readers = append(c.readers, r)
	r.again(0)
}

func (w *World) createTopic(t partition.TopicConfig) {
	active := 0
	for _, b := range w.watch.table.Brokers() {
		if !b.Fenced {
			active++
		}
	}
	if active < len(w.brokers) && t.Name != control.OffsetsTopic || active == 0 {
		return
	}
	for _, b := range w.brokers {
		if b.p != nil && b.p.leads {
			id := uuid(w.rng)
			w.call(nil, b.id, "create", awake, callTime, func(q *process, answer func(any)) {
				q.ask(func(token uint64) control.Input { return control.CreateTopic{Token: token, Config: t, Topic: id} }, answer)
			}, func(v any, err error) {
				r, ok := v.(partition.CreateTopicResponse)
				if ok && err == nil && r.Code != partition.OK && r.Code != partition.NotController && r.Code != partition.TopicExists { // asked twice
					w.fail("setup", "topic %+v: %v %s", t, r.Code, r.Text)
				}
			})
			return
		}
	}
}

// leader is whom some broker takes for a partition's leader.
func (c *client) leader(id partition.ID) (partition.BrokerID, log.Epoch) {
	b := c.w.brokers[c.rng.IntN(len(c.w.brokers))]
	if b.p == nil {
		return partition.NoBroker, log.NoEpoch
	}
	st, ok := b.p.table.Partition(id)
	if !ok {
		return partition.NoBroker, log.NoEpoch
	}
	return st.Leader, st.Epoch
}

// produce sends a batch now and then.
func (c *client) produce() {
	w := c.w
	if w.calm {
		return
	}
	wait := c.pace/2 + time.Duration(c.rng.ExpFloat64()*float64(c.pace))
	w.at(wait, nil, always, "client", c.produce)
	if len(w.watch.ids) == 0 {
		return
	}
	id := w.watch.ids[c.rng.IntN(len(w.watch.ids))]
	to, epoch := c.leader(id)
	if c.busy[id] || to == partition.NoBroker || c.w.setup.lulls && w.watch.parts[id].rests(c.rng) {
		return
	}
	c.send(id, to, epoch)
}

// rests reports whether nobody writes to a partition for now: it has its lulls, in which
// its followers grow cold.
func (p *part) rests(rng *rand.Rand) bool {
	now := p.w.now
	if now >= p.busyTo {
		p.restsTo = now + span(rng, 300*time.Millisecond, 2*time.Second)
		p.busyTo = p.restsTo + time.Duration(rng.ExpFloat64()*float64(time.Second))
	}
	return now < p.restsTo
}

// padding makes records of a compacted topic so long that its segments are soon full.
var padding [150]byte

// key draws from few that are often written, and more that seldom are: of these the newest
// record stays for long, in the midst of what compaction takes out.
func (c *client) key() byte {
	x := c.rng.Float64()
	return byte('a' + int(16*x*x*x))
}

// send sends a batch to a leader.
func (c *client) send(id partition.ID, to partition.BrokerID, epoch log.Epoch) *op {
	w, p := c.w, c.w.watch.parts[id]
	c.builder.Reset(make([]byte, 0, 256))
	count := 1 + c.rng.IntN(3)
	for i := range count {
		name := fmt.Appendf(nil, "%d of client %d, %d", c.written, c.id, i)
		value, headers := name, []log.Header(nil)
		if p.compacts { // full segments, and tombstones, of which none is like another
			value = append(name, padding[:]...)
			if c.rng.IntN(3) == 0 {
				value, headers = nil, []log.Header{{Key: "name", Value: value}}
			}
		}
		c.builder.Append(w.clock().Add(w.faults.skew).UnixMilli(), []byte{c.key()}, value, headers)
	}
	c.written++
	batch := c.builder.Build()
	o := &op{acks: partition.AcksAll, floor: p.acked, count: log.Offset(count), lineage: p.lineage}
	if c.rng.IntN(12) == 0 {
		o.acks = partition.AcksLeader
	}
	if p.compacts {
		o.records = marksOf(batch)
	}
	p.ops[sumOf(batch)] = o
	sum := sumOf(batch)
	req := partition.ProduceRequest{ID: id, Epoch: epoch, Acks: o.acks, TimeoutMs: 500}
	c.busy[id] = true
	w.call(nil, to, "produce", awake, 700*time.Millisecond, func(q *process, answer func(any)) {
		q.produce(req, batch, func(r partition.ProduceResponse) { answer(r) })
	}, func(v any, err error) {
		c.busy[id] = false
		r, ok := v.(partition.ProduceResponse)
		switch {
		case err != nil || !ok:
			o.outcome = unknown
			w.watch.counts.Unknown++
		case r.Code == partition.OK:
			o.outcome, o.first = acked, r.First
			if r.Epoch >= p.since {
				w.watch.ackedTo(p, o, sum)
			}
		case r.Code.OutcomeUnknown():
			o.outcome = unknown
			w.watch.counts.Unknown++
		default:
			o.outcome, o.code = refused, r.Code
			w.watch.refusedTo(p, o, sum)
		}
	})
	return o
}

// ackedTo sees a producer learn that its batch is there (I16, I20).
func (o *observer) ackedTo(p *part, a *op, sum uint64) {
	if a.acks != partition.AcksAll || p.gone {
		return
	}
	o.counts.Acked++
	at, there := p.sums[sum]
	switch {
	case !there:
		o.w.fail("I16", "a batch was acknowledged at %d of %s and is not committed there", a.first, p.name)
	case at != a.first:
		o.w.fail("I16", "a batch was acknowledged at %d of %s and is committed at %d", a.first, p.name, at)
	case a.lineage == p.lineage && a.first < a.floor:
		o.w.fail("I20", "a batch was acknowledged at %d of %s; before it was sent another was behind that, below %d", a.first, p.name, a.floor)
	}
	p.acked = max(p.acked, a.first+a.count)
}

// refusedTo sees a producer learn that its batch never is there.
func (o *observer) refusedTo(p *part, a *op, sum uint64) {
	o.counts.Refused++
	if at, there := p.sums[sum]; there {
		o.w.fail("I16", "a batch was refused with %v, and is committed at %d of %s", a.code, at, p.name)
	}
}

func (r *reader) again(after time.Duration) {
	r.c.w.at(after, nil, always, "reader", r.read)
}

func (r *reader) read() {
	w := r.c.w
	if r.part.gone {
		r.c.readers = slices.DeleteFunc(r.c.readers, func(o *reader) bool { return o == r })
		return
	}
	if r.lineage != r.part.lineage {
		r.lineage, r.pos = r.part.lineage, min(r.pos, r.part.hw)
	}
	to, epoch := r.c.leader(r.id)
	if to == partition.NoBroker {
		r.again(span(r.c.rng, 20*time.Millisecond, 100*time.Millisecond))
		return
	}
	type got struct {
		answer partition.ReadAnswer
		data   []byte
	}
	lineage := r.lineage
	req := partition.ReadPartition{ID: r.id, Epoch: epoch, From: r.pos, MaxBytes: partitionBytes}
	w.call(nil, to, "read", awake, fetchWait+callTime, func(q *process, answer func(any)) {
		q.read(req, func(a partition.ReadAnswer, data []byte) { answer(got{a, data}) })
	}, func(v any, err error) {
		g, ok := v.(got)
		pause := span(r.c.rng, 20*time.Millisecond, 100*time.Millisecond)
		if err == nil && ok && lineage == r.part.lineage && !r.part.gone && g.answer.Epoch >= r.part.since {
			switch {
			case g.answer.Code == partition.OK && len(g.data) > 0:
				r.take(g.data)
				r.epoch = g.answer.Epoch
				pause = span(r.c.rng, 0, 10*time.Millisecond)
			case g.answer.Code == partition.OutOfRange:
				r.outside(g.answer)
			}
		}
		r.again(pause)
	})
}

// outside deals with an answer that there is nothing where the reader stands: retention may
// have been faster, and only that (I18, I19). A leader of before the one that it has read
// from last may have less.
func (r *reader) outside(a partition.ReadAnswer) {
	p := r.part
	switch {
	case r.pos < a.Start && a.Start <= p.start:
		r.pos = a.Start
	case r.pos < a.Start:
		r.c.w.fail("I19", "a reader of %s at %d is told that it begins at %d; it begins at %d", p.name, r.pos, a.Start, p.start)
	case a.Epoch >= r.epoch:
		r.c.w.fail("I18", "a reader of %s has read up to %d in epoch %d, and is told in epoch %d that there is nothing", p.name, r.pos, r.epoch, a.Epoch)
	}
}

// take holds what was read against what is committed (I18, I19).
func (r *reader) take(data []byte) {
	w, p := r.c.w, r.part
	for len(data) > 0 {
		b, rest, err := log.SplitBatch(data)
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			w.fail("I18", "a reader of %s gets what is no batch: %v", p.name, err)
			return
		}
		i := p.find(b.First())
		switch {
		case b.First() > r.pos || b.Next() <= r.pos:
			w.fail("I19", "a reader of %s at %d gets [%d, %d)", p.name, r.pos, b.First(), b.Next())
		case i < 0 || i >= len(p.committed):
			w.fail("I18", "a reader of %s gets offset %d, which is not committed", p.name, b.First())
		case p.committed[i].is(b):
		case p.compacts:
			if _, err := p.whole(b); err != nil {
				w.fail("I33", "a reader of %s: %v", p.name, err)
			}
		default:
			w.fail("I18", "a reader of %s gets another batch at %d than is committed", p.name, b.First())
		}
		if w.err != nil {
			return
		}
		r.pos, data = b.Next(), rest
		w.watch.counts.Read += b.Count()
	}
	p.read = max(p.read, r.pos)
}
