package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A Replica is this broker's copy of one partition: a queue and an active bit.
type Replica struct {
	id    partition.ID
	topic partition.TopicConfig
	node  *Node
	log   *log.Log
	dir   string

	// The owner's: who performs an op owns the replica.
	state    *partition.State // the newest that it was told
	leader   *replica.Leader  // nil unless it leads
	follower *replica.Follower
	fetcher  *fetcher     // of its leader, while it follows
	followed *followed    // what it is there
	waiters  []*produceOp // by rising end
	removals []*removalOp
	served   []queued // room for the next queue

	high      atomic.Int64         // the high watermark, as known here
	standing  atomic.Pointer[role] // what others may ask about without owning the replica
	flushing  atomic.Bool          // a flush goroutine runs
	dirty     atomic.Bool          // to be flushed within a second
	due       atomic.Bool          // it is in the node's dueList
	noted     atomic.Int64         // the flushed end that a leader has stepped
	lost      atomic.Bool          // its log is to be used no more
	compacted atomic.Bool          // by the newest metadata: each record needs a key
	trimming  atomic.Bool          // a worker removes what lies below the leader's start
	behind    atomic.Bool          // its label says so: it was made anew, and has not been in the ISR since
	since     atomic.Int64         // the leader epoch that it counts from

	damage atomic.Pointer[damage] // why it must begin anew; nil: it need not
	faults atomic.Int64           // counts the times that somebody met damage
	sound  atomic.Bool            // all of it has been read since, and was sound
	stuck  atomic.Bool            // it follows nobody until it has left ISR and ELR
	spoke  atomic.Int64           // the newest epoch in which it has led or followed; NoEpoch: none

	ctx     context.Context // ends with it
	end     context.CancelFunc
	tidying chan struct{} // room for one: held while something writes to its directory beside the log's owner

	mu     sync.Mutex // guards queue, active and parked; held for a few instructions only
	queue  []queued
	active bool
	parked replica.Lot[*parked]
}

// A role is what a replica does in one leader epoch. It is a value: a change of
// role makes a new one.
type role struct {
	epoch  log.Epoch
	leader partition.BrokerID
	leads  bool       // this broker leads, and may answer as leader
	begin  log.Offset // a leader's log end at the start of its epoch
}

// An op is one thing for a replica's owner to do.
type op interface {
	perform(r *Replica, now time.Time)
}

func newReplica(n *Node, id partition.ID, topic partition.TopicConfig, l *log.Log, dir string) *Replica {
	r := &Replica{id: id, topic: topic, node: n, log: l, dir: dir, tidying: make(chan struct{}, 1)}
	r.ctx, r.end = context.WithCancel(n.ctx)
	r.spoke.Store(int64(log.NoEpoch))
	r.high.Store(int64(l.Start()))
	r.standing.Store(&role{epoch: log.NoEpoch})
	return r
}

// A queued is an op that waits for the owner.
type queued struct {
	op
	done chan<- struct{} // is told when it has been performed; nil: nobody waits for that
}

// do performs one op now if the replica is idle, and else leaves it to the owner.
func (r *Replica) do(o op) {
	if r.enqueue(queued{op: o}) {
		r.own(time.Now(), o)
	}
}

// await performs one op now if the replica is idle, and else waits until the owner has.
// The caller has just looked at the clock, and keeps done, which has room for one, for
// this alone: most find the replica idle and have no use for it.
func (r *Replica) await(now time.Time, o op, done chan struct{}) {
	if r.enqueue(queued{o, done}) {
		r.own(now, o)
		return
	}
	<-done
}

// own performs the op with which the caller has become the owner.
func (r *Replica) own(now time.Time, o op) {
	o.perform(r, now)
	r.settle()
	// Who came meanwhile is served here, once, since a goroutine costs more than most ops;
	// for more than that a worker goes on in the caller's place.
	if r.serveQueue() && r.waited() {
		r.node.workers.Go(r.drain)
	}
}

// enqueue reports whether the caller is now the owner; then q is not queued.
func (r *Replica) enqueue(q queued) (owner bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active {
		r.queue = append(r.queue, q)
		return false
	}
	r.active = true
	return true
}

