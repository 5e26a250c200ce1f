package samsa_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// firstOf returns the error of the first record that is read.
func firstOf(ctx context.Context, p *samsa.Partition, from samsa.Offset) error {
	for _, err := range p.Records(ctx, from) {
		return err
	}
	return ctx.Err()
}

// A refusal is a call that asks for what cannot be.
type refusal struct {
	says string // what is wrong, in the error's text
	is   error  // what it matches; nil: nothing that can be tested for
	call func(ctx context.Context) error
}

func refused(t *testing.T, client *samsa.Client) []refusal {
	const own = "__consumer_offsets"
	none, topic := client.Topic("none"), client.Topic("t")
	producer := func(cfg samsa.ProducerConfig) error { _, err := client.NewProducer(cfg); return err }
	consumer := func(cfg samsa.ConsumerConfig) error { _, err := client.NewConsumer(cfg); return err }
	send := func(ctx context.Context, rec samsa.Record) error {
		p, err := client.NewProducer(samsa.ProducerConfig{DeliveryTimeout: 10 * time.Millisecond, Partitioner: samsa.Manual})
		require.NoError(t, err)
		_, err = p.Send(ctx, rec)
		require.NoError(t, p.Close())
		return err
	}
	group := samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}}
	with := func(change func(*samsa.ConsumerConfig)) samsa.ConsumerConfig { cfg := group; change(&cfg); return cfg }
	return []refusal{
		{`"a b"`, samsa.ErrInvalidTopic, func(ctx context.Context) error { return client.CreateTopic(ctx, samsa.TopicConfig{Name: "a b"}) }},
		{own, samsa.ErrInvalidTopic, func(ctx context.Context) error { return client.CreateTopic(ctx, samsa.TopicConfig{Name: own}) }},
		{"Partitions is -1", samsa.ErrInvalidTopic, func(ctx context.Context) error {
			return client.CreateTopic(ctx, samsa.TopicConfig{Name: "n", Partitions: -1})
		}},
		{"MinISR is -1", samsa.ErrInvalidTopic, func(ctx context.Context) error {
			return client.AlterTopic(ctx, samsa.TopicConfig{Name: "t", MinISR: -1})
		}},
		{`"none"`, samsa.ErrUnknownTopic, func(ctx context.Context) error { return client.AlterTopic(ctx, samsa.TopicConfig{Name: "none"}) }},
		{"taken away", samsa.ErrInvalidTopic, func(ctx context.Context) error { return client.AddPartitions(ctx, "t", -1) }},
		{`"none"`, samsa.ErrUnknownTopic, func(ctx context.Context) error { return client.DeleteTopic(ctx, "none") }},
		{own, samsa.ErrInvalidTopic, func(ctx context.Context) error { return client.DeleteTopic(ctx, own) }},
		{"none/0", samsa.ErrUnknownTopic, func(ctx context.Context) error { return client.Reassign(ctx, "none", 0, brokers(1)) }},
		{"t/7", samsa.ErrUnknownPartition, func(ctx context.Context) error { return client.CancelReassign(ctx, "t", 7) }},
		{"no broker is named", samsa.ErrInvalidReplicas, func(ctx context.Context) error { return client.Reassign(ctx, "t", 0, nil) }},
		{"broker 1 is named twice", samsa.ErrInvalidReplicas, func(ctx context.Context) error { return client.Reassign(ctx, "t", 0, brokers(1, 1)) }},
		{"broker -1", samsa.ErrInvalidReplicas, func(ctx context.Context) error { return client.Reassign(ctx, "t", 0, brokers(-1)) }},
		{"broker 9", samsa.ErrIneligible, func(ctx context.Context) error { return client.TransferLeader(ctx, "t", 0, 9) }},
		{"t/-1", samsa.ErrUnknownPartition, func(ctx context.Context) error { _, err := client.ElectUnclean(ctx, "t", -1, 0); return err }},
		{"voter 0", samsa.ErrInvalidVoters, func(ctx context.Context) error { return client.AddVoter(ctx, 0) }},
		{"voter 9", samsa.ErrInvalidVoters, func(ctx context.Context) error { return client.AddVoter(ctx, 9) }},
		{"voter -1", samsa.ErrInvalidVoters, func(ctx context.Context) error { return client.RemoveVoter(ctx, -1) }},

		{`"none"`, samsa.ErrUnknownTopic, func(ctx context.Context) error { _, err := none.Info(ctx); return err }},
		{"none/0", samsa.ErrUnknownTopic, func(ctx context.Context) error { _, err := none.Partition(0).OffsetAt(ctx, time.Now()); return err }},
		{"t/-1", samsa.ErrUnknownPartition, func(ctx context.Context) error { _, err := topic.Partition(-1).Info(ctx); return err }},
		{"t/7", samsa.ErrUnknownPartition, func(ctx context.Context) error { return topic.Partition(7).AwaitReassigned(ctx) }},
		{"offset -2", samsa.ErrOutOfRange, func(ctx context.Context) error { _, err := topic.Partition(0).DeleteBefore(ctx, -2); return err }},
		{"offset 9", samsa.ErrOutOfRange, func(ctx context.Context) error { _, err := topic.Partition(0).DeleteBefore(ctx, 9); return err }},
		{own, samsa.ErrInvalidTopic, func(ctx context.Context) error {
			_, err := client.Topic(own).Partition(0).DeleteBefore(ctx, -1)
			return err
		}},
		{"t/7", samsa.ErrUnknownPartition, func(ctx context.Context) error { return firstOf(ctx, topic.Partition(7), 0) }},
		{"t/-1", samsa.ErrUnknownPartition, func(ctx context.Context) error { return firstOf(ctx, topic.Partition(-1), 0) }},
		{"offset -1", samsa.ErrOutOfRange, func(ctx context.Context) error { return firstOf(ctx, topic.Partition(0), -1) }},
		{"offset 17", samsa.ErrOutOfRange, func(ctx context.Context) error { return firstOf(ctx, topic.Partition(0), 17) }},
		{`"a b"`, samsa.ErrInvalidTopic, func(ctx context.Context) error { return firstOf(ctx, client.Topic("a b").Partition(0), 0) }},
		{`"none"`, samsa.ErrUnknownGroup, func(ctx context.Context) error { _, err := client.Group("none").Info(ctx); return err }},
		{`""`, samsa.ErrUnknownGroup, func(ctx context.Context) error { _, err := client.Group("").Info(ctx); return err }},

		{"Acks", nil, func(context.Context) error { return producer(samsa.ProducerConfig{Acks: 9}) }},
		{"Linger is -1ns", nil, func(context.Context) error { return producer(samsa.ProducerConfig{Linger: -1}) }},
		{"BufferBytes is -1", nil, func(context.Context) error { return producer(samsa.ProducerConfig{BufferBytes: -1}) }},
		{`Name ""`, samsa.ErrInvalidTopic, func(ctx context.Context) error { return send(ctx, samsa.Record{}) }},
		{`"a/b"`, samsa.ErrInvalidTopic, func(ctx context.Context) error { return send(ctx, samsa.Record{Topic: "a/b"}) }},
		{`topic "none"`, samsa.ErrUnknownTopic, func(ctx context.Context) error { return send(ctx, samsa.Record{Topic: "none"}) }},
		{"t/-3", samsa.ErrUnknownPartition, func(ctx context.Context) error { return send(ctx, samsa.Record{Topic: "t", Partition: -3}) }},
		{"room for", samsa.ErrTooLarge, func(ctx context.Context) error {
			return send(ctx, samsa.Record{Topic: "t", Value: make([]byte, 2<<20)})
		}},
		{own, samsa.ErrInvalidTopic, func(ctx context.Context) error { return send(ctx, samsa.Record{Topic: own, Key: []byte("k")}) }},
		{"t/0", samsa.ErrInvalidTimestamp, func(ctx context.Context) error {
			return send(ctx, samsa.Record{Topic: "t", Time: time.Unix(math.MaxInt64/2, 0)})
		}},

		{"Group and Topics", nil, func(context.Context) error { return consumer(samsa.ConsumerConfig{}) }},
		{"Group needs Topics", nil, func(context.Context) error { return consumer(samsa.ConsumerConfig{Group: "g"}) }},
		{`".."`, samsa.ErrInvalidTopic, func(context.Context) error { return consumer(samsa.ConsumerConfig{Group: "g", Topics: []string{".."}}) }},
		{"t/-1", samsa.ErrUnknownPartition, func(context.Context) error {
			return consumer(samsa.ConsumerConfig{Partitions: []samsa.TopicPartition{{Topic: "t", Partition: -1}}})
		}},
		{"Group has 250 bytes", nil, func(context.Context) error {
			return consumer(with(func(c *samsa.ConsumerConfig) { c.Group = strings.Repeat("g", 250) }))
		}},
		{"Client has 250 bytes", nil, func(context.Context) error {
			return consumer(with(func(c *samsa.ConsumerConfig) { c.Client = strings.Repeat("c", 250) }))
		}},
		{"SessionTimeout is 30ns", nil, func(context.Context) error {
			return consumer(with(func(c *samsa.ConsumerConfig) { c.SessionTimeout = 30 }))
		}},
		{"RebalanceTimeout is 720h", nil, func(context.Context) error {
			return consumer(with(func(c *samsa.ConsumerConfig) { c.RebalanceTimeout = 720 * time.Hour }))
		}},
	}
}

