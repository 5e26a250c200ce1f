package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Config says how a controller judges. The zero value is usable.
type Config struct {
	// Session is how long a broker may be silent before it is fenced.
	//
	// Zero means 3 s.
	Session time.Duration

	// InMemory says that topics are kept in memory, which bounds their default size.
	//
	// Zero: on disk.
	InMemory bool

	// Voters is how many voters the quorum has: a topic's default number of replicas
	// counts them as brokers, for they will be.
	//
	// Zero means 1.
	Voters int
}

const (
	defaultSession = 3 * time.Second

	// After an entry that changed nothing, or was dropped, nothing is proposed for so
	// long: what the controller and the table disagree about must not fill the
	// metadata log, nor a quorum that takes nothing keep the controller busy.
	stallTime = 100 * time.Millisecond

	// How often a request is proposed before it is given up.
	maxTries = 3

	// An entry takes no further record once it is about this big, so that it fits
	// a batch of the metadata log.
	maxEntryBytes = 256 << 10
)

// A Controller is the deciding half of the controller. One is made with each
// table, and steps through all the reigns of its voter.
//
// A Controller is not safe for concurrent use, and the table must not change
// during a Step.
type Controller struct {
	cfg   Config
	table *partition.Table

	leading bool
	look    bool      // something has been applied, or may be computed anew
	stalled time.Time // nothing is proposed before
	flight  *flight   // the proposal under way, or nil

	waiting   []request                        // in order of arrival
	seen      map[partition.BrokerID]time.Time // the last sign of life of each unfenced broker
	condemned map[partition.BrokerID]sentence  // to be fenced, until they are
	dirty     map[partition.ID]struct{}        // partitions to look at
	ballots   map[partition.ID]*ballot         // partitions that wait for an election by their logs

	heard map[partition.BrokerID]log.Offset // how much each unfenced broker has applied, by its own word
	stops map[partition.BrokerID]parting    // of each stopping broker that leads nothing that others could
}

// A parting is what a broker that stops leads, because nobody else can, and since when it
// is no more than that.
type parting struct {
	leads int
	since log.Offset
}

// A flight is a proposal that is neither applied nor dropped.
type flight struct {
	records  int
	dirty    []partition.ID // whose changes it holds
	requests []request      // whose records it holds
	events   []foreseen
}

// A sentence is why one incarnation of a broker will be fenced.
type sentence struct {
	epoch partition.BrokerEpoch
	why   EventKind
}

// New returns a controller that does not lead. It reads the table and never changes it.
func New(cfg Config, table *partition.Table) *Controller {
	if cfg.Session <= 0 {
		cfg.Session = defaultSession
	}
	cfg.Voters = max(cfg.Voters, 1)
	c := &Controller{cfg: cfg, table: table}
	c.forget()
	return c
}

// forget drops all that a reign has gathered: the table is all that outlives it.
func (c *Controller) forget() {
	c.stalled, c.flight, c.waiting, c.look = time.Time{}, nil, nil, false
	c.seen = make(map[partition.BrokerID]time.Time)
	c.condemned = make(map[partition.BrokerID]sentence)
	c.dirty = make(map[partition.ID]struct{})
	c.ballots = make(map[partition.ID]*ballot)
	c.heard = make(map[partition.BrokerID]log.Offset)
	c.stops = make(map[partition.BrokerID]parting)
}

// Leading reports whether the controller is in office.
func (c *Controller) Leading() bool { return c.leading }

// Step takes one input and returns what must be done about it.
func (c *Controller) Step(now time.Time, in Input) Output {
	var out Output
	switch in := in.(type) {
	case Lead:
		c.lead(now)
	case Resign:
		c.resign(&out)
	case Applied:
		c.applied(now, in, &out)
	case Dropped:
		c.dropped(now)
	case Tick:
		c.tick(now)
	case Broken:
		c.condemn(in.Broker, in.Epoch, FencedBroken)
	case LogEnds:
		c.logEnds(in)
	case Register:
		c.take(&register{in}, &out)
	case Heartbeat:
		c.heartbeat(now, in, &out)
	case Alter:
		c.take(&alter{in: in}, &out)
	case Discard:
		c.take(&discard{in: in}, &out)
	case CreateTopic:
		c.take(&create{in: in}, &out)
	default:
		c.administer(in, &out)
	}
	if c.leading {
		c.plan(now, &out)
		c.ask(now, &out)
		out.NextTick = c.nextTick()
	}
	return out
}