// waited reports whether there is work in the queue; if not the ownership is given up.
func (r *Replica) waited() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active = len(r.queue) > 0
	return r.active
}

// serveQueue performs the ops that are in the queue. It is false if there were none, and
// the ownership was given up.
func (r *Replica) serveQueue() bool {
	r.mu.Lock()
	work := r.queue
	r.active = len(work) > 0
	if r.active {
		r.queue = r.served[:0]
	}
	r.mu.Unlock()
	if len(work) == 0 {
		return false
	}
	now := time.Now()
	for _, q := range work {
		q.perform(r, now)
		if q.done != nil {
			q.done <- struct{}{} // from now on the op may be in other hands
		}
	}
	r.settle()
	clear(work)
	r.served = work
	return true
}

func (r *Replica) drain() {
	for r.serveQueue() {
	}
}

// step hands the machine of the present role one input and carries out its orders.
func (r *Replica) step(now time.Time, in replica.Input) replica.Output {
	var out replica.Output
	switch {
	case r.leader != nil:
		out = r.leader.Step(now, in)
	case r.follower != nil:
		out = r.follower.Step(now, in)
	default:
		return out
	}
	r.carry(now, out)
	return out
}

// carry carries out a machine's orders: disk, high watermark, messages. Waiting
// callers come last, in settle.
func (r *Replica) carry(now time.Time, out replica.Output) {
	if !r.carryDisk(now, out) {
		return
	}
	if out.Moved {
		high := out.HighWatermark
		if r.follower != nil {
			high = r.follower.HighWatermark() // the disk may have had the last word
		}
		r.high.Store(int64(high))
	}
	if out.Start != nil && r.trimming.CompareAndSwap(false, true) {
		start := *out.Start
		r.node.workers.Go(func() {
			defer r.trimming.Store(false)
			_ = r.trim(start) // it was reported, and is asked for again
		})
	}
	if out.Propose != nil {
		r.node.propose(r, *out.Propose)
	}
	if out.Ack && r.fetcher != nil {
		r.fetcher.ack(r.followed)
	}
	if out.Left && r.fetcher != nil {
		r.fetcher.heat(r.followed)
	}
	switch {
	case out.Fail != nil:
		r.node.logger.Error("replica stands still", "partition", r.name(), "error", out.Fail)
		r.stuck.Store(true)
		r.node.lookAgain(r.id)
	case out.Fault != nil:
		r.node.logger.Warn("replica waits", "partition", r.name(), "error", out.Fault)
	}
}

// carryDisk reports whether the disk did as it was told, or refused without harm.
// After a failed order the machine and the disk disagree: the node is offline, and
// nothing more is stepped.
func (r *Replica) carryDisk(now time.Time, out replica.Output) bool {
	var err error
	switch {
	case out.Truncate != nil:
		if out.Lossy {
			r.node.logger.Error("committed records are cut", "partition", r.name(), "to", *out.Truncate, "end", r.log.End())
		} else if *out.Truncate < r.log.End() {
			r.node.logger.Info("log truncated", "partition", r.name(), "to", *out.Truncate, "end", r.log.End())
		}
		err = r.log.Truncate(*out.Truncate)
	case out.Reset != nil:
		r.node.logger.Warn("log starts again", "partition", r.name(), "at", *out.Reset, "end", r.log.End())
		if err = r.anew(); err == nil {
			err = r.log.Reset(*out.Reset)
		}
		if err == nil {
			err = r.log.NoteRemoved(out.Removed)
		}
	case len(out.Append) > 0:
		if out.Lower != nil {
			err = r.log.LowerRemoved(*out.Lower)
		}
		if err == nil {
			_, err = r.log.ReplicateChecked(out.Append)
		}
	default:
		return true
	}
	switch {
	case err == nil:
	case passes(err): // the machine waits a while, and asks again
		r.node.logger.Warn("log refuses", "partition", r.name(), "error", err)
		if len(out.Append) == 0 && errors.Is(err, log.ErrCorrupt) {
			r.ail(err) // what stands before the cut is not what was written
		}
		if isFull(err) {
			r.node.noteFull()
			if r.behind.Load() {
				r.giveWay()
			}
		}
	default:
		r.fail(err)
		return false
	}
	if r.follower != nil {
		r.carry(now, r.follower.Step(now, replica.Moved{
			Start: r.log.Start(), End: r.log.End(), Flushed: r.log.Flushed(), LastEpoch: r.log.LastEpoch(),
			Removed: r.log.RemovedBelow(),
		}))
	}
	if len(out.Append) > 0 && !r.flushAtOnce(now) {
		r.flushInTurn()
	}
	return true
}

