package quorum

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// heartbeat is a leader's heartbeat to voter 2, in a post, of a distant term.
func heartbeat(t *testing.T, cluster partition.UUID, from, to, commit uint64) []byte {
	m := &pb.Message{Type: pb.MsgHeartbeat.Enum(), From: new(from), To: new(to), Term: new(uint64(1000)), Commit: new(commit)}
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return encodePost(cluster, to, Member{ID: 1, Directory: partition.UUID{15: 1}, Addr: "voter-1"}, [][]byte{b})
}

func TestHandleTakesOnlyWhatIsMeantForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		m.propose(m.leading(1, 2, 3), "a")
		q := m.rooms[2].q
		cluster, me := q.Status().Cluster, q.me
		one := raftID(1, m.rooms[1].directory)
		for name, post := range map[string][]byte{
			"another cluster":             heartbeat(t, partition.UUID{1}, one, me, 0),
			"no cluster":                  heartbeat(t, partition.UUID{}, one, me, 0),
			"who had this address before": heartbeat(t, cluster, one, me+1, 0),
		} {
			answer, err := q.Handle(t.Context(), post)
			require.NoError(t, err, name)
			require.False(t, wasTaken(answer), name)
			h, told := readHello(answer, nil)
			require.Equal(t, name == "another cluster", told, name)
			if told {
				require.Equal(t, cluster, h.Cluster, "the sender learns whom it met")
			}
		}
		answer, err := q.Handle(t.Context(), heartbeat(t, cluster, one+1, me, 0))
		require.NoError(t, err)
		require.True(t, wasTaken(answer))
		synctest.Wait()
		require.Less(t, q.Status().Term, log.Epoch(1000), "nobody knows the sender")
		for _, garbage := range [][]byte{nil, {1}, {2, 1}, {1, 77, 3}, {1, kindHello}, {1, kindPost, 1, 2, 3}} {
			_, err := q.Handle(t.Context(), garbage)
			require.Error(t, err)
		}
		m.stopAll(1, 2, 3)
		_, err = q.Handle(t.Context(), heartbeat(t, cluster, one, me, 0))
		require.ErrorIs(t, err, ErrClosed)
		_, err = q.Handle(t.Context(), encodeHello(fresh(1, 1)))
		require.ErrorIs(t, err, ErrClosed)
	})
}

// A voter that is told of entries committed by it, which it does not have, has
// lost what it answered for.
func TestBrokenInvariantStopsTheVoterAndNotTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachineRoom(t, 3)
		m.start(1, 2, 3)
		m.propose(m.leading(1, 2, 3), "a")
		q := m.rooms[2].q
		_, err := q.Handle(t.Context(), heartbeat(t, q.Status().Cluster, raftID(1, m.rooms[1].directory), q.me, 500))
		require.NoError(t, err)
		err = <-m.rooms[2].ended
		var stopped *PanicError
		require.ErrorAs(t, err, &stopped)
		require.ErrorContains(t, err, "500")
		require.NotEmpty(t, stopped.Stack)
		m.net.leave("voter-2")
		m.stopAll(1, 3)
	})
}

func TestHandleWaitsForRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := Open(Config{Self: 1, Directory: directoryOf(1), Dir: "d", Voters: votersOf(3)}, nil, applyFunc(func(log.Offset, []byte) {}))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = q.Handle(ctx, encodeHello(fresh(2, 2)))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = q.Propose(ctx, log.NoEpoch, []byte("a"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, ErrOutcomeUnknown)
		require.NoError(t, q.Close())
	})
}
