package replica

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// batch returns the bytes of one batch of n records.
func batch(first log.Offset, epoch log.Epoch, n int, value string) []byte {
	var b log.Builder
	for range n {
		b.Append(1, nil, []byte(value), nil)
	}
	batch := b.Build()
	batch.Place(first, epoch)
	return batch
}

func newTestFollower(change func(*FollowerConfig)) *Follower {
	c := FollowerConfig{
		ID: testID, Self: 2, LastEpoch: 4, Start: 2, End: 10, Flushed: 9, HighWatermark: 6,
		State: partition.State{Replicas: brokers{1, 2, 3}, ISR: brokers{1, 3}, Leader: 1, Epoch: 5, PartitionEpoch: 12},
	}
	if change != nil {
		change(&c)
	}
	return NewFollower(c)
}

// answer is one to what newTestFollower asks for, from a leader whose log is [2, 20).
func answer(change func(*Answered)) Answered {
	in := Answered{
		Request: FetchPartition{ID: testID, Epoch: 5, Fetch: 10, LastEpoch: 4},
		Answer:  FetchAnswer{ID: testID, HighWatermark: 8, Start: 2, End: 20},
	}
	if change != nil {
		change(&in)
	}
	return in
}

func diverging(epoch log.Epoch, end log.Offset, ownEpoch log.Epoch, ownEnd log.Offset, known bool) Answered {
	return answer(func(in *Answered) {
		in.Answer.Diverging, in.Answer.DivergingEpoch, in.Answer.DivergingEnd = true, epoch, end
		in.OwnEpoch, in.OwnEnd, in.OwnKnown = ownEpoch, ownEnd, known
		in.Answer.HighWatermark = 20            // KAFKA-14704: must not be believed
		in.Data = batch(10, 5, 1, "not a word") // nor this
	})
}

func failing(code partition.Code, start, end log.Offset) Answered {
	return answer(func(in *Answered) { in.Answer.Code, in.Answer.Start, in.Answer.End = code, start, end })
}

// filler is a batch without records, of three offsets.
func filler(first log.Offset, epoch log.Epoch) log.Batch {
	const golden = "0000000000000007" + "00000031" + "00000003" + "02" + "7bbd84bc" + "0000" + "00000002" + "ffffffffffffffff" + "ffffffffffffffff" +
		"ffffffffffffffff" + "ffff" + "ffffffff" + "00000000"
	b, err := hex.DecodeString(golden)
	if err != nil {
		panic(err)
	}
	log.Batch(b).Place(first, epoch)
	return b
}

func rest(b log.Batch, from log.Offset) log.Batch {
	b, _ = b.Rest(from)
	return b
}

func at(o log.Offset) *log.Offset { return &o }

