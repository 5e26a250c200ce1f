package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// askedAt is a fetch of 1000 bytes at most from an offset on, by one who has seen
// tombstones go below 3, that a leader of a log from 0 to 20, committed up to 10, has
// admitted.
func askedAt(from log.Offset) Served {
	s := ServeFetch(&FetchPartition{ID: laneID(1), Fetch: from, MaxBytes: 1000, Removed: 3}, partition.UnknownPartition)
	s.Judge(&FetchVerdict{Read: true, HighWatermark: 10, End: 20})
	return s
}

func TestAPartitionNobodyHasJudgedIsAnError(t *testing.T) {
	s := ServeFetch(&FetchPartition{ID: laneID(1), Fetch: 5, MaxBytes: 7, Removed: 3}, partition.UnknownPartition)
	require.True(t, s.Settled())
	require.Equal(t, FetchAnswer{ID: laneID(1), Code: partition.UnknownPartition}, s.Answer)
	s.Judge(&FetchVerdict{Read: true, News: true, End: 9})
	require.False(t, s.Settled())
	require.Equal(t, Served{Answer: FetchAnswer{ID: laneID(1), End: 9}, From: 5, Max: 7, Removed: 3, Read: true, News: true}, s)
	s = ServeFetch(&FetchPartition{}, partition.OK)
	s.Judge(&FetchVerdict{Read: true})
	require.False(t, s.Read, "it asks for nothing")
}

func TestWhatIsReadForWhom(t *testing.T) {
	const follower, reader = partition.BrokerID(2), partition.NoBroker
	for _, tt := range []struct {
		name  string
		who   partition.BrokerID
		from  log.Offset
		had   int // bytes of other partitions
		but   func(*Served)
		upTo  log.Offset
		limit int
		told  bool
	}{
		{"a follower gets all", follower, 5, 0, nil, 20, 1000, false},
		{"a reader what is committed", reader, 5, 0, nil, 10, 1000, false},
		{"a follower has all", follower, 20, 0, nil, 0, 0, false},
		{"a reader has all", reader, 10, 0, nil, 0, 0, false},
		{"what the budget has left", follower, 5, 1900, nil, 20, 100, false},
		{"the budget has nothing left", follower, 5, 2000, nil, 0, 0, false},
		{"of no interest", follower, 5, 0, func(s *Served) { s.Read = false }, 0, 0, false},
		{"an error", follower, 5, 0, func(s *Served) { s.Answer.Code = partition.NotLeader }, 0, 0, true},
		{"a divergence", follower, 5, 0, func(s *Served) { s.Answer.Diverging = true }, 0, 0, true},
		{"a late fetch", follower, 5, 0, func(s *Served) { s.Stale = true }, 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := Serving{Follower: tt.who, Budget: 2000, Least: 5000}
			s, other := askedAt(tt.from), askedAt(0)
			if tt.but != nil {
				tt.but(&s)
			}
			q.Begin()
			require.True(t, q.Take(&other, tt.had, true, 0))
			upTo, limit, ok := q.Next(&s)
			require.Equal(t, tt.limit > 0, ok)
			require.Equal(t, tt.upTo, upTo)
			require.Equal(t, tt.limit, limit)
			require.Equal(t, tt.told || tt.had >= 2000, q.Enough())
		})
	}
	q, s := Serving{Follower: follower}, askedAt(5)
	q.Begin()
	_, limit, ok := q.Next(&s)
	require.True(t, ok, "without a budget one batch is read")
	require.Equal(t, 1, limit)
}

func TestWhatAnOlderVerdictIsMadeOf(t *testing.T) {
	const follower, reader = partition.BrokerID(2), partition.NoBroker
	for _, tt := range []struct {
		name  string
		who   partition.BrokerID
		now   View
		code  partition.Code
		tells bool
	}{
		{"nothing is new", follower, View{Leads: true, High: 10, End: 20}, partition.OK, false},
		{"more records alone", follower, View{Leads: true, High: 10, End: 30}, partition.OK, false},
		{"more is committed", follower, View{Leads: true, High: 11, End: 20}, partition.OK, true},
		{"more was removed than is known to be committed", follower, View{Leads: true, Start: 15, High: 10, End: 20}, partition.OK, true},
		{"records were removed", follower, View{Leads: true, Start: 1, High: 10, End: 20}, partition.OK, true},
		{"a reader waits for records", reader, View{Leads: true, Start: 1, High: 11, End: 20}, partition.OK, false},
		{"the role is over", follower, View{Start: 1, High: 11, End: 30}, partition.NotLeader, true},
		{"and a reader's", reader, View{Start: 1, High: 11, End: 30}, partition.NotLeader, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, s := Serving{Follower: tt.who}, askedAt(20)
			q.Begin()
			q.Refresh(&s, tt.now)
			q.Next(&s)
			require.Equal(t, tt.code, s.Answer.Code)
			require.Equal(t, tt.tells, q.Enough())
			if tt.now.Leads {
				tt.now.Start = min(tt.now.Start, tt.now.High)
				require.Equal(t, tt.now, View{true, s.Answer.Start, s.Answer.HighWatermark, s.Answer.End})
			}
		})
	}
	q, s := Serving{Follower: follower}, askedAt(20)
	s.Stale = true
	before := s
	q.Refresh(&s, View{Leads: true, High: 15, End: 30})
	require.Equal(t, before, s, "what is settled stays so")
}

