package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

var testID = partition.ID{Topic: partition.UUID{1}, Partition: 3}

var testStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type brokers = []partition.BrokerID

// leaderState is the state most cases start from: broker 1 leads in epoch 5.
func leaderState(pe partition.PartitionEpoch, isr, elr brokers) partition.State {
	return partition.State{Replicas: brokers{1, 2, 3}, ISR: isr, ELR: elr, Leader: 1, Epoch: 5, PartitionEpoch: pe}
}

func testPeers() []Peer {
	return []Peer{{ID: 2, Epoch: 7, Active: true}, {ID: 3, Epoch: 7, Active: true}}
}

// fetch is a fetch in epoch 5 whose log fits the leader's up to end.
func fetch(from partition.BrokerID, seq int64, end, ack log.Offset) Fetched {
	return Fetched{
		From: from, BrokerEpoch: 7, Sequence: seq, Known: true, LogEpoch: 5, LogEnd: 1 << 40,
		Partition: FetchPartition{ID: testID, Epoch: 5, Fetch: end, LastEpoch: 5, Ack: ack, Start: 2, MaxBytes: 1, HighWatermark: 1 << 40},
	}
}

func acked(from partition.BrokerID, seq int64, ack log.Offset) Fetched {
	return fetch(from, seq, ack, ack)
}

func with[T any](v T, change func(*T)) T { change(&v); return v }

func ofLife(f Fetched, be partition.BrokerEpoch) Fetched { f.BrokerEpoch = be; return f }

func ofEpoch(f Fetched, e log.Epoch) Fetched { f.Partition.Epoch = e; return f }

// written is what an append followed at once by its flush says.
func written(end log.Offset) []Input { return []Input{Appended{end}, Flushed{end}} }

func changed(s partition.State, peers ...Peer) Changed {
	if peers == nil {
		peers = testPeers()
	}
	return Changed{State: s, MinISR: 2, Peers: peers}
}

func newTestLeader(change func(*LeaderConfig)) *Leader {
	c := LeaderConfig{
		ID: testID, Self: 1, SelfEpoch: 9, MinISR: 2, Synced: true, Lag: 10 * time.Second,
		State: leaderState(12, brokers{1, 2, 3}, nil), Peers: testPeers(),
	}
	if change != nil {
		change(&c)
	}
	return NewLeader(testStart, c)
}

// run steps a leader through inputs; a Duration among them goes by, a slice is
// stepped one by one. It returns the last output, and checks the invariants always.
func run(t *testing.T, l *Leader, in ...any) Output {
	t.Helper()
	now := testStart
	var out Output
	step := func(in Input) {
		high := l.HighWatermark()
		out = l.Step(now, in)
		require.NoError(t, l.Check(), "after %+v", in)
		require.GreaterOrEqual(t, l.HighWatermark(), high, "R2 after %+v", in)
		require.Equal(t, l.HighWatermark() > high, out.Moved)
	}
	for _, in := range in {
		switch in := in.(type) {
		case time.Duration:
			now = now.Add(in)
		case []Input:
			for _, in := range in {
				step(in)
			}
		case Input:
			step(in)
		}
	}
	return out
}