// administer takes what an operator asks for.
func (c *Controller) administer(in Input, out *Output) {
	switch in := in.(type) {
	case DeleteTopic:
		c.take(&deleteTopic{wish: wish{token: in.Token, seen: in.Seen}, in: in}, out)
	case AddPartitions:
		c.take(&addPartitions{wish: wish{token: in.Token, seen: in.Seen}, in: in}, out)
	case AlterTopic:
		c.take(&alterTopic{wish: wish{token: in.Token, seen: in.Seen}, in: in}, out)
	case Reassign:
		c.take(&reassign{wish: wish{token: in.Token, seen: in.Seen}, in: in}, out)
	case Transfer:
		c.take(&transfer{wish: wish{token: in.Token, seen: in.Seen}, in: in}, out)
	case ElectUnclean:
		c.take(&elect{wish: wish{token: in.Token, seen: in.Seen}, in: in}, out)
	default:
		panic(fmt.Sprintf("control: input of unknown type %T", in))
	}
}

func (c *Controller) lead(now time.Time) {
	c.forget()
	c.leading, c.look = true, true
	for _, b := range c.table.Brokers() {
		c.watch(now, b.ID)
	}
	for id := range c.table.All() {
		c.soil(id)
	}
}

func (c *Controller) resign(out *Output) {
	for _, r := range c.waiting {
		out.Replies = append(out.Replies, r.answer(partition.NotController))
	}
	c.forget()
	c.leading = false
}

// take queues a request; a broker that does not lead sends it on its way.
func (c *Controller) take(r request, out *Output) {
	if !c.leading {
		out.Replies = append(out.Replies, r.answer(partition.NotController))
		return
	}
	c.waiting = append(c.waiting, r)
}

// applied takes notice of an entry. While this controller leads, nobody else's
// entry is applied; but nothing here depends on that, for requests are judged
// by what the table says afterwards.
func (c *Controller) applied(now time.Time, in Applied, out *Output) {
	if !c.leading {
		return
	}
	for _, id := range in.Changes.Brokers {
		c.watch(now, id)
		c.soil(c.table.PartitionsOf(id)...)
	}
	c.soil(in.Changes.Partitions...)
	c.look = true
	if c.flight == nil || len(in.Changes.Applied) != c.flight.records {
		return
	}
	c.soil(c.flight.dirty...) // a record that was skipped is computed anew
	for _, r := range c.flight.requests {
		r.tried()
	}
	for _, e := range c.flight.events {
		if in.Changes.Applied[e.record] {
			out.Events = append(out.Events, e.Event)
		}
	}
	c.flight, c.stalled = nil, time.Time{}
	if !slices.Contains(in.Changes.Applied, true) {
		c.stalled = now.Add(stallTime)
	}
}

func (c *Controller) dropped(now time.Time) {
	if c.flight == nil {
		return
	}
	c.soil(c.flight.dirty...)
	c.flight, c.look = nil, true
	c.stalled = now.Add(stallTime)
}

func (c *Controller) tick(now time.Time) {
	for _, b := range c.table.Brokers() {
		if seen, ok := c.seen[b.ID]; ok && now.Sub(seen) >= c.cfg.Session {
			c.condemn(b.ID, b.Epoch, FencedSilent)
		}
	}
}

// watch begins a broker's session if it is unfenced and has none, and ends the
// session of a fenced one.
func (c *Controller) watch(now time.Time, id partition.BrokerID) {
	b, ok := c.table.Broker(id)
	if !ok || b.Fenced {
		delete(c.seen, id)
		delete(c.heard, id)
		delete(c.stops, id)
		return
	}
	if _, ok := c.seen[id]; !ok {
		c.seen[id] = now
	}
}

// heartbeat counts one of the present incarnation as a sign of life.
func (c *Controller) heartbeat(now time.Time, in Heartbeat, out *Output) {
	b, ok := c.table.Broker(in.Broker)
	if _, watched := c.seen[in.Broker]; ok && watched && b.Epoch == in.Epoch {
		c.seen[in.Broker] = now
		c.heard[in.Broker] = in.Applied
	}
	r := &heartbeat{in: in}
	if reply, done := r.answerNow(c); c.leading && done {
		out.Replies = append(out.Replies, reply)
		return
	}
	c.take(r, out)
}

// condemn sees to it that one incarnation is fenced; the first reason stands.
func (c *Controller) condemn(id partition.BrokerID, epoch partition.BrokerEpoch, why EventKind) {
	b, ok := c.table.Broker(id)
	if !c.leading || !ok || b.Fenced || b.Epoch != epoch {
		return
	}
	if s, ok := c.condemned[id]; !ok || s.epoch != epoch {
		c.condemned[id] = sentence{epoch, why}
	}
}

// soil marks partitions to be looked at.
func (c *Controller) soil(ids ...partition.ID) {
	for _, id := range ids {
		c.dirty[id] = struct{}{}
	}
}

// nextTick is the earliest moment at which time alone calls for something.
func (c *Controller) nextTick() time.Time {
	next := c.stalled
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for id, seen := range c.seen { // the earliest is the same in any order
		if _, ok := c.condemned[id]; !ok {
			sooner(seen.Add(c.cfg.Session))
		}
	}
	if ask := c.nextAsk(); !ask.IsZero() {
		sooner(ask)
	}
	return next
}
