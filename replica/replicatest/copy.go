package replicatest

import (
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/node"
)

// A copyOf is a process's copy of one partition. It is to the machines what a
// node.Replica is.
type copyOf struct {
	p      *process
	id     partition.ID
	topic  partition.TopicConfig
	log    *log.Log
	dir    string
	mirror *mirror

	state    *partition.State
	leader   *replica.Leader
	follower *replica.Follower
	fetcher  *fetcher
	followed *replica.Followed[*copyOf]
	waiters  []*waiter
	high     log.Offset
	role     role
	parked   replica.Lot[*parked]

	flushing, dirty, trimming bool
	lost                      bool // its log is to be used no more

	behind bool      // its label says so
	since  log.Epoch // as does that

	damage error     // why it must begin anew; nil: it need not
	noted  bool      // that is on the disk
	sound  bool      // all of it has been read since
	stuck  bool      // it follows nobody until it has left ISR and ELR
	spoke  log.Epoch // the newest in which it has led or followed; NoEpoch: none

	heard   log.Epoch                                  // the one in which it learned its high watermark; NoEpoch: none
	led     log.Offset                                 // the highest high watermark of the present leader epoch
	newest  map[partition.BrokerID]replica.FetchNumber // of the fetches that it has been told of, likewise
	touched bool                                       // to be looked at by the observer
}

type role struct {
	epoch log.Epoch
	leads bool
	begin log.Offset
}

// A waiter is a producer who waits for the high watermark.
type waiter struct {
	end  log.Offset
	done func(partition.Code)
}

func newCopy(p *process, topic partition.TopicConfig, l *log.Log, dir string, label node.Label) *copyOf {
	id := label.ID
	return &copyOf{
		p: p, id: id, topic: topic, log: l, dir: dir, high: l.Start(), behind: label.Behind, since: label.Since,
		role: role{epoch: log.NoEpoch}, mirror: p.b.mirrors[id], spoke: log.NoEpoch, heard: log.NoEpoch,
	}
}

func (c *copyOf) now() time.Time { return c.p.w.clock() }

func (c *copyOf) assign(a *replica.Assignment) {
	turn := a.Turn(c.p.id, c.state, c.leader != nil, c.follower != nil)
	switch turn {
	case replica.Ignore:
		return
	case replica.Stay:
		c.state = a.State
		return
	case replica.Update:
		c.state = a.State
		c.step(replica.Changed{State: *a.State, MinISR: a.MinISR, Peers: a.Peers})
		return
	case replica.Rest, replica.Lead, replica.Follow:
	}
	c.leave(partition.Resigned)
	c.state = a.State
	switch turn {
	case replica.Lead:
		c.lead(a)
	case replica.Follow:
		c.follow()
	default:
	}
	if c.p.dead {
		return
	}
	c.role = role{epoch: c.state.Epoch, leads: c.leader != nil}
	if c.role.leads {
		c.role.begin = c.log.End()
	}
}

func (c *copyOf) lead(a *replica.Assignment) {
	c.spoke = a.State.Epoch
	err := error(nil)
	if !mutate.On("KAFKA-7415") {
		err = c.log.BeginEpoch(a.State.Epoch)
	}
	if err == nil {
		err = c.log.LowerRemoved(c.log.End())
	}
	switch {
	case node.IsFull(err):
		c.p.late = true
		return
	case errors.Is(err, log.ErrOutOfOrder):
		c.p.w.watch.cannotLead(c, err)
		return
	case err != nil:
		c.p.trouble(err)
		return
	}
	c.p.w.note("lead", c.p.id, int64(a.State.Epoch), int64(c.log.End()))
	c.p.w.faults.happens(leading, c.p.id, partition.NoBroker)
	c.leader = replica.NewLeader(c.now(), replica.LeaderConfig{
		ID: c.id, Self: c.p.id, SelfEpoch: a.Self, MinISR: a.MinISR,
		Synced: c.topic.Durability == partition.Synced, Lag: lag,
		State: *a.State, Peers: a.Peers,
		Start: c.log.Start(), Removed: c.log.RemovedBelow(), End: c.log.End(), Flushed: c.log.Flushed(), HighWatermark: c.high,
	})
	c.high, c.heard = c.leader.HighWatermark(), a.State.Epoch
	c.led, c.newest = c.high, make(map[partition.BrokerID]replica.FetchNumber)
	c.p.w.watch.leads(c)
	if c.log.Flushed() < c.log.End() {
		c.flushInTurn()
	}
	c.step(replica.Flushed{End: c.log.Flushed()})
	if a.State.Recovering {
		c.step(replica.Tick{}) // it reports that it leads
	}
}

