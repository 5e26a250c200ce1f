package quorum

import (
	"fmt"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestRoster(t *testing.T) {
	m := func(id partition.BrokerID, d byte) Member {
		return Member{ID: id, Directory: directoryOf(d), Addr: "a"}
	}
	base := roster{voters: []Member{m(1, 1), m(2, 2)}, learners: []Member{m(3, 3)}}
	tests := []struct {
		name   string
		from   roster
		change rosterChange
		want   roster // empty: refused
	}{
		{"learner", base, rosterChange{addLearner, m(4, 4)}, roster{base.voters, []Member{m(3, 3), m(4, 4)}}},
		{"learner in the place of a voter", base, rosterChange{addLearner, m(2, 9)}, roster{base.voters, []Member{m(3, 3), m(2, 9)}}},
		{"learner again", base, rosterChange{addLearner, m(3, 3)}, roster{}},
		{"voter as learner", base, rosterChange{addLearner, m(1, 1)}, roster{}},
		{"learner without directory", base, rosterChange{addLearner, Member{ID: 4, Addr: "a"}}, roster{}},
		{"promote", base, rosterChange{promote, m(3, 3)}, roster{[]Member{m(1, 1), m(2, 2), m(3, 3)}, []Member{}}},
		{"promote a stranger", base, rosterChange{promote, m(3, 4)}, roster{}},
		{"remove a learner", base, rosterChange{remove, m(3, 3)}, roster{base.voters, []Member{}}},
		{"remove a voter", base, rosterChange{remove, m(1, 1)}, roster{[]Member{m(2, 2)}, base.learners}},
		{"remove by another directory", base, rosterChange{remove, m(1, 2)}, roster{}},
		{"remove the last voter", roster{voters: base.voters[:1]}, rosterChange{remove, m(1, 1)}, roster{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.from.apply(tt.change)
			require.Equal(t, []Member{m(1, 1), m(2, 2)}, base.voters, "a roster is a value")
			if tt.want.voters == nil {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			back, err := decodeChange(tt.change.encode().GetContext())
			require.NoError(t, err)
			require.Equal(t, tt.change, back)
		})
	}
	replaced := roster{voters: []Member{m(1, 1), m(2, 2), m(2, 9)}}
	old, ok := replaced.superseded()
	require.True(t, ok)
	require.Equal(t, m(2, 2), old)
	_, ok = base.superseded()
	require.False(t, ok)
}

// One voter alone becomes three, one at a time, and each of them can be lost then.
func TestOneVoterBecomesThree(t *testing.T) {
	for _, keep := range []int{1, 1000} { // by snapshot, and by entries
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 5)
			r := newRig(t, 5, 1)
			r.hosts[0].cfg.Voters, r.hosts[0].cfg.Addr = nil, "addr-1"
			r.add(1)
			r.add(1)
			r.compact(300, keep)
			r.startAll()
			for i := range 30 {
				r.say(fmt.Sprint("entry ", i))
			}
			one := r.hosts[0]
			for _, h := range r.hosts[1:] {
				require.Equal(t, Observer, h.engine.Status().Role)
				one.change(Change{Add: h.member()})
				require.NotEmpty(t, one.engine.Status().Learners)
				r.run(time.Minute, func() bool { return len(one.voters()) == int(h.cfg.Self) })
				require.Empty(t, one.engine.Status().Learners)
			}
			r.say("three")
			r.alike(time.Minute)
			for _, h := range r.hosts {
				require.Equal(t, []partition.BrokerID{1, 2, 3}, h.voters())
				require.NotEqual(t, Observer, h.engine.Status().Role)
			}
			for _, h := range r.hosts {
				h.crash(true)
				r.say(fmt.Sprint("without ", h.cfg.Self))
				h.start()
				r.alike(time.Minute)
			}
			for _, h := range r.hosts {
				h.crash(true)
			}
			r.startAll()
			r.say("all were gone")
			r.alike(time.Minute)
			require.Equal(t, []partition.BrokerID{1, 2, 3}, r.leader().voters())
		})
	}
}

// A voter that lost its disk is a stranger. It follows, and when it has been let in it
// takes the place of the one that it was, who cannot vote a second time.
func TestWipedVoterIsLetInAgain(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 6)
	r := newRig(t, 6, 3)
	r.startAll()
	r.say("a")
	leader := r.leader()
	wiped := r.hosts[leader.cfg.Self%3]
	old := wiped.member()
	wiped.crash(false)
	wiped.disk = logtest.NewDisk(log.NewMemFS())
	wiped.cfg.FS, wiped.cfg.Directory = wiped.disk, directoryOf(99)
	wiped.start()
	r.run(time.Minute, func() bool { return len(leader.engine.Status().Strangers) == 1 })
	stranger := leader.engine.Status().Strangers[0]
	require.Equal(t, wiped.member(), stranger)
	require.Equal(t, Stranger, wiped.engine.Status().Role)
	r.say("b")
	r.alike(time.Minute)
	require.NotEqual(t, old.raftID(), stranger.raftID())

	leader.change(Change{Add: stranger})
	r.run(time.Minute, func() bool {
		s := wiped.engine.Status()
		return s.Role == Follower && len(s.Voters) == 3 && len(s.Learners) == 0
	})
	require.Empty(t, leader.engine.Status().Strangers)
	require.Equal(t, []partition.BrokerID{1, 2, 3}, leader.voters())
	require.Negative(t, indexOf(leader.engine.roster.voters, old))
	require.GreaterOrEqual(t, indexOf(leader.engine.roster.voters, stranger), 0)
	leader.crash(false) // its vote counts
	r.say("c")
	wiped.crash(true)
	wiped.start()
	leader.start()
	r.say("d")
	r.alike(time.Minute)
}

