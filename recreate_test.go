package samsa_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// A group whose topic is deleted and made again reads the new one from its start:
// what it had committed was of the old one.
func TestGroupReadsATopicThatIsMadeAgain(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		cfg := samsa.TopicConfig{Name: orders}
		require.NoError(t, client.CreateTopic(ctx, cfg))
		send := func(value string) {
			producer, err := client.NewProducer(samsa.ProducerConfig{})
			require.NoError(t, err)
			defer producer.Close()
			_, err = producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte(value)})
			require.NoError(t, err)
		}
		send("old 0")
		send("old 1")
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{orders}})
		require.NoError(t, err)
		defer consumer.Close()
		got := make(chan samsa.Record)
		reading, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for rec, err := range consumer.Records(reading) {
				if err != nil {
					t.Errorf("consumer: %v", err)
					return
				}
				got <- rec
			}
		}()
		next := func() samsa.Record {
			select {
			case rec := <-got:
				return rec
			case <-time.After(time.Minute):
				t.Fatal("no record within a minute")
				panic("unreachable")
			}
		}
		require.Equal(t, "old 0", string(next().Value))
		require.Equal(t, "old 1", string(next().Value))
		require.NoError(t, client.DeleteTopic(ctx, orders))
		require.NoError(t, client.CreateTopic(ctx, cfg))
		send("new")
		rec := next()
		require.Equal(t, "new", string(rec.Value))
		require.Zero(t, rec.Offset)
		stop()
		<-done
	})
}

// A broker in memory forgets everything when it is opened anew, and begins another
// cluster at the same address. A client that knew the old one, in which more had
// happened, sees the new one and works with it.
func TestAClientOutlivesItsCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		net := transport.NewNetwork()
		open := func() *samsa.Broker {
			b, err := samsa.Open(ctx, samsa.Config{Addr: "here", Transport: net})
			require.NoError(t, err)
			require.NoError(t, b.Ready(ctx))
			return b
		}
		old := open()
		client, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: []string{"here"}, Transport: net})
		require.NoError(t, err)
		defer client.Close()
		for _, name := range []string{"a", "b", orders} {
			require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: name}))
		}
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		defer producer.Close()
		_, err = producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte("old")})
		require.NoError(t, err)
		before := client.Cluster().ID
		require.NoError(t, old.Close())

		again := open()
		defer again.Close()
		until(ctx, t, "the new cluster", func() bool { return client.Cluster().ID != before })
		require.Empty(t, client.Topics())
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Partitions: 2}))
		_, err = producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte("for the old topic")})
		require.ErrorIs(t, err, samsa.ErrUnknownTopic)
		rec, err := producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte("new")})
		require.NoError(t, err)
		require.Zero(t, rec.Offset)
		require.ErrorIs(t, client.DeleteTopic(ctx, "a"), samsa.ErrUnknownTopic)
	})
}