// Each case starts from a leader without records in epoch 5 with MinISR 2,
// followers 2 and 3 in the ISR, and 10 s of allowed lag.
func TestHighWatermark(t *testing.T) {
	alone := leaderState(13, brokers{1}, brokers{2, 3})
	tests := []struct {
		name   string
		change func(*LeaderConfig)
		in     []any
		want   log.Offset
	}{{
		name: "own copy alone does not commit",
		in:   []any{written(10)},
	}, {
		name: "commits what the slowest member of the ISR has flushed",
		in:   []any{written(10), acked(2, 1, 10), fetch(3, 1, 10, 4)},
		want: 4,
	}, {
		name: "leader's own disk may be the slowest",
		in:   []any{Appended{10}, acked(2, 1, 10), acked(3, 1, 10), Flushed{7}},
		want: 7,
	}, {
		name:   "what is written counts if the topic is not Synced",
		change: func(c *LeaderConfig) { c.Synced = false },
		in:     []any{Appended{10}, fetch(2, 1, 10, 0), fetch(3, 1, 9, 0)},
		want:   9,
	}, {
		name: "flushes that finish out of order take nothing back",
		in:   []any{written(10), Flushed{6}, acked(2, 1, 10), acked(3, 1, 10)},
		want: 10,
	}, {
		name: "repeated fetch is ignored",
		in:   []any{written(10), acked(2, 1, 10), acked(3, 2, 6), acked(3, 2, 8)},
		want: 6,
	}, {
		name: "older fetch of one incarnation is ignored",
		in:   []any{written(10), acked(3, 2, 6), acked(3, 1, 8), acked(2, 1, 10)},
		want: 6,
	}, {
		name: "stale ack of a dead incarnation is ignored (KIP-903)",
		in:   []any{written(10), ofLife(acked(3, 1, 6), 8), ofLife(acked(3, 9, 8), 7), acked(2, 1, 10)},
		want: 6,
	}, {
		name: "fetch of an incarnation older than the metadata's is ignored",
		in:   []any{written(10), acked(2, 1, 10), ofLife(acked(3, 1, 10), 6)},
	}, {
		name: "new incarnation begins its sequence again",
		in:   []any{written(10), acked(2, 1, 10), acked(3, 9, 6), ofLife(acked(3, 1, 8), 8)},
		want: 8,
	}, {
		name: "ack of a former life ends when the metadata shows the new one",
		in: []any{written(10), acked(3, 9, 10),
			changed(leaderState(12, brokers{1, 2, 3}, nil), Peer{2, 7, true}, Peer{3, 8, true}), acked(2, 1, 10)},
	}, {
		name: "fetch in an earlier epoch is ignored (KIP-320)",
		in:   []any{written(10), acked(2, 1, 10), ofEpoch(acked(3, 1, 10), 4)},
	}, {
		name: "fetch of a stranger is ignored",
		in:   []any{written(10), acked(2, 1, 10), acked(9, 1, 10)},
	}, {
		name: "diverging fetch moves nothing and takes the ack away (KAFKA-13141)",
		in: []any{written(10), acked(3, 1, 10),
			with(acked(3, 2, 10), func(f *Fetched) { f.LogEpoch = 4 }), acked(2, 1, 10)},
	}, {
		name: "fetch out of range moves nothing",
		in:   []any{written(10), acked(2, 1, 10), with(acked(3, 1, 10), func(f *Fetched) { f.Known = false })},
	}, {
		name: "ack above the fetched offset counts as that",
		in:   []any{written(10), acked(2, 1, 10), fetch(3, 1, 4, 9)},
		want: 4,
	}, {
		name: "proposed shrink still counts until it is accepted (KIP-497)",
		in:   []any{written(10), acked(2, 1, 10), acked(3, 1, 4), 11 * time.Second, acked(2, 2, 10), Tick{}},
		want: 4,
	}, {
		name: "accepted shrink commits at once",
		in: []any{written(10), acked(2, 1, 10), acked(3, 1, 4), 11 * time.Second, acked(2, 2, 10), Tick{},
			Altered{12, partition.OK, leaderState(13, brokers{1, 2}, nil)}},
		want: 10,
	}, {
		name: "smaller ISR of the metadata commits at once",
		in:   []any{written(10), acked(2, 1, 9), changed(leaderState(13, brokers{1, 2}, nil))},
		want: 9,
	}, {
		name: "ISR below MinISR commits nothing",
		in:   []any{written(10), changed(alone), acked(2, 1, 10)},
	}, {
		name: "proposed expansion does not make the ISR large enough",
		in:   []any{changed(alone), acked(2, 1, 0), written(10), acked(2, 2, 10)},
	}, {
		name:   "nor does it when MinISR has just grown",
		change: func(c *LeaderConfig) { c.State.ISR, c.MinISR = brokers{1, 2}, 3 },
		in:     []any{acked(2, 1, 0), acked(3, 1, 0), written(10), acked(2, 2, 10), acked(3, 2, 10)},
	}, {
		name: "an ELR freezes it even if MinISR is thought to be smaller (KAFKA-16540)",
		in:   []any{written(10), Changed{State: alone, MinISR: 1, Peers: testPeers()}},
	}, {
		name:   "MinISR above the replicas means all of them",
		change: func(c *LeaderConfig) { c.State.Replicas, c.State.ISR = brokers{1}, brokers{1} },
		in:     []any{written(10)},
		want:   10,
	}, {
		name:   "one who has caught up and is about to join holds it back",
		change: func(c *LeaderConfig) { c.State.ISR = brokers{1, 2} },
		in:     []any{acked(3, 1, 0), written(10), acked(2, 1, 10)},
	}, {
		name:   "one who has never caught up does not",
		change: func(c *LeaderConfig) { c.State.ISR, c.End = brokers{1, 2}, 5 },
		in:     []any{acked(3, 1, 3), written(10), acked(2, 1, 10)},
		want:   10,
	}, {
		name:   "and goes on to while his joining is refused",
		change: func(c *LeaderConfig) { c.State.ISR = brokers{1, 2} },
		in: []any{acked(2, 1, 0), acked(3, 1, 0), Altered{12, partition.IneligibleReplica, partition.State{}}, written(10),
			acked(2, 2, 10)},
	}, {
		name:   "nor one whose former life had caught up",
		change: func(c *LeaderConfig) { c.State.ISR, c.End = brokers{1, 2}, 5; c.Peers[1].Active = false },
		in: []any{acked(3, 1, 5), ofLife(acked(3, 1, 3), 8),
			changed(leaderState(12, brokers{1, 2}, nil), Peer{2, 7, true}, Peer{3, 8, true}), written(10), acked(2, 1, 10)},
		want: 10,
	}, {
		name:   "nor one who caught up too long ago",
		change: func(c *LeaderConfig) { c.State.ISR = brokers{1, 2} },
		in: []any{acked(2, 1, 0), acked(3, 1, 0), Altered{12, partition.IneligibleReplica, partition.State{}}, written(10),
			acked(2, 2, 10), 11 * time.Second, Tick{}},
		want: 10,
	}, {
		name:   "nor one whom the metadata shows fenced",
		change: func(c *LeaderConfig) { c.State.ISR = brokers{1, 2}; c.Peers[1].Active = false },
		in:     []any{acked(3, 1, 0), written(10), acked(2, 1, 10)},
		want:   10,
	}, {
		name:   "nor one whose present life the metadata does not show",
		change: func(c *LeaderConfig) { c.State.ISR = brokers{1, 2} },
		in:     []any{ofLife(acked(3, 1, 0), 8), written(10), acked(2, 1, 10)},
		want:   10,
	}, {
		name: "metadata of another epoch changes nothing",
		in: []any{written(10), acked(2, 1, 10),
			changed(with(leaderState(13, brokers{1, 2}, nil), func(s *partition.State) { s.Epoch = 6 }))},
	}, {
		name: "older metadata never overwrites",
		in: []any{written(10), changed(leaderState(14, brokers{1, 2, 3}, nil)),
			changed(leaderState(13, brokers{1, 2}, nil)), acked(2, 1, 10)},
	}, {
		name:   "a new leader keeps the high watermark that it knew",
		change: func(c *LeaderConfig) { c.End, c.Flushed, c.HighWatermark = 10, 10, 8 },
		in:     []any{acked(2, 1, 5), acked(3, 1, 5)},
		want:   8,
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newTestLeader(tt.change)
			run(t, l, tt.in...)
			require.Equal(t, tt.want, l.HighWatermark())
		})
	}
}

