package replica

import (
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// fetched judges a fetch and notes what it proves. The order of the tests is part
// of the protocol: only a fetch that passes all of them moves the ack.
func (l *Leader) fetched(now time.Time, in Fetched) *FetchVerdict {
	l.verdict = FetchVerdict{}
	v := &l.verdict
	p := l.follower(in.From)
	switch {
	case in.Partition.Epoch < l.state.Epoch && !mutate.On("KIP-320 acks"):
		v.Code = partition.FencedEpoch
		return v
	case in.Partition.Epoch > l.state.Epoch:
		v.Code = partition.UnknownEpoch
		return v
	case p == nil:
		v.Code = partition.UnknownEpoch // the metadata here may be behind
		return v
	case in.BrokerEpoch < p.known && !blind():
		v.Code = partition.StaleBroker
		return v
	case !p.newer(in.BrokerEpoch, in.Sequence):
		v.Stale = true // the follower may have cut since
		return v
	}
	p.hear(in.BrokerEpoch, in.Sequence)
	l.compare(v, in)
	if v.Code != partition.OK || v.Diverging {
		p.forget() // KAFKA-13141: it is about to cut, so what it holds is open
		if v.Diverging && mutate.On("KAFKA-13141") {
			p.hold(now, min(in.Partition.Fetch, in.Partition.Ack, l.end), l.end)
		}
		return v
	}
	v.Read = in.Partition.MaxBytes != 0
	ack := in.Partition.Fetch
	if l.synced {
		ack = min(ack, in.Partition.Ack)
	}
	p.hold(now, ack, l.end)
	p.start = in.Partition.Start
	p.told = max(p.told, p.start)
	if v.Read && p.told < l.start {
		v.News, p.told = true, l.start
	}
	return v
}

// compare finds out whether the follower's log is a prefix of this one.
func (l *Leader) compare(v *FetchVerdict, in Fetched) {
	fetch, last := in.Partition.Fetch, in.Partition.LastEpoch
	switch {
	case fetch < l.start:
		v.Code = partition.OutOfRange
	case TombstonesGone(fetch, in.Partition.Removed, l.removed):
		// It may hold what a tombstone that it will never see has deleted.
		v.Code = partition.SnapshotRequired
	case last == log.NoEpoch:
		// A log without a batch parts from nothing, if only it begins within this one.
		if fetch > l.end {
			v.Code = partition.OutOfRange
		}
	case !in.Known:
		v.Code = partition.OutOfRange
	case in.LogEpoch < last && !mutate.On("KIP-279") || in.LogEnd < fetch:
		v.Diverging, v.DivergingEpoch, v.DivergingEnd = true, in.LogEpoch, in.LogEnd
	case fetch > l.end:
		v.Code = partition.OutOfRange // never from a follower that was served by verdicts
	}
}

// snapshot puts this moment's offsets into a verdict. Those of after the step serve
// best, and are still from before the read.
func (l *Leader) snapshot(v *FetchVerdict, asked FetchPartition) {
	v.HighWatermark, v.Start, v.End, v.Removed = l.high, l.start, l.end, l.removed
	if v.Stale {
		// The logs have not been compared, so that a high watermark would make records
		// readable that may yet be cut. The follower gets back what it said.
		v.HighWatermark, v.Start, v.Removed = asked.HighWatermark, asked.Start, asked.Removed
	}
	v.News = v.News || v.Read && asked.HighWatermark < l.high
}
