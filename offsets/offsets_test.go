package offsets

import (
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

func id(topic byte, p int) partition.ID {
	return partition.ID{Topic: partition.UUID{topic}, Partition: partition.PartitionID(p)}
}

// The bytes below are a promise to logs already on users' disks. If this test
// fails, take new version numbers; do not edit them.
func TestRecordGolden(t *testing.T) {
	key := Key{Group: "pay", Partition: partition.ID{
		Topic: partition.UUID{0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}, Partition: 5,
	}}
	commit := Commit{Offset: 1000, Epoch: 7, Metadata: "m", Timestamp: 1_700_000_000_000}
	require.Equal(t, "0001"+"0003"+hex.EncodeToString([]byte("pay"))+
		"0020"+hex.EncodeToString([]byte("ab0102030405060708090a0b0c0d0eff"))+"00000005",
		hex.EncodeToString(EncodeKey(key)))
	require.Equal(t, "0003"+"00000000000003e8"+"00000007"+"0001"+"6d"+"0000018bcfe56800",
		hex.EncodeToString(EncodeCommit(commit)))

	back, err := DecodeKey(EncodeKey(key))
	require.NoError(t, err)
	require.Equal(t, key, back)
	value, err := DecodeCommit(EncodeCommit(commit))
	require.NoError(t, err)
	require.Equal(t, commit, value)
}

func TestRecordsThatAreRefused(t *testing.T) {
	key, value := EncodeKey(Key{Group: "g"}), EncodeCommit(Commit{Metadata: "m"})
	for cut := range key {
		_, err := DecodeKey(key[:cut])
		require.ErrorIs(t, err, ErrRecord, "key cut to %d bytes", cut)
	}
	for cut := range value {
		_, err := DecodeCommit(value[:cut])
		require.ErrorIs(t, err, ErrRecord, "value cut to %d bytes", cut)
	}
	_, err := DecodeKey(append(key, 0))
	require.ErrorIs(t, err, ErrRecord, "a byte too many")
	_, err = DecodeCommit(append([]byte{0, 9}, value[2:]...))
	require.ErrorIs(t, err, ErrRecord, "another version")
}

func TestTableKeepsTheNewestOfEachKey(t *testing.T) {
	var table Table
	a, b := Key{"g", id(1, 0)}, Key{"g", id(2, 0)}
	table.Apply(b, &Commit{Offset: 9})
	table.Apply(a, &Commit{Offset: 1})
	table.Apply(a, &Commit{Offset: 2})
	table.Apply(Key{"h", id(1, 0)}, &Commit{Offset: 5})

	c, ok := table.Get(a)
	require.True(t, ok)
	require.Equal(t, log.Offset(2), c.Offset)
	require.Equal(t, []FetchAnswer{
		{ID: id(1, 0), Found: true, Commit: Commit{Offset: 2}},
		{ID: id(2, 0), Found: true, Commit: Commit{Offset: 9}},
	}, table.Answer("g", nil), "all of one group, in order")
	require.Equal(t, []FetchAnswer{{ID: id(3, 0)}, {ID: id(1, 0), Found: true, Commit: Commit{Offset: 2}}},
		table.Answer("g", []partition.ID{id(3, 0), id(1, 0)}), "in the order asked for")
	require.Empty(t, table.Answer("g", []partition.ID{}), "none asked for")

	table.Apply(a, nil)
	_, ok = table.Get(a)
	require.False(t, ok, "a tombstone removes")
	require.Equal(t, 2, table.Len())
}

func TestExpired(t *testing.T) {
	start := time.UnixMilli(1_000_000)
	var table Table
	old, young := Key{"g", id(1, 0)}, Key{"g", id(1, 1)}
	table.Apply(old, &Commit{Timestamp: start.UnixMilli()})
	table.Apply(young, &Commit{Timestamp: start.Add(time.Hour).UnixMilli()})

	due, next := table.Expired(start.Add(2*time.Hour-1), time.Time{}, 2*time.Hour)
	require.Empty(t, due, "a moment too early")
	require.Equal(t, start.Add(2*time.Hour).UTC(), next.UTC())

	due, next = table.Expired(start.Add(2*time.Hour), time.Time{}, 2*time.Hour)
	require.Equal(t, []Key{old}, due)
	require.Equal(t, start.Add(3*time.Hour).UTC(), next.UTC())

	due, next = table.Expired(start.Add(3*time.Hour), start.Add(2*time.Hour), 2*time.Hour)
	require.Empty(t, due, "the group has members until two hours after")
	require.Equal(t, start.Add(4*time.Hour).UTC(), next.UTC())
}

func encode(m interface{ Encode(*wire.Writer) }) []byte {
	w := wire.NewWriter(nil)
	m.Encode(w)
	return w.Bytes()
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	commit := CommitRequest{Group: "g", Member: "m", MemberEpoch: 3, Sequence: 8, Partitions: []PartitionCommit{
		{ID: id(1, 2), Offset: 10, Epoch: 4, Metadata: "x"}, {ID: id(9, 0), Offset: 0, Epoch: log.NoEpoch},
	}}
	gotCommit, err := DecodeCommitRequest(encode(&commit))
	require.NoError(t, err)
	require.Equal(t, commit, gotCommit)

	for _, parts := range [][]partition.ID{nil, {}, {id(1, 0), id(1, 1)}} {
		fetch := FetchRequest{Group: "g", MemberEpoch: NoMember, Partitions: parts}
		got, err := DecodeFetchRequest(encode(&fetch))
		require.NoError(t, err)
		require.Equal(t, fetch, got)
	}
	answer := FetchResponse{Partitions: []FetchAnswer{
		{ID: id(1, 0), Found: true, Commit: Commit{1, 2, "m", 3}}, {ID: id(1, 1)},
	}}
	gotAnswer, err := DecodeFetchResponse(encode(&answer))
	require.NoError(t, err)
	require.Equal(t, answer, gotAnswer)
}

func FuzzRecord(f *testing.F) {
	f.Add(EncodeKey(Key{"g", id(1, 2)}), EncodeCommit(Commit{1, 2, "m", 3}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if k, err := DecodeKey(key); err == nil {
			again, err := DecodeKey(EncodeKey(k))
			require.NoError(t, err)
			require.Equal(t, k, again)
		}
		if c, err := DecodeCommit(value); err == nil {
			require.Equal(t, value, EncodeCommit(c))
		}
	})
}

func FuzzMessages(f *testing.F) {
	f.Add(encode(&CommitRequest{Group: "g", Partitions: []PartitionCommit{{ID: id(1, 2), Offset: 10}}}))
	f.Add(encode(&CommitResponse{Partitions: []partition.Code{1, 2}}))
	f.Add(encode(&FetchRequest{Group: "g", Partitions: []partition.ID{id(1, 1)}}))
	f.Add(encode(&FetchResponse{Partitions: []FetchAnswer{{ID: id(1, 1), Found: true}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeCommitRequest(b); err == nil {
			again, err := DecodeCommitRequest(encode(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
		if m, err := DecodeCommitResponse(b); err == nil {
			again, err := DecodeCommitResponse(encode(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
		if m, err := DecodeFetchRequest(b); err == nil {
			again, err := DecodeFetchRequest(encode(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
		if m, err := DecodeFetchResponse(b); err == nil {
			again, err := DecodeFetchResponse(encode(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
	})
}
