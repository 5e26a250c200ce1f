package partition

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/transport/wire"
)

func allRecords() []Record {
	state := State{
		Replicas: ids(3, 1, 2, 4), ISR: ids(1), ELR: ids(2, 3), LastKnownELR: ids(4),
		Leader: 1, Epoch: 7, PartitionEpoch: 9, LossyEpoch: 5,
	}
	return []Record{
		RegisterBroker{
			Broker: Broker{
				ID: 1, Epoch: 2, Addr: "a:1", Rack: "r", Directory: UUID{3}, Incarnation: UUID{4}, Fenced: true,
			},
			Suspect: []ID{{rides, 5}},
		},
		ChangeBroker{ID: 1, Epoch: 2, Stopping: true},
		CreateTopic{
			Topic: Topic{
				ID: rides,
				Config: TopicConfig{
					Name: "rides", Partitions: 1, Replicas: 4, MinISR: 2, Retention: -1, RetentionBytes: 6,
					SegmentBytes: 7, MaxBatchBytes: 8, Compact: true, Durability: Replicated,
				},
				Partitions: []*State{&state},
			},
			Members: []Member{{1, 2}},
		},
		ChangeTopic{Topic: rides, Expect: TopicConfig{Name: "a", MinISR: 1}, Config: TopicConfig{Name: "a", MinISR: 2}},
		ChangePartition{ID: ID{rides, 5}, State: state, Members: []Member{{1, 2}, {3, 4}}},
		DeleteTopic{Topic: rides},
		AddPartitions{Topic: rides, Expect: 3, Partitions: []*State{{
			Replicas: ids(5, 6, 7), Origin: ids(6, 7), Target: ids(5, 6), ISR: ids(7), Leader: 7, Recovering: true,
		}}, Members: []Member{{7, 8}}},
	}
}

// The bytes are spelled out by hand after the format comment in codec.go.
func TestRecordsHaveTheirFormat(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("00", n) }
	state := "0400000003000000010000000200000004" + "00" + "00" + "0100000001" + "020000000200000003" + "0100000004" +
		"00000001" + "00000007" + "00000009" + "00" + "00000005"
	config := "0161" + zeros(16) + "%016x" + zeros(4*8) + "00" + "00"
	topic := "01" + zeros(15)
	golden := "01" + "07" +
		"01" + "00000001" + "0000000000000002" + "03613a31" + "0172" + "03" + zeros(15) + "04" + zeros(15) + "01" + "00" + "00" +
		"01" + topic + "00000005" +
		"02" + "00000001" + "0000000000000002" + "00" + "01" +
		"03" + topic + "057269646573" + "0000000000000001" + "0000000000000004" + "0000000000000002" +
		"ffffffffffffffff" + "0000000000000006" + "0000000000000007" + "0000000000000008" + "01" + "01" +
		"01" + state + "01" + "00000001" + "0000000000000002" +
		"04" + topic + fmt.Sprintf(config, 1) + fmt.Sprintf(config, 2) +
		"05" + topic + "00000005" + state + "02" + "00000001" + "0000000000000002" + "00000003" + "0000000000000004" +
		"06" + topic +
		"07" + topic + "0000000000000003" + "01" + "03000000050000000600000007" + "020000000600000007" +
		"020000000500000006" + "0100000007" + "00" + "00" + "00000007" + "00000000" + "00000000" + "01" + "00000000" +
		"01" + "00000007" + "0000000000000008"
	require.Equal(t, golden, hex.EncodeToString(EncodeRecords(allRecords())))

	b, err := hex.DecodeString(golden)
	require.NoError(t, err)
	recs, err := DecodeRecords(b)
	require.NoError(t, err)
	require.Equal(t, allRecords(), recs)
}

func TestRecordsThatDoNotDecode(t *testing.T) {
	good := EncodeRecords(allRecords())
	for n := range good {
		_, err := DecodeRecords(good[:n])
		require.ErrorIs(t, err, wire.ErrMalformed, "%d bytes of %d", n, len(good))
	}
	_, err := DecodeRecords(append(good[:len(good):len(good)], 0))
	require.ErrorIs(t, err, wire.ErrMalformed)
	_, err = DecodeRecords([]byte{2, 0})
	require.ErrorIs(t, err, Unsupported, "a newer version")
	_, err = DecodeRecords([]byte{1, 1, 8})
	require.ErrorIs(t, err, Unsupported, "a newer type")
	recs, err := DecodeRecords(EncodeRecords(nil))
	require.NoError(t, err)
	require.Empty(t, recs)
}