// Each case starts as above, with records up to 10, the high watermark there too,
// and a log that starts at 2.
func TestFetchVerdict(t *testing.T) {
	ok := FetchVerdict{Read: true, HighWatermark: 10, Start: 2, End: 10}
	tests := []struct {
		name string
		in   Fetched
		want FetchVerdict
	}{
		{"a follower at the end is served, perhaps later", acked(2, 5, 10), ok},
		{"a follower behind the end is served", acked(2, 5, 7), ok},
		{"a follower that knows a lower high watermark has news to get",
			with(acked(2, 5, 10), func(f *Fetched) { f.Partition.HighWatermark = 9 }), with(ok, func(v *FetchVerdict) { v.News = true })},
		{"an ack alone is not served", with(acked(2, 5, 10), func(f *Fetched) { f.Partition.MaxBytes = 0 }),
			with(ok, func(v *FetchVerdict) { v.Read = false })},
		{"an earlier epoch is fenced", ofEpoch(acked(2, 5, 10), 4),
			FetchVerdict{Code: partition.FencedEpoch, HighWatermark: 10, Start: 2, End: 10}},
		{"a later epoch is not known yet", ofEpoch(acked(2, 5, 10), 6),
			FetchVerdict{Code: partition.UnknownEpoch, HighWatermark: 10, Start: 2, End: 10}},
		{"a replica that the metadata does not show is not known yet", acked(9, 5, 10),
			FetchVerdict{Code: partition.UnknownEpoch, HighWatermark: 10, Start: 2, End: 10}},
		{"a dead incarnation is turned away", ofLife(acked(2, 5, 10), 6),
			FetchVerdict{Code: partition.StaleBroker, HighWatermark: 10, Start: 2, End: 10}},
		{"a repeated fetch is answered empty, without a high watermark that its log may not deserve",
			with(acked(2, 1, 10), func(f *Fetched) { f.Partition.HighWatermark, f.Partition.Start = 3, 1 }),
			FetchVerdict{Stale: true, HighWatermark: 3, Start: 1, End: 10}},
		{"a log that ends beyond the common epoch's end diverges (KIP-101)", with(acked(2, 5, 9), func(f *Fetched) { f.LogEpoch, f.LogEnd = 5, 8 }),
			FetchVerdict{Diverging: true, DivergingEpoch: 5, DivergingEnd: 8, HighWatermark: 10, Start: 2, End: 10}},
		{"a log with an epoch that the leader never had diverges (KIP-279)", with(acked(2, 5, 9), func(f *Fetched) { f.LogEpoch, f.LogEnd = 3, 12 }),
			FetchVerdict{Diverging: true, DivergingEpoch: 3, DivergingEnd: 12, HighWatermark: 10, Start: 2, End: 10}},
		{"an epoch beyond all known ones is out of range", with(acked(2, 5, 9), func(f *Fetched) { f.Known = false }),
			FetchVerdict{Code: partition.OutOfRange, HighWatermark: 10, Start: 2, End: 10}},
		{"below the log start is out of range before it diverges", with(acked(2, 5, 1), func(f *Fetched) { f.LogEpoch = 3 }),
			FetchVerdict{Code: partition.OutOfRange, HighWatermark: 10, Start: 2, End: 10}},
		{"an empty log within the leader's is served", with(acked(2, 5, 2), func(f *Fetched) { f.Known, f.Partition.LastEpoch = false, log.NoEpoch }), ok},
		{"an empty log beyond the leader's end is out of range",
			with(acked(2, 5, 11), func(f *Fetched) { f.Partition.LastEpoch, f.LogEpoch, f.LogEnd = log.NoEpoch, log.NoEpoch, 0 }),
			FetchVerdict{Code: partition.OutOfRange, HighWatermark: 10, Start: 2, End: 10}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newTestLeader(nil)
			run(t, l, written(10), acked(2, 1, 10), acked(3, 1, 10), Started{Start: 2})
			require.Equal(t, &tt.want, run(t, l, tt.in).Fetch)
		})
	}
}

