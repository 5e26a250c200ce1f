package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAChainHasNoGap(t *testing.T) {
	at := time.Unix(100, 0)
	fetch := func(sequence, after int64) *FetchRequest {
		return &FetchRequest{From: 2, BrokerEpoch: 7, Sequence: sequence, After: after}
	}
	c := newChain(fetch(3, 0))
	require.False(t, c.goOn(fetch(5, 3)), "the one before has no answer")
	require.False(t, c.idleSince(at.Add(time.Hour)))
	c.answer(at)
	require.False(t, c.idleSince(at))
	require.True(t, c.idleSince(at.Add(1)))
	require.False(t, c.goOn(fetch(5, 2)), "it goes on from another")
	require.False(t, c.goOn(fetch(3, 3)), "it is the same again")
	require.False(t, c.goOn(&FetchRequest{From: 2, BrokerEpoch: 8, Sequence: 5, After: 3}), "it is of another life")
	require.True(t, c.goOn(fetch(5, 3)))
	require.False(t, c.goOn(fetch(5, 3)), "it comes twice")
	c.answer(at)
	require.False(t, c.goOn(fetch(6, 3)), "the one between is missing")

	require.True(t, c.newer(fetch(6, 0)))
	require.False(t, c.newer(fetch(5, 0)))
	require.True(t, c.newer(&FetchRequest{From: 2, BrokerEpoch: 8, Sequence: 1}))
	require.False(t, c.newer(&FetchRequest{From: 2, BrokerEpoch: 6, Sequence: 9}))
}