// What cannot be done is said in so many words, and at once. Nobody waits for it.
func TestBadInputIsNamed(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}})
	require.NoError(t, err)
	require.NoError(t, consumer.Close())
	_, err = client.Group("g").Info(ctx) // now there is the topic of the groups' records
	require.ErrorIs(t, err, samsa.ErrUnknownGroup)
	for _, r := range refused(t, client) {
		err := r.call(ctx)
		require.ErrorContains(t, err, r.says)
		require.True(t, strings.HasPrefix(err.Error(), "samsa: "), "%v", err)
		if r.is != nil {
			require.ErrorIs(t, err, r.is, "%s", r.says)
		}
	}
	require.Equal(t, []string{"t"}, client.Topics())
}

func TestConsumerRefusesWhatItHasNot(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	_, err = producer.Send(ctx, samsa.Record{Topic: "t"})
	require.NoError(t, err)
	here, other := samsa.TopicPartition{Topic: "t"}, samsa.TopicPartition{Topic: "u"}
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Partitions: []samsa.TopicPartition{here}})
	require.NoError(t, err)
	recs, err := consumer.Poll(ctx, -1)
	require.NoError(t, err)
	require.Len(t, recs, 1, "as few as there can be")
	require.ErrorIs(t, consumer.Commit(ctx), samsa.ErrUnsupported, "there is no group")
	require.ErrorIs(t, consumer.Seek(other, 0), samsa.ErrNotAssigned)
	require.ErrorIs(t, consumer.Seek(here, -1), samsa.ErrOutOfRange)
	require.ErrorIs(t, consumer.Pause(other), samsa.ErrNotAssigned)
	require.NoError(t, consumer.Close())
	require.Empty(t, consumer.Assigned())
	require.ErrorIs(t, consumer.Seek(here, 0), samsa.ErrClosed)
	require.ErrorIs(t, consumer.Resume(here), samsa.ErrClosed)
	_, err = consumer.Poll(ctx, 1)
	require.ErrorIs(t, err, samsa.ErrClosed)
}

