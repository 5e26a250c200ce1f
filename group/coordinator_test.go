package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// script drives one coordinator of group g, by hand. Topic a has four partitions,
// topic b two. Answers are written "ok e<epoch> v<version> <partitions>", "empty",
// "parked", or the text of the code.
type script struct {
	t        *testing.T
	c        *Coordinator
	now      time.Time
	topics   []Topic
	sequence map[string]int64
	tokens   uint64
	answers  map[uint64]string
	records  []Record
	wake     time.Time
}

func newScript(t *testing.T) *script {
	return &script{
		t: t, c: NewCoordinator("g", Config{}), now: time.Unix(1_700_000_000, 0),
		topics:   []Topic{{"a", partition.UUID{1}, 4}, {"b", partition.UUID{2}, 2}},
		sequence: map[string]int64{}, answers: map[uint64]string{},
	}
}

func (s *script) step(in Input) {
	out := s.c.Step(s.now, in)
	require.NoError(s.t, s.c.Check())
	s.records = append(s.records, out.Records...)
	s.wake = out.Wake
	for _, r := range out.Replies {
		_, twice := s.answers[r.Token]
		require.False(s.t, twice, "token %d is answered twice", r.Token)
		s.answers[r.Token] = text(r.Response)
	}
}

func text(response any) string {
	switch r := response.(type) {
	case HeartbeatResponse:
		switch {
		case r.Code != partition.OK:
			return code(r.Code)
		case r.Assignment == nil:
			return "empty"
		}
		return strings.TrimSpace(fmt.Sprintf("ok e%d v%d %s", r.Epoch, r.Assignment.Version, short(r.Assignment.Partitions)))
	case offsets.CommitResponse:
		if r.Code != partition.OK {
			return code(r.Code)
		}
		var all []string
		for _, c := range r.Partitions {
			all = append(all, code(c))
		}
		return strings.Join(all, ", ")
	}
	return "?"
}

func code(c partition.Code) string { return strings.TrimPrefix(c.Error(), "partition: ") }

func short(ids []partition.ID) string {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf("%c%d", 'a'+id.Topic[0]-1, id.Partition))
	}
	return strings.Join(all, " ")
}

// parts reads "a0 b1".
func parts(text string) []partition.ID {
	ids := []partition.ID{}
	for _, f := range strings.Fields(text) {
		ids = append(ids, id(f[0]-'a'+1, int(f[1]-'0')))
	}
	return ids
}

func (s *script) send(r HeartbeatRequest) uint64 {
	r.Group = "g"
	if r.Sequence == 0 {
		s.sequence[r.Member]++
		r.Sequence = s.sequence[r.Member]
	}
	s.tokens++
	s.step(Heartbeat{Token: s.tokens, Request: r, Topics: s.topics})
	return s.tokens
}

func (s *script) say(r HeartbeatRequest) string { return s.answer(s.send(r)) }

func (s *script) answer(token uint64) string {
	if a, ok := s.answers[token]; ok {
		return a
	}
	return "parked"
}

func (s *script) join(member string, topics ...string) string {
	return s.say(HeartbeatRequest{Member: member, Topics: append([]string{}, topics...)})
}

// beat is a heartbeat that says what is owned.
func (s *script) beat(member string, epoch MemberEpoch, version Version, owned string) string {
	return s.say(HeartbeatRequest{Member: member, Epoch: epoch, Version: version, Owned: parts(owned)})
}

func (s *script) pass(d time.Duration) {
	s.now = s.now.Add(d)
	s.step(Tick{})
}

func (s *script) commit(member string, epoch MemberEpoch, ids string) string {
	r := offsets.CommitRequest{Group: "g", Member: member, MemberEpoch: epoch}
	for _, id := range parts(ids) {
		r.Partitions = append(r.Partitions, offsets.PartitionCommit{ID: id, Offset: 7, Epoch: 1})
	}
	s.tokens++
	s.step(Commit{Token: s.tokens, Request: r})
	return s.answer(s.tokens)
}

// reload puts a new coordinator in the place of the old, from the records alone.
func (s *script) reload() {
	s.c = NewCoordinator("g", Config{})
	for _, rec := range s.records {
		s.c.Load(rec)
	}
	s.step(Loaded{})
}