func TestWhatHasComeSinceTheVerdictTakesBackARead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		who     partition.BrokerID
		from    log.Offset
		leads   bool
		removed log.Offset
		code    partition.Code
	}{
		{"nothing", 2, 5, true, 3, partition.OK},
		{"the role is over", 2, 5, false, 3, partition.NotLeader},
		{"and a reader's", partition.NoBroker, 5, false, 3, partition.NotLeader},
		{"a compaction", 2, 5, true, 6, partition.SnapshotRequired},
		{"one below", 2, 5, true, 5, partition.OK},
		{"a reader needs no tombstones", partition.NoBroker, 5, true, 6, partition.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, s := Serving{Follower: tt.who, Budget: 2000, Least: 100}, askedAt(tt.from)
			q.Begin()
			require.Equal(t, tt.code == partition.OK, q.Take(&s, 99, tt.leads, tt.removed))
			require.Equal(t, tt.code, s.Answer.Code)
			require.Equal(t, tt.code != partition.OK, q.Enough())
			if tt.code == partition.SnapshotRequired {
				require.Equal(t, tt.removed, s.Answer.Removed)
			}
		})
	}
}

func TestWhenAnAnswerIsEnough(t *testing.T) {
	for _, tt := range []struct {
		least, budget, bytes int
		want                 bool
	}{
		{100, 1000, 99, false},
		{100, 1000, 100, true},
		{0, 1000, 0, false},
		{0, 1000, 1, true},
		{1000, 100, 100, true}, // no more fits
		{1000, 0, 1, true},
		{1000, 0, 0, false},
	} {
		q, s := Serving{Follower: 2, Budget: tt.budget, Least: tt.least}, askedAt(5)
		q.Begin()
		q.Take(&s, tt.bytes, true, 0)
		require.Equal(t, tt.want, q.Enough(), "%+v", tt)
		q.Begin()
		require.False(t, q.Enough(), "another time")
		q.Fail(&s, partition.OutOfRange)
		require.True(t, q.Enough())
		q.Begin()
		require.False(t, q.Enough())
	}
}

func TestHowARequestWaitsAtAPartition(t *testing.T) {
	number := FetchNumber{4, 7}
	q, s := Serving{Follower: 2, Number: number}, askedAt(25)
	s.Answer.Start = 1
	p, ok := q.Parked(&s)
	require.True(t, ok)
	require.Equal(t, Parked{Follower: 2, Number: number, High: 10, End: 25, Start: 1}, p, "it has more than there is")
	s.From = 5
	p, _ = q.Parked(&s)
	require.Equal(t, log.Offset(20), p.End, "it has seen what there is, and wants more")
	reads := Serving{}
	s.From = 12
	p, ok = reads.Parked(&s)
	require.True(t, ok)
	require.Equal(t, Parked{High: 12, End: 20, Start: 1}, p)

	s.Stale = true
	_, ok = q.Parked(&s)
	require.False(t, ok)
	s.Stale, s.Read = false, false
	_, ok = q.Parked(&s)
	require.False(t, ok)
}

func TestAColdFetchGoesOnAsItWasParked(t *testing.T) {
	asked := &FetchPartition{ID: laneID(1), Fetch: 20, MaxBytes: 1000, Removed: 3}
	s := ServeCold(asked, &Parked{Follower: 2, High: 10, End: 20, Start: 1})
	want := askedAt(20)
	want.Answer.Start = 1
	require.Equal(t, want, s)
}

func TestAReaderIsJudgedByWhatIsCommitted(t *testing.T) {
	asked := &partition.ReadPartition{ID: laneID(1), From: 11, MaxBytes: 1000}
	s := ServeRead(asked, View{Leads: true, Start: 1, High: 10, End: 20}, 10)
	require.Equal(t, Served{From: 11, Max: 1000, Answer: FetchAnswer{
		ID: laneID(1), Code: partition.OutOfRange, HighWatermark: 10, Start: 1, End: 20,
	}}, s)
	s = ServeRead(asked, View{Leads: true, Start: 1, High: 10, End: 20}, 15)
	require.True(t, s.Read, "a leader that does not know its high watermark yet lets it wait")
	s = RefuseRead(asked, partition.NotLeader)
	require.True(t, s.Settled())
	require.Equal(t, laneID(1), s.Answer.ID)
}
