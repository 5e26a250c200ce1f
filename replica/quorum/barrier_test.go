package quorum

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestReadBarrier(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n, " voters"), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 18)
			r := newRig(t, 18, n)
			r.startAll()
			r.say("a")
			leader := r.leader()
			barrier := func() (token Token) {
				leader.do(func() {
					var err error
					token, err = leader.engine.ReadBarrier()
					require.NoError(t, err)
				})
				return token
			}
			first, second := barrier(), barrier()
			leader.settled(first)
			leader.settled(second)
			require.EqualValues(t, len(leader.applied), leader.places[first])
			if n == 1 {
				return
			}
			_, err := r.hosts[leader.cfg.Self%3].engine.ReadBarrier()
			require.ErrorIs(t, err, ErrNotLeader)

			// A leader that is cut off does not know it yet; nobody confirms it.
			r.cut[leader.cfg.Self] = true
			late := barrier()
			r.run(time.Minute, func() bool { _, ok := leader.decided[late]; return ok })
			require.ErrorIs(t, leader.decided[late], ErrNotLeader)
			_, err = leader.engine.ReadBarrier()
			require.ErrorIs(t, err, ErrNotLeader)
		})
	}
}

// The same by the goroutines of a quorum, with a change of the voters asked for at one
// that does not lead.
func TestOperatorsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		leader := m.leading(1, 2, 3)
		m.propose(leader, "a")
		require.NoError(t, m.rooms[leader].q.ReadBarrier(t.Context()))
		next := leader%3 + 1
		m.history(next, 1)
		require.ErrorIs(t, m.rooms[next].q.ReadBarrier(t.Context()), ErrNotLeader)
		require.ErrorIs(t, m.rooms[next].q.Transfer(t.Context(), leader), ErrNotLeader)
		require.NoError(t, m.rooms[leader].q.Transfer(t.Context(), next))
		require.Equal(t, next, m.leading(1, 2, 3))
		m.history(leader, 1)
		synctest.Wait()
		_, err := m.rooms[leader].q.ChangeVoters(t.Context(), Change{Remove: 77})
		require.ErrorIs(t, err, ErrBadChange)
		index, err := m.rooms[leader].q.ChangeVoters(t.Context(), Change{Remove: leader})
		require.NoError(t, err)
		require.Positive(t, index)
		s, changed := m.rooms[next].q.Watch()
		for len(s.Voters) != 2 {
			<-changed
			s, changed = m.rooms[next].q.Watch()
		}
		m.propose(next, "b")
		m.history(leader, 2)
		m.stopAll(1, 2, 3)
		_, err = m.rooms[next].q.ChangeVoters(t.Context(), Change{Remove: next})
		require.ErrorIs(t, err, ErrClosed)
	})
}

// What was decided in a term is agreed on in that one or never, though its leader may
// lead again.
func TestAProposalIsOfItsTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		first := m.leading(1, 2, 3)
		term := m.at(first).Status().Term
		_, err := m.at(first).Propose(t.Context(), term, []byte("a"))
		require.NoError(t, err)
		for leader := first; ; {
			m.at(leader).StepAside(t.Context())
			if leader = m.leading(1, 2, 3); leader == first {
				break
			}
		}
		_, err = m.at(first).Propose(t.Context(), term, []byte("b"))
		require.ErrorIs(t, err, ErrNotLeader)
		_, err = m.at(first).Propose(t.Context(), m.at(first).Status().Term, []byte("c"))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "c"}, m.history(first, 2))
		m.stopAll(1, 2, 3)
	})
}

// Who is about to go hands the lead on, and goes also if nobody takes it.
func TestStepAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		leader := m.leading(1, 2, 3)
		others := slices.DeleteFunc([]partition.BrokerID{1, 2, 3}, func(id partition.BrokerID) bool { return id == leader })
		begun := time.Now()
		m.at(others[0]).StepAside(t.Context())
		require.Zero(t, time.Since(begun), "it does not lead")
		m.at(leader).StepAside(t.Context())
		require.NotEqual(t, leader, m.leading(1, 2, 3))
		require.Less(t, time.Since(begun), 100*time.Millisecond)

		leader = m.leading(1, 2, 3)
		for _, id := range []partition.BrokerID{1, 2, 3} {
			if id != leader {
				require.NoError(t, m.stop(id))
			}
		}
		begun = time.Now()
		m.at(leader).StepAside(t.Context())
		cfg := m.rooms[leader].q.cfg
		require.LessOrEqual(t, time.Since(begun), time.Duration(cfg.ElectionTicks)*cfg.Tick)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begun = time.Now()
		m.at(leader).StepAside(ctx)
		require.Zero(t, time.Since(begun))
		require.NoError(t, m.stop(leader))

		alone := newMachineRoom(t, 1)
		alone.start(1)
		require.Equal(t, partition.BrokerID(1), alone.leading(1))
		begun = time.Now()
		alone.at(1).StepAside(t.Context())
		require.Zero(t, time.Since(begun), "there is nobody else")
		require.True(t, alone.at(1).Status().Leading)
		require.NoError(t, alone.stop(1))
	})
}