func (c *copyOf) follow() {
	c.spoke = c.state.Epoch
	c.follower = replica.NewFollower(replica.FollowerConfig{
		ID: c.id, Self: c.p.id, State: *c.state,
		Start: c.log.Start(), Removed: c.log.RemovedBelow(), End: c.log.End(), Flushed: c.log.Flushed(),
		LastEpoch: c.log.LastEpoch(), HighWatermark: c.high,
	})
	if c.log.Flushed() < c.log.End() {
		c.flushInTurn()
	}
	c.p.follow(c, c.state.Leader)
}

// step hands the machine of the present role one input and carries out its orders.
func (c *copyOf) step(in replica.Input) replica.Output {
	var out replica.Output
	switch {
	case c.p.dead, c.lost:
		return out
	case c.leader != nil:
		out = c.leader.Step(c.now(), in)
	case c.follower != nil:
		out = c.follower.Step(c.now(), in)
	default:
		return out
	}
	c.p.w.watch.touch(c)
	c.learns(in, out)
	c.carry(out)
	return out
}

// learns notes in which epoch the copy has learned its high watermark: that of a follower
// is of another's before also when it has been lowered with a cut.
func (c *copyOf) learns(in replica.Input, out replica.Output) {
	a, answered := in.(replica.Answered)
	if out.Moved && (c.leader != nil || answered && a.Answer.Code == partition.OK && !a.Answer.Diverging) {
		c.heard = c.state.Epoch
	}
}

// carry carries out a machine's orders: disk, high watermark, messages. Waiting callers
// come last, in settle.
func (c *copyOf) carry(out replica.Output) {
	if !c.carryDisk(out) {
		return
	}
	if out.Moved {
		c.high = out.HighWatermark
		if c.follower != nil {
			c.high = c.follower.HighWatermark()
		}
	}
	if out.Start != nil && !c.trimming {
		c.trimming = true
		start := *out.Start
		c.p.w.at(0, c.p.b, disk, "trim", func() {
			c.trimming = false
			c.trim(start)
			c.settle()
		})
	}
	if out.Propose != nil {
		c.p.alter(c, *out.Propose)
	}
	if out.Ack && c.fetcher != nil {
		c.fetcher.ack(c)
		c.p.w.faults.happens(acking, c.p.id, c.state.Leader)
	}
	if out.Left && c.fetcher != nil {
		c.fetcher.heat(c)
	}
	if out.Lossy || out.Fail != nil {
		c.p.w.watch.alarm(c, out)
	}
	if out.Fail != nil {
		c.stuck = true
		c.p.lookAgain(c.id)
	}
}

// carryDisk reports whether the disk did as it was told, or refused without harm.
func (c *copyOf) carryDisk(out replica.Output) bool {
	var err error
	switch {
	case out.Truncate != nil:
		c.p.w.note("truncate", c.p.id, int64(*out.Truncate), int64(c.log.End()))
		c.p.w.faults.happens(cutting, c.p.id, c.state.Leader)
		c.mirror.cutting = out.Truncate
		if mutate.On("cut comes back") {
			defer c.p.b.disk.Lie("")()
		}
		if err = c.log.Truncate(*out.Truncate); err == nil {
			c.mirror.truncate(c.log.End())
		}
	case out.Reset != nil:
		c.p.w.note("reset", c.p.id, int64(*out.Reset), int64(c.log.End()))
		c.mirror.resets = true
		if err = c.anew(); err == nil {
			err = c.log.Reset(*out.Reset)
		}
		if err == nil {
			c.mirror.reset(*out.Reset)
			err = c.log.NoteRemoved(out.Removed)
		}
	case len(out.Append) > 0:
		if out.Lower != nil {
			err = c.log.LowerRemoved(*out.Lower)
		}
		if err == nil {
			_, err = c.log.Replicate(out.Append)
		}
		c.mirror.append(out.Append, c.log.End())
	default:
		return true
	}
	switch {
	case err == nil:
	case node.WriteCode(err) == partition.StorageFailed:
		c.p.trouble(err)
		return false
	case len(out.Append) == 0 && errors.Is(err, log.ErrCorrupt):
		c.ail(err) // what stands before the cut is not what was written
	case node.IsFull(err) && c.behind:
		if _, err := log.DropAside(c.p.fs, c.dir); err != nil && c.p.down(err) {
			c.p.trouble(err)
			return false
		}
	}
	if c.follower != nil {
		c.carry(c.follower.Step(c.now(), replica.Moved{
			Start: c.log.Start(), End: c.log.End(), Flushed: c.log.Flushed(), LastEpoch: c.log.LastEpoch(),
			Removed: c.log.RemovedBelow(),
		}))
	}
	if len(out.Append) > 0 && !c.flushAtOnce() {
		c.flushInTurn()
	}
	return !c.p.dead
}

