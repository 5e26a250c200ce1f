package main

import (
	"testing"

	"github.com/samsalog/samsa"
	"github.com/stretchr/testify/require"
)

func TestServicesDoNothingTwice(t *testing.T) {
	ride := Ride{Line: 2, Pickup: "2019-03-23 20:21:09", Total: 1295, PickupZone: "SoHo", PickupBorough: "Manhattan", DropoffZone: "Chelsea"}
	rec, err := ride.record(0)
	require.NoError(t, err)
	p, a, n := &payment{}, &analytics{revenue: make(revenue)}, &notification{}
	for _, w := range []worker{p, a, n} {
		for _, first := range []bool{true, false} {
			require.NoError(t, w.ride(t.Context(), nil, rec, first))
		}
	}
	require.EqualValues(t, 1295, p.taken.Load())
	require.Equal(t, Cents(1295), a.revenue["Manhattan"][20])
	require.Equal(t, Cents(1295), a.revenue.total())
	require.Equal(t, "Your ride to Chelsea is on its way.", string(n.text))
}

func TestServicesRefuseWhatIsNoRide(t *testing.T) {
	for _, w := range []worker{&payment{}, &analytics{revenue: make(revenue)}, &notification{}} {
		require.Error(t, w.ride(t.Context(), nil, samsa.Record{Value: []byte("{")}, true))
	}
}

func TestARecordCarriesItsIdentity(t *testing.T) {
	rec, err := (&Ride{Line: 17, PickupZone: "SoHo"}).record(3)
	require.NoError(t, err)
	require.Equal(t, "SoHo", string(rec.Key))
	id, err := identityOf(rec)
	require.NoError(t, err)
	require.Equal(t, identity{line: 17, repeat: 3}, id)

	got := answer(rec)
	require.Equal(t, matched, got.Topic)
	require.Equal(t, rec.Key, got.Key)
	id, err = identityOf(got)
	require.NoError(t, err)
	require.Equal(t, identity{line: 17, repeat: 3}, id)
}
