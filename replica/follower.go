package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// A FollowerConfig is what a follower begins with. No field has a default.
type FollowerConfig struct {
	ID    partition.ID
	Self  partition.BrokerID
	State partition.State

	Start, End, Flushed, HighWatermark log.Offset

	Removed log.Offset // below which tombstones may be missing from the log

	LastEpoch log.Epoch // the newest in the log's epoch history; NoEpoch: it has none
}

// Delays after an answer of no use: they double, and end as soon as the metadata
// moves, which settles most of what leads to them.
const (
	firstDelay = 5 * time.Millisecond
	lastDelay  = 250 * time.Millisecond
)

// A Follower is the deciding half of a following replica, for one leader epoch. It
// cuts nothing when the epoch begins, and leaves the high watermark alone: only
// the leader's word moves either (KIP-101).
//
// A Follower is not safe for concurrent use: whoever calls Step owns it.
type Follower struct {
	id    partition.ID
	self  partition.BrokerID
	state partition.State // the newest known, by its partition epoch

	start     log.Offset
	below     log.Offset // below which all has been removed that can be, as the leader wished
	removed   log.Offset // below which tombstones may be missing
	end       log.Offset
	flushed   log.Offset
	high      log.Offset // the high watermark; it may go down (the leader may know less)
	lastEpoch log.Epoch  // the newest that the log knows; it may have no batch yet

	acked     log.Offset    // the flushed end of the newest request
	asked     int64         // the newest fetch with a request for records; 0: none in this epoch
	delay     time.Duration // the last one; zero after an answer of use
	until     time.Time     // the end of the delay
	waiting   bool          // for the disk: Moved comes next
	suspended bool          // the leader knows a newer epoch
	failed    error         // why it stands still
}

// NewFollower returns the machine that follows the leader of c.State, in its epoch.
func NewFollower(c FollowerConfig) *Follower {
	return &Follower{
		id: c.ID, self: c.Self, state: c.State,
		start: c.Start, removed: c.Removed, end: c.End, flushed: min(c.Flushed, c.End),
		high:      min(max(c.HighWatermark, c.Start), c.End),
		lastEpoch: c.LastEpoch, acked: unknown,
	}
}

// Request returns what to ask the leader for in the fetch of that sequence, which is
// newer than that of any request before it; false: nothing now. An answer for records
// counts only if it is to the newest request for them.
func (f *Follower) Request(now time.Time, sequence int64, maxBytes int32) (FetchPartition, bool) {
	if f.waiting || f.suspended || f.failed != nil || now.Before(f.until) ||
		f.state.Leader == partition.NoBroker || f.state.Leader == f.self {
		return FetchPartition{}, false
	}
	f.acked = f.flushed
	if maxBytes > 0 {
		f.asked = sequence
	}
	return FetchPartition{
		ID: f.id, Epoch: f.state.Epoch, Fetch: f.end, LastEpoch: f.lastEpoch,
		Ack: f.flushed, Start: f.begins(), MaxBytes: maxBytes, HighWatermark: f.high, Removed: f.removed,
	}, true
}

// Step takes one input and returns what must be done about it.
func (f *Follower) Step(now time.Time, in Input) Output {
	var out Output
	high, begins := f.high, f.begins()
	switch in := in.(type) {
	case Answered:
		out = f.answered(now, in)
	case Moved:
		out = f.moved(now, in)
	case Flushed:
		f.flushed = max(f.flushed, min(in.End, f.end))
	case Changed:
		out = f.changed(in)
	case Started:
		f.start = max(f.start, min(in.Start, f.end))
		f.below = max(f.below, in.Below)
		f.high = max(f.high, f.start)
		f.removed = max(f.removed, in.Removed)
	}
	if f.high != high {
		out.HighWatermark, out.Moved = f.high, true
	}
	switch in.(type) {
	case Flushed, Moved:
		out.Ack = f.flushed > f.acked && f.acked != unknown
	case Started:
		out.Ack = f.begins() > begins && f.acked != unknown
	}
	return out
}

// begins is where the log starts, as far as batches can be parted.
func (f *Follower) begins() log.Offset { return max(f.start, f.below) }

// moved takes the log as it now is.
func (f *Follower) moved(now time.Time, in Moved) Output {
	var out Output
	if f.waiting && in.End == f.end && in.LastEpoch == f.lastEpoch && in.Removed == f.removed {
		// The log refused, or the cut cut nothing. Asking at once would get the same.
		out.Fault = &BadAnswerError{ID: f.id, Offset: in.End, Reason: "the log stays as it is"}
		out.Delay = f.wait(now)
	}
	f.waiting, f.below = false, min(f.below, in.End)
	f.start, f.end, f.lastEpoch, f.removed = in.Start, in.End, in.LastEpoch, in.Removed
	f.flushed = min(in.Flushed, in.End)
	f.acked = min(f.acked, f.flushed)
	if !mutate.On("KAFKA-9491") {
		f.high = min(max(f.high, f.start), f.end)
	}
	return out
}

// changed takes newer metadata of the same leader epoch.
func (f *Follower) changed(in Changed) Output {
	if in.State.Epoch != f.state.Epoch || in.State.PartitionEpoch < f.state.PartitionEpoch {
		return Output{}
	}
	was := slices.Contains(f.state.ISR, f.self)
	f.state = in.State
	f.delay, f.until = 0, time.Time{}
	if !f.complete() {
		f.failed = nil
	}
	return Output{Left: was && !slices.Contains(f.state.ISR, f.self)}
}

// complete reports whether the controller counts on this replica's log.
func (f *Follower) complete() bool {
	return slices.Contains(f.state.ISR, f.self) || slices.Contains(f.state.ELR, f.self)
}

// wait begins the next delay.
func (f *Follower) wait(now time.Time) time.Duration {
	f.delay = min(max(2*f.delay, firstDelay), lastDelay)
	f.until = now.Add(f.delay)
	return f.delay
}

// Epoch returns the leader epoch that the machine follows in.
func (f *Follower) Epoch() log.Epoch { return f.state.Epoch }

// HighWatermark returns the end of what is committed, as far as is known here.
func (f *Follower) HighWatermark() log.Offset { return f.high }

// Failed returns why the replica stands still, or nil.
func (f *Follower) Failed() error { return f.failed }
