package samsa

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// Whoever registers is in touch with the controller: the first group of a new broker
// waits for no heartbeat.
func TestTheFirstGroupIsServedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := Open(t.Context(), Config{})
		require.NoError(t, err)
		defer func() { require.NoError(t, b.Close()) }()
		require.NoError(t, b.Ready(t.Context()))
		begun := time.Now()
		_, err = b.Client().Group("g").Info(t.Context())
		require.ErrorIs(t, err, ErrUnknownGroup)
		require.Less(t, time.Since(begun), b.cfg.HeartbeatInterval/5)
	})
}

// The coordinators of a broker that has lost touch with the controller stop before
// the controller puts others in their place.
func TestCoordinatorsStopBeforeTheyAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := transport.NewNetwork()
		voters := []Voter{{ID: 1, Addr: "a"}, {ID: 2, Addr: "b"}, {ID: 3, Addr: "c"}}
		var brokers []*Broker
		for _, v := range voters {
			b, err := Open(t.Context(), Config{ID: v.ID, Addr: v.Addr, Transport: network, Voters: voters})
			require.NoError(t, err)
			defer func() { require.NoError(t, b.Close()) }()
			brokers = append(brokers, b)
		}
		for _, b := range brokers {
			require.NoError(t, b.Ready(t.Context()))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = brokers[0].Client().Group("g").Info(ctx) // makes the topic of the groups' records
		coordinates := func() (here []*Broker) {
			for _, b := range brokers {
				if b.groups.of("g") != b.groups.absent {
					here = append(here, b)
				}
			}
			return here
		}
		require.Len(t, coordinates(), 1)
		cut := coordinates()[0]
		for _, v := range voters {
			if v.ID != cut.ID() {
				network.Cut(transport.Addr(cut.cfg.Addr), transport.Addr(v.Addr))
				network.Cut(transport.Addr(v.Addr), transport.Addr(cut.cfg.Addr))
			}
		}
		isolated := time.Now()
		for cut.groups.of("g") != cut.groups.absent {
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("stopped after %v", time.Since(isolated))
		for len(coordinates()) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		require.NotEqual(t, cut, coordinates()[0])
		t.Logf("replaced after %v", time.Since(isolated))
		network.Heal()
	})
}
