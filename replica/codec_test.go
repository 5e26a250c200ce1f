package replica

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

type message interface{ Encode(*wire.Writer) }

func encode(m message) []byte {
	w := wire.NewWriter(nil)
	m.Encode(w)
	return w.Bytes()
}

var (
	goodFetch = FetchRequest{From: 2, BrokerEpoch: 7, Sequence: 99, MaxWaitMs: 500, MinBytes: 1, MaxBytes: 1 << 20, Cold: true, After: 98,
		Partitions: []FetchPartition{{ID: testID, Epoch: 5, Fetch: 10, LastEpoch: -1, Ack: 9, Start: 2, MaxBytes: 100, HighWatermark: 6, Removed: 3}, {}}}
	goodAnswer = FetchResponse{Code: partition.StaleBroker, Lost: true,
		Partitions: []FetchAnswer{{ID: testID, Code: partition.OutOfRange, Diverging: true, DivergingEpoch: 3, DivergingEnd: 4, HighWatermark: 5, Start: 6, End: 7, Removed: 8}}}
	goodAlter       = AlterISR{From: 1, BrokerEpoch: 9, ID: testID, Epoch: 5, PartitionEpoch: 12, ISR: members{{ID: 1, Epoch: 9}, {ID: 2, Epoch: -1}}, Recovered: true}
	goodAlterAnswer = AlterISRAnswer{Controller: 3, State: partition.State{Replicas: brokers{3, 1, 2}, ISR: brokers{1}, ELR: brokers{2},
		LastKnownELR: brokers{3}, Leader: 1, Epoch: 5, PartitionEpoch: 13}}
	goodDiscard       = Discard{From: 2, BrokerEpoch: 7, ID: testID, Epoch: 5}
	goodDiscardAnswer = DiscardAnswer{Code: partition.NotEnoughReplicas, Controller: 3}
)

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	fetch, err := DecodeFetchRequest(encode(&goodFetch))
	require.NoError(t, err)
	require.Equal(t, goodFetch, fetch)
	answer, err := DecodeFetchResponse(encode(&goodAnswer))
	require.NoError(t, err)
	require.Equal(t, goodAnswer, answer)
	alter, err := DecodeAlterISR(encode(&goodAlter))
	require.NoError(t, err)
	require.Equal(t, goodAlter, alter)
	altered, err := DecodeAlterISRAnswer(encode(&goodAlterAnswer))
	require.NoError(t, err)
	require.Equal(t, goodAlterAnswer, altered)
	discard, err := DecodeDiscard(encode(&goodDiscard))
	require.NoError(t, err)
	require.Equal(t, goodDiscard, discard)
	discarded, err := DecodeDiscardAnswer(encode(&goodDiscardAnswer))
	require.NoError(t, err)
	require.Equal(t, goodDiscardAnswer, discarded)
}

// What stands on the wire is the same in all releases.
func TestGoldenBytes(t *testing.T) {
	require.Equal(t, "00000001"+"0000000000000009"+"01000000000000000000000000000000"+"00000003"+"00000005"+"0000000c"+
		"02"+"00000001"+"0000000000000009"+"00000002"+"ffffffffffffffff"+"01", hex.EncodeToString(encode(&goodAlter)))
	one := FetchRequest{From: 2, BrokerEpoch: 7, Sequence: 99, MaxWaitMs: 500, MinBytes: 1, MaxBytes: 2, Cold: true, After: 98, Partitions: goodFetch.Partitions[:1]}
	require.Equal(t, "00000002"+"0000000000000007"+"0000000000000063"+"000001f4"+"00000001"+"00000002"+"01"+"0000000000000062"+"01"+
		"01000000000000000000000000000000"+"00000003"+"00000005"+"000000000000000a"+"ffffffff"+"0000000000000009"+"0000000000000002"+
		"00000064"+"0000000000000006"+"0000000000000003", hex.EncodeToString(encode(&one)))
	require.Equal(t, "00000002"+"0000000000000007"+"01000000000000000000000000000000"+"00000003"+"00000005", hex.EncodeToString(encode(&goodDiscard)))
	require.Equal(t, "001e"+"00000003", hex.EncodeToString(encode(&goodDiscardAnswer)))
}

func FuzzDecode(f *testing.F) {
	for _, m := range []message{&goodFetch, &goodAnswer, &goodAlter, &goodAlterAnswer, &goodDiscard, &goodDiscardAnswer} {
		f.Add(encode(m))
	}
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeFetchRequest(b); err == nil {
			again, err := DecodeFetchRequest(encode(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if m, err := DecodeFetchResponse(b); err == nil {
			again, err := DecodeFetchResponse(encode(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if m, err := DecodeAlterISR(b); err == nil {
			again, err := DecodeAlterISR(encode(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if m, err := DecodeDiscard(b); err == nil {
			again, err := DecodeDiscard(encode(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if m, err := DecodeDiscardAnswer(b); err == nil {
			again, err := DecodeDiscardAnswer(encode(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if m, err := DecodeAlterISRAnswer(b); err == nil {
			again, err := DecodeAlterISRAnswer(encode(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
	})
}
