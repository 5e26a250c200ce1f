package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
)

type members = []partition.Member

func proposed(pe partition.PartitionEpoch, isr ...partition.Member) *AlterISR {
	return &AlterISR{From: 1, BrokerEpoch: 9, ID: testID, Epoch: 5, PartitionEpoch: pe, ISR: isr}
}

func refusal(base partition.PartitionEpoch, code partition.Code) Altered {
	return Altered{PartitionEpoch: base, Code: code}
}

// Each case starts from a leader in epoch 5 with MinISR 2, partition epoch 12, a
// log that ended at 5 when the epoch began and is flushed, and 10 s of allowed lag.
func TestProposals(t *testing.T) {
	const s = time.Second
	all, two := brokers{1, 2, 3}, brokers{1, 2}
	join := proposed(12, partition.Member{ID: 1, Epoch: 9}, partition.Member{ID: 2, Epoch: 7}, partition.Member{ID: 3, Epoch: 7})
	joining := []any{acked(2, 1, 5), acked(3, 1, 5)}
	tests := []struct {
		name string
		isr  brokers
		in   []any
		want *AlterISR // of the last input
	}{{
		name: "lag within the allowance is no reason",
		isr:  all,
		in:   []any{written(10), 10 * s, Tick{}},
	}, {
		name: "lagging followers are proposed to leave",
		isr:  all,
		in:   []any{written(10), acked(2, 1, 10), 11 * s, acked(2, 2, 10), Tick{}},
		want: proposed(12, partition.Member{ID: 1, Epoch: 9}, partition.Member{ID: 2, Epoch: 7}),
	}, {
		name: "a member not heard of in this epoch is named without its incarnation",
		isr:  all,
		in:   []any{acked(2, 1, 5), 6 * s, Appended{6}, Flushed{6}, 6 * s, Tick{}},
		want: proposed(12, partition.Member{ID: 1, Epoch: 9}, partition.Member{ID: 2, Epoch: 7}),
	}, {
		name: "a follower that fetches but never catches up leaves",
		isr:  all,
		in:   []any{written(10), acked(2, 1, 10), acked(3, 1, 6), 11 * s, acked(2, 2, 10), fetch(3, 2, 10, 9), Tick{}},
		want: proposed(12, partition.Member{ID: 1, Epoch: 9}, partition.Member{ID: 2, Epoch: 7}),
	}, {
		name: "a follower that is always one flush behind does not",
		isr:  two,
		in:   []any{written(10), fetch(2, 1, 10, 5), 6 * s, written(20), fetch(2, 2, 20, 10), 6 * s, Tick{}},
	}, {
		name: "though several fetches go by during each flush",
		isr:  two,
		in: []any{written(10), fetch(2, 1, 10, 5), 4 * s, written(20), fetch(2, 2, 20, 5), 4 * s,
			written(30), fetch(2, 3, 30, 10), 4 * s, Tick{}},
	}, {
		name: "a silent follower that has everything does not",
		isr:  two,
		in:   []any{acked(2, 1, 5), 60 * s, Tick{}},
	}, {
		name: "and its allowance begins with the next append",
		isr:  two,
		in:   []any{acked(2, 1, 5), 60 * s, written(6), 9 * s, Tick{}},
	}, {
		name: "a follower that has just joined does not leave",
		isr:  brokers{1},
		in:   []any{written(10), 11 * s, changed(leaderState(13, two, nil)), Tick{}},
	}, {
		name: "a follower that has caught up joins",
		isr:  two,
		in:   joining,
		want: join,
	}, {
		name: "the start of the epoch must be reached, not an old high watermark alone (KAFKA-7128)",
		isr:  two,
		in:   []any{acked(2, 1, 5), acked(3, 1, 4)},
	}, {
		name: "what is fetched and not flushed does not help to join",
		isr:  two,
		in:   []any{acked(2, 1, 5), fetch(3, 1, 5, 4)},
	}, {
		name: "nobody joins below the high watermark",
		isr:  two,
		in:   []any{written(10), acked(2, 1, 10), acked(3, 1, 9)},
	}, {
		name: "nobody joins in a life that the metadata does not show (KIP-903)",
		isr:  two,
		in:   []any{acked(2, 1, 5), ofLife(acked(3, 1, 5), 8)},
	}, {
		name: "he does once it shows it",
		isr:  two,
		in: []any{acked(2, 1, 5), ofLife(acked(3, 1, 5), 8),
			changed(leaderState(12, two, nil), Peer{2, 7, true}, Peer{3, 8, true})},
		want: proposed(12, partition.Member{ID: 1, Epoch: 9}, partition.Member{ID: 2, Epoch: 7}, partition.Member{ID: 3, Epoch: 8}),
	}, {
		name: "a catch-up of a former life does not help (KAFKA-15221)",
		isr:  two,
		in: []any{acked(2, 1, 5), changed(leaderState(12, two, nil), Peer{2, 7, true}, Peer{3, 7, false}), acked(3, 1, 5),
			changed(leaderState(12, two, nil), Peer{2, 7, true}, Peer{3, 8, true})},
	}, {
		name: "nobody joins who is fenced",
		isr:  two,
		in:   []any{changed(leaderState(12, two, nil), Peer{2, 7, true}, Peer{3, 7, false}), acked(2, 1, 5), acked(3, 1, 5)},
	}, {
		name: "a second proposal waits for the first",
		isr:  brokers{1},
		in:   []any{acked(2, 1, 5), acked(3, 1, 5)},
	}, {
		name: "and follows its answer",
		isr:  brokers{1},
		in:   []any{acked(2, 1, 5), acked(3, 1, 5), Altered{12, partition.OK, leaderState(13, two, nil)}},
		want: with(*join, func(m *AlterISR) { m.PartitionEpoch = 13 }).ptr(),
	}, {
		name: "without an answer the very same is sent again",
		isr:  two,
		in:   append(joining[:2:2], AlterLost{}, written(10), 11*s, Tick{}),
		want: join,
	}, {
		name: "but once",
		isr:  two,
		in:   append(joining[:2:2], AlterLost{}, Tick{}, Tick{}),
	}, {
		name: "while it is under way nothing is sent",
		isr:  two,
		in:   append(joining[:2:2], 60*s, Tick{}),
	}, {
		name: "a controller that is none is asked again",
		isr:  two,
		in:   append(joining[:2:2], refusal(12, partition.NotController), Tick{}),
		want: join,
	}, {
		name: "a refusal that may hide an earlier success waits for the metadata",
		isr:  two,
		in:   append(joining[:2:2], refusal(12, partition.StalePartitionEpoch), Tick{}),
	}, {
		name: "and is not followed by another one",
		isr:  two,
		in:   append(joining[:2:2], refusal(12, partition.StalePartitionEpoch)),
	}, {
		name: "what was refused is not repeated by the next fetch",
		isr:  two,
		in:   append(joining[:2:2], refusal(12, partition.IneligibleReplica), acked(3, 2, 5)),
	}, {
		name: "but by the next tick",
		isr:  two,
		in:   append(joining[:2:2], refusal(12, partition.IneligibleReplica), Tick{}),
		want: join,
	}, {
		name: "or on newer metadata",
		isr:  two,
		in:   append(joining[:2:2], refusal(12, partition.IneligibleReplica), changed(leaderState(13, two, nil))),
		want: with(*join, func(m *AlterISR) { m.PartitionEpoch = 13 }).ptr(),
	}, {
		name: "a refusal of an earlier proposal says nothing of this one",
		isr:  brokers{1},
		in: []any{acked(2, 1, 5), changed(leaderState(13, two, nil)), acked(3, 1, 5),
			refusal(12, partition.IneligibleReplica), acked(3, 2, 5)},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newTestLeader(func(c *LeaderConfig) { c.State.ISR, c.End, c.Flushed = tt.isr, 5, 5 })
			require.Equal(t, tt.want, run(t, l, tt.in...).Propose)
		})
	}
}