// two makes x and y members of topic a: x had all of it, and has been told to give up a2 and
// a3 (epoch 1, version 2); y waits for them (epoch 2, version 1).
func (s *script) two() {
	require.Equal(s.t, "ok e1 v1 a0 a1 a2 a3", s.join("x", "a"))
	require.Equal(s.t, "parked", s.beat("x", 1, 1, "a0 a1 a2 a3"))
	require.Equal(s.t, "ok e2 v1", s.join("y", "a"))
	require.Equal(s.t, "ok e1 v2 a0 a1", s.answer(2), "the parked heartbeat of x is answered")
	require.Equal(s.t, "parked", s.beat("y", 2, 1, ""))
}

func TestCoordinator(t *testing.T) {
	const yParked = 4 // the token of y's heartbeat after two
	tests := []struct {
		name string
		do   func(s *script) string
		want string
	}{{
		name: "the first member gets everything",
		do:   func(s *script) string { return s.join("x", "b", "a") },
		want: "ok e1 v1 a0 a1 a2 a3 b0 b1",
	}, {
		name: "unknown member with an epoch is refused",
		do:   func(s *script) string { return s.beat("x", 1, 1, "") },
		want: "unknown member",
	}, {
		name: "join without a subscription is malformed",
		do:   func(s *script) string { return s.say(HeartbeatRequest{Member: "x"}) },
		want: "malformed request",
	}, {
		name: "static members are unsupported",
		do:   func(s *script) string { return s.say(HeartbeatRequest{Member: "x", Topics: []string{}, Instance: "i"}) },
		want: "unsupported",
	}, {
		name: "epoch -2 is of static members",
		do:   func(s *script) string { s.join("x", "a"); return s.beat("x", -2, 1, "") },
		want: "unsupported",
	}, {
		name: "another assignor is unsupported",
		do: func(s *script) string {
			return s.say(HeartbeatRequest{Member: "x", Topics: []string{}, Assignor: "range"})
		},
		want: "unsupported",
	}, {
		name: "cooperative-sticky is another name for uniform",
		do: func(s *script) string {
			return s.say(HeartbeatRequest{Member: "x", Topics: []string{}, Assignor: "cooperative-sticky"})
		},
		want: "ok e1 v1",
	}, {
		name: "heartbeat without news is parked, and answered empty after the interval",
		do: func(s *script) string {
			s.join("x", "a")
			token := s.send(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			s.pass(3*time.Second - 1)
			require.Equal(s.t, "parked", s.answer(token))
			s.pass(1)
			return s.answer(token)
		},
		want: "empty",
	}, {
		name: "newer heartbeat takes the place of the parked one",
		do: func(s *script) string {
			s.join("x", "a")
			first := s.send(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			return s.beat("x", 1, 1, "a0 a1 a2 a3") + ", " + s.answer(first)
		},
		want: "parked, empty",
	}, {
		name: "a caller that is forgotten is not answered",
		do: func(s *script) string {
			s.join("x", "a")
			token := s.send(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			s.step(Forget{Token: token})
			s.pass(4 * time.Second)
			return s.answer(token)
		},
		want: "parked",
	}, {
		name: "epoch from the future is fenced",
		do:   func(s *script) string { s.join("x", "a"); return s.beat("x", 2, 1, "") },
		want: "fenced member epoch",
	}, {
		name: "partition is not given while its holder still owns it",
		do: func(s *script) string {
			s.two()
			return s.beat("x", 1, 2, "a0 a1 a3") + ", " + s.answer(yParked)
		},
		want: "parked, parked",
	}, {
		name: "report of what is owned does not count before the newest version is known",
		do: func(s *script) string {
			s.two()
			return s.beat("x", 1, 1, "a0 a1") + ", " + s.answer(yParked)
		},
		want: "ok e1 v2 a0 a1, parked",
	}, {
		name: "without a report everything may be owned",
		do: func(s *script) string {
			s.two()
			s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 2})
			return s.answer(yParked)
		},
		want: "parked",
	}, {
		name: "revoked partitions go at once to the parked member that waits for them",
		do: func(s *script) string {
			s.two()
			return s.beat("x", 1, 2, "a0 a1") + ", " + s.answer(yParked)
		},
		want: "ok e2 v3 a0 a1, ok e2 v2 a2 a3",
	}, {
		name: "holder that leaves frees everything",
		do: func(s *script) string {
			s.two()
			return s.say(HeartbeatRequest{Member: "x", Epoch: Leave}) + ", " + s.answer(yParked)
		},
		want: "empty, ok e3 v2 a0 a1 a2 a3",
	}, {
		name: "silent holder is fenced after its session",
		do: func(s *script) string {
			s.two()
			s.pass(29 * time.Second)
			waiting := s.send(HeartbeatRequest{Member: "y", Epoch: 2, Version: 1, Owned: parts("")})
			s.pass(time.Second - 1)
			require.Equal(s.t, "parked", s.answer(waiting))
			s.pass(1)
			return s.answer(waiting)
		},
		want: "ok e3 v2 a0 a1 a2 a3",
	}, {
		name: "parking does not prolong a session",
		do: func(s *script) string {
			s.say(HeartbeatRequest{Member: "x", Topics: []string{"a"}, SessionMs: 6000})
			s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			s.pass(2 * time.Second)
			s.pass(4 * time.Second)
			return s.beat("x", 1, 1, "")
		},
		want: "unknown member",
	}, {
		name: "holder that does not give up is fenced after the rebalance timeout",
		do: func(s *script) string {
			s.two()
			for range 30 {
				s.beat("x", 1, 2, "a0 a1 a2 a3")
				s.beat("y", 2, 1, "")
				s.pass(2 * time.Second)
			}
			return s.beat("x", 1, 2, "a0 a1 a2 a3")
		},
		want: "unknown member",
	}, {
		name: "rebalance timeout of one who is not told is no shorter than its session",
		do: func(s *script) string {
			s.say(HeartbeatRequest{Member: "x", Topics: []string{"a"}, RebalanceMs: 5000})
			s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			s.join("y", "a")
			s.pass(29 * time.Second)
			return s.beat("x", 1, 1, "a0 a1 a2 a3")
		},
		want: "ok e1 v2 a0 a1",
	}, {
		name: "after a lost answer the previous epoch is accepted, and told again",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1")
			return s.beat("x", 1, 2, "a0 a1")
		},
		want: "ok e2 v3 a0 a1",
	}, {
		name: "previous epoch with more than is assigned is fenced",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1")
			return s.beat("x", 1, 2, "a0 a1 a2")
		},
		want: "fenced member epoch",
	}, {
		name: "previous epoch without a report is fenced",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1")
			return s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 2})
		},
		want: "fenced member epoch",
	}, {
		name: "nobody is led on who has not confirmed",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1")
			s.join("z", "a")
			return s.beat("x", 1, 2, "a0 a1") + ", " + s.beat("x", 2, 3, "a0 a1")
		},
		want: "ok e2 v3 a0 a1, ok e2 v4 a0",
	}, {
		name: "late request changes nothing",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1 a2 a3")
			return s.say(HeartbeatRequest{Member: "x", Epoch: Leave, Sequence: 1}) + ", " + s.answer(yParked)
		},
		want: "empty, parked",
	}, {
		name: "late join does not free what is owned",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1 a2 a3")
			return s.say(HeartbeatRequest{Member: "x", Sequence: 2, Topics: []string{"a"}}) + ", " + s.answer(yParked)
		},
		want: "empty, parked",
	}, {
		name: "join of an earlier life is void for the next coordinator too",
		do: func(s *script) string {
			s.join("x", "a")
			s.join("x", "a")
			s.reload()
			return s.say(HeartbeatRequest{Member: "x", Sequence: 1, Topics: []string{"a"}}) + ", " + s.beat("x", 2, 3, "a0 a1 a2 a3")
		},
		want: "empty, parked",
	}, {
		name: "repeated join is answered as the first was",
		do: func(s *script) string {
			s.join("x", "a")
			return s.say(HeartbeatRequest{Member: "x", Sequence: 1, Topics: []string{"a"}})
		},
		want: "ok e1 v1 a0 a1 a2 a3",
	}, {
		name: "known member that joins owns nothing, and gets a greater epoch",
		do: func(s *script) string {
			s.two()
			return s.join("x", "a") + ", " + s.answer(yParked)
		},
		want: "ok e3 v4 a0 a1, ok e3 v2 a2 a3",
	}, {
		name: "what comes back before it has been given up stays where it is",
		do: func(s *script) string {
			s.two()
			s.say(HeartbeatRequest{Member: "y", Epoch: Leave})
			// x still holds a2 and a3 when they become its own again.
			parked := s.beat("x", 1, 2, "a0 a1 a2 a3")
			return parked + ", " + s.beat("x", 1, 2, "a0 a1") + ", " + s.join("z", "a")
		},
		want: "parked, ok e3 v3 a0 a1 a2 a3, ok e4 v1",
	}, {
		name: "new subscription raises the group epoch",
		do: func(s *script) string {
			s.join("x", "a")
			return s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1, Owned: parts("a0 a1 a2 a3"), Topics: []string{"b", "a"}, SessionMs: -1, RebalanceMs: -1})
		},
		want: "ok e2 v2 a0 a1 a2 a3 b0 b1",
	}, {
		name: "same subscription said again changes nothing",
		do: func(s *script) string {
			s.join("x", "a", "b")
			return s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1, Topics: []string{"b", "a"}, SessionMs: -1, RebalanceMs: -1})
		},
		want: "parked",
	}, {
		name: "more partitions wake the parked heartbeat",
		do: func(s *script) string {
			s.join("x", "b")
			token := s.send(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			s.topics = []Topic{{"b", partition.UUID{2}, 3}}
			s.step(Changed{Topics: s.topics})
			return s.answer(token)
		},
		want: "ok e2 v2 b0 b1 b2",
	}, {
		name: "fewer partitions are metadata that is behind",
		do: func(s *script) string {
			s.join("x", "b")
			token := s.send(HeartbeatRequest{Member: "x", Epoch: 1, Version: 1})
			s.step(Changed{Topics: []Topic{{"b", partition.UUID{2}, 1}}})
			return s.answer(token)
		},
		want: "parked",
	}, {
		name: "members keep their places over a reload",
		do: func(s *script) string {
			s.two()
			s.reload()
			waiting := s.send(HeartbeatRequest{Member: "y", Epoch: 2, Version: 1, Owned: parts("")})
			s.beat("x", 1, 2, "a0 a1")
			return s.answer(waiting)
		},
		want: "ok e2 v2 a2 a3",
	}, {
		name: "after a reload everything may be owned until its holder says otherwise",
		do: func(s *script) string {
			s.two()
			s.reload()
			waiting := s.send(HeartbeatRequest{Member: "y", Epoch: 2, Version: 1, Owned: parts("")})
			s.say(HeartbeatRequest{Member: "x", Epoch: 1, Version: 2})
			return s.answer(waiting)
		},
		want: "parked",
	}, {
		name: "after a reload members have their full session again",
		do: func(s *script) string {
			s.join("x", "a")
			s.pass(29 * time.Second)
			s.reload()
			s.pass(29 * time.Second)
			return s.beat("x", 1, 1, "a0 a1 a2 a3")
		},
		want: "parked",
	}, {
		name: "left-overs of compaction are no members",
		do: func(s *script) string {
			s.records = []Record{
				TargetRecord{Member: "x", Partitions: parts("a0")},
				CurrentRecord{Member: "x", Epoch: 1, Version: 1, Assigned: []Given{{id(1, 0), 1}}},
				CurrentRecord{Gone: true, Member: "w"}, EpochRecord{Epoch: 4}, TargetEpochRecord{Epoch: 4},
			}
			s.reload()
			return s.beat("x", 1, 1, "a0") + ", " + s.join("y", "a")
		},
		want: "unknown member, ok e5 v1 a0 a1 a2 a3",
	}, {
		name: "of two holders in the records the later one stays",
		do: func(s *script) string {
			s.join("x", "a")
			s.records = append(s.records, MemberRecord{Member: "y", Joined: 1, Topics: []string{"a"}},
				CurrentRecord{Member: "y", Epoch: 2, Version: 1, State: Unreleased, Assigned: []Given{{id(1, 0), 2}}},
				EpochRecord{Epoch: 2}, TargetEpochRecord{Epoch: 2})
			s.reload()
			return s.beat("x", 1, 1, "a0")
		},
		want: "unknown member",
	}, {
		name: "commit of what is held",
		do:   func(s *script) string { s.two(); return s.commit("x", 1, "a0 a2") },
		want: "ok, ok",
	}, {
		name: "commit of what others hold",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1")
			return s.commit("x", 2, "a0 a2") + ", " + s.commit("y", 2, "a2")
		},
		want: "ok, stale member epoch, ok",
	}, {
		name: "commit under way while the epoch moves on is taken",
		do: func(s *script) string {
			s.two()
			s.beat("x", 1, 2, "a0 a1")
			return s.commit("x", 1, "a0")
		},
		want: "ok",
	}, {
		name: "commit of an earlier life is refused though the partition is the same",
		do:   func(s *script) string { s.join("x", "a"); s.join("x", "a"); return s.commit("x", 1, "a0") },
		want: "stale member epoch",
	}, {
		name: "commit from the future is refused",
		do:   func(s *script) string { s.join("x", "a"); return s.commit("x", 2, "a0") },
		want: "stale member epoch",
	}, {
		name: "commit of a stranger is refused",
		do:   func(s *script) string { s.join("x", "a"); return s.commit("z", 1, "a0") },
		want: "unknown member",
	}, {
		name: "commit from outside is refused while there are members",
		do:   func(s *script) string { s.join("x", "a"); return s.commit("", offsets.NoMember, "a0") },
		want: "group is not empty",
	}, {
		name: "commit from outside is taken when there are none",
		do:   func(s *script) string { return s.commit("", offsets.NoMember, "a0") },
		want: "ok",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.do(newScript(t)))
		})
	}
}

