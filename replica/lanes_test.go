package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

func TestAHotFetchNamesAllEachTime(t *testing.T) {
	x := newLaneRig(t)
	require.Nil(t, x.begin(Hot))
	require.Equal(t, started(Hot), x.follow(1))
	require.Equal(t, endedNow(Hot), x.follow(2), "the fetch under way does not name it")
	x.follow(3)
	r := x.begin(Hot)
	require.Equal(t, FetchRequest{
		From: 2, BrokerEpoch: 7, Sequence: 1, MaxWaitMs: 500, MinBytes: 1, MaxBytes: 800, Partitions: r.Request.Partitions,
	}, r.Request)
	require.Equal(t, int32(100), r.MaxBytes)
	require.Equal(t, []int{2, 3, 1}, namedIn(r))
	x.answer(r, 3)
	require.Equal(t, []int{3, 1, 2}, x.turn(Hot), "each comes first in his turn")
	require.Equal(t, []int{1, 2, 3}, x.turn(Hot))
	x.silent[3] = true
	r = x.begin(Hot)
	require.Equal(t, []int{2, 1}, namedIn(r))
	require.Equal(t, int32(20), r.Request.MaxWaitMs, "who is delayed is asked again soon")
	x.answer(r)
	x.silent[1], x.silent[2] = true, true
	r = x.begin(Hot)
	require.True(t, r.Idle, "nobody wants anything")
	x.fail(r)
	x.silent, x.epoch = map[int]bool{}, 0
	require.True(t, x.begin(Hot).Idle, "nobody to ask as")
}

func TestAColdFetchNamesWhatIsNew(t *testing.T) {
	x := newLaneRig(t, 1, 2)
	x.turn(Hot)
	x.now = x.now.Add(quiet - 1)
	r := x.begin(Hot)
	_, do := x.answer(r, 2)
	require.Zero(t, do, "none has been quiet for long")
	x.now = x.now.Add(1)
	r = x.begin(Hot)
	_, do = x.answer(r)
	require.Equal(t, started(Cold), do)
	x.count(2, 0, 0)
	require.Equal(t, []int{1}, x.turn(Cold), "there was news of the other")
	x.count(1, 1, 1)
	require.Equal(t, []int{2}, x.turn(Hot))
	require.Empty(t, x.turn(Cold))
	x.now = x.now.Add(quiet)
	x.turn(Hot)
	require.Equal(t, []int{2}, x.turn(Cold), "only who is new")
	x.count(0, 2, 2)
	require.Nil(t, x.begin(Hot))
	require.Empty(t, x.turn(Cold))
}

// Rule 1.
func TestTheLaneThatTakesLastHasTheHigherNumber(t *testing.T) {
	x := newLaneRig(t, 1)
	x.cool()
	x.l.Heat(x.members[1])
	cold := x.begin(Cold)
	x.count(0, 1, 1)
	require.NotContains(t, namedIn(cold), 1)
	hot := x.begin(Hot)
	x.count(1, 0, 0)
	require.Greater(t, hot.Request.Sequence, cold.Request.Sequence)
	require.Equal(t, hot.Request.Sequence, hot.Asks[0].Sequence)
	x.l.Ack(x.members[1], false)
	ack := x.begin(Beside)
	require.Equal(t, hot.Request.Sequence+1, ack.Request.Sequence)
	require.Zero(t, ack.MaxBytes)
}