func (m AlterISR) ptr() *AlterISR { return &m }

// Which replicas count after the controller's answers, while 3 is proposed to join 1 and 2.
func TestMaximalISR(t *testing.T) {
	all, two := brokers{1, 2, 3}, brokers{1, 2}
	tests := []struct {
		name string
		in   []any
		isr  brokers
		max  brokers
	}{
		{"a proposal counts at once", nil, two, all},
		{"success commits", []any{Altered{12, partition.OK, leaderState(13, all, nil)}}, all, all},
		{"success with an older state is ignored",
			[]any{changed(leaderState(15, two, nil)), Altered{12, partition.OK, leaderState(13, all, nil)}}, two, all},
		{"success of another epoch is ignored", []any{Altered{12, partition.OK, partition.State{Leader: 2, Epoch: 6, PartitionEpoch: 13}}}, two, all},
		{"an ineligible member was not added", []any{refusal(12, partition.IneligibleReplica)}, two, two},
		{"what was not attempted was not applied", []any{refusal(12, partition.NotAttempted)}, two, two},
		{"a fenced leader cannot tell", []any{refusal(12, partition.FencedEpoch)}, two, all},
		{"nor one with an old partition epoch", []any{refusal(12, partition.StalePartitionEpoch)}, two, all},
		{"nor one that was replaced", []any{refusal(12, partition.NewLeaderElected)}, two, all},
		{"nor one whose topic is not known", []any{refusal(12, partition.UnknownTopic)}, two, all},
		{"nor one that got no answer", []any{AlterLost{}}, two, all},
		{"metadata of the same partition epoch leaves it open", []any{changed(leaderState(12, two, nil))}, two, all},
		{"a refusal after a lost sending leaves the first one open",
			[]any{AlterLost{}, Tick{}, refusal(12, partition.IneligibleReplica)}, two, all},
		{"until that cannot arrive any more",
			[]any{AlterLost{}, Tick{}, 10 * time.Second, refusal(12, partition.IneligibleReplica)}, two, two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newTestLeader(func(c *LeaderConfig) { c.State.ISR = two })
			run(t, l, append([]any{acked(2, 1, 0), acked(3, 1, 0)}, tt.in...)...)
			require.Equal(t, tt.isr, l.ISR())
			require.Equal(t, tt.max, l.MaximalISR())
		})
	}
}

