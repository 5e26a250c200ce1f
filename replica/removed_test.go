package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

func fromStart(f Fetched, start log.Offset) Fetched { f.Partition.Start = start; return f }

// That records are gone is true when nobody who may lead has them any more, by the newest
// that each has said in this epoch.
func TestRecordsAreGoneWhenNobodyWhoMayLeadHasThem(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) { c.State = leaderState(12, brokers{1, 2}, nil) })
	run(t, l, written(10), acked(2, 1, 10), Started{Start: 6})
	require.Equal(t, partition.NotAvailable, l.RemovedCode(6), "broker 2 has them")
	run(t, l, fromStart(acked(2, 2, 10), 6))
	require.Equal(t, partition.OK, l.RemovedCode(6), "broker 3 may not lead")
	require.Equal(t, partition.NotAvailable, l.RemovedCode(7))

	next := ofLife(fromStart(acked(2, 1, 10), 2), 8)
	run(t, l, next)
	require.Equal(t, partition.NotAvailable, l.RemovedCode(6), "in its next life it has them again")

	run(t, l, changed(leaderState(13, brokers{1}, brokers{2})))
	require.Equal(t, partition.NotEnoughReplicas, l.RemovedCode(6), "who is away cannot have removed them")
}

// Whoever has yet to remove what others were told is gone does not join.
func TestAJoiningFollowerHasRemovedWhatItsLeaderHas(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) { c.State = leaderState(12, brokers{1, 2}, nil) })
	run(t, l, written(10), fromStart(acked(2, 1, 10), 6), Started{Start: 6})
	require.Nil(t, run(t, l, time.Second, fromStart(acked(3, 1, 10), 5)).Propose)
	require.NotNil(t, run(t, l, fromStart(acked(3, 2, 10), 6)).Propose)
}

// What stays is in one batch with records that are kept: the follower has done all it can,
// says so, and is asked no more.
func TestAFollowerSaysUpToWhereItHasRemoved(t *testing.T) {
	f := newTestFollower(nil)
	asks := func(start log.Offset) *log.Offset {
		return f.Step(testStart, answer(func(in *Answered) { in.Answer.Start = start })).Start
	}
	says := func() log.Offset {
		p, ok := f.Request(testStart, 0, 1)
		require.True(t, ok)
		return p.Start
	}
	require.Equal(t, at(6), asks(6))
	require.Equal(t, log.Offset(2), says(), "it has not done so yet")
	require.True(t, f.Step(testStart, Started{Start: 4, Below: 6}).Ack)
	require.Equal(t, log.Offset(6), says())
	require.False(t, f.Step(testStart, Started{Start: 4, Below: 6}).Ack, "it is no news")
	require.Nil(t, asks(6))
	require.Equal(t, at(8), asks(8))

	f.Step(testStart, diverging(3, 5, 3, 5, true))
	f.Step(testStart, Moved{Start: 4, End: 5, Flushed: 5, LastEpoch: 3})
	require.Equal(t, log.Offset(5), says(), "what comes behind a cut has not been removed")
}

// A follower that fetches while it removes what it was told of is not told again.
func TestAFollowerIsToldOfAStartOnce(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) { c.State = leaderState(12, brokers{1, 2}, nil) })
	run(t, l, written(10), acked(2, 1, 10), Started{Start: 6})
	sequence := int64(1)
	told := func(start log.Offset) bool {
		sequence++
		fetch := fromStart(acked(2, sequence, 10), start)
		fetch.Partition.MaxBytes, fetch.Partition.HighWatermark = 1, 10
		return run(t, l, fetch).Fetch.News
	}
	require.True(t, told(0))
	require.False(t, told(0))
	require.False(t, told(6))
	run(t, l, Started{Start: 8})
	sequence++
	ack := fromStart(acked(2, sequence, 10), 6)
	ack.Partition.MaxBytes = 0
	require.False(t, run(t, l, ack).Fetch.News, "the answer to an ack does not tell")
	require.True(t, told(6))
	require.False(t, told(6))
}
