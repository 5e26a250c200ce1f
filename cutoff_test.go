package samsa_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// A broker that is cut off from the others still answers clients. A client must not
// believe for ever that nothing has changed.
func TestClientLeavesABrokerThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := samsatest.Start(t, 3)
		client := cluster.Client()
		require.NoError(t, client.CreateTopic(t.Context(), samsa.TopicConfig{Name: "t", Partitions: 3}))
		producer, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
		require.NoError(t, err)
		for p := range samsa.PartitionID(3) {
			leader, err := cluster.Leader(t.Context(), "t", p)
			require.NoError(t, err)
			cluster.Isolate(leader)
			before := time.Now()
			_, err = producer.Send(t.Context(), samsa.Record{Topic: "t", Partition: p})
			require.NoError(t, err)
			t.Logf("leader %d cut off: a record committed after %v", leader, time.Since(before))
			cluster.Heal()
			require.NoError(t, cluster.WaitISR(t.Context(), "t", 3))
		}
	})
}

// A coordinator that is cut off must not keep the leases of its members alive while
// another one gives their partitions away.
func TestCutOffCoordinatorProlongsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		cluster := samsatest.Start(t, 3)
		client := cluster.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Partitions: 3}))
		_, _ = client.Group("warm").Info(ctx) // makes the topic of the groups' records
		cut, err := cluster.Leader(ctx, "__consumer_offsets", group.PartitionOf("g", 8))
		require.NoError(t, err)
		other := cut%3 + 1
		part := samsa.PartitionID(0)
		for leader := cut; leader == cut; part++ {
			leader, err = cluster.Leader(ctx, "t", part)
			require.NoError(t, err)
		}
		part--

		var mu sync.Mutex
		takers := make(map[samsa.Offset]string)
		var members sync.WaitGroup
		reading, stop := context.WithCancel(ctx)
		join := func(who string, c *samsa.Client) {
			consumer, err := c.NewConsumer(samsa.ConsumerConfig{
				Group: "g", Topics: []string{"t"}, SessionTimeout: 3 * time.Second, Client: who, Manual: true,
			})
			require.NoError(t, err)
			members.Go(func() {
				for rec, err := range consumer.Records(reading) {
					if err != nil {
						return
					}
					mu.Lock()
					if rec.Partition == part {
						takers[rec.Offset] += who
					}
					mu.Unlock()
				}
			})
		}
		dialled, err := cluster.Dial(ctx) // it reaches all brokers, whomever it believes
		require.NoError(t, err)
		join("A", dialled)
		require.NoError(t, cluster.WaitAssigned(ctx, "g", 1))
		cluster.Isolate(cut)
		time.Sleep(10 * time.Second)
		join("B", cluster.Broker(other).Client())
		time.Sleep(10 * time.Second)
		producer, err := cluster.Broker(other).Client().NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
		require.NoError(t, err)
		for range 50 {
			_, err := producer.Send(ctx, samsa.Record{Topic: "t", Partition: part})
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		stop()
		members.Wait()
		require.Len(t, takers, 50)
		for offset, who := range takers {
			require.Len(t, who, 1, "offset %d was given to %s", offset, who)
		}
	})
}

// A broker that stops by itself takes its client along: nobody waits for ever.
func TestFailedBrokerEndsItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := logtest.NewDisk(log.NewMemFS())
		broker, err := samsa.Open(t.Context(), samsa.Config{FS: disk})
		require.NoError(t, err)
		client := broker.Client()
		require.NoError(t, client.CreateTopic(t.Context(), samsa.TopicConfig{Name: "t"}))
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}})
		require.NoError(t, err)
		ended := make(chan error, 2)
		go func() {
			for _, err := range consumer.Records(context.Background()) {
				ended <- err
			}
		}()
		go func() {
			for _, err := range client.Topic("t").Partition(0).Records(context.Background(), 0) {
				ended <- err
			}
		}()
		synctest.Wait()
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		disk.Fail(errors.New("medium error"))
		_, err = producer.Send(t.Context(), samsa.Record{Topic: "t"})
		require.Error(t, err)
		require.ErrorIs(t, <-ended, samsa.ErrClosed)
		require.ErrorIs(t, <-ended, samsa.ErrClosed)
		require.ErrorIs(t, client.CreateTopic(context.Background(), samsa.TopicConfig{Name: "u"}), samsa.ErrClosed)
		_ = broker.Close() // its disk fails
		for _, err := range client.Topic("t").Partition(0).Records(context.Background(), 0) {
			require.ErrorIs(t, err, samsa.ErrClosed)
		}
	})
}

func TestCommitSpeaksOfWhatWasDelivered(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	for i := range 10 {
		_, err := producer.Send(ctx, samsa.Record{Topic: "t", Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}, Manual: true})
	require.NoError(t, err)
	recs, err := consumer.Poll(ctx, 5)
	require.NoError(t, err)
	require.Len(t, recs, 5)
	committed := func() samsa.Offset {
		info, err := client.Group("g").Info(ctx)
		require.NoError(t, err)
		return info.Partitions[0].Committed
	}
	require.ErrorIs(t, consumer.Commit(ctx, samsa.Record{Topic: "t", Offset: 999}), samsa.ErrNotAssigned)
	require.ErrorIs(t, consumer.Commit(ctx, samsa.Record{Topic: "other"}), samsa.ErrNotAssigned)
	require.NoError(t, consumer.Commit(ctx, recs[3]))
	require.NoError(t, consumer.Commit(ctx, recs[1]), "older words take nothing back")
	require.EqualValues(t, 4, committed())
	require.ErrorIs(t, consumer.Seek(samsa.TopicPartition{Topic: "t"}, -1), samsa.ErrOutOfRange)

	// Poll and the loop go through one batch together.
	loop, cancel := context.WithCancel(ctx)
	for rec, err := range consumer.Records(loop) {
		require.NoError(t, err)
		if rec.Offset == 6 {
			cancel()
		}
	}
	cancel()
	recs, err = consumer.Poll(ctx, 2)
	require.NoError(t, err)
	require.EqualValues(t, 7, recs[0].Offset)
}

func TestDoneIsToldThePlaceAlone(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	buf := []byte("hello")
	told := make(chan samsa.Record, 1)
	producer.SendAsync(ctx, samsa.Record{Topic: "t", Value: buf}, func(rec samsa.Record, err error) { told <- rec })
	copy(buf, "XXXXX")
	rec := <-told
	require.Nil(t, rec.Value)
	require.Equal(t, "t", rec.Topic)
	for rec, err := range client.Topic("t").Partition(0).Records(ctx, 0) {
		require.NoError(t, err)
		require.Equal(t, "hello", string(rec.Value))
		break
	}
}
