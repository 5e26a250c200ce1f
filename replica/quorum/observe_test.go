package quorum

import (
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

type pbEntry = pb.Entry

const typeOfChange = pb.EntryConfChangeV2

// A broker that is no voter follows within a message's time, and knows who leads.
func TestObserverFollows(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n, " voters"), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 10)
			r := newRig(t, 10, n)
			o := r.add(n)
			r.startAll()
			r.say("a")
			r.alike(time.Minute)
			for i := range 20 {
				r.say(fmt.Sprint("entry ", i))
				begin := r.now
				r.run(time.Second, func() bool { return len(o.applied) == len(r.leader().applied) })
				require.Less(t, r.now-begin, 150*time.Millisecond, "it was not woken")
			}
			s := o.engine.Status()
			require.Equal(t, Observer, s.Role)
			require.Equal(t, r.leader().cfg.Self, s.Leader)
			require.NotEmpty(t, s.LeaderAddr)
			require.Equal(t, r.leader().engine.Status().Cluster, s.Cluster)
			require.Equal(t, r.leader().engine.Status().Term, s.Term)
			require.Len(t, s.Voters, n)
			_, err := o.engine.Propose(log.NoEpoch, []byte("x"))
			require.ErrorIs(t, err, ErrNotLeader)
			require.Empty(t, s.Problem)

			o.crash(true)
			o.start()
			r.alike(time.Minute)
		})
	}
}

func TestObserverBehindTheLogGetsASnapshot(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 11)
	r := newRig(t, 11, 3)
	o := r.add(3)
	r.compact(300, 2)
	for _, h := range r.hosts[:3] {
		h.start()
	}
	for i := range 50 {
		r.say(fmt.Sprint("entry ", i))
	}
	o.start()
	r.alike(time.Minute)
	require.Equal(t, 1, o.restored)
	r.say("more")
	r.alike(time.Minute)
	require.Equal(t, 1, o.restored)
}

// Whoever an observer follows may die, be cut off, or lag.
func TestObserverTurnsToAnotherVoter(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 12)
	r := newRig(t, 12, 3)
	o := r.add(3)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	for round := range 6 {
		source := r.hosts[o.engine.follow.source().ID-1]
		if round%2 == 0 {
			source.crash(false)
		} else {
			r.cut[source.cfg.Self] = true
		}
		r.pass(4 * time.Second) // another leads, if it was the leader
		begin := r.now
		r.say(fmt.Sprint("round ", round))
		r.run(5*time.Second, func() bool { return o.applied[len(o.applied)-1] == fmt.Sprint("round ", round) })
		require.Less(t, r.now-begin, 2*time.Second)
		r.cut[source.cfg.Self] = false
		if source.engine == nil {
			source.start()
		}
		r.alike(time.Minute)
	}
	o.do(func() { o.engine.Gone(o.engine.follow.source().ID) })
	require.NotZero(t, o.engine.follow.source().ID)
}

// News that are lost come with the next poll.
func TestObserverLagIsBounded(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 13)
	r := newRig(t, 13, 3)
	o := r.add(3)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	r.cut[o.cfg.Self] = true
	r.say("b")
	r.pass(300 * time.Millisecond)
	r.cut[o.cfg.Self] = false
	begin := r.now
	r.alike(time.Minute)
	require.Less(t, r.now-begin, time.Second)
}

func TestObserverNamesTheVotersThatItWaitsFor(t *testing.T) {
	r := newRig(t, 14, 3)
	o := r.add(3)
	o.start()
	r.pass(3 * time.Second)
	s := o.engine.Status()
	require.Equal(t, Observer, s.Role)
	require.Contains(t, s.Problem, "none of the voters")
	require.Equal(t, partition.NoBroker, s.Leader)
	cryptotest.SetGlobalRandom(t, 14)
	for _, h := range r.hosts[:3] {
		h.start()
	}
	r.say("a")
	r.alike(time.Minute)
	require.Empty(t, o.engine.Status().Problem)
}

// A voter that is cut off from the others, and not from the observer, knows nothing new.
func TestObserverLeavesAVoterThatIsCutOff(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 16)
	r := newRig(t, 16, 3)
	o := r.add(3)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	source := o.engine.follow.source().ID
	r.sever = func(from, to partition.BrokerID) bool {
		return (from == source || to == source) && from != o.cfg.Self && to != o.cfg.Self
	}
	r.pass(10 * time.Second)
	require.NotEqual(t, source, o.engine.follow.source().ID)
	for r.leader() == nil || r.leader().cfg.Self == source {
		r.pass(100 * time.Millisecond)
	}
	r.say("b")
	begin := r.now
	r.run(5*time.Second, func() bool { return o.applied[len(o.applied)-1] == "b" })
	require.Less(t, r.now-begin, time.Second)
}

// The host of a broker that was let in has come further than its log: its state is not
// that of the newest entry that this member has applied.
func TestNoSnapshotOfAStateThatIsAhead(t *testing.T) {
	r := newRig(t, 17, 1)
	r.compact(300, 2)
	h := r.hosts[0]
	h.start()
	r.say("a")
	ahead := h.engine.applied + 20
	h.engine.shown = ahead
	for h.engine.applied < ahead {
		h.settled(h.propose("an entry that the host has had before"))
		if h.engine.applied < ahead {
			require.Zero(t, h.engine.disk.snap.index)
		}
	}
	require.Equal(t, ahead, h.engine.disk.snap.index, "of all that it has")
}

