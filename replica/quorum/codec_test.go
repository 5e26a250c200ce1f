package quorum

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// The bytes below are a promise to files already on users' disks. If this test
// fails, bump stateVersion; do not edit want.
func TestStateGolden(t *testing.T) {
	k := kept{
		formation: formation{
			Cluster: partition.UUID{0: 0xAA, 15: 1},
			Members: []Member{
				{ID: 1, Directory: partition.UUID{0: 0xBB, 15: 2}, Addr: "a:1"},
				{ID: 2, Directory: partition.UUID{0: 0xCC, 15: 3}, Addr: ""},
			},
		},
		Self: 2, Directory: partition.UUID{0: 0xCC, 15: 3},
		Term: 7, Vote: 0xFEDCBA9876543210, Commit: 258,
	}
	const want = "aa000000000000000000000000000001" + // cluster
		"00000002" + "cc000000000000000000000000000003" + // self, directory
		"0000000000000007" + "fedcba9876543210" + "0000000000000102" + // term, vote, commit
		"02" + // voters
		"00000001" + "bb000000000000000000000000000002" + "03" + "613a31" +
		"00000002" + "cc000000000000000000000000000003" + "00"
	require.Equal(t, want, hex.EncodeToString(encodeKept(k)))
	back, err := decodeKept(encodeKept(k))
	require.NoError(t, err)
	require.Equal(t, k, back)
	require.EqualValues(t, 1, k.version())

	for _, later := range []struct {
		joined  bool
		outside bool
		lives   uint64
		version uint16
		tail    string
	}{
		{true, false, 0, 2, "01"},
		{false, false, 3, 3, "00" + "0000000000000003"},
		{true, false, 3, 3, "01" + "0000000000000003"},
		{false, true, 3, 3, "02" + "0000000000000003"},
	} {
		k.Joined, k.Observes, k.Lives = later.joined, later.outside, later.lives
		require.Equal(t, want+later.tail, hex.EncodeToString(encodeKept(k)))
		require.Equal(t, later.version, k.version())
		back, err := decodeKept(encodeKept(k))
		require.NoError(t, err)
		require.Equal(t, k, back)
	}
}

// The name of a voter goes into kept votes: it must never change.
func TestRaftIDGolden(t *testing.T) {
	require.Equal(t, uint64(0x5553a56f6c51e499), raftID(1, partition.UUID{15: 1}))
	require.NotEqual(t, raftID(1, partition.UUID{15: 1}), raftID(1, partition.UUID{15: 2}))
	require.NotEqual(t, raftID(1, partition.UUID{15: 1}), raftID(2, partition.UUID{15: 1}))
}

func TestDecodeKeptRefuses(t *testing.T) {
	good := func() kept {
		return kept{
			formation: formation{Cluster: partition.UUID{1}, Members: []Member{{ID: 1, Directory: partition.UUID{1}}, {ID: 2, Directory: partition.UUID{2}}}},
			Self:      1, Directory: partition.UUID{1},
		}
	}
	tests := []struct {
		name   string
		damage func(*kept)
	}{
		{"no cluster", func(k *kept) { k.Cluster = partition.UUID{} }},
		{"no voters", func(k *kept) { k.Members = nil }},
		{"voters out of order", func(k *kept) { k.Members[0].ID = 3 }},
		{"a voter twice", func(k *kept) { k.Members[1].ID = 1 }},
		{"voter without directory", func(k *kept) { k.Members[1].Directory = partition.UUID{} }},
		{"term that no log can hold", func(k *kept) { k.Term = maxTerm + 1 }},
		{"negative commit", func(k *kept) { k.Commit = 1 << 63 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := good()
			_, err := decodeKept(encodeKept(k))
			require.NoError(t, err)
			tt.damage(&k)
			_, err = decodeKept(encodeKept(k))
			require.Error(t, err)
		})
	}
	_, err := decodeKept(append(encodeKept(good()), 0))
	require.Error(t, err, "neither joined nor counted")
	_, err = decodeKept(append(encodeKept(good()), make([]byte, 9)...))
	require.Error(t, err, "no life")
	k := good()
	k.Lives = 1
	_, err = decodeKept(append(encodeKept(k), 0))
	require.Error(t, err, "bytes left over")
	_, err = decodeKept(append(encodeKept(good()), 3, 0, 0, 0, 0, 0, 0, 0, 1))
	require.Error(t, err, "a standing of a newer release")
}

