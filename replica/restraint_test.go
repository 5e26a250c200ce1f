package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

func TestALaneDoesNotAskInVainAgainAndAgain(t *testing.T) {
	const ms = time.Millisecond
	type end struct {
		failed, learned bool
		took            time.Duration
		want            time.Duration
	}
	empty := func(want time.Duration) end { return end{want: want} }
	failed := func(want time.Duration) end { return end{failed: true, took: time.Second, want: want} }
	for _, tt := range []struct {
		name string
		ends []end
	}{
		{"parked for long", []end{{took: quick}, {took: 500 * ms}, {took: quick}}},
		{"news all the time", []end{{learned: true}, {learned: true}, {learned: true}}},
		{"nothing, at once", []end{empty(0), empty(1 * ms), empty(2 * ms), empty(4 * ms)}},
		{"nothing by turns", []end{empty(0), {learned: true}, empty(0), {took: quick}, empty(0)}},
		{"failures", []end{failed(1 * ms), failed(2 * ms), failed(4 * ms), failed(8 * ms), failed(16 * ms), failed(32 * ms), failed(64 * ms), failed(100 * ms), failed(100 * ms)}},
		{"failures that end", []end{failed(1 * ms), failed(2 * ms), {learned: true}, failed(1 * ms)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p restraint
			for i, e := range tt.ends {
				require.Equal(t, e.want, p.after(e.failed, e.learned, e.took), "answer %d", i)
			}
		})
	}
}

// A call that an order has ended says nothing of the leader.
func TestACallThatIsEndedCostsNoWait(t *testing.T) {
	x := newLaneRig(t, 1)
	for range 5 {
		r := x.begin(Hot)
		x.follow(2)
		wait, _ := x.fail(r)
		require.Zero(t, wait)
		require.True(t, r.Cut)
	}
	r := x.begin(Hot)
	wait, _ := x.fail(r)
	require.Equal(t, quick, wait, "the first that fails by itself")
	require.False(t, r.Cut)
	r = x.begin(Hot)
	x.told(r, partition.NotLeader, 1)
	wait, _ = x.l.Ended(x.now, r, false)
	require.Zero(t, wait, "an error is not news that brings a fetch; once it may have crossed an ack")
	r = x.begin(Hot)
	x.told(r, partition.NotLeader, 1)
	wait, _ = x.l.Ended(x.now, r, false)
	require.Equal(t, 2*quick, wait)
	r = x.begin(Hot)
	x.told(r, partition.OK, 1)
	wait, _ = x.l.Ended(x.now, r, false)
	require.Zero(t, wait)
}

func TestNews(t *testing.T) {
	same := FetchAnswer{HighWatermark: 5, Start: 2}
	for name, tt := range map[string]struct {
		answer FetchAnswer
		data   []byte
		want   bool
	}{
		"nothing new":            {answer: same},
		"records":                {answer: same, data: []byte{1}, want: true},
		"another high watermark": {answer: with(same, func(a *FetchAnswer) { a.HighWatermark = 4 }), want: true},
		"a start behind its own": {answer: with(same, func(a *FetchAnswer) { a.Start = 3 }), want: true},
		"one before its own":     {answer: with(same, func(a *FetchAnswer) { a.Start = 1 })},
		"a divergence":           {answer: with(same, func(a *FetchAnswer) { a.Diverging = true }), want: true},
		"an error":               {answer: with(same, func(a *FetchAnswer) { a.Code = partition.NotLeader }), want: true},
	} {
		require.Equal(t, tt.want, tt.answer.News(tt.data, 5, 2), name)
	}
}