// A leader that was cut off, and removed meanwhile, follows what the others have agreed
// on; what it had proposed in vain stays void, also when it stops and comes back.
func TestWhatARemovedLeaderHadProposedStaysVoid(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 16)
	r := newRig(t, 16, 3)
	r.startAll()
	r.say("a")
	old := r.leader()
	r.alike(time.Minute)
	r.cut[old.cfg.Self] = true
	for i := range 5 {
		old.propose(fmt.Sprint("void ", i))
	}
	r.elect(time.Minute).change(Change{Remove: old.cfg.Self})
	for i := range 10 {
		r.say(fmt.Sprint("entry ", i))
	}
	delete(r.cut, old.cfg.Self)
	r.run(time.Minute, func() bool { return old.engine.outside })
	before := r.alike(time.Minute)
	require.Greater(t, uint64(len(before)), old.engine.disk.last())

	require.NoError(t, old.engine.Close())
	old.start()
	r.run(time.Minute, func() bool { return len(old.applied) >= len(before) })
	require.Equal(t, before, old.applied[:len(before)])
}

// A voter that has applied that it was removed is told nothing more by raft: who leads, and
// how far things are, it knows from the news.
func TestStatusOfARemovedVoterFollowsToo(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 17)
	r := newRig(t, 17, 4)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	gone := r.hosts[r.leader().cfg.Self%4]
	r.leader().change(Change{Remove: gone.cfg.Self})
	r.run(time.Minute, func() bool { return !gone.engine.roster.holds(gone.member()) })
	require.False(t, gone.engine.outside, "nobody had to tell it")
	for range 3 {
		before := r.leader()
		before.do(func() { require.NoError(t, before.engine.Transfer(partition.NoBroker)) })
		r.run(time.Minute, func() bool { return r.leader() != nil && r.leader() != before })
		r.say("b")
		r.run(time.Second, func() bool {
			s, want := gone.engine.Status(), r.leader().engine.Status()
			return s.Leader == want.Leader && s.LeaderAddr == want.LeaderAddr && s.Term == want.Term && s.Applied == want.Applied
		})
		require.Equal(t, Stranger, gone.engine.Status().Role)
	}
	id := r.leader().cfg.Self
	r.leader().crash(false)
	gone.do(func() { gone.engine.Gone(id) })
	require.Equal(t, partition.NoBroker, gone.engine.Status().Leader)
	r.say("c")
	r.run(time.Second, func() bool { return gone.engine.Status().Leader == r.leader().cfg.Self })
}

// News come in pieces that a slow link carries before the next poll, which would give them
// up.
func TestNewsComeInPieces(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 19)
	r := newRig(t, 19, 1)
	r.startAll()
	long := strings.Repeat("x", 100<<10)
	for range 10 {
		r.say(long)
	}
	r.say(strings.Repeat("x", MaxEntryBytes))
	e := r.hosts[0].engine
	for after := e.disk.base.index; after < e.applied; {
		n, err := e.newsAfter(after)
		require.NoError(t, err)
		require.NotEmpty(t, n.entries)
		if len(n.entries) > 1 {
			require.LessOrEqual(t, len(encodeNews(n)), pieceSize+2048)
		}
		after = n.reaches(after)
	}
}

// An askedHost notes who is asked for news.
type askedHost struct {
	rigHost
	asked []Message
}

func (h *askedHost) Send(m Message) bool {
	if m.kind == kindFetch {
		h.asked = append(h.asked, m)
	}
	return true
}

func (h *askedHost) Wake(time.Duration) {}

// Two who are no voters, and remember different ones, do not send a third to each other
// for ever.
func TestHearsayLeadsBackToTheVoters(t *testing.T) {
	member := func(id byte) Member {
		return Member{ID: partition.BrokerID(id), Directory: directoryOf(id), Addr: fmt.Sprint("addr-", id)}
	}
	told := func(commit uint64, hearsay bool, ids ...byte) []byte {
		n := news{hearsay: hearsay, formation: formationOf3(), term: 1, commit: commit}
		for _, id := range ids {
			n.roster.voters = append(n.roster.voters, member(id))
		}
		return encodeNews(n)
	}
	h := &askedHost{}
	e, err := OpenEngine(Config{Self: 9, Directory: directoryOf(9), Addr: "addr-9", Dir: "q", Voters: votersOf(3)}, h)
	require.NoError(t, err)
	e.Begin()
	e.Answered(h.asked[0], told(7, false, 2, 5), nil)
	asked := map[partition.BrokerID]int{}
	for i := 1; i < 80; i++ {
		if i == len(h.asked) { // all that were asked have answered
			e.Wake()
		}
		m := h.asked[i]
		asked[m.To]++
		switch m.To {
		case 1:
			e.Answered(m, told(5, true, 1, 2, 5), nil)
		case 3:
			e.Answered(m, told(6, true, 2, 3, 5), nil)
		default: // lost
			e.Answered(m, nil, errDisk)
		}
	}
	for _, id := range []partition.BrokerID{1, 2, 3, 5} {
		require.Greater(t, asked[id], 3, "%v", asked)
	}
}
