package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// answered takes a leader's answer. The order is part of the protocol: errors, then
// divergence, which ends it, then records, high watermark, log start.
func (f *Follower) answered(now time.Time, in Answered) Output {
	if f.waiting || f.suspended || f.failed != nil || in.Sequence != f.asked ||
		in.Request.Epoch != f.state.Epoch && !mutate.On("KIP-320") || in.Request.Fetch != f.end || in.Request.LastEpoch != f.lastEpoch {
		return Output{} // it answers a question that is no longer asked
	}
	if mutate.On("KIP-101") && f.lastEpoch < f.state.Epoch && f.high < f.end {
		return f.truncate(now, f.high, in.Answer)
	}
	switch in.Answer.Code {
	case partition.OK:
	case partition.FencedEpoch:
		// The leader knows a newer epoch. So will the metadata here.
		f.suspended = true
		return Output{Suspend: true}
	case partition.OutOfRange:
		return f.outOfRange(now, in.Answer)
	case partition.SnapshotRequired:
		if in.Answer.Start < 0 || in.Answer.Removed <= f.removed {
			return Output{Delay: f.wait(now)} // it does not fit the question
		}
		return f.restart(in.Answer)
	default:
		return Output{Delay: f.wait(now)} // the metadata will settle it
	}
	if high := min(in.Answer.HighWatermark, f.end); in.Answer.Diverging && high > f.high && mutate.On("KAFKA-14704") {
		f.high = high // and the cut comes later
		return Output{Delay: f.wait(now)}
	}
	if in.Answer.Diverging {
		return f.diverged(now, in)
	}
	data := f.behind(in.Data)
	end, err := f.follows(data)
	if err != nil {
		return Output{Fault: err, Delay: f.wait(now)}
	}
	var out Output
	if len(data) > 0 {
		out.Append, out.Lower = data, f.lower(in.Answer)
		f.waiting = true
	}
	f.delay = 0
	f.high = min(max(in.Answer.HighWatermark, f.start), end)
	if in.Answer.Start > f.begins() && in.Answer.Start <= f.high {
		out.Start = new(in.Answer.Start)
	}
	return out
}

// lower returns what Removed is to be before records of an answer are appended; nil: what
// it is. A copy that began anew has seen the tombstones below Removed by the word of the
// leader of then: what they delete was gone from that one's log. The one that it goes on
// from may have removed less by now, and have records that tombstones delete which it
// removes later: those are still to be seen.
func (f *Follower) lower(a FetchAnswer) *log.Offset {
	if seen := max(a.Removed, f.end); seen < f.removed {
		return new(seen)
	}
	return nil
}

// behind returns what of an answer lies behind this log's end. The leader's compaction may
// have made one filler of several batches, between which this log ends, or begins anew: of
// that the rest counts.
func (f *Follower) behind(data []byte) []byte {
	b, rest, err := log.SplitBatch(data)
	if err != nil || b.First() >= f.end || b.Check() != nil {
		return data // it is judged with the others
	}
	if left, ok := b.Rest(f.end); ok {
		return slices.Concat(left, rest)
	}
	return data
}

// follows checks that batches come next after this log, and returns where it then
// ends. Compaction leaves no gaps in this release.
func (f *Follower) follows(data []byte) (log.Offset, error) {
	end, epoch := f.end, f.lastEpoch
	bad := func(err error, format string, args ...any) (log.Offset, error) {
		return 0, &BadAnswerError{ID: f.id, Offset: end, Reason: fmt.Sprintf(format, args...), Err: err}
	}
	for len(data) > 0 {
		b, rest, err := log.SplitBatch(data)
		if err == nil {
			err = b.Check()
		}
		switch {
		case err != nil:
			return bad(err, "no batch")
		case b.First() != end:
			return bad(nil, "batch of offset %d", b.First())
		case b.Next() <= end:
			return bad(nil, "batch without an end")
		case b.Epoch() < epoch || b.Epoch() > f.state.Epoch || b.Epoch() < 0:
			return bad(nil, "batch of epoch %d between %d and %d", b.Epoch(), epoch, f.state.Epoch)
		}
		end, epoch, data = b.Next(), b.Epoch(), rest
	}
	return end, nil
}

// diverged cuts the log where it parts from the leader's, or at least closer to
// there: several rounds are normal after fast elections (KIP-279). Nothing else of
// the answer counts (KAFKA-14704).
func (f *Follower) diverged(now time.Time, in Answered) Output {
	cut := min(in.Answer.DivergingEnd, f.end)
	switch {
	case !in.OwnKnown:
	case in.OwnEpoch != in.Answer.DivergingEpoch:
		cut = min(in.OwnEnd, f.end) // where this log's last epoch that the leader may know ends
	default:
		cut = min(cut, in.OwnEnd)
	}
	return f.truncate(now, cut, in.Answer)
}

// outOfRange deals with a log that is nowhere within the leader's.
func (f *Follower) outOfRange(now time.Time, a FetchAnswer) Output {
	switch {
	case a.End < f.end:
		return f.truncate(now, a.End, a) // only an unclean election leads here
	case a.Start > f.end:
		return f.restart(a)
	default:
		return Output{Delay: f.wait(now)}
	}
}

// truncate cuts the log, also where it ends there already: the epochs of leaders
// without data go with it.
func (f *Follower) truncate(now time.Time, cut log.Offset, a FetchAnswer) Output {
	if cut < 0 || a.Start < 0 {
		return Output{Delay: f.wait(now), Fault: &BadAnswerError{ID: f.id, Offset: f.end, Reason: "negative offset"}}
	}
	if cut < f.start {
		return f.restart(a)
	}
	if cut == f.end && mutate.On("KAFKA-10706") {
		return Output{Delay: f.wait(now)}
	}
	out := Output{Truncate: &cut, Lossy: cut < f.high}
	f.waiting = true
	f.high = min(f.high, cut)
	return out
}

// restart gives the whole log up and goes on where the leader's starts. Whoever
// counts as complete must first leave ISR and ELR, so that no ack of its own and
// no proposal speaks for what is gone; see discard.go. Who does not has told this
// leader of nothing that counts: a leader keeps all that it has acks for, or
// proposes on, within where its log starts and what it has compacted.
func (f *Follower) restart(a FetchAnswer) Output {
	start := a.Start
	if f.complete() {
		f.failed = &RefetchError{ID: f.id, End: f.end, Start: start}
		return Output{Fail: f.failed}
	}
	f.waiting = true
	if !mutate.On("KAFKA-9491") {
		f.high = start
	}
	return Output{Reset: &start, Removed: a.Removed}
}
