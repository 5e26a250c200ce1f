package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatAColdFetchMakesOfTheSet(t *testing.T) {
	fetch := func(sequence, after int64) *FetchRequest {
		return &FetchRequest{From: 2, BrokerEpoch: 7, Sequence: sequence, After: after, Cold: true}
	}
	answered := func(k *ColdSet[int]) { k.Answered(testStart) }
	gone := func(k *ColdSet[int]) { k.Answered(testStart); k.Drop() }
	for _, tt := range []struct {
		name string
		made func(*ColdSet[int]) // of one that began with 5; nil: there is none
		next *FetchRequest
		want ColdTurn
	}{
		{"the first of all", nil, fetch(5, 0), ColdBegins},
		{"nothing is known of the one before", nil, fetch(6, 5), ColdLost},
		{"it goes on", answered, fetch(6, 5), ColdGoesOn},
		{"the one before has no answer", func(*ColdSet[int]) {}, fetch(6, 5), ColdLost},
		{"one is missing", answered, fetch(7, 6), ColdLost},
		{"it has been dropped", gone, fetch(6, 5), ColdLost},
		{"it begins anew", answered, fetch(6, 0), ColdBegins},
		{"it begins anew without an answer", func(*ColdSet[int]) {}, fetch(6, 0), ColdBegins},
		{"it begins anew since all was dropped", gone, fetch(6, 0), ColdBegins},
		{"late", answered, fetch(4, 0), ColdLost},
		{"repeated", answered, fetch(5, 0), ColdLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var k *ColdSet[int]
			if tt.made != nil {
				k = NewColdSet[int](fetch(5, 0))
				tt.made(k)
			}
			require.Equal(t, tt.want, k.Next(tt.next))
		})
	}
	k := NewColdSet[int](fetch(5, 0))
	answered(k)
	k.Next(fetch(6, 5))
	require.Equal(t, ColdLost, k.Next(fetch(7, 6)), "that has no answer yet")
	require.False(t, k.IdleSince(testStart.Add(time.Hour)))
	answered(k)
	require.True(t, k.IdleSince(testStart.Add(time.Hour)))
}

func TestAColdSetTellsOfNewsOnce(t *testing.T) {
	k := NewColdSet[string](&FetchRequest{Sequence: 1})
	for c := range 6 {
		require.True(t, k.Keep(laneID(c), "first"))
	}
	require.False(t, k.HasNews())
	require.Empty(t, k.Take())
	require.True(t, k.Ring(laneID(4), "first"))
	require.False(t, k.Ring(laneID(4), "first"), "again")
	require.False(t, k.Ring(laneID(9), "first"), "a stranger")
	require.False(t, k.Ring(laneID(3), "second"), "not the one that is kept")
	require.True(t, k.Ring(laneID(1), "first"))
	require.True(t, k.HasNews())
	require.Len(t, k.Take(), 2)
	require.False(t, k.HasNews())
	require.False(t, k.Ring(laneID(1), "first"), "what is told is kept no more")

	k.Ring(laneID(2), "first")
	k.Keep(laneID(2), "second") // it is named anew before it has been told of
	k.Ring(laneID(3), "first")
	k.Leave(laneID(3), "first") // a hot fetch asks for it
	k.Leave(laneID(5), "second")
	require.Empty(t, k.Take())
	require.True(t, k.Ring(laneID(5), "first"), "that was another's to leave")
	require.False(t, k.Ring(laneID(2), "first"))
	require.True(t, k.Ring(laneID(2), "second"))
	require.Equal(t, []string{"first", "second"}, k.Take(), "in the order of the news")
	k.Keep(laneID(7), "second")
	k.Ring(laneID(7), "second")
	require.Equal(t, []string{"first", "second"}, k.Drop(), "0 and 7")
	require.True(t, k.Gone())
	require.False(t, k.HasNews())
	require.False(t, k.Keep(laneID(1), "third"))
	require.Empty(t, k.Drop())
	require.False(t, k.Ring(laneID(0), "first"))
}