// Each case starts from a follower of broker 1 in epoch 5 whose log is [2, 10), is
// flushed up to 9 and ends in epoch 4; it knows 6 for high watermark and stands
// outside ISR and ELR.
func TestAnswers(t *testing.T) {
	good := batch(10, 5, 3, "value")
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	data := func(b ...[]byte) Answered { return answer(func(in *Answered) { in.Data = bytes.Join(b, nil) }) }
	inISR := func(c *FollowerConfig) { c.State.ISR = brokers{1, 2} }
	inELR := func(c *FollowerConfig) { c.State.ELR = brokers{2} }
	tests := []struct {
		name   string
		change func(*FollowerConfig)
		in     Answered
		want   Output // Fault and Fail are compared by being there
		fault  bool
		fail   bool
	}{
		{name: "nothing new moves nothing", in: answer(func(in *Answered) { in.Answer.HighWatermark = 6 })},
		{name: "the high watermark follows the leader's", in: answer(nil), want: Output{HighWatermark: 8, Moved: true}},
		{name: "but not beyond the own log", in: answer(func(in *Answered) { in.Answer.HighWatermark = 15 }), want: Output{HighWatermark: 10, Moved: true}},
		{name: "and may go down", in: answer(func(in *Answered) { in.Answer.HighWatermark = 4 }), want: Output{HighWatermark: 4, Moved: true}},
		{name: "but not below the log start", in: answer(func(in *Answered) { in.Answer.HighWatermark = 0 }), want: Output{HighWatermark: 2, Moved: true}},
		{name: "batches are appended as they are", in: data(good), want: Output{Append: good, HighWatermark: 8, Moved: true}},
		{name: "the high watermark counts with what is appended",
			in: with(data(good), func(in *Answered) { in.Answer.HighWatermark = 12 }), want: Output{Append: good, HighWatermark: 12, Moved: true}},
		{name: "log start follows up to the high watermark", in: answer(func(in *Answered) { in.Answer.Start = 8 }),
			want: Output{Start: at(8), HighWatermark: 8, Moved: true}},
		{name: "log start stays if it would pass the high watermark", in: answer(func(in *Answered) { in.Answer.Start = 9 }),
			want: Output{HighWatermark: 8, Moved: true}},

		{name: "a batch of a flipped bit is not written", in: data(flipped), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor half a batch", in: data(good[:70]), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor a good one before half a batch", in: data(good, batch(13, 5, 1, "x")[:50]), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor what leaves a gap", in: data(batch(11, 5, 1, "x")), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor what overlaps", in: data(batch(9, 5, 2, "x")), fault: true, want: Output{Delay: firstDelay}},
		{name: "but of a filler that overlaps the rest is appended", in: data(filler(8, 4), batch(11, 5, 1, "x")),
			want: Output{Append: bytes.Join([][]byte{rest(filler(8, 4), 10), batch(11, 5, 1, "x")}, nil), HighWatermark: 8, Moved: true}},
		{name: "and not of one that ends before", in: data(filler(7, 4)), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor an epoch that falls", in: data(good, batch(13, 4, 1, "x")), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor one below the log's", in: data(batch(10, 3, 1, "x")), fault: true, want: Output{Delay: firstDelay}},
		{name: "nor one above the leader's", in: data(batch(10, 6, 1, "x")), fault: true, want: Output{Delay: firstDelay}},

		{name: "an answer of an earlier epoch is ignored", in: with(data(good), func(in *Answered) { in.Request.Epoch = 4 })},
		{name: "an answer to another offset is ignored", in: with(data(good), func(in *Answered) { in.Request.Fetch = 9 })},
		{name: "an answer to another last epoch is ignored", in: with(data(good), func(in *Answered) { in.Request.LastEpoch = 3 })},
		{name: "a divergence asked for before a cut is ignored", in: with(diverging(3, 4, 3, 5, true), func(in *Answered) { in.Request.Fetch = 12 })},

		{name: "cuts where the leader's epoch ends (KIP-101)", in: diverging(4, 7, 4, 10, true), want: Output{Truncate: at(7)}},
		{name: "cuts where the own epoch ends", in: diverging(3, 9, 3, 8, true), want: Output{Truncate: at(8)}},
		{name: "without that epoch cuts where the one below it ends (KIP-279)", in: diverging(3, 9, 2, 7, true), want: Output{Truncate: at(7)}},
		{name: "and not to the leader's end, which is another epoch's", in: diverging(3, 6, 2, 7, true), want: Output{Truncate: at(7)}},
		{name: "without any epoch to go by cuts to the leader's end", in: diverging(3, 7, log.NoEpoch, 0, false), want: Output{Truncate: at(7)}},
		{name: "a cut that cuts no record still goes to the log (KAFKA-10706)", in: diverging(3, 12, 3, 10, true), want: Output{Truncate: at(10)}},
		{name: "a cut below the high watermark takes it along, loudly", in: diverging(4, 5, 4, 10, true),
			want: Output{Truncate: at(5), Lossy: true, HighWatermark: 5, Moved: true}},
		{name: "a cut below the log start begins the log anew", in: diverging(4, 1, 4, 10, true), want: Output{Reset: at(2), HighWatermark: 2, Moved: true}},
		{name: "but not while in the ISR", change: inISR, in: diverging(4, 1, 4, 10, true), fail: true},
		{name: "a cut to a negative end is none", in: diverging(4, -1, 4, 10, true), fault: true, want: Output{Delay: firstDelay}},

		{name: "beyond the leader's end is cut to it", in: failing(partition.OutOfRange, 2, 7), want: Output{Truncate: at(7)}},
		{name: "below the leader's start begins there (KAFKA-9491)", in: failing(partition.OutOfRange, 15, 20),
			want: Output{Reset: at(15), HighWatermark: 15, Moved: true}},
		{name: "but not while in the ISR, whose acks speak for the old log", change: inISR, in: failing(partition.OutOfRange, 15, 20), fail: true},
		{name: "nor while in the ELR", change: inELR, in: failing(partition.OutOfRange, 15, 20), fail: true},
		{name: "out of range that is none is tried again", in: failing(partition.OutOfRange, 2, 20), want: Output{Delay: firstDelay}},
		{name: "a newer epoch at the leader ends the fetching", in: failing(partition.FencedEpoch, 0, 0), want: Output{Suspend: true}},
		{name: "a leader that is behind is tried again", in: failing(partition.UnknownEpoch, 0, 0), want: Output{Delay: firstDelay}},
		{name: "a broker that does not lead is tried again", in: failing(partition.NotLeader, 0, 0), want: Output{Delay: firstDelay}},
		{name: "a broker without the partition is tried again", in: failing(partition.UnknownPartition, 0, 0), want: Output{Delay: firstDelay}},
		{name: "a leader whose disk fails is tried again", in: failing(partition.StorageFailed, 0, 0), want: Output{Delay: firstDelay}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newTestFollower(tt.change)
			got := f.Step(testStart, tt.in)
			require.NoError(t, f.Check())
			require.Equal(t, tt.fault, got.Fault != nil, "%v", got.Fault)
			require.Equal(t, tt.fail, got.Fail != nil)
			got.Fault, got.Fail = nil, nil
			require.Equal(t, tt.want, got)
		})
	}
}