// settle answers the callers who have what they wait for, and sees to it that the clock
// comes by if time may change something. It follows each op.
func (r *Replica) settle() {
	r.answerProducers()
	if len(r.removals) > 0 {
		r.answerRemovals()
	}
	r.wakeParked()
	if r.leader != nil && !r.due.Load() && r.leader.NeedsTick() {
		r.comeDue()
	}
}

// fail takes the replica's log, and with it the node, out of service.
func (r *Replica) fail(err error) {
	r.lost.Store(true)
	r.leave(partition.StorageFailed)
	r.retire()
	r.node.failStorage(err)
}

// leave ends the present role; callers under way get code.
func (r *Replica) leave(code partition.Code) {
	r.answerProducers() // what is committed is committed, whatever becomes of the role
	if r.fetcher != nil {
		r.fetcher.remove(r.followed)
	}
	r.leader, r.follower, r.fetcher, r.followed = nil, nil, nil, nil
	r.stuck.Store(false)
	r.noted.Store(0)
	for _, w := range r.waiters {
		w.done <- code
	}
	clear(r.waiters)
	r.waiters = r.waiters[:0]
}

func (r *Replica) name() string { return dirName(r.topic.Name, r.id.Partition) }

// flushInTurn sees to it that the log is flushed when its topic's durability wants
// it, if no caller waits for that.
func (r *Replica) flushInTurn() {
	switch r.topic.Durability {
	case partition.Synced:
		r.flushSoon()
	case partition.Replicated:
		r.dirty.Store(true)
		r.comeDue()
	case partition.Unsynced:
	}
}

// flushAtOnce flushes what the owner has just appended, if that costs nothing, and
// reports whether it has: a hand-over to somebody who flushes would cost more.
func (r *Replica) flushAtOnce(now time.Time) bool {
	if !r.node.eager || r.topic.Durability != partition.Synced {
		return false
	}
	end, err := r.log.Flush()
	switch {
	case err == nil:
		(&flushedOp{end: end}).perform(r, now)
	case !errors.Is(err, log.ErrClosed):
		r.fail(err)
	}
	return true
}

// flushSoon sees to it that all that the log holds now is flushed before long.
func (r *Replica) flushSoon() {
	if r.flushing.CompareAndSwap(false, true) {
		r.node.workers.Go(r.flush)
	}
}

func (r *Replica) flush() {
	for {
		end, err := r.log.Flush()
		if err != nil {
			if !errors.Is(err, log.ErrClosed) {
				r.node.failStorage(err)
			}
			return
		}
		r.do(&flushedOp{end: end})
		r.flushing.Store(false)
		if r.log.Flushed() >= r.log.End() || !r.flushing.CompareAndSwap(false, true) {
			return
		}
	}
}

type flushedOp struct{ end log.Offset }

func (o *flushedOp) perform(r *Replica, now time.Time) {
	// A cut may have come between the flush and now; what it took is not flushed.
	end := min(o.end, r.log.Flushed())
	if r.leader != nil {
		r.noted.Store(max(r.noted.Load(), int64(end)))
	}
	r.step(now, replica.Flushed{End: end})
}

// tickOp looks at the time: who lags, what must be sent again.
type tickOp struct{}

func (tickOp) perform(r *Replica, now time.Time) {
	if r.leader != nil && r.leader.NeedsTick() {
		r.step(now, replica.Tick{})
	}
}
