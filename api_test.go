package samsa_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/samsatest"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// alone opens one broker in memory, and closes it with the test.
func alone(ctx context.Context, t *testing.T) *samsa.Client {
	broker, err := samsa.Open(ctx, samsa.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	require.NoError(t, broker.Ready(ctx))
	return broker.Client()
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestConfigNamesEveryProblem(t *testing.T) {
	_, err := samsa.Open(t.Context(), samsa.Config{
		ID: -1, Addr: "a", SessionTimeout: -time.Second, Voters: []samsa.Voter{{ID: 2, Addr: "b"}, {ID: 2, Addr: "c"}},
	})
	for _, part := range []string{"ID is -1", "Addr", "Transport", "SessionTimeout", "broker 2", "twice"} {
		require.ErrorContains(t, err, part)
	}
	for says, cfg := range map[string]samsa.Config{
		"SessionTimeout is 3ns":  {SessionTimeout: 3}, // who means seconds
		"ElectionTimeout is 1ns": {ElectionTimeout: 1},
		"Rack has 257 bytes":     {Rack: strings.Repeat("r", 257)},
		`broker 2 at "b" twice`:  {ID: 3, Addr: "c", Transport: transport.NewNetwork(), Voters: []samsa.Voter{{ID: 1, Addr: "b"}, {ID: 2, Addr: "b"}}},
	} {
		_, err := samsa.Open(t.Context(), cfg)
		require.ErrorContains(t, err, says)
	}
	_, err = samsa.Dial(t.Context(), samsa.DialConfig{Transport: transport.NewNetwork(), Addrs: []string{"a", ""}})
	require.ErrorContains(t, err, `["a" ""]`)
}

func TestCreateTopic(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	base := samsa.TopicConfig{Name: "t", Partitions: 2}
	require.NoError(t, client.CreateTopic(ctx, base))
	require.NoError(t, client.CreateTopic(ctx, base), "the same again")
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}), "zero fields match anything")
	require.ErrorIs(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Partitions: 3}), samsa.ErrTopicExists)
	require.ErrorIs(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "T"}), samsa.ErrInvalidTopic, "another by case alone")
	for _, bad := range []samsa.TopicConfig{
		{}, {Name: "a b"}, {Name: ".."}, {Name: "__consumer_offsets"}, {Name: "x", Partitions: -1}, {Name: "x", Replicas: 1, MinISR: 2},
		{Name: "x", Durability: samsa.Replicated},
	} {
		require.ErrorIs(t, client.CreateTopic(ctx, bad), samsa.ErrInvalidTopic, "%+v", bad)
	}
	require.Equal(t, []string{"t"}, client.Topics())

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err := client.CreateTopic(short, samsa.TopicConfig{Name: "wide", Replicas: 3})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "3 replicas", "it says what it waits for")
}

func TestWhatIsMissingSaysSo(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	_, err := client.NewProducer(samsa.ProducerConfig{Compression: 3, Idempotent: true})
	require.ErrorIs(t, err, samsa.ErrUnsupported)
	require.ErrorContains(t, err, "Compression")
	require.ErrorContains(t, err, "lz4")
	require.ErrorContains(t, err, "Idempotent")
	for name, cfg := range map[string]samsa.ConsumerConfig{
		"InstanceID": {Group: "g", Topics: []string{"t"}, InstanceID: "i"},
		"Assignor":   {Group: "g", Topics: []string{"t"}, Assignor: "range"},
	} {
		_, err := client.NewConsumer(cfg)
		require.ErrorIs(t, err, samsa.ErrUnsupported)
		require.ErrorContains(t, err, name)
	}
}

func TestRecordsComeBackWhole(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	at := time.UnixMilli(1_700_000_000_123)
	in := []samsa.Record{
		{Topic: "t", Key: []byte("k"), Value: []byte("v"), Time: at, Headers: []samsa.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}}},
		{Topic: "t", Key: nil, Value: []byte{}},
		{Topic: "t", Key: []byte{}, Value: nil},
	}
	sent, err := producer.SendAll(ctx, in)
	require.NoError(t, err)
	i := 0
	for rec, err := range client.Topic("t").Partition(0).Records(ctx, 0) {
		require.NoError(t, err)
		require.Equal(t, sent[i], rec)
		require.Equal(t, in[i].Key == nil, rec.Key == nil)
		require.Equal(t, in[i].Value == nil, rec.Value == nil)
		if i++; i == len(in) {
			break
		}
	}
	require.True(t, sent[0].Time.Equal(at))
	for _, err := range client.Topic("t").Partition(0).Records(ctx, 17) {
		require.ErrorIs(t, err, samsa.ErrOutOfRange)
	}
}

// Who reads does not see how the records travelled.
func TestCompressedRecordsComeBackPlain(t *testing.T) {
	ctx := bounded(t)
	fsys := log.NewMemFS()
	broker, err := samsa.Open(ctx, samsa.Config{FS: fsys, Dir: "d"})
	require.NoError(t, err)
	defer broker.Close()
	client := broker.Client()
	for _, codec := range []samsa.Compression{samsa.NoCompression, samsa.Gzip, samsa.Snappy, samsa.Zstd} {
		topic := codec.String()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: topic}))
		producer, err := client.NewProducer(samsa.ProducerConfig{Compression: codec, Linger: time.Millisecond})
		require.NoError(t, err)
		var in []samsa.Record
		for n := range 500 {
			in = append(in, samsa.Record{
				Topic: topic, Key: []byte("zone"), Value: bytes.Repeat([]byte{byte(n)}, n),
				Headers: []samsa.Header{{Key: "n", Value: []byte{byte(n)}}},
			})
		}
		sent, err := producer.SendAll(ctx, in)
		require.NoError(t, err)
		require.NoError(t, producer.Close())
		direct := client.Topic(topic).Partition(0).Records(ctx, 0)
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g-" + topic, Topics: []string{topic}})
		require.NoError(t, err)
		for _, records := range []iter.Seq2[samsa.Record, error]{direct, consumer.Records(ctx)} {
			n := 0
			for rec, err := range records {
				require.NoError(t, err)
				require.Equal(t, sent[n], rec)
				if n++; n == len(sent) {
					break
				}
			}
		}
		require.NoError(t, consumer.Close())
		stored := segment(t, fsys, "d/"+topic+"-0")
		require.Equal(t, codec == samsa.NoCompression, bytes.Contains(stored, in[255].Value), topic)
	}
}