func TestRequest(t *testing.T) {
	f := newTestFollower(nil)
	got, ok := f.Request(testStart, 0, 100)
	require.True(t, ok)
	require.Equal(t, FetchPartition{ID: testID, Epoch: 5, Fetch: 10, LastEpoch: 4, Ack: 9, Start: 2, MaxBytes: 100, HighWatermark: 6}, got)

	for name, change := range map[string]func(*FollowerConfig){
		"no leader":     func(c *FollowerConfig) { c.State.Leader = partition.NoBroker },
		"itself leader": func(c *FollowerConfig) { c.State.Leader = 2 },
	} {
		_, ok = newTestFollower(change).Request(testStart, 0, 100)
		require.False(t, ok, name)
	}
	f.Step(testStart, failing(partition.FencedEpoch, 0, 0))
	f.Step(testStart, Changed{State: f.state})
	_, ok = f.Request(testStart.Add(time.Hour), 0, 100)
	require.False(t, ok, "a fenced epoch is over for good")
}

// Two fetches ask for the same, and the later one is answered first.
func TestTheAnswerToTheNewestRequestCounts(t *testing.T) {
	f := newTestFollower(nil)
	of := func(sequence int64, high log.Offset) Answered {
		return answer(func(in *Answered) { in.Sequence, in.Answer.HighWatermark = sequence, high })
	}
	f.Request(testStart, 3, 100)
	f.Request(testStart, 5, 100)
	f.Request(testStart, 6, 0) // an ack
	f.Step(testStart, of(5, 9))
	require.Equal(t, log.Offset(9), f.HighWatermark())
	for _, sequence := range []int64{0, 3, 4, 6} {
		require.Equal(t, Output{}, f.Step(testStart, of(sequence, 7)))
		require.Equal(t, log.Offset(9), f.HighWatermark())
	}
	f.Step(testStart, of(5, 7))
	require.Equal(t, log.Offset(7), f.HighWatermark(), "it would be taken otherwise")
}

func TestDelaysGrowAndEndWithTheMetadata(t *testing.T) {
	f := newTestFollower(nil)
	now := testStart
	var got []time.Duration
	for range 8 {
		out := f.Step(now, failing(partition.NotLeader, 0, 0))
		got = append(got, out.Delay/time.Millisecond)
		_, ok := f.Request(now.Add(out.Delay-1), 0, 1)
		require.False(t, ok)
		now = now.Add(out.Delay)
		_, ok = f.Request(now, 0, 1)
		require.True(t, ok)
	}
	require.Equal(t, []time.Duration{5, 10, 20, 40, 80, 160, 250, 250}, got)
	f.Step(now, failing(partition.NotLeader, 0, 0))
	f.Step(now, Changed{State: f.state})
	_, ok := f.Request(now, 0, 1)
	require.True(t, ok, "newer metadata ends a delay")
	f.Step(now, answer(nil))
	require.Equal(t, firstDelay, f.Step(now, failing(partition.NotLeader, 0, 0)).Delay, "an answer of use resets it")
}

func TestFollowerWaitsForItsDisk(t *testing.T) {
	f := newTestFollower(nil)
	f.Request(testStart, 0, 1)
	first := answer(func(in *Answered) { in.Data, in.Answer.HighWatermark = batch(10, 5, 3, "a"), 12 })
	require.NotNil(t, f.Step(testStart, first).Append)
	_, ok := f.Request(testStart, 0, 1)
	require.False(t, ok)
	require.Equal(t, Output{}, f.Step(testStart, first), "the answer of an overlapping fetch")

	out := f.Step(testStart, Moved{Start: 2, End: 13, Flushed: 9, LastEpoch: 5})
	require.Equal(t, Output{}, out)
	require.NoError(t, f.Check())
	require.Equal(t, log.Offset(12), f.HighWatermark())
	require.True(t, f.Step(testStart, Flushed{13}).Ack)
	p, ok := f.Request(testStart, 0, 0)
	require.True(t, ok)
	require.Equal(t, log.Offset(13), p.Ack)
	require.False(t, f.Step(testStart, Flushed{13}).Ack, "the leader has been told")
	require.False(t, f.Step(testStart, Flushed{99}).Ack, "a flush never counts beyond the end")
}