func message(kind pb.MessageType, entries ...*pb.Entry) *pb.Message {
	return &pb.Message{Type: kind.Enum(), To: new(uint64(9)), From: new(uint64(8)), Term: new(uint64(5)), Index: new(uint64(3)), Entries: entries}
}

func entry(index, term uint64, text string) *pb.Entry {
	e := &pb.Entry{Index: new(index), Term: new(term), Type: pb.EntryNormal.Enum()}
	if text != "" {
		e.Data = []byte(text)
	}
	return e
}

func posted(t testing.TB, messages ...*pb.Message) []byte {
	var encoded [][]byte
	for _, m := range messages {
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		encoded = append(encoded, b)
	}
	return encodePost(partition.UUID{1}, 9, Member{ID: 1, Directory: directoryOf(1)}, encoded)
}

func TestPostTakesOnlyWhatPeersSend(t *testing.T) {
	tests := []struct {
		name string
		m    *pb.Message
		ok   bool
	}{
		{"entries", message(pb.MsgApp, entry(4, 4, "a"), entry(5, 5, "")), true},
		{"vote", message(pb.MsgVote), true},
		{"heartbeat", message(pb.MsgHeartbeat), true},
		{"proposal", message(pb.MsgProp), false},
		{"snapshot", message(pb.MsgSnap), false},
		{"local message", message(pb.MsgHup), false},
		{"message to storage", message(pb.MsgStorageAppendResp), false},
		{"gap before the entries", message(pb.MsgApp, entry(5, 4, "a")), false},
		{"gap within the entries", message(pb.MsgApp, entry(4, 4, "a"), entry(6, 4, "b")), false},
		{"entry of a later term", message(pb.MsgApp, entry(4, 6, "a")), false},
		{"entry of no term", message(pb.MsgApp, entry(4, 0, "a")), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kind, body, err := openEnvelope(posted(t, message(pb.MsgHeartbeat), tt.m))
			require.NoError(t, err)
			require.EqualValues(t, kindPost, kind)
			p, err := decodePost(body)
			if !tt.ok {
				require.ErrorIs(t, err, errMalformed)
				return
			}
			require.NoError(t, err)
			require.Len(t, p.messages, 2)
			require.True(t, proto.Equal(tt.m, p.messages[1]))
		})
	}
}

func TestHelloRoundTrip(t *testing.T) {
	for _, h := range []hello{fresh(2, 2), joined(3, 1, 1, 2, 3)} {
		kind, body, err := openEnvelope(encodeHello(h))
		require.NoError(t, err)
		require.EqualValues(t, kindHello, kind)
		back, err := decodeHello(body)
		require.NoError(t, err)
		require.Equal(t, h, back)
	}
}

func TestEnvelopeOfANewerRelease(t *testing.T) {
	_, _, err := openEnvelope([]byte{messageVersion + 1, kindHello, 0})
	require.ErrorIs(t, err, errNewer)
	_, _, err = openEnvelope([]byte{1})
	require.ErrorIs(t, err, errMalformed)
	require.False(t, wasTaken(encodeReceipt(refused)))
	require.True(t, wasTaken(encodeReceipt(taken)))
	require.False(t, wasTaken(nil))
}

