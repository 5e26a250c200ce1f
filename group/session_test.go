package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

// told is an answer with an assignment; revoke: the coordinator waits for a revocation.
func told(sequence int64, epoch MemberEpoch, version Version, owned string, revoke bool) Answered {
	r := HeartbeatResponse{Epoch: epoch, IntervalMs: 3000, SessionMs: 9000, Assignment: &Assignment{Version: version, Partitions: parts(owned)}}
	if revoke {
		r.RebalanceMs = 5000
	}
	return Answered{Sequence: sequence, Response: r}
}

// empty is an answer that says nothing.
func empty(sequence int64) Answered {
	return Answered{Sequence: sequence, Response: HeartbeatResponse{IntervalMs: 3000, SessionMs: 9000}}
}

func refused(sequence int64, code partition.Code) Answered {
	return Answered{Sequence: sequence, Response: HeartbeatResponse{Code: code}}
}

// tell writes an output as "lost ...; revoke ...; assigned ...; send #n e<epoch> v<version> [full] ...".
func tell(out SessionOutput) string {
	var all []string
	add := func(format string, args ...any) { all = append(all, strings.TrimSpace(fmt.Sprintf(format, args...))) }
	if out.Lost != nil {
		add("lost %s", short(out.Lost))
	}
	if out.Revoke != nil {
		add("revoke %s", short(out.Revoke))
	}
	if out.Assigned != nil {
		add("assigned %s", short(out.Assigned))
	}
	if r := out.Send; r != nil {
		full := ""
		if r.Topics != nil {
			full = "full "
		}
		add("send #%d e%d v%d %s%s", r.Sequence, r.Epoch, r.Version, full, short(r.Owned))
	}
	if out.Left {
		add("left")
	}
	if out.Fatal != partition.OK {
		add("fatal %s", code(out.Fatal))
	}
	return strings.Join(all, "; ")
}