func TestNeedsTick(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) { c.State.ISR = brokers{1, 2} })
	run(t, l, acked(2, 1, 0))
	require.False(t, l.NeedsTick(), "idle")
	run(t, l, written(10))
	require.True(t, l.NeedsTick(), "somebody is behind")
	run(t, l, acked(2, 2, 10))
	require.False(t, l.NeedsTick(), "a stranger to the ISR who never caught up is nobody's concern")
	run(t, l, acked(3, 1, 10))
	require.False(t, l.NeedsTick(), "the answer comes by itself")
	run(t, l, AlterLost{})
	require.True(t, l.NeedsTick(), "to be sent again")
	run(t, l, Tick{}, Altered{12, partition.OK, leaderState(13, brokers{1, 2, 3}, nil)})
	require.False(t, l.NeedsTick())
}

func TestReplicasMayChange(t *testing.T) {
	l := newTestLeader(nil)
	run(t, l, written(10), acked(2, 1, 10), acked(3, 1, 10))
	s := leaderState(13, brokers{1, 3}, nil)
	s.Replicas = brokers{1, 3, 4}
	run(t, l, changed(s, Peer{3, 7, true}, Peer{4, 7, true}), written(12), acked(3, 2, 12))
	require.Equal(t, l.HighWatermark(), l.Followers()[0].Ack, "3 is remembered, 2 is forgotten, 4 does not count yet")
	out := run(t, l, acked(4, 1, 12))
	require.Equal(t, members{{ID: 1, Epoch: 9}, {ID: 3, Epoch: 7}, {ID: 4, Epoch: 7}}, out.Propose.ISR)
}