// A call of a client that is closed, or of a ctx that has ended, is not made: an error
// and an effect would be one too many.
func TestNothingLeavesAClosedClient(t *testing.T) {
	ctx := bounded(t)
	network := transport.NewNetwork()
	broker, err := samsa.Open(ctx, samsa.Config{Addr: "a", Transport: network})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broker.Close()) })
	require.NoError(t, broker.Ready(ctx))
	dialled, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: []string{"a"}, Transport: network})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dialled.Close()) })
	require.NoError(t, dialled.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := dialled.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	_, err = producer.Send(ctx, samsa.Record{Topic: "t"})
	require.NoError(t, err)

	client := broker.Client()
	tried := func(ctx context.Context, want error) {
		p := client.Topic("t").Partition(0)
		require.ErrorIs(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "new"}), want)
		require.ErrorIs(t, client.AddPartitions(ctx, "t", 2), want)
		require.ErrorIs(t, client.AlterTopic(ctx, samsa.TopicConfig{Name: "t", Compact: true}), want)
		require.ErrorIs(t, client.DeleteTopic(ctx, "t"), want)
		_, err := p.DeleteBefore(ctx, -1)
		require.ErrorIs(t, err, want)
		_, err = p.Info(ctx)
		require.ErrorIs(t, err, want)
		_, err = client.Group("g").Info(ctx)
		require.ErrorIs(t, err, want)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	tried(ended, context.Canceled)
	require.NoError(t, client.Close())
	tried(ctx, samsa.ErrClosed)
	_, err = client.NewProducer(samsa.ProducerConfig{})
	require.ErrorIs(t, err, samsa.ErrClosed)

	info, err := dialled.Topic("t").Info(ctx)
	require.NoError(t, err)
	require.False(t, info.Config.Compact)
	require.Len(t, info.Partitions, 1)
	require.Zero(t, info.Partitions[0].Start)
	require.Equal(t, []string{"t"}, dialled.Topics())
}

func TestABatchErrorOfNothingHasAText(t *testing.T) {
	require.Equal(t, "samsa: 0 of 0 records were not confirmed", (&samsa.BatchError{}).Error())
}
