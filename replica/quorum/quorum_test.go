package quorum

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

func TestAloneLeadsAtOnceAndKeepsItsEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 1)
		begin := time.Now()
		m.start(1)
		synctest.Wait()
		s := m.rooms[1].q.Status()
		require.True(t, s.Leading)
		require.Equal(t, Leader, s.Role)
		require.Equal(t, partition.BrokerID(1), s.Leader)
		require.Equal(t, "voter-1", s.LeaderAddr)
		require.Equal(t, begin, time.Now())
		require.Equal(t, log.Offset(2), m.propose(1, "a"))
		require.Equal(t, log.Offset(3), m.propose(1, "b"))
		require.Equal(t, log.Offset(3), m.rooms[1].q.Status().Applied)
		m.stopAll(1)
		require.False(t, m.rooms[1].q.Status().Leading)

		m.start(1)
		synctest.Wait()
		again := m.rooms[1].q.Status()
		require.True(t, again.Leading)
		require.Equal(t, s.Cluster, again.Cluster)
		require.Equal(t, s.Term+1, again.Term)
		require.Equal(t, []string{"a", "b"}, m.history(1, 2))
		require.Equal(t, begin, time.Now(), "a voter alone waits for nothing")
		m.stopAll(1)
	})
}

func TestLastOfThreeToStartFindsALeaderAtOnce(t *testing.T) {
	for _, order := range [][]partition.BrokerID{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}, {1, 3, 2}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachineRoom(t, 3)
				m.start(order[0])
				time.Sleep(3 * time.Second)
				m.start(order[1])
				time.Sleep(7 * time.Second)
				require.Equal(t, Forming, m.rooms[order[0]].q.Status().Role)
				require.Contains(t, m.rooms[order[0]].q.Status().Problem, fmt.Sprintf("voter %d", order[2]))
				begin := time.Now()
				m.start(order[2])
				synctest.Wait()
				require.True(t, m.rooms[1].q.Status().Leading, "%+v", m.rooms[1].q.Status())
				require.Less(t, time.Since(begin), 5*time.Millisecond)
				m.propose(1, "a")
				for id := partition.BrokerID(1); id <= 3; id++ {
					require.Equal(t, []string{"a"}, m.history(id, 1))
					require.Equal(t, partition.BrokerID(1), m.rooms[id].q.Status().Leader)
				}
				m.stopAll(1, 2, 3)
			})
		})
	}
}

func TestNewLeaderAfterTheOldOneDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		require.Equal(t, partition.BrokerID(1), m.leading(1, 2, 3))
		m.propose(1, "a")
		_, changed := m.rooms[2].q.Watch()
		m.stopAll(1)
		<-changed
		next := m.leading(2, 3)
		m.propose(next, "b")
		m.start(1)
		require.Equal(t, []string{"a", "b"}, m.history(1, 2))
		require.Equal(t, next, m.rooms[1].q.Status().Leader)
		_, err := m.rooms[1].q.Propose(t.Context(), log.NoEpoch, []byte("c"))
		require.ErrorIs(t, err, ErrNotLeader)
		m.stopAll(1, 2, 3)
	})
}

func TestDeadLeaderIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		m.propose(m.leading(1, 2, 3), "0")
		for round := range 4 {
			dead := m.leading(1, 2, 3)
			m.stopAll(dead)
			var alive []partition.BrokerID
			for id := partition.BrokerID(1); id <= 3; id++ {
				if id != dead {
					alive = append(alive, id)
					m.rooms[id].q.Gone(dead)
				}
			}
			begin := time.Now()
			next := m.leading(alive...)
			require.Less(t, time.Since(begin), 100*time.Millisecond)
			m.propose(next, fmt.Sprint(round))
			m.rooms[next].q.Gone(dead) // late news, and false ones
			m.rooms[alive[0]].q.Gone(alive[0])
			m.start(dead)
			m.history(dead, round+2)
		}
		// Who is told so of a leader that lives finds no votes, and comes back to it.
		leader := m.leading(1, 2, 3)
		m.rooms[leader%3+1].q.Gone(leader)
		time.Sleep(3 * time.Second)
		require.Equal(t, leader, m.leading(1, 2, 3))
		m.propose(leader, "end")
		m.stopAll(1, 2, 3)
	})
}

func TestAllDieAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		for i := range 20 {
			m.propose(m.leading(1, 2, 3), fmt.Sprint(i))
		}
		cluster := m.rooms[1].q.Status().Cluster
		m.stopAll(1, 2, 3)
		m.start(3, 2, 1)
		m.propose(m.leading(1, 2, 3), "after")
		for id := partition.BrokerID(1); id <= 3; id++ {
			require.Len(t, m.history(id, 21), 21)
			require.Equal(t, cluster, m.rooms[id].q.Status().Cluster)
		}
		m.stopAll(1, 2, 3)
	})
}

func TestDeposedLeaderLearnsThatItsEntryWasDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		require.Equal(t, partition.BrokerID(1), m.leading(1, 2, 3))
		m.propose(1, "a")
		m.net.isolate("voter-1", true)
		lost := make(chan error, 1)
		go func() {
			_, err := m.rooms[1].q.Propose(t.Context(), log.NoEpoch, []byte("lost"))
			lost <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := m.rooms[1].q.Propose(ctx, log.NoEpoch, []byte("unknown"))
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		next := m.leading(2, 3)
		m.propose(next, "b")
		time.Sleep(3 * time.Second)
		require.False(t, m.rooms[1].q.Status().Leading, "a leader that hears of nobody steps down")
		require.Empty(t, lost, "nobody can tell yet")
		m.net.isolate("voter-1", false)
		require.ErrorIs(t, <-lost, ErrDropped)
		require.Equal(t, []string{"a", "b"}, m.history(1, 2))
		require.Equal(t, next, m.leading(1, 2, 3), "who comes back does not disturb")
		m.stopAll(1, 2, 3)
	})
}

func TestProposalSurvivesItsProposer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		require.Equal(t, partition.BrokerID(1), m.leading(1, 2, 3))
		// The entry reaches voter 2, whose answers are lost, so it is not committed.
		m.net.mu.Lock()
		m.net.cut[[2]string{"voter-2", "voter-1"}] = true
		m.net.cut[[2]string{"voter-3", "voter-1"}] = true
		m.net.cut[[2]string{"voter-1", "voter-3"}] = true
		m.net.mu.Unlock()
		got := make(chan error, 1)
		go func() {
			_, err := m.rooms[1].q.Propose(context.Background(), log.NoEpoch, []byte("a"))
			got <- err
		}()
		time.Sleep(5 * time.Millisecond)
		m.net.isolate("voter-1", true)
		next := m.leading(2, 3)
		require.Equal(t, partition.BrokerID(2), next, "only voter 2 has all entries")
		m.net.isolate("voter-1", false)
		require.NoError(t, <-got, "the next leader committed it")
		require.Equal(t, []string{"a"}, m.history(1, 1))
		m.stopAll(1, 2, 3)
	})
}

func TestManyProposers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		leader := m.leading(1, 2, 3)
		const callers, each = 20, 50
		var wg sync.WaitGroup
		var mu sync.Mutex
		at := make(map[string]log.Offset)
		for c := range callers {
			wg.Go(func() {
				last := log.Offset(0)
				for i := range each {
					text := fmt.Sprintf("%d/%d", c, i)
					index := m.propose(leader, text)
					if index <= last {
						t.Errorf("%s got index %d after %d", text, index, last)
					}
					last = index
					mu.Lock()
					at[text] = index
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for id := partition.BrokerID(1); id <= 3; id++ {
			require.Len(t, m.history(id, callers*each), callers*each)
			applied := m.applied(id)
			for text, index := range at {
				require.Equal(t, text, applied[index-1])
			}
		}
		m.stopAll(1, 2, 3)
	})
}

func TestWipedVoterIsAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		m.propose(m.leading(1, 2, 3), "a")
		m.history(3, 1)
		m.stopAll(3)
		m.rooms[3].fs, m.rooms[3].directory = log.NewMemFS(), partition.UUID{1: 9}
		m.start(3)
		time.Sleep(3 * time.Second)
		s := m.rooms[3].q.Status()
		require.Equal(t, Stranger, s.Role)
		require.Contains(t, s.Problem, "formed without this directory")
		require.Equal(t, m.rooms[1].q.Status().Cluster, s.Cluster, "it follows")
		require.Equal(t, []string{"a"}, m.history(3, 1))
		// Its vote does not count: with one more gone there is no leader.
		leader := m.leading(1, 2)
		m.stopAll(leader)
		time.Sleep(20 * time.Second)
		require.False(t, m.rooms[3-leader].q.Status().Leading)
		require.Equal(t, partition.NoBroker, m.rooms[3-leader].q.Status().Leader)
		_, err := m.rooms[3].q.Propose(t.Context(), log.NoEpoch, []byte("b"))
		require.ErrorIs(t, err, ErrNotLeader)
		m.stopAll(3-leader, 3)
	})
}

func TestVoterThatMissedTheFoundingJoinsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.net.losing(func(_, to string, msg []byte) bool {
			kind, body, err := openEnvelope(msg)
			h, _ := decodeHello(body)
			return to == "voter-3" && err == nil && (kind == kindPost || h.Cluster != partition.UUID{})
		})
		m.start(1, 2, 3)
		m.propose(m.leading(1, 2), "a")
		time.Sleep(10 * time.Second)
		require.Equal(t, Forming, m.rooms[3].q.Status().Role)
		m.net.losing(nil)
		begin := time.Now()
		require.Equal(t, []string{"a"}, m.history(3, 1))
		require.Less(t, time.Since(begin), 2*time.Second)
		m.stopAll(1, 2, 3)
	})
}

func TestLeaderActsOnlyAfterAnEntryOfItsTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.net.losing(func(_, _ string, msg []byte) bool {
			kind, body, _ := openEnvelope(msg)
			p, err := decodePost(body)
			return kind == kindPost && err == nil && slices.ContainsFunc(p.messages, func(m *pb.Message) bool { return m.GetType() == pb.MsgApp })
		})
		m.start(1, 2, 3)
		synctest.Wait()
		s, changed := m.rooms[1].q.Watch()
		require.Equal(t, Leader, s.Role)
		require.Equal(t, partition.BrokerID(1), s.Leader)
		require.False(t, s.Leading, "nobody has its entry yet")
		m.net.losing(nil)
		<-changed
		require.Equal(t, partition.BrokerID(1), m.leading(1, 2, 3))
		m.stopAll(1, 2, 3)
	})
}

func TestDifferentConfigurationsFormNoCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2)
		m.voters = m.voters[1:]
		m.start(3)
		time.Sleep(5 * time.Second)
		for id := partition.BrokerID(1); id <= 3; id++ {
			require.Zero(t, m.rooms[id].q.Status().Cluster, "voter %d", id)
		}
		require.Equal(t, "voter 3 is configured with other voters", m.rooms[1].q.Status().Problem)
		m.stopAll(1, 2, 3)
	})
}

func TestProposeRefusesWhatCannotBeAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 1)
		m.start(1)
		q := m.rooms[1].q
		_, err := q.Propose(t.Context(), log.NoEpoch, nil)
		require.ErrorIs(t, err, ErrEmpty)
		_, err = q.Propose(t.Context(), log.NoEpoch, make([]byte, MaxEntryBytes+1))
		require.ErrorIs(t, err, ErrTooLarge)
		_, err = q.Propose(t.Context(), log.NoEpoch, make([]byte, MaxEntryBytes))
		require.NoError(t, err)
		m.stopAll(1)
		_, err = q.Propose(t.Context(), log.NoEpoch, []byte("late"))
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, q.Run(t.Context()), ErrClosed)
		require.NoError(t, q.Close())
	})
}

func TestOpenNamesEveryProblem(t *testing.T) {
	_, err := Open(Config{Self: 0, Tick: -1, ElectionTicks: 1, Voters: []Voter{{ID: 2}, {ID: 2, Addr: "b"}}}, nil, nil)
	for _, want := range []string{"Self is 0", "Directory is zero", "Tick is", "ElectionTicks is 1", "2 twice", "bad address for 2", "does not hold Self"} {
		require.ErrorContains(t, err, want)
	}
}

func TestCloseOfAQuorumThatNeverRan(t *testing.T) {
	q, err := Open(Config{Self: 1, Directory: partition.UUID{1}, Dir: "d"}, nil, applyFunc(func(log.Offset, []byte) {}))
	require.NoError(t, err)
	require.NoError(t, q.Close())
	require.NoError(t, q.Close())
	require.ErrorIs(t, q.Run(t.Context()), ErrClosed)
}