// Rule 2.
func TestAnAnswerToAnOlderRequestTellsOfNobody(t *testing.T) {
	for _, tt := range []struct {
		name string
		made func(x *laneRig, hot *LanesRound[int])
		want []int
	}{
		{"none came since", func(*laneRig, *LanesRound[int]) {}, []int{2, 1}},
		{"the cold lane took them", func(x *laneRig, hot *LanesRound[int]) {
			require.Equal(x.t, []int{1, 2}, namedIn(x.begin(Cold)))
		}, nil},
		{"one has left", func(x *laneRig, hot *LanesRound[int]) { x.remove(1) }, []int{2}},
		{"one has begun again", func(x *laneRig, hot *LanesRound[int]) { x.remove(1); x.follow(1) }, []int{2}},
		{"an ack counts for no records", func(x *laneRig, hot *LanesRound[int]) {
			x.l.Ack(x.members[1], false)
			x.begin(Beside)
		}, []int{2, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newLaneRig(t, 1, 2)
			x.turn(Hot)
			x.now = x.now.Add(quiet)
			r := x.begin(Hot)
			x.answer(r)
			x.l.Begin(x.now, r) // the cold lane has been started
			x.asked(r)
			tt.made(x, r)
			if tt.want != nil {
				require.ElementsMatch(t, tt.want, x.told(r, partition.OK, 1, 2))
				return
			}
			require.Empty(t, x.told(r, partition.OK, 1, 2))
		})
	}
	t.Run("a cold one of before", func(t *testing.T) {
		x := newLaneRig(t, 1, 2)
		x.cool()
		r := x.begin(Cold)
		x.l.Heat(x.members[1])
		x.begin(Hot)
		told, _ := x.answer(r, 1, 2, 9)
		require.Equal(t, []int{2}, told, "nor of a stranger")
	})
}

// Rule 4.
func TestColdFetchesAreAChain(t *testing.T) {
	x := newLaneRig(t, 1, 2, 3)
	first := x.cool()
	second := x.begin(Cold)
	require.True(t, second.Request.Cold)
	require.Equal(t, first, second.Request.After)
	require.Empty(t, namedIn(second))
	require.False(t, second.Idle, "it stands for all")
	x.answer(second)
	third := x.begin(Cold)
	require.Equal(t, second.Request.Sequence, third.Request.After)
	x.fail(third)
	anew := x.begin(Cold)
	require.Zero(t, anew.Request.After, "nothing is kept for certain")
	require.Equal(t, []int{1, 2, 3}, namedIn(anew))
	x.answer(anew)
	require.Equal(t, anew.Request.Sequence, x.begin(Cold).Request.After)

	x = newLaneRig(t, 1)
	x.cool()
	require.Equal(t, endedNow(Cold), x.remove(1))
	require.Nil(t, x.begin(Cold))
	x.follow(1)
	x.turn(Hot)
	x.now = x.now.Add(quiet)
	x.turn(Hot)
	require.Zero(t, x.begin(Cold).Request.After, "the lane has rested")
}

func TestWhichAnswersAreSound(t *testing.T) {
	require.NoError(t, (&FetchResponse{}).Err())
	require.Equal(t, errLost, (&FetchResponse{Lost: true}).Err())
	require.Equal(t, partition.StaleBroker, (&FetchResponse{Code: partition.StaleBroker}).Err())
}

// Rule 5.
func TestWhatIsToldIsKeptNoMore(t *testing.T) {
	x := newLaneRig(t, 1, 2, 3)
	x.cool()
	r := x.begin(Cold)
	told, do := x.answer(r, 3, 3)
	require.Equal(t, []int{3}, told, "once")
	require.Zero(t, do)
	x.count(0, 3, 2)
	require.Equal(t, []int{3}, x.turn(Cold))
	x.count(0, 3, 3)
	for i := range bustle {
		r = x.begin(Cold)
		do = x.l.Told(x.now, r, &FetchResponse{Partitions: []FetchAnswer{{ID: laneID(1)}}})
		x.l.Ended(x.now, r, false)
		require.Equal(t, i == bustle-1, do.Start[Hot], "it moves")
	}
	require.Equal(t, []int{1}, namedIn(x.begin(Hot)), "and leaves for the lane of those who do")
}