func TestCommitThatIsOvertakenIsRefused(t *testing.T) {
	s := newScript(t)
	s.join("x", "a")
	for i, tt := range []struct {
		sequence int64
		want     string
	}{{2, "ok"}, {1, "timed out"}, {2, "timed out"}, {3, "ok"}} {
		s.step(Commit{Token: uint64(100 + i), Request: offsets.CommitRequest{
			Group: "g", Member: "x", MemberEpoch: 1, Sequence: tt.sequence,
			Partitions: []offsets.PartitionCommit{{ID: id(1, 0), Offset: log.Offset(tt.sequence)}},
		}})
		require.Equal(t, tt.want, s.answer(uint64(100+i)))
	}
	got := s.c.Fetch(offsets.FetchRequest{Group: "g", Member: "x", MemberEpoch: 1})
	require.Equal(t, log.Offset(3), got.Partitions[0].Commit.Offset)
	require.Equal(t, partition.UnknownMember, s.c.Fetch(offsets.FetchRequest{Member: "z", MemberEpoch: 1}).Code)
	require.Equal(t, partition.StaleMember, s.c.Fetch(offsets.FetchRequest{Member: "x", MemberEpoch: 2}).Code)
}

func TestLastMemberLeavesTheEpochsEqual(t *testing.T) {
	s := newScript(t)
	s.join("x", "a")
	s.say(HeartbeatRequest{Member: "x", Epoch: Leave})
	require.Equal(t, GroupEpoch(2), s.c.epoch)
	require.Equal(t, GroupEpoch(2), s.c.targetEpoch)
	require.Equal(t, Empty, s.c.Info().Status)
	require.Empty(t, s.c.owners)
}

func TestCommitsAndGroupExpireOnceNobodyIsThere(t *testing.T) {
	s := newScript(t)
	s.join("x", "a")
	s.commit("x", 1, "a0")
	s.say(HeartbeatRequest{Member: "x", Epoch: Leave})
	require.Equal(t, s.now.Add(offsets.Retention).Unix(), s.wake.Unix())
	s.reload()
	s.pass(offsets.Retention - time.Second)
	require.Equal(t, 1, s.c.commits.Len())
	s.pass(time.Second)
	require.True(t, s.c.Gone())
	s.reload()
	require.True(t, s.c.Gone(), "nor does it come back")
}

func TestAssignorThatPanicsLeavesTheOldTarget(t *testing.T) {
	s := newScript(t)
	s.join("x", "a")
	s.c.cfg.Assignor = badAssignor(func([]Subscriber) [][]partition.ID { panic("boom") })
	require.Equal(t, "ok e2 v1", s.join("y", "a"))
	require.Equal(t, "ok e2 v2 a0 a1 a2 a3", s.beat("x", 1, 1, "a0 a1 a2 a3"))
}