// A message and its two halves, made alike for all kinds.
type messageCodec struct {
	name   string
	sample any                               // a pointer to one with every field set
	encode func(m any, w *wire.Writer)       // of a pointer
	decode func(b []byte) (m any, err error) // a pointer
}

func codecOf[T any, P interface {
	*T
	Encode(*wire.Writer)
}](sample T, decode func([]byte) (T, error)) messageCodec {
	return messageCodec{
		name:   reflect.TypeFor[T]().Name(),
		sample: &sample,
		encode: func(m any, w *wire.Writer) { P(m.(*T)).Encode(w) },
		decode: func(b []byte) (any, error) {
			m, err := decode(b)
			return &m, err
		},
	}
}

func allMessages() []messageCodec {
	id := ID{rides, 5}
	create := allRecords()[2].(CreateTopic).Topic
	return []messageCodec{
		codecOf(ProduceRequest{ID: id, Epoch: -1, Acks: AcksNone, TimeoutMs: 3}, DecodeProduceRequest),
		codecOf(ProduceResponse{Code: NotLeader, First: 1, Epoch: 2, Leader: 3}, DecodeProduceResponse),
		codecOf(ReadRequest{MaxWaitMs: 1, MinBytes: 2, MaxBytes: 3, Partitions: []ReadPartition{
			{ID: id, Epoch: -1, From: 4, MaxBytes: 5}, {ID: ID{rides, 6}, Epoch: 7, From: 8, MaxBytes: 9},
		}}, DecodeReadRequest),
		codecOf(ReadResponse{Partitions: []ReadAnswer{
			{Code: OutOfRange, HighWatermark: 1, Start: 2, Epoch: 3, Leader: 4}, {HighWatermark: 5},
		}}, DecodeReadResponse),
		codecOf(InfoRequest{ID: id}, DecodeInfoRequest),
		codecOf(FindTimeRequest{ID: id, Time: -5}, DecodeFindTimeRequest),
		codecOf(FindTimeResponse{Code: NotAvailable, Epoch: 3, Leader: 2, Found: true, Offset: 7}, DecodeFindTimeResponse),
		codecOf(DeleteBeforeRequest{ID: id, Before: -1}, DecodeDeleteBeforeRequest),
		codecOf(DeleteBeforeResponse{Code: OutOfRange, Epoch: 3, Leader: 2, Start: 7}, DecodeDeleteBeforeResponse),
		codecOf(InfoResponse{Code: NotAvailable, Epoch: 1, Leader: 2, Start: 3, HighWatermark: 4, End: 5, Followers: []FollowerAnswer{{6, -1}}, Damage: "a bit"}, DecodeInfoResponse),
		codecOf(MetadataRequest{After: -1, Controller: 3, MaxWaitMs: 2}, DecodeMetadataRequest),
		codecOf(Image{
			Cluster: UUID{1}, Offset: 2, Controller: 3, Voters: ids(4, 5),
			Brokers: []Broker{{ID: 6, Addr: "x"}, {ID: 7, Fenced: true}}, Topics: []Topic{create},
		}, DecodeImage),
		codecOf(CreateTopicRequest{Config: create.Config}, DecodeCreateTopicRequest),
		codecOf(CreateTopicResponse{Code: InvalidTopic, Text: "no", Topic: rides, Offset: 1, Controller: 2}, DecodeCreateTopicResponse),
		codecOf(DeleteTopicRequest{Seen: 1, Name: "a", Topic: rides}, DecodeDeleteTopicRequest),
		codecOf(AddPartitionsRequest{Seen: 1, Topic: rides, Total: 2}, DecodeAddPartitionsRequest),
		codecOf(AlterTopicRequest{Seen: 1, Topic: rides, Config: create.Config}, DecodeAlterTopicRequest),
		codecOf(ReassignRequest{Seen: 1, ID: id, Replicas: ids(2, 3)}, DecodeReassignRequest),
		codecOf(TransferRequest{Seen: 1, ID: id, To: 2}, DecodeTransferRequest),
		codecOf(VoterRequest{Seen: 1, Add: 2, Remove: 3}, DecodeVoterRequest),
		codecOf(ElectRequest{Seen: 1, ID: id, To: 2}, DecodeElectRequest),
		codecOf(ChangeResponse{Code: InvalidReplicas, Text: "no", Offset: 1, Controller: 2}, DecodeChangeResponse),
	}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, c := range allMessages() {
		t.Run(c.name, func(t *testing.T) {
			var w wire.Writer
			c.encode(c.sample, &w)
			b := w.Bytes()
			got, err := c.decode(b)
			require.NoError(t, err)
			require.Equal(t, c.sample, got)
			for n := range b {
				_, err := c.decode(b[:n])
				require.ErrorIs(t, err, wire.ErrMalformed, "%d bytes of %d", n, len(b))
			}
			_, err = c.decode(append(b[:len(b):len(b)], 0))
			require.ErrorIs(t, err, wire.ErrMalformed, "bytes left over")
		})
	}
}