func FuzzMessages(f *testing.F) {
	f.Add(encodeHello(fresh(1, 1)))
	f.Add(encodeHello(joined(1, 1, 1, 2, 3)))
	f.Add(posted(f, message(pb.MsgApp, entry(4, 4, "a"), entry(5, 5, ""))))
	f.Add(encodeReceipt(taken))
	for _, b := range others() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, err := openEnvelope(b)
		if err != nil {
			return
		}
		wasTaken(b)
		if h, err := decodeHello(body); err == nil && kind == kindHello {
			_, body, _ = openEnvelope(encodeHello(h))
			back, err := decodeHello(body)
			require.NoError(t, err)
			require.Equal(t, h, back)
		}
		for _, again := range [][]byte{
			redo(body, decodeChunk, encodeChunk), redo(body, decodePiece, encodePiece), redo(body, decodeFailure, encodeFailure),
			redo(body, decodeFetch, encodeFetch), redo(body, decodeNews, encodeNews), redo(body, decodeHave, encodeHave),
			redo(body, decodeOrdered, encodeOrdered), redo(body, decodeOutcome, encodeOutcome),
		} {
			require.NotEqual(t, []byte{}, again)
		}
		if p, err := decodePost(body); err == nil {
			for _, m := range p.messages {
				require.True(t, welcome(m))
			}
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(encodeKept(kept{formation: joined(1, 1, 1, 2, 3).formation, Self: 1, Directory: directoryOf(1), Term: 3, Vote: 4, Commit: 5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeKept(b)
		if err != nil {
			return
		}
		back, err := decodeKept(encodeKept(k))
		require.NoError(t, err)
		require.Equal(t, k, back)
	})
}

// others are the messages that are neither hello nor post.
func others() [][]byte {
	f := joined(1, 1, 1, 2, 3).formation
	return [][]byte{
		encodeChunk(chunk{cluster: f.Cluster, mark: mark{5, 2}, from: 7, at: 9}),
		encodePiece(piece{total: 10, sum: 3, data: []byte("piece")}),
		encodeFailure(failure{cluster: f.Cluster, to: 1, from: 2}),
		encodeFetch(fetch{cluster: f.Cluster, self: f.Members[0], after: 12}),
		encodeNews(news{
			formation: f, roster: rosterOf(f), term: 3, leader: Voter{ID: 2, Addr: "b"}, commit: 9, snapshot: mark{4, 2},
			first: 8, entries: []newsEntry{{data: []byte("a")}, {own: true}},
		}),
		encodeHave(have{cluster: f.Cluster, index: 4}),
		encodeOrdered(ordered{f.Cluster, Change{Add: f.Members[1]}}),
		encodeOutcome(outcome{index: 4}),
	}
}

// An ordered is an order with the cluster that it is for.
type ordered struct {
	cluster partition.UUID
	change  Change
}

func encodeOrdered(o ordered) []byte { return encodeOrder(o.cluster, o.change) }

func decodeOrdered(body []byte) (ordered, error) {
	cluster, c, err := decodeOrder(body)
	return ordered{cluster, c}, err
}

// redo decodes and encodes; what comes out decodes again. Nil: it does not decode; empty:
// it does not decode again.
func redo[T any](body []byte, decode func([]byte) (T, error), encode func(T) []byte) []byte {
	v, err := decode(body)
	if err != nil {
		return nil
	}
	_, inner, err := openEnvelope(encode(v))
	if err != nil {
		return []byte{}
	}
	if _, err := decode(inner); err != nil {
		return []byte{}
	}
	return inner
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, b := range others() {
		kind, body, err := openEnvelope(b)
		require.NoError(t, err)
		var again []byte
		switch kind {
		case kindChunk:
			again = redo(body, decodeChunk, encodeChunk)
		case kindPiece:
			again = redo(body, decodePiece, encodePiece)
		case kindFailure:
			again = redo(body, decodeFailure, encodeFailure)
		case kindFetch:
			again = redo(body, decodeFetch, encodeFetch)
		case kindNews:
			again = redo(body, decodeNews, encodeNews)
		case kindHave:
			again = redo(body, decodeHave, encodeHave)
		case kindOrder:
			again = redo(body, decodeOrdered, encodeOrdered)
		case kindOutcome:
			again = redo(body, decodeOutcome, encodeOutcome)
		}
		require.Equal(t, body, again, "kind %d", kind)
	}
	for _, err := range append([]error{nil, &unknownError{ErrClosed}, errDisk}, refusals[1:]...) {
		_, body, _ := openEnvelope(encodeOutcome(outcome{err: err}))
		out, e := decodeOutcome(body)
		require.NoError(t, e)
		switch {
		case err == nil:
			require.NoError(t, out.err)
		case errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, errDisk):
			require.ErrorIs(t, out.err, ErrOutcomeUnknown)
		default:
			require.ErrorIs(t, out.err, err)
			require.NotErrorIs(t, out.err, ErrOutcomeUnknown)
		}
	}
}