// Each case is of a member of topic a; the coordinator's session is 9 s, its interval
// 3 s. A time.Duration among the inputs goes by, and is followed by a Tick.
func TestSession(t *testing.T) {
	const s = time.Second
	joined := []any{Tick{}, told(1, 1, 1, "a0 a1", false)} // sends #2
	with := func(in ...any) []any { return append(append([]any{}, joined...), in...) }
	tests := []struct {
		name string
		in   []any
		want string // of the last input
	}{{
		name: "joins at the first tick, with all that it has to say",
		in:   []any{Tick{}},
		want: "send #1 e0 v0 full",
	}, {
		name: "takes what it is given, and confirms it at once",
		in:   joined,
		want: "assigned a0 a1; send #2 e1 v1 a0 a1",
	}, {
		name: "join that is not answered is sent again",
		in:   []any{Tick{}, 3 * s},
		want: "send #2 e0 v0 full",
	}, {
		name: "join that is answered with nothing is sent again after a while",
		in:   []any{Tick{}, empty(1), 20 * time.Millisecond},
		want: "send #2 e0 v0 full",
	}, {
		name: "call that failed is made again in full after a while",
		in:   with(Unanswered{2}, 20*time.Millisecond),
		want: "send #3 e1 v1 full a0 a1",
	}, {
		name: "coordinator that has moved is asked for again",
		in:   with(refused(2, partition.NotCoordinator), 20*time.Millisecond),
		want: "send #3 e1 v1 full a0 a1",
	}, {
		name: "failures in a row are further and further apart",
		in:   with(Unanswered{2}, 20*time.Millisecond, Unanswered{3}, 39*time.Millisecond),
		want: "",
	}, {
		name: "parked heartbeat that comes back empty is followed by the next",
		in:   with(3*s, empty(2)),
		want: "send #3 e1 v1 a0 a1",
	}, {
		name: "empty answer that comes early is no reason to hurry",
		in:   with(empty(2)),
		want: "",
	}, {
		name: "answer to an older request is ignored",
		in:   with(told(1, 9, 9, "a3", false)),
		want: "",
	}, {
		name: "answer that comes twice is ignored",
		in:   with(told(2, 2, 2, "a0 a1 a2", false), told(2, 2, 3, "a0", false)),
		want: "",
	}, {
		name: "stops delivering what it must give up, and says that it still holds it",
		in:   with(told(2, 1, 2, "a0", true)),
		want: "revoke a1; send #3 e1 v2 a0 a1",
	}, {
		name: "says at once that it has given up",
		in:   with(told(2, 1, 2, "a0", true), Revoked{parts("a1")}),
		want: "send #4 e1 v2 a0",
	}, {
		name: "says nothing before all is given up",
		in:   with(told(2, 1, 2, "", true), Revoked{parts("a1")}),
		want: "",
	}, {
		name: "what is given back while it is given up is taken afterwards",
		in:   with(told(2, 1, 2, "a0", true), told(3, 2, 3, "a0 a1", false), Revoked{parts("a1")}),
		want: "assigned a1; send #5 e2 v3 a0 a1",
	}, {
		name: "who cannot give up in time loses everything",
		in:   with(told(2, 1, 2, "a0", true), 4*s+900*time.Millisecond, 100*time.Millisecond),
		want: "lost a0 a1; send #5 e0 v0 full",
	}, {
		name: "time to give up counts from the sending of the request that was told of it",
		in:   with(2*s, told(2, 1, 2, "a0", true), 3*s),
		want: "lost a0 a1; send #4 e0 v0 full",
	}, {
		name: "who cannot make known in time that it has given up loses everything",
		in:   with(told(2, 1, 2, "a0", true), Revoked{parts("a1")}, 4*s+900*time.Millisecond, 100*time.Millisecond),
		want: "lost a0; send #6 e0 v0 full",
	}, {
		name: "revocation that the coordinator knows of is over",
		in:   with(told(2, 1, 2, "a0", true), Revoked{parts("a1")}, told(4, 2, 3, "a0", false), 4*s, empty(5), 3*s),
		want: "",
	}, {
		name: "revocation of what has been lost is no news",
		in:   with(told(2, 1, 2, "a0", true), refused(3, partition.FencedMember), Revoked{parts("a1")}),
		want: "",
	}, {
		name: "lease counts from the sending of the request that was answered",
		in:   with(4*s, 4*s, s),
		want: "lost a0 a1; send #4 e0 v0 full",
	}, {
		name: "whoever wakes up after its lease has lost everything, whatever it hears first",
		in:   with(time.Duration(-1), told(2, 2, 2, "a0 a1 a2", false)),
		want: "lost a0 a1; send #3 e0 v0 full",
	}, {
		name: "fenced member joins again at once",
		in:   with(refused(2, partition.FencedMember)),
		want: "lost a0 a1; send #3 e0 v0 full",
	}, {
		name: "unknown member joins again at once",
		in:   with(refused(2, partition.UnknownMember)),
		want: "lost a0 a1; send #3 e0 v0 full",
	}, {
		name: "what cannot be mended ends the session",
		in:   []any{Tick{}, refused(1, partition.Unsupported)},
		want: "fatal unsupported",
	}, {
		name: "leaves",
		in:   with(Quit{}),
		want: "send #3 e-1 v1",
	}, {
		name: "has left when it is told so",
		in:   with(Quit{}, empty(3)),
		want: "left",
	}, {
		name: "has left when nobody knows it any more",
		in:   with(Quit{}, refused(3, partition.UnknownMember)),
		want: "left",
	}, {
		name: "has left when its session must be over",
		in:   with(Quit{}, 9*s),
		want: "left",
	}, {
		name: "who never joined leaves without a word",
		in:   []any{Quit{}},
		want: "left",
	}, {
		name: "after the end nothing is said",
		in:   with(Quit{}, empty(3), Tick{}),
		want: "",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1_700_000_000, 0)
			x := NewSession(SessionConfig{Group: "g", Member: "x", Topics: []string{"a"}})
			var got SessionOutput
			for _, in := range tt.in {
				switch in := in.(type) {
				case time.Duration:
					if in < 0 { // asleep
						now = now.Add(time.Minute)
						require.False(t, x.Holds(now, id(1, 0)), "delivery looks at the clock")
						continue
					}
					now = now.Add(in)
					got = x.Step(now, Tick{})
				case SessionInput:
					got = x.Step(now, in)
				}
			}
			require.Equal(t, tt.want, tell(got))
		})
	}
}

func TestSessionHoldsOnlyWhatItMayDeliver(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	x := NewSession(SessionConfig{Group: "g", Member: "x", Topics: []string{"a"}})
	x.Step(now, Tick{})
	require.Equal(t, Join, x.Epoch())
	x.Step(now.Add(time.Second), told(1, 1, 1, "a0 a1", false))
	require.Equal(t, now.Add(9*time.Second), x.Lease())
	require.True(t, x.Holds(x.Lease().Add(-1), id(1, 0)))
	require.False(t, x.Holds(x.Lease(), id(1, 0)))
	require.False(t, x.Holds(now, id(1, 2)))
	x.Step(now.Add(time.Second), told(2, 1, 2, "a0", true))
	require.False(t, x.Holds(now, id(1, 1)), "no delivery of what is being given up")
	require.Equal(t, parts("a0 a1"), x.Held())
}

func TestPartitionOf(t *testing.T) {
	require.Equal(t, partition.PartitionID(0), PartitionOf("any", 0))
	require.Equal(t, partition.PartitionID(6), PartitionOf("payment", 8), "groups must not move")
	seen := map[partition.PartitionID]bool{}
	for i := range 200 {
		seen[PartitionOf(fmt.Sprintf("g%d", i), 8)] = true
	}
	require.Len(t, seen, 8)
}