func TestStartNeverPassesTheHighWatermark(t *testing.T) {
	l := newTestLeader(nil)
	run(t, l, written(10), acked(2, 1, 4), acked(3, 1, 4), Started{Start: 8})
	require.Equal(t, log.Offset(4), run(t, l, acked(2, 2, 4)).Fetch.Start)
	begun := func(f *Fetched) { f.LogStart = 5 }
	require.Equal(t, log.Offset(4), run(t, l, with(acked(2, 3, 6), begun)).Fetch.Start)
	out := run(t, l, acked(3, 3, 6), with(acked(2, 4, 6), begun))
	require.Equal(t, log.Offset(5), out.Fetch.Start, "before Started says that all below is removed")
}

func TestLeaderKnowsWhatItMayPromise(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) { c.End, c.Flushed, c.HighWatermark = 10, 10, 8 })
	require.False(t, l.Authoritative(), "below the end of its predecessors' epochs")
	require.Equal(t, log.Epoch(5), l.Epoch())
	run(t, l, acked(2, 1, 10), acked(3, 1, 10))
	require.True(t, l.Authoritative())

	require.Equal(t, partition.OK, l.CanAppend(partition.AcksAll))
	run(t, l, changed(leaderState(13, brokers{1}, brokers{2, 3})))
	require.Equal(t, brokers{1}, l.ISR())
	require.Equal(t, partition.NotEnoughReplicas, l.CanAppend(partition.AcksAll))
	require.Equal(t, partition.OK, l.CanAppend(partition.AcksLeader))
	require.Equal(t, partition.NotEnoughAfterAppend, l.CommitCode())
	out := run(t, l, acked(2, 2, 10))
	require.NotNil(t, out.Propose)
	require.Equal(t, partition.OK, l.CommitCode(), "the maximal ISR is what counts after the write")
	require.Equal(t, brokers{1, 2}, l.MaximalISR())
	require.Equal(t, FollowerInfo{ID: 3, Ack: 10}, l.Followers()[1])
}

// The schedule by which a leader that goes on leading, over an epoch that it never
// saw, would count what its followers have cut in it: every leader epoch gets a
// machine of its own, which knows no acks.
// Only who was elected as one that may be incomplete can know of more than it holds
// where acknowledgements count what is flushed: it takes that for committed when it is.
func TestALeaderTakesForCommittedWhatItHolds(t *testing.T) {
	begin := func(synced bool) *Leader {
		return newTestLeader(func(c *LeaderConfig) {
			c.Synced, c.MinISR, c.State = synced, 1, leaderState(12, brokers{1}, nil)
			c.Start, c.End, c.Flushed, c.HighWatermark = 2, 10, 4, 8
		})
	}
	require.EqualValues(t, 4, begin(true).HighWatermark())
	require.EqualValues(t, 8, begin(false).HighWatermark())
	l := begin(true)
	require.NoError(t, l.Check())
	require.EqualValues(t, 10, run(t, l, Flushed{10}).HighWatermark)
}

func TestNewLeaderEpochForgetsAcks(t *testing.T) {
	l := newTestLeader(func(c *LeaderConfig) { c.State.ISR, c.End, c.Flushed, c.HighWatermark = brokers{1, 3}, 12, 12, 10 })
	run(t, l, Flushed{12})
	require.Equal(t, log.Offset(10), l.HighWatermark())
	require.Equal(t, unknown, l.Followers()[1].Ack)
}