// Rule 6.
func TestANewEpochBeginsHot(t *testing.T) {
	x := newLaneRig(t, 1, 2)
	x.cool()
	old := x.members[1]
	require.Zero(t, x.remove(1))
	require.Equal(t, started(Hot), x.follow(1))
	x.count(1, 1, 1)
	require.Equal(t, LanesOrders{}, x.l.Remove(old), "it is out already")
	require.Zero(t, x.l.Heat(old))
	require.Zero(t, x.l.Ack(old, false))
	x.count(1, 1, 1)
	require.Equal(t, []int{1}, x.turn(Hot))
}

// Rule 7.
func TestWhoHasNeedOfFetchesIsHot(t *testing.T) {
	t.Run("does not cool down", func(t *testing.T) {
		x := newLaneRig(t, 1, 2, 3)
		x.busy[1], x.silent[2], x.busy[3] = true, true, true
		x.turn(Hot)
		x.now = x.now.Add(quiet)
		_, do := x.answer(x.begin(Hot))
		require.Zero(t, do)
		x.busy[3] = false
		x.turn(Hot)
		require.Equal(t, []int{3}, x.turn(Cold))
		x.count(2, 1, 1)
	})
	t.Run("goes back when it is named", func(t *testing.T) {
		x := newLaneRig(t, 1, 2, 3, 4)
		x.cool()
		x.fail(x.begin(Cold))
		x.busy[1], x.silent[2] = true, true
		r := &LanesRound[int]{Lane: Cold}
		x.l.Begin(x.now, r)
		x.remove(3)
		require.Equal(t, started(Hot), x.asked(r))
		require.Equal(t, []int{4}, namedIn(r))
		x.count(2, 1, 1)
		require.Equal(t, []int{1}, x.turn(Hot))
		x.answer(r)
		require.Empty(t, x.turn(Cold))
	})
	t.Run("is heated", func(t *testing.T) {
		x := newLaneRig(t, 1, 2)
		x.cool()
		require.Equal(t, started(Hot), x.l.Heat(x.members[1]))
		require.Equal(t, endedNow(Hot), x.l.Heat(x.members[1]))
		require.Len(t, x.l.coming, 1)
		x.count(0, 2, 2)
		require.Equal(t, []int{1}, x.turn(Hot))
		x.count(1, 1, 1)
		require.Zero(t, x.l.Heat(x.members[1]), "its next fetch is near")
	})
	t.Run("is heated and leaves", func(t *testing.T) {
		x := newLaneRig(t, 1, 2)
		x.cool()
		x.l.Heat(x.members[1])
		x.remove(1)
		require.Nil(t, x.begin(Hot))
		x.count(0, 1, 1)
	})
	t.Run("is heated when it has been told of", func(t *testing.T) {
		x := newLaneRig(t, 1, 2)
		x.cool()
		x.answer(x.begin(Cold), 1)
		x.l.Heat(x.members[1])
		require.Equal(t, []int{1}, x.turn(Hot))
		require.Empty(t, x.turn(Cold))
	})
	t.Run("its ack may be lost", func(t *testing.T) {
		for _, lost := range []func(x *laneRig, r *LanesRound[int]) LanesOrders{
			func(x *laneRig, r *LanesRound[int]) LanesOrders { _, do := x.fail(r); return do },
			func(x *laneRig, r *LanesRound[int]) LanesOrders {
				return x.l.Told(x.now, r, &FetchResponse{Partitions: []FetchAnswer{{}, {Code: partition.NotLeader}}})
			},
			func(x *laneRig, r *LanesRound[int]) LanesOrders {
				return x.l.Told(x.now, r, &FetchResponse{Partitions: []FetchAnswer{{}, {Diverging: true}}})
			},
		} {
			x := newLaneRig(t, 1, 2, 3)
			x.cool()
			x.l.Ack(x.members[3], false)
			x.l.Ack(x.members[2], false)
			r := x.begin(Beside)
			require.Equal(t, started(Hot), lost(x, r))
			require.Contains(t, x.turn(Hot), 2)
		}
	})
}