func TestLogThatRefusesIsNotAskedAtOnce(t *testing.T) {
	f := newTestFollower(nil)
	f.Step(testStart, answer(func(in *Answered) { in.Data, in.Answer.HighWatermark = batch(10, 5, 3, "a"), 12 }))
	out := f.Step(testStart, Moved{Start: 2, End: 10, Flushed: 9, LastEpoch: 4})
	require.Error(t, out.Fault)
	require.Equal(t, firstDelay, out.Delay)
	require.Equal(t, log.Offset(10), out.HighWatermark, "not beyond what was not written")
	require.NoError(t, f.Check())
}

func TestCutTakesFlushedEndAlong(t *testing.T) {
	f := newTestFollower(nil)
	f.Request(testStart, 0, 1)
	f.Step(testStart, diverging(4, 7, 4, 10, true))
	f.Step(testStart, Moved{Start: 2, End: 7, Flushed: 7, LastEpoch: 3})
	p, ok := f.Request(testStart, 0, 1)
	require.True(t, ok)
	require.Equal(t, FetchPartition{ID: testID, Epoch: 5, Fetch: 7, LastEpoch: 3, Ack: 7, Start: 2, MaxBytes: 1, HighWatermark: 6}, p)
}

func TestCompleteReplicaRefetchesOnlyAfterItHasLeft(t *testing.T) {
	f := newTestFollower(func(c *FollowerConfig) { c.State.ISR = brokers{1, 2} })
	out := f.Step(testStart, failing(partition.OutOfRange, 15, 20))
	require.ErrorContains(t, out.Fail, "ends at 10 and is to start again at 15")
	require.Equal(t, out.Fail, f.Failed())
	_, ok := f.Request(testStart.Add(time.Hour), 0, 1)
	require.False(t, ok)

	older := f.state
	older.PartitionEpoch, older.ISR = 11, brokers{1}
	f.Step(testStart, Changed{State: older})
	require.Error(t, f.Failed(), "older metadata never overwrites")

	newer := f.state
	newer.PartitionEpoch, newer.ISR = 13, brokers{1, 2, 3}
	require.False(t, f.Step(testStart, Changed{State: newer}).Left)
	newer.PartitionEpoch, newer.ISR = 14, brokers{1}
	require.True(t, f.Step(testStart, Changed{State: newer}).Left)
	require.NoError(t, f.Failed())
	require.Equal(t, at(15), f.Step(testStart, failing(partition.OutOfRange, 15, 20)).Reset)
	f.Step(testStart, Moved{Start: 15, End: 15, Flushed: 15, LastEpoch: log.NoEpoch})
	require.NoError(t, f.Check())
}

func FuzzAnswered(f *testing.F) {
	f.Add([]byte(batch(10, 5, 3, "value")), int64(8), int64(2), int64(20), int64(7), int32(4), int64(7), false, int16(0))
	f.Add([]byte{}, int64(8), int64(15), int64(5), int64(0), int32(3), int64(5), true, int16(24))
	f.Fuzz(func(t *testing.T, data []byte, hw, start, end, divEnd int64, ownEpoch int32, ownEnd int64, div bool, code int16) {
		m := newTestFollower(nil)
		m.Step(testStart, answer(func(in *Answered) {
			in.Data = data
			in.Answer = FetchAnswer{Code: partition.Code(code), Diverging: div, DivergingEpoch: 4, DivergingEnd: log.Offset(divEnd),
				HighWatermark: log.Offset(hw), Start: log.Offset(start), End: log.Offset(end)}
			in.OwnEpoch, in.OwnEnd, in.OwnKnown = log.Epoch(ownEpoch), log.Offset(min(max(ownEnd, 2), 10)), ownEpoch > 0
		}))
		require.NoError(t, m.Check())
	})
}

// A copy that began anew has seen the tombstones below an offset in the log of one leader,
// and goes on from that of another, which has removed fewer.
func TestATombstoneOfAnotherLogIsStillToBeSeen(t *testing.T) {
	for _, tt := range []struct {
		name          string
		seen, removed log.Offset // by the follower, which ends at 10, and by its leader
		data          []byte
		want          *log.Offset
	}{
		{"as many", 15, 15, batch(10, 5, 1, "a"), nil},
		{"more", 15, 18, batch(10, 5, 1, "a"), nil},
		{"fewer", 15, 12, batch(10, 5, 1, "a"), new(log.Offset(12))},
		{"none behind the end of the copy", 15, 3, batch(10, 5, 1, "a"), new(log.Offset(10))},
		{"the copy has got past all", 10, 3, batch(10, 5, 1, "a"), nil},
		{"nothing comes", 15, 12, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newTestFollower(func(c *FollowerConfig) { c.Removed = tt.seen })
			out := f.Step(testStart, answer(func(in *Answered) { in.Answer.Removed, in.Data = tt.removed, tt.data }))
			require.Equal(t, tt.want, out.Lower)
			require.Equal(t, tt.data, out.Append)
		})
	}
}