// A leader that removes itself steps down once that is agreed on, and follows.
func TestRemovedVoterFollows(t *testing.T) {
	for _, who := range []string{"leader", "follower"} {
		t.Run(who, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 7)
			r := newRig(t, 7, 3)
			r.startAll()
			r.say("a")
			leader := r.leader()
			gone := leader
			if who == "follower" {
				gone = r.hosts[leader.cfg.Self%3]
			}
			leader.change(Change{Remove: gone.cfg.Self})
			r.run(time.Minute, func() bool { l := r.leader(); return l != nil && l != gone })
			r.say("b")
			r.run(time.Minute, func() bool { return gone.engine.Status().Role == Stranger })
			require.Contains(t, gone.engine.Status().Problem, "removed")
			require.Len(t, r.leader().voters(), 2)
			r.say("c")
			r.alike(time.Minute)
			s := gone.engine.Status()
			require.Equal(t, r.leader().cfg.Self, s.Leader)
			require.Len(t, s.Voters, 2)

			// It does not disturb the others, and can be let in again, also with its old name.
			gone.crash(true)
			gone.start()
			r.say("d")
			r.alike(2 * time.Minute)
			term := r.leader().engine.Status().Term
			r.pass(30 * time.Second)
			require.Equal(t, term, r.leader().engine.Status().Term)
			r.leader().change(Change{Add: gone.member()})
			r.run(time.Minute, func() bool { return len(r.leader().voters()) == 3 && gone.engine.Status().Role == Follower })
			r.say("e")
			r.alike(time.Minute)
		})
	}
}

// A leader of two removes itself, and dies: the one that is left leads, though it has
// nobody to wait for and so no use for the time.
func TestTheOneThatIsLeftLeads(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 18)
	r := newRig(t, 18, 2)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	leader := r.leader()
	left := r.hosts[leader.cfg.Self%2]
	leader.change(Change{Remove: leader.cfg.Self})
	r.run(time.Minute, func() bool { return left.engine.roster.alone(left.member()) })
	leader.crash(false)
	r.pass(10 * time.Millisecond)
	left.engine.watchers = nil // as if all that it said since had been lost
	r.run(time.Minute, func() bool { return left.engine.Status().Leading })
	require.False(t, left.engine.NeedsTicks())
	r.say("b")
	left.crash(true)
	left.start()
	require.True(t, left.engine.Status().Leading, "it was not alone when the cluster was formed")
}

func TestChangesThatCannotBe(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 8)
	r := newRig(t, 8, 3)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	leader := r.leader()
	follower := r.hosts[leader.cfg.Self%3]
	_, err := follower.engine.ChangeVoters(Change{Remove: 1})
	require.ErrorIs(t, err, ErrNotLeader)
	require.ErrorIs(t, follower.engine.Transfer(0), ErrNotLeader)
	for name, c := range map[string]Change{
		"nothing":           {},
		"both":              {Add: Member{ID: 9, Directory: directoryOf(9), Addr: "a"}, Remove: 1},
		"nobody":            {Remove: 9},
		"a voter":           {Add: follower.member()},
		"without address":   {Add: Member{ID: 9, Directory: directoryOf(9)}},
		"without directory": {Add: Member{ID: 9, Addr: "a"}},
	} {
		_, err := leader.engine.ChangeVoters(c)
		require.ErrorIs(t, err, ErrBadChange, name)
	}
	require.ErrorIs(t, leader.engine.Transfer(9), ErrBadChange)
	require.ErrorIs(t, leader.engine.Transfer(leader.cfg.Self), ErrBadChange)
	_, err = leader.engine.ChangeVoters(Change{Remove: follower.cfg.Self})
	require.NoError(t, err)
	_, err = leader.engine.ChangeVoters(Change{Remove: leader.cfg.Self})
	require.ErrorIs(t, err, ErrBusy)
}

func TestTransfer(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 9)
	r := newRig(t, 9, 5)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	heir := r.hosts[r.leader().cfg.Self%5]
	begin := r.now
	leader := r.leader()
	leader.do(func() { require.NoError(t, leader.engine.Transfer(heir.cfg.Self)) })
	r.run(time.Second, func() bool { return heir.engine.Status().Leading })
	require.Less(t, r.now-begin, 200*time.Millisecond, "nobody waits for an election")
	heir.do(func() { require.NoError(t, heir.engine.Transfer(partition.NoBroker)) })
	r.run(time.Second, func() bool { return !heir.engine.Status().Leading && r.leader() != nil })
	r.say("b")
	r.alike(time.Minute)
}

// A change of the voters that was known to be committed is known after a crash, before
// any other entry is: quorums of two changes ago need not overlap with those of now.
func TestCommittedChangeIsNotForgotten(t *testing.T) {
	s := formedStorage(t, log.NewMemFS())
	first := entry(1, 1, "a")
	change := entry(2, 1, "change")
	change.Type = typeOfChange.Enum()
	require.NoError(t, s.save(hardState(1, 1, 0), []*pbEntry{first, change}))
	require.NoError(t, s.save(hardState(1, 1, 1), []*pbEntry{entry(3, 1, "b")}))
	require.EqualValues(t, 1, s.kept.Commit)
	require.NoError(t, s.save(hardState(1, 1, 2), []*pbEntry{entry(4, 1, "c")}))
	require.EqualValues(t, 2, s.kept.Commit, "the next entry is answered for only then")
	require.NoError(t, s.save(hardState(1, 1, 4), nil))
	require.EqualValues(t, 2, s.kept.Commit)
}
