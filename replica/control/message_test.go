package control

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
	"github.com/stretchr/testify/require"
)

type encoder interface{ Encode(w *wire.Writer) }

func encode(m encoder) []byte {
	w := wire.NewWriter(nil)
	m.Encode(w)
	return w.Bytes()
}

var messages = struct {
	register    RegisterRequest
	registered  RegisterResponse
	heartbeat   HeartbeatRequest
	heartbeaten HeartbeatResponse
	ask         LogEndsRequest
	ends        LogEndsResponse
}{
	RegisterRequest{
		Broker:    partition.Broker{ID: 3, Addr: "host:1", Rack: "r", Directory: uuid(1), Incarnation: uuid(2)},
		PrevEpoch: 7, Suspect: []partition.ID{{Topic: uuid(3), Partition: 4}, {Topic: uuid(5)}},
	},
	RegisterResponse{Code: partition.DuplicateBroker, Epoch: 1 << 40, Controller: 2},
	HeartbeatRequest{Broker: 1, Epoch: 2, Applied: 3, WantFence: true, Full: true},
	HeartbeatResponse{Code: partition.StaleBroker, Fenced: true, Offset: 1 << 50, Controller: 9},
	LogEndsRequest{Broker: 1, Epoch: 2, IDs: []partition.ID{{Topic: uuid(3), Partition: 4}}},
	LogEndsResponse{Code: partition.Internal, Broker: 1, Epoch: 2, Ends: []LogEnd{
		{ID: partition.ID{Topic: uuid(3), Partition: 4}, LastEpoch: -1, End: 1 << 33, Damaged: true},
		{LastEpoch: 5, End: 6},
	}},
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	m := messages
	same(t, &m.register, DecodeRegisterRequest)
	same(t, &m.registered, DecodeRegisterResponse)
	same(t, &m.heartbeat, DecodeHeartbeatRequest)
	same(t, &m.heartbeaten, DecodeHeartbeatResponse)
	same(t, &m.ask, DecodeLogEndsRequest)
	same(t, &m.ends, DecodeLogEndsResponse)
	same(t, &RegisterRequest{}, DecodeRegisterRequest)
	same(t, &LogEndsResponse{}, DecodeLogEndsResponse)
}

// same also proves that no shorter or longer message is taken.
func same[T any, P interface {
	*T
	encoder
}](t *testing.T, m P, decode func([]byte) (T, error)) {
	b := encode(m)
	got, err := decode(b)
	require.NoError(t, err)
	require.Equal(t, *m, got)
	for n := range b {
		_, err := decode(b[:n])
		require.ErrorIs(t, err, wire.ErrMalformed, "%T cut to %d of %d bytes", m, n, len(b))
	}
	_, err = decode(append(b, 0))
	require.ErrorIs(t, err, wire.ErrMalformed)
}

func FuzzMessages(f *testing.F) {
	m := messages
	for _, m := range []encoder{&m.register, &m.registered, &m.heartbeat, &m.heartbeaten, &m.ask, &m.ends} {
		f.Add(encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, DecodeRegisterRequest)
		again(t, b, DecodeRegisterResponse)
		again(t, b, DecodeHeartbeatRequest)
		again(t, b, DecodeHeartbeatResponse)
		again(t, b, DecodeLogEndsRequest)
		again(t, b, DecodeLogEndsResponse)
	})
}

// again holds that what can be decoded means the same when it is sent on.
func again[T any](t *testing.T, b []byte, decode func([]byte) (T, error)) {
	m, err := decode(b)
	if err != nil {
		require.ErrorIs(t, err, wire.ErrMalformed)
		return
	}
	got, err := decode(encode(any(&m).(encoder)))
	require.NoError(t, err)
	require.Equal(t, m, got)
}
