package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

func TestWhenARequestThatWaitsIsTold(t *testing.T) {
	reader := Parked{High: 5, End: 9}
	hot := Parked{Follower: 2, High: 5, End: 9, Start: 1}
	cold := Parked{Follower: 2, High: 5, End: 9, Cold: true, Start: 1}
	for _, tt := range []struct {
		name        string
		now         View
		reader, hot Ripeness
		cold        Ripeness
	}{
		{"nothing has moved", View{true, 1, 5, 9}, Unripe, Unripe, Unripe},
		{"it has seen more", View{true, 0, 4, 8}, Unripe, Unripe, Unripe},
		{"more is committed", View{true, 1, 6, 9}, Ripe, Ripening, Ripe},
		{"there is more", View{true, 1, 5, 10}, Unripe, Ripe, Ripe},
		{"there is more, and more is committed", View{true, 1, 6, 10}, Ripe, Ripe, Ripe},
		{"the role is over", View{false, 1, 5, 9}, Ripe, Ripe, Ripe},
		{"less than it knows to be committed", View{true, 9, 1, 9}, Unripe, Unripe, Unripe},
		{"less is kept", View{true, 2, 5, 9}, Unripe, Ripe, Ripe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.reader, reader.Look(tt.now), "a reader")
			require.Equal(t, tt.hot, hot.Look(tt.now), "a hot fetch")
			require.Equal(t, tt.cold, cold.Look(tt.now), "a cold one")
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
