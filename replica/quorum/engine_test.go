package quorum

import (
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/stretchr/testify/require"
)

func TestEnginesInOneGoroutine(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n, " voters"), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 1)
			r := newRig(t, 1, n)
			for _, h := range r.hosts {
				h.start()
			}
			leader := r.elect(100 * time.Millisecond)
			require.Equal(t, n > 1, leader.engine.NeedsTicks())
			token := leader.propose("a")
			r.run(time.Second, func() bool { _, ok := leader.decided[token]; return ok })
			require.NoError(t, leader.decided[token])
			r.run(time.Second, func() bool {
				for _, h := range r.hosts {
					if len(h.applied) != 2 {
						return false
					}
				}
				return true
			})
			for _, h := range r.hosts {
				require.Equal(t, []string{"", "a"}, h.applied)
				require.NoError(t, h.engine.Close())
			}
		})
	}
}

// riotIn lets voters of a seed crash, lose power and messages, and returns the
// digest of all that happened.
func riotIn(t *testing.T, seed uint64) uint64 {
	cryptotest.SetGlobalRandom(t, seed)
	r := newRig(t, seed, 3)
	r.loss = 8
	for _, h := range r.hosts {
		h.start()
	}
	proposals := 0
	for range 40 {
		h := r.hosts[r.rng.IntN(3)]
		if r.rng.IntN(3) == 0 {
			h.crash(r.rng.IntN(2) == 0)
			r.pass(time.Duration(r.rng.IntN(3000)) * time.Millisecond)
			h.start()
		}
		r.pass(time.Duration(r.rng.IntN(1000)) * time.Millisecond)
		if l := r.leader(); l != nil {
			proposals++
			l.propose(fmt.Sprint("entry ", proposals))
		}
	}
	r.loss = 0
	leader := r.elect(time.Minute)
	last := leader.propose("last")
	r.run(time.Minute, func() bool { _, ok := leader.decided[last]; return ok })
	r.pass(5 * time.Second)
	for _, h := range r.hosts {
		require.Equal(t, leader.applied, h.applied)
	}
	require.Greater(t, proposals, 10)
	return r.trace
}

func TestSameSeedSameTrace(t *testing.T) {
	traces := make(map[uint64]bool)
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			first := riotIn(t, seed)
			require.Equal(t, first, riotIn(t, seed))
			traces[first] = true
		})
	}
	require.Greater(t, len(traces), 9, "the seed must matter")
}

func TestEngineAfterAFault(t *testing.T) {
	r := newRig(t, 1, 1)
	h := r.hosts[0]
	h.start()
	h.disk.FailNth(logtest.Sync, 1, errDisk)
	_, err := h.engine.Propose(log.NoEpoch, []byte("a"))
	require.NoError(t, err)
	_, err = h.engine.Work()
	require.ErrorIs(t, err, errDisk)
	_, err = h.engine.Propose(log.NoEpoch, []byte("b"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = h.engine.Step(encodeHello(fresh(2, 2)))
	require.ErrorIs(t, err, errDisk)
	h.engine.Tick()
	h.engine.Wake()
	h.engine.Gone(2)
	worked, err := h.engine.Work()
	require.False(t, worked)
	require.ErrorIs(t, err, errDisk)
	require.Empty(t, h.decided)
}
