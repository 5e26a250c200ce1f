package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

func TestWhenARequestThatWaitsIsTold(t *testing.T) {
	reader := Parked{High: 5, End: 9}
	hot := Parked{Follower: 2, High: 5, End: 9, Start: 1}
	cold := Parked{Follower: 2, High: 5, End: 9, Cold: true, Start: 1}
	for _, tt := range []struct {
		name             string
		high, end, start log.Offset
		reader, hot      Ripeness
		cold             Ripeness
	}{
		{"nothing has moved", 5, 9, 1, Unripe, Unripe, Unripe},
		{"it has seen more", 4, 8, 0, Unripe, Unripe, Unripe},
		{"more is committed", 6, 9, 1, Ripe, Ripening, Ripe},
		{"there is more", 5, 10, 1, Unripe, Ripe, Ripe},
		{"there is more, and more is committed", 6, 10, 1, Ripe, Ripe, Ripe},
		{"less is kept", 5, 9, 2, Unripe, Ripe, Ripe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.reader, reader.Look(tt.high, tt.end, tt.start), "a reader")
			require.Equal(t, tt.hot, hot.Look(tt.high, tt.end, tt.start), "a hot fetch")
			require.Equal(t, tt.cold, cold.Look(tt.high, tt.end, tt.start), "a cold one")
		})
	}
}

// Rule 3 of Lanes.
func TestAFollowerHasOnePlace(t *testing.T) {
	type waiter struct{ Parked }
	at := func(follower partition.BrokerID, broker partition.BrokerEpoch, sequence int64) *waiter {
		return &waiter{Parked{Follower: follower, Number: FetchNumber{broker, sequence}}}
	}
	var l Lot[*waiter]
	other, reader, second := at(3, 1, 9), at(partition.NoBroker, 0, 0), at(partition.NoBroker, 0, 0)
	for _, p := range []*waiter{other, reader, second} {
		require.Nil(t, l.Park(p))
	}
	p := at(2, 1, 5)
	require.Nil(t, l.Park(p))
	require.Nil(t, l.Park(p), "it parks again")
	require.Len(t, l.All(), 4)

	older := at(2, 1, 4)
	require.Same(t, older, l.Park(older))
	former := at(2, 0, 99)
	require.Same(t, former, l.Park(former), "of another life")
	newer := at(2, 1, 6)
	require.Same(t, p, l.Park(newer), "of whichever lane")
	again := at(2, 1, 6)
	require.Same(t, newer, l.Park(again), "the same request, served twice")

	life := at(2, 2, 1)
	require.Same(t, again, l.Park(life), "another life")

	require.Nil(t, l.Overtake(2, FetchNumber{1, 9}))
	require.Nil(t, l.Overtake(2, FetchNumber{2, 1}))
	require.Nil(t, l.Overtake(4, FetchNumber{9, 9}))
	require.Same(t, life, l.Overtake(2, FetchNumber{2, 2}))
	require.Equal(t, []*waiter{other, reader, second}, l.All())
	l.Unpark(life)
	l.Unpark(reader)
	require.Equal(t, []*waiter{other, second}, l.All())
	l.Wake(func(p *waiter) bool { return p == other })
	require.Equal(t, []*waiter{second}, l.All())
}