// segment returns the bytes of a log's first file.
func segment(t *testing.T, fsys log.FS, dir string) []byte {
	f, err := fsys.Open(dir + "/00000000000000000000.log")
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Size()
	require.NoError(t, err)
	data := make([]byte, size)
	_, err = f.ReadAt(data, 0)
	require.True(t, err == nil || errors.Is(err, io.EOF))
	return data
}

func TestSendErrors(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", MaxBatchBytes: 1000}))
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: make([]byte, 2000)})
	require.ErrorIs(t, err, samsa.ErrTooLarge)
	require.NotErrorIs(t, err, samsa.ErrOutcomeUnknown)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = producer.Send(short, samsa.Record{Topic: "nowhere", Value: []byte("v")})
	require.ErrorIs(t, err, samsa.ErrUnknownTopic)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = producer.SendAll(ctx, []samsa.Record{{Topic: "t", Value: []byte("v")}, {Topic: "t", Value: make([]byte, 2000)}})
	batch, ok := errors.AsType[*samsa.BatchError](err)
	require.True(t, ok)
	require.NoError(t, batch.Errs[0])
	require.ErrorIs(t, batch.Errs[1], samsa.ErrTooLarge)
	require.NoError(t, producer.Close())
	require.NoError(t, producer.Close())
	_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte("v")})
	require.ErrorIs(t, err, samsa.ErrClosed)
}

func TestOutcomeUnknownIsToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cluster := samsatest.Start(t, 3)
		require.NoError(t, cluster.Client().CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
		producer, err := cluster.Client().NewProducer(samsa.ProducerConfig{DeliveryTimeout: 5 * time.Second})
		require.NoError(t, err)
		_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte("1")})
		require.NoError(t, err)

		// Alone, the leader writes what it cannot commit: that may yet come to be.
		leader, err := cluster.Leader(ctx, "t", 0)
		require.NoError(t, err)
		for _, id := range cluster.Brokers() {
			if id != leader {
				require.NoError(t, cluster.Kill(id))
			}
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = producer.Send(short, samsa.Record{Topic: "t", Value: []byte("2")})
		require.ErrorIs(t, err, samsa.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		// With nobody there nothing can have been written.
		require.NoError(t, cluster.Kill(leader))
		_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte("3")})
		require.ErrorIs(t, err, samsa.ErrTimeout)
		require.NotErrorIs(t, err, samsa.ErrOutcomeUnknown)
	})
}

func TestCloseInAnyOrder(t *testing.T) {
	ctx := bounded(t)
	network := transport.NewNetwork()
	broker, err := samsa.Open(ctx, samsa.Config{Addr: "a", Transport: network, Voters: []samsa.Voter{{ID: 1, Addr: "a"}}})
	require.NoError(t, err)
	require.NoError(t, broker.Ready(ctx))
	client, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: []string{"a"}, Transport: network})
	require.NoError(t, err)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	require.NoError(t, broker.Shutdown(ctx))
	<-broker.Done()
	require.NoError(t, broker.Err())
	require.NoError(t, broker.Close())
	require.NoError(t, broker.Shutdown(ctx))
	require.NoError(t, client.Close())
	require.NoError(t, client.Close())
	_, err = client.NewProducer(samsa.ProducerConfig{})
	require.ErrorIs(t, err, samsa.ErrClosed)
	_, err = samsa.Dial(ctx, samsa.DialConfig{})
	require.Error(t, err)
}

func TestBrokerNeverMetItsPeers(t *testing.T) {
	ctx := bounded(t)
	voters := []samsa.Voter{{ID: 1, Addr: "a"}, {ID: 2, Addr: "b"}, {ID: 3, Addr: "c"}}
	broker, err := samsa.Open(ctx, samsa.Config{Addr: "a", Transport: transport.NewNetwork(), Voters: voters})
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, broker.Ready(short), context.DeadlineExceeded)
	require.NoError(t, broker.Close())
	require.ErrorIs(t, broker.Ready(ctx), samsa.ErrClosed)
}

func TestDataOutlivesTheBroker(t *testing.T) {
	ctx := bounded(t)
	dir := t.TempDir()
	for round := range 3 {
		broker, err := samsa.Open(ctx, samsa.Config{Dir: dir})
		require.NoError(t, err)
		client := broker.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		rec, err := producer.Send(ctx, samsa.Record{Topic: "t", Value: fmt.Append(nil, round)})
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(round), rec.Offset)
		n := 0
		for rec, err := range client.Topic("t").Partition(0).Records(ctx, 0) {
			require.NoError(t, err)
			require.Equal(t, fmt.Append(nil, n), rec.Value)
			if n++; n > round {
				break
			}
		}
		require.NoError(t, broker.Close())
	}
}
