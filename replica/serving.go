package replica

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Serving is one request of a follower or a reader that is being answered: what it is
// given, and when that is enough. The shell reads the logs for it, and waits.
//
// Each time that something may have come the shell gathers: [Serving.Begin], then for
// each partition [Served.Refresh], unless it was judged a moment ago, and [Serving.Next]
// for what to read, if anything; what has come of the read goes to [Serving.Take] or
// [Serving.Fail]. Until [Serving.Enough] the request is parked as [Served.Parked] says.
//
// The verdicts are those of the moment when the request came. They hold while the leader
// epoch lasts, since a leader never cuts its log. Once it is over they say nothing, also
// of what was read a moment before: records of another history may stand there by now,
// that must not come behind those which the follower has (KIP-279).
type Serving struct {
	Follower partition.BrokerID // NoBroker: a reader, who sees what is committed
	Number   FetchNumber        // a follower's
	Budget   int                // bytes; above it is only what is read first
	Least    int                // bytes, if there is nothing else to say

	bytes int  // gathered
	told  bool // there is something to say beside records
}

// A Served is one partition of a request that is being answered. Its answer is an error
// until somebody says otherwise.
type Served struct {
	Answer  FetchAnswer
	From    log.Offset
	Max     int        // bytes
	Removed log.Offset // below which tombstones may be missing from a follower's log
	Read    bool       // there may be records for the asker, now or later
	Stale   bool       // see FetchVerdict
	News    bool       // likewise
}

// A View is what a copy of a partition says of itself, before it is read.
type View struct {
	Leads bool // still in the role in which it was asked
	Start log.Offset
	High  log.Offset
	End   log.Offset
}

// start is where the log starts as a leader tells it; see Leader.startAt.
func (v View) start() log.Offset { return min(v.Start, v.High) }

// ServeFetch begins a partition's part of a fetch that no leader has judged yet.
func ServeFetch(asked *FetchPartition, code partition.Code) Served {
	return Served{
		From: asked.Fetch, Max: int(asked.MaxBytes), Removed: asked.Removed,
		Answer: FetchAnswer{ID: asked.ID, Code: code},
	}
}

// Judge notes what the leader has said.
func (s *Served) Judge(v *FetchVerdict) {
	s.Answer = v.Answer(s.Answer.ID)
	s.Read, s.Stale, s.News = v.Read && s.Max > 0, v.Stale, v.News
}

// ServeCold goes on with a partition of a cold fetch that has been parked as p.
func ServeCold(asked *FetchPartition, p *Parked) Served {
	s := ServeFetch(asked, partition.OK)
	s.Read = true
	s.Answer.HighWatermark, s.Answer.Start, s.Answer.End = p.High, p.Start, p.End
	return s
}

// ServeRead begins a partition's part of a reader's request, at a leader whose epoch
// began where its log ended at begin.
func ServeRead(asked *partition.ReadPartition, now View, begin log.Offset) Served {
	s := Served{From: asked.From, Max: int(asked.MaxBytes), Answer: FetchAnswer{
		ID: asked.ID, Code: Readable(asked.From, now.start(), now.High, now.End, begin),
		HighWatermark: now.High, Start: now.start(), End: now.End,
	}}
	s.Read = s.Answer.Code == partition.OK
	return s
}

// RefuseRead is ServeRead at a broker that does not lead the partition, or is not known to.
func RefuseRead(asked *partition.ReadPartition, code partition.Code) Served {
	return Served{From: asked.From, Max: int(asked.MaxBytes), Answer: FetchAnswer{ID: asked.ID, Code: code}}
}

// Settled reports whether the partition has an answer that must not wait.
func (s *Served) Settled() bool {
	return s.Answer.Code != partition.OK || s.Answer.Diverging || s.Stale
}

// Begin begins to gather.
func (q *Serving) Begin() { q.bytes, q.told = 0, false }

// Refresh takes what the copy says now, before it is read.
func (q *Serving) Refresh(s *Served, now View) {
	switch {
	case s.Settled():
	case !now.Leads:
		s.Answer.Code = partition.NotLeader
	default:
		if q.follows() && (now.High > s.Answer.HighWatermark || now.start() > s.Answer.Start) {
			q.told = true
		}
		s.Answer.HighWatermark, s.Answer.Start, s.Answer.End = now.High, now.start(), now.End
	}
}

// Next returns what to read of a partition from its From on: whole batches below upTo, and
// at most limit bytes but one batch at least; false: nothing.
func (q *Serving) Next(s *Served) (upTo log.Offset, limit int, ok bool) {
	if s.Settled() {
		q.told = true
		return 0, 0, false
	}
	upTo = s.Answer.End
	if !q.follows() {
		upTo = s.Answer.HighWatermark
	}
	if !s.Read || s.From >= upTo || q.bytes >= q.Budget && q.bytes > 0 {
		return 0, 0, false
	}
	return upTo, min(s.Max, max(q.Budget-q.bytes, 1)), true
}

// Take notes that n bytes were read of a partition, and reports whether the asker gets
// them. What else it is told is of after the read: whether the copy still leads as it did,
// and below which offset tombstones may be missing from its log, since a compaction may
// have come.
func (q *Serving) Take(s *Served, n int, leads bool, removed log.Offset) bool {
	switch {
	case !leads:
		q.Fail(s, partition.NotLeader)
		return false
	case q.follows() && TombstonesGone(s.From, s.Removed, removed):
		s.Answer.Removed = removed
		q.Fail(s, partition.SnapshotRequired)
		return false
	}
	q.bytes += n
	return true
}

// Fail notes why a partition could not be read: NotLeader, if the copy has lost its role
// meanwhile, for the log is another's by now.
func (q *Serving) Fail(s *Served, code partition.Code) {
	s.Answer.Code = code
	q.told = true
}

// Enough reports whether what was gathered is to be told now.
func (q *Serving) Enough() bool {
	return q.told || q.bytes >= min(max(q.Least, 1), max(q.Budget, 1))
}

// Parked returns how the request waits at a partition; false: not at this one.
func (q *Serving) Parked(s *Served) (Parked, bool) {
	if s.Settled() || !s.Read {
		return Parked{}, false
	}
	p := Parked{Follower: q.Follower, Number: q.Number, High: s.Answer.HighWatermark, End: s.Answer.End, Start: s.Answer.Start}
	if q.follows() {
		p.End = max(p.End, s.From)
	} else {
		p.High = max(p.High, s.From)
	}
	return p, true
}

func (q *Serving) follows() bool { return q.Follower != partition.NoBroker }