func TestAcksThatDoNotExistDoNotDecode(t *testing.T) {
	for _, acks := range []Acks{AcksAll - 1, AcksNone + 1} {
		var w wire.Writer
		(&ProduceRequest{Acks: acks}).Encode(&w)
		_, err := DecodeProduceRequest(w.Bytes())
		require.ErrorIs(t, err, wire.ErrMalformed)
	}
}

func TestLongTextIsCut(t *testing.T) {
	var w wire.Writer
	(&CreateTopicResponse{Text: strings.Repeat("x", 1<<20)}).Encode(&w)
	m, err := DecodeCreateTopicResponse(w.Bytes())
	require.NoError(t, err)
	require.Len(t, m.Text, limitText)
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add(EncodeRecords(nil))
	f.Add(EncodeRecords(allRecords()))
	f.Add([]byte{1, 1, typeRegisterBroker, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := DecodeRecords(b)
		if err != nil {
			return
		}
		again, err := DecodeRecords(EncodeRecords(recs))
		require.NoError(t, err)
		require.Equal(t, recs, again)
		// What decodes may be applied, whatever it says.
		table := newCluster(t)
		table.Apply(6, recs)
		_, err = Restore(table.Image(UUID{}, 0, nil))
		require.NoError(t, err)
	})
}

func FuzzDecodeMessages(f *testing.F) {
	for i, c := range allMessages() {
		var w wire.Writer
		c.encode(c.sample, &w)
		f.Add(uint8(i), w.Bytes())
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		all := allMessages()
		c := all[int(kind)%len(all)]
		m, err := c.decode(b)
		if err != nil {
			return
		}
		var w wire.Writer
		c.encode(m, &w)
		again, err := c.decode(w.Bytes())
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

// What a broker lacks is one byte, and a bit of it that means nothing yet is refused.
func TestStandingIsOneByte(t *testing.T) {
	for want, r := range []ChangeBroker{
		{ID: 1, Epoch: 2},
		{ID: 1, Epoch: 2, Stopping: true},
		{ID: 1, Epoch: 2, Full: true},
		{ID: 1, Epoch: 2, Stopping: true, Full: true},
	} {
		b := EncodeRecords([]Record{r})
		require.Equal(t, byte(want), b[len(b)-1])
		got, err := DecodeRecords(b)
		require.NoError(t, err)
		require.Equal(t, []Record{r}, got)

		var w wire.Writer
		broker := Broker{ID: 1, Stopping: r.Stopping, Full: r.Full, VoterOnly: true}
		broker.Encode(&w)
		require.Equal(t, broker, DecodeBroker(wire.NewReader(w.Bytes())))
	}
	b := EncodeRecords([]Record{ChangeBroker{ID: 1}})
	b[len(b)-1] = 4
	_, err := DecodeRecords(b)
	require.Error(t, err)
}

func TestHeldOfAReplicaThatTheLeaderDoesNotKnowYet(t *testing.T) {
	info := InfoResponse{Followers: []FollowerAnswer{{ID: 2, Held: 7}, {ID: 3, Held: -1}}}
	for id, want := range map[BrokerID]int64{2: 7, 3: -1, 4: -1} {
		require.EqualValues(t, want, info.Held(id))
	}
}