// settle answers the callers who have what they wait for. It follows each op.
func (c *copyOf) settle() {
	if c.p.dead {
		return
	}
	c.answerProducers()
	c.wakeParked()
}

// leave ends the present role; callers under way get code.
func (c *copyOf) leave(code partition.Code) {
	c.answerProducers()
	if c.fetcher != nil {
		c.fetcher.remove(c)
	}
	c.leader, c.follower, c.fetcher, c.followed, c.stuck = nil, nil, nil, nil, false
	waiters := c.waiters
	c.waiters = nil
	for _, w := range waiters {
		w.done(code)
	}
	c.p.w.watch.touch(c)
}

func (c *copyOf) flushInTurn() {
	switch c.topic.Durability {
	case partition.Synced:
		c.flushSoon()
	case partition.Replicated:
		c.dirty = true
	case partition.Unsynced:
	}
}

// flushAtOnce flushes what was just appended if that costs nothing, and reports whether it
// has.
func (c *copyOf) flushAtOnce() bool {
	if c.p.dead || !c.p.b.volatile() || c.topic.Durability != partition.Synced {
		return false
	}
	end, err := c.log.Flush()
	if err != nil {
		c.p.trouble(err)
		return true
	}
	c.step(replica.Flushed{End: end})
	return true
}

// flushSoon sees to it that all that the log holds now is flushed before long.
func (c *copyOf) flushSoon() {
	if !c.flushing {
		c.flushing = true
		c.p.w.at(span(c.p.w.disks, c.p.b.syncTime/2, 2*c.p.b.syncTime), c.p.b, disk, "flush", c.flush)
	}
}

func (c *copyOf) flush() {
	c.flushing = false
	if c.lost {
		return
	}
	end, err := c.log.Flush()
	if err != nil {
		c.p.trouble(err)
		return
	}
	c.step(replica.Flushed{End: min(end, c.log.Flushed())})
	c.settle()
	if !c.p.dead && c.log.Flushed() < c.log.End() {
		c.flushSoon()
	}
}

func (c *copyOf) tick() {
	if c.leader != nil && c.leader.NeedsTick() {
		c.step(replica.Tick{})
		c.settle()
	}
}

// retain removes what the topic does not keep, of a partition that is led here.
func (c *copyOf) retain(topic partition.TopicConfig) {
	keep := log.Retention{Age: max(topic.Retention, 0), Bytes: max(topic.RetentionBytes, 0)}
	now := c.now().Add(c.p.b.skew)
	start, roll, err := c.log.Expired(now, keep, c.high)
	if err == nil && roll && c.log.Roll() == nil {
		start, _, err = c.log.Expired(now, keep, c.high)
	}
	if err == nil {
		c.trim(start)
	} else {
		c.report(err)
	}
	c.settle()
}

// trim removes what lies below start, and tells the machine where the log starts now.
func (c *copyOf) trim(start log.Offset) {
	if c.lost {
		return
	}
	before := c.log.Start()
	c.p.w.watch.touch(c)
	err := c.log.DeleteBefore(start)
	if now := c.log.Start(); err == nil && now == c.log.End() && c.log.Roll() == nil {
		err = c.log.DeleteBefore(now)
	}
	if c.report(err); c.p.dead {
		return
	}
	now := c.log.Start()
	if now > before {
		c.p.w.note("trim", c.p.id, int64(before), int64(now))
		c.mirror.trim(now)
	}
	if below := now; now > before || err == nil && start > now {
		if err == nil {
			below = max(below, start)
		}
		c.step(replica.Started{Start: now, Below: below, Removed: c.log.RemovedBelow()})
	}
}
