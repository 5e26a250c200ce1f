package group

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

func encodeMessage(m interface{ Encode(*wire.Writer) }) []byte {
	w := wire.NewWriter(nil)
	m.Encode(w)
	return w.Bytes()
}

func id(topic byte, p int) partition.ID {
	return partition.ID{Topic: partition.UUID{topic}, Partition: partition.PartitionID(p)}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range []HeartbeatRequest{
		{Group: "g", Member: "m", Sequence: 1, Topics: []string{}, Owned: []partition.ID{}},
		{Group: "g", Member: "m", Epoch: Leave, Sequence: 9, Version: 4, SessionMs: -1},
		{
			Group: "g", Member: "m", Epoch: 3, Sequence: 9, Version: 4, Owned: []partition.ID{id(1, 2)}, Topics: []string{"a", "b"},
			SessionMs: 5, RebalanceMs: 6, Instance: "i", Assignor: "x", Rack: "r", Client: "c",
		},
	} {
		got, err := DecodeHeartbeatRequest(encodeMessage(&m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, m := range []HeartbeatResponse{
		{Code: partition.FencedMember},
		{Epoch: 3, IntervalMs: 1, SessionMs: 2, RebalanceMs: 3, Assignment: &Assignment{Version: 7, Partitions: []partition.ID{id(1, 0)}}},
	} {
		got, err := DecodeHeartbeatResponse(encodeMessage(&m))
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	info := DescribeResponse{Info: Info{
		Group: "g", Status: Settled, Epoch: 3, AssignmentEpoch: 3,
		Members: []MemberInfo{{ID: "m", Client: "c", Rack: "r", Epoch: 3, State: Unrevoked, Topics: []string{"a"},
			Assigned: []partition.ID{id(1, 0)}, Revoking: []partition.ID{id(1, 1)}, Target: []partition.ID{id(1, 2)}}},
		Commits: []offsets.FetchAnswer{{ID: id(1, 0), Found: true, Commit: offsets.Commit{Offset: 4}}},
	}}
	got, err := DecodeDescribeResponse(encodeMessage(&info))
	require.NoError(t, err)
	require.Equal(t, info, got)
	list := ListRequest{Partition: 7}
	asked, err := DecodeListRequest(encodeMessage(&list))
	require.NoError(t, err)
	require.Equal(t, list, asked)
	names := ListResponse{Groups: []string{"a", "b"}}
	back, err := DecodeListResponse(encodeMessage(&names))
	require.NoError(t, err)
	require.Equal(t, names, back)
}

func allRecords() []Record {
	return []Record{
		EpochRecord{Epoch: 3, Changed: 9}, EpochRecord{Gone: true},
		TopicsRecord{Topics: []Topic{{Name: "a", ID: partition.UUID{1}, Partitions: 3}}}, TopicsRecord{Gone: true},
		MemberRecord{Member: "m", Joined: 4, Topics: []string{"a"}, SessionMs: 1, RebalanceMs: 2, Rack: "r", Client: "c"},
		MemberRecord{Gone: true, Member: "m"},
		TargetEpochRecord{Epoch: 3}, TargetEpochRecord{Gone: true},
		TargetRecord{Member: "m", Partitions: []partition.ID{id(1, 0)}}, TargetRecord{Gone: true, Member: "m"},
		CurrentRecord{Member: "m", Version: 5, Epoch: 3, Previous: 2, State: Unrevoked, Assigned: []Given{{id(1, 0), 3}}, Pending: []Given{{id(1, 1), 2}}},
		CurrentRecord{Gone: true, Member: "m"},
		CommitRecord{Partition: id(1, 0), Commit: &offsets.Commit{Offset: 4, Epoch: 2, Metadata: "x", Timestamp: 8}},
		CommitRecord{Partition: id(1, 0)},
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, rec := range allRecords() {
		key, value := EncodeRecord("grp", rec)
		group, got, err := DecodeRecord(key, value)
		require.NoError(t, err)
		require.Equal(t, "grp", group)
		require.Equal(t, rec, got)
	}
}

// The bytes below are a promise to logs already on users' disks. If this test
// fails, take a new version of the value; do not edit them.
func TestRecordGolden(t *testing.T) {
	key, value := EncodeRecord("g", CurrentRecord{
		Member: "m", Version: 5, Epoch: 3, Previous: 2, State: Unrevoked, Assigned: []Given{{id(1, 7), 3}},
	})
	require.Equal(t, []byte{0, 8, 0, 1, 'g', 0, 1, 'm'}, key)
	require.Equal(t, []byte{
		0, 1, // version of the value
		0, 0, 0, 0, 0, 0, 0, 5, // version of the assignment
		0, 0, 0, 3, 0, 0, 0, 2, 1, // epoch, previous, state
		1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, // assigned
		0, // pending
	}, value)
}

func TestRecordsOfOtherKindsAreSkippedAndNewerOnesRefused(t *testing.T) {
	_, rec, err := DecodeRecord([]byte{0, 99, 1, 2, 3}, []byte{9})
	require.NoError(t, err)
	require.Nil(t, rec)
	_, rec, err = DecodeRecord(barrier(0).Key, nil)
	require.NoError(t, err)
	require.Nil(t, rec)
	key, value := EncodeRecord("g", EpochRecord{Epoch: 1})
	_, _, err = DecodeRecord(key, append([]byte{0, 2}, value[2:]...))
	require.ErrorIs(t, err, ErrRecord)
	_, _, err = DecodeRecord(key, append(value, 0))
	require.ErrorIs(t, err, ErrRecord)
	_, _, err = DecodeRecord(key[:3], value)
	require.ErrorIs(t, err, ErrRecord)
}

func FuzzRecord(f *testing.F) {
	for _, rec := range allRecords() {
		key, value := EncodeRecord("grp", rec)
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		group, rec, err := DecodeRecord(key, value)
		if err != nil || rec == nil {
			return
		}
		key, value = EncodeRecord(group, rec)
		_, again, err := DecodeRecord(key, value)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(rec, again), "%+v, %+v", rec, again)
		NewCoordinator(group, Config{}).Load(rec)
	})
}

func FuzzMessages(f *testing.F) {
	f.Add(encodeMessage(&HeartbeatRequest{Group: "g", Member: "m", Owned: []partition.ID{id(1, 2)}, Topics: []string{"a"}}))
	f.Add(encodeMessage(&HeartbeatResponse{Assignment: &Assignment{Partitions: []partition.ID{id(1, 2)}}}))
	f.Add(encodeMessage(&DescribeResponse{Info: Info{Members: []MemberInfo{{ID: "m"}}}}))
	f.Add(encodeMessage(&ListResponse{Groups: []string{"a"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeHeartbeatRequest(b); err == nil {
			again, err := DecodeHeartbeatRequest(encodeMessage(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
		if m, err := DecodeHeartbeatResponse(b); err == nil {
			again, err := DecodeHeartbeatResponse(encodeMessage(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
		if m, err := DecodeDescribeResponse(b); err == nil {
			again, err := DecodeDescribeResponse(encodeMessage(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
		if m, err := DecodeListResponse(b); err == nil {
			again, err := DecodeListResponse(encodeMessage(&m))
			require.NoError(t, err)
			require.True(t, reflect.DeepEqual(m, again))
		}
	})
}
