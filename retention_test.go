package samsa_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// send sends n records to partition 0, a second apart, with values that number them.
func send(ctx context.Context, t *testing.T, p *samsa.Producer, topic string, from, n int) {
	for i := from; i < from+n; i++ {
		_, err := p.Send(ctx, samsa.Record{Topic: topic, Value: fmt.Appendf(nil, "record %06d", i)})
		require.NoError(t, err)
		time.Sleep(time.Second) // in a bubble
	}
}

// segments counts the segment files of partition 0 of a topic on a broker's disk.
func segments(t *testing.T, c *samsatest.Cluster, id samsa.BrokerID, topic string) int {
	names, err := c.Disk(id).ReadDir(filepath.Join("samsa", topic+"-0"))
	require.NoError(t, err)
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			n++
		}
	}
	return n
}

func TestRetentionRemovesOldRecordsOnAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		// Hours go by: brokers that seldom say that they live spare the test's time.
		c, err := samsatest.New(ctx, samsatest.Config{Brokers: 3, Broker: samsa.Config{HeartbeatInterval: 10 * time.Second, SessionTimeout: 30 * time.Second, ElectionTimeout: 10 * time.Second}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Retention: time.Hour, SegmentBytes: 2 << 10}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		send(ctx, t, producer, "t", 0, 100)
		began := time.Now()
		time.Sleep(30 * time.Minute)
		send(ctx, t, producer, "t", 100, 100)
		require.NoError(t, c.WaitISR(ctx, "t", 3))
		many := segments(t, c, 1, "t")
		p := client.Topic("t").Partition(0)

		time.Sleep(time.Until(began.Add(time.Hour + 2*time.Minute))) // the first hundred are older than an hour now
		info, err := p.Info(ctx)
		require.NoError(t, err)
		require.Greater(t, info.Start, samsa.Offset(70), "whole segments have gone")
		require.LessOrEqual(t, info.Start, samsa.Offset(100), "what is younger stays")
		for _, id := range c.Brokers() {
			require.Less(t, segments(t, c, id, "t"), many, "broker %d", id)
		}
		first := time.Now().Add(-time.Hour)
		for rec, err := range p.Records(ctx, info.Start) {
			require.NoError(t, err)
			require.Equal(t, info.Start, rec.Offset)
			first = rec.Time
			break
		}
		require.True(t, first.After(began.Add(-time.Minute)), "%v is left, of before %v", first, began)

		// A consumer whose place is gone goes on at the oldest record.
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{"t"}})
		require.NoError(t, err)
		recs, err := consumer.Poll(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, info.Start, recs[0].Offset)

		// In the end nothing is left, and the partition goes on behind it, whoever leads.
		time.Sleep(2 * time.Hour)
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, []samsa.Offset{200, 200}, []samsa.Offset{info.Start, info.End})
		require.NoError(t, c.Kill(info.Leader))
		send(ctx, t, producer, "t", 200, 1)
		require.NoError(t, c.Restart(ctx, info.Leader))
		require.NoError(t, c.WaitISR(ctx, "t", 3))
		for _, id := range c.Brokers() {
			require.LessOrEqual(t, segments(t, c, id, "t"), 2, "broker %d", id)
		}
	})
}

func TestRetentionBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := samsatest.Start(t, 1)
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", RetentionBytes: 10 << 10, SegmentBytes: 2 << 10}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		send(ctx, t, producer, "t", 0, 400)
		time.Sleep(time.Minute)
		n := segments(t, c, 1, "t")
		require.GreaterOrEqual(t, n, 5)
		require.LessOrEqual(t, n, 7)
	})
}

func TestRecordsAreFoundByTimeAndRemovedByOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := samsatest.Start(t, 3)
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", SegmentBytes: 2 << 10}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		began := time.Now()
		send(ctx, t, producer, "t", 0, 100)
		p := client.Topic("t").Partition(0)
		at := func(d time.Duration) samsa.Offset {
			off, err := p.OffsetAt(ctx, began.Add(d))
			require.NoError(t, err)
			return off
		}
		require.Equal(t, samsa.Offset(0), at(-time.Hour))
		mid := at(50 * time.Second)
		require.InDelta(t, 50, int(mid), 2)
		require.Equal(t, samsa.Offset(100), at(time.Hour), "behind the newest")

		consumer, err := client.NewConsumer(samsa.ConsumerConfig{
			Group: "g", Topics: []string{"t"}, Start: samsa.StartAt(began.Add(50 * time.Second)),
		})
		require.NoError(t, err)
		recs, err := consumer.Poll(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, mid, recs[0].Offset)
		require.NoError(t, consumer.SeekTime(ctx, began.Add(20*time.Second)))
		recs, err = consumer.Poll(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, at(20*time.Second), recs[0].Offset)
		require.NoError(t, consumer.Close())

		start, err := p.DeleteBefore(ctx, 60)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(60), start)
		_, err = p.DeleteBefore(ctx, 101)
		require.ErrorIs(t, err, samsa.ErrOutOfRange)
		for _, err := range p.Records(ctx, 59) {
			require.ErrorIs(t, err, samsa.ErrOutOfRange)
		}
		require.Equal(t, samsa.Offset(60), at(-time.Hour))
		leader, err := c.Leader(ctx, "t", 0)
		require.NoError(t, err)
		require.NoError(t, c.Kill(leader))
		info, err := p.Info(ctx)
		for err == nil && info.Leader == leader {
			info, err = p.Info(ctx)
		}
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(60), info.Start, "a new leader brings nothing back")

		start, err = p.DeleteBefore(ctx, -1)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(100), start)
	})
}

// hundred starts three brokers with a topic of a hundred records, and returns who leads it.
func hundred(ctx context.Context, t *testing.T) (*samsatest.Cluster, samsa.BrokerID) {
	c := samsatest.Start(t, 3)
	require.NoError(t, c.Client().CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := c.Client().NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	send(ctx, t, producer, "t", 0, 100)
	require.NoError(t, c.WaitISR(ctx, "t", 3))
	leader, err := c.Leader(ctx, "t", 0)
	require.NoError(t, err)
	return c, leader
}

// Records are deleted when no replica has them that may lead next: until the followers have
// heard of it the call has not succeeded.
func TestNoLeaderBringsBackWhatIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c, leader := hundred(ctx, t)
		c.Isolate(leader)
		p := c.Broker(leader).Client().Topic("t").Partition(0)
		soon, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		_, err := p.DeleteBefore(soon, 60)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		c.Heal()
		start, err := p.DeleteBefore(ctx, 60)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(60), start)
		require.NoError(t, c.Kill(leader))
		p = c.Client().Topic("t").Partition(0)
		info, err := p.Info(ctx)
		for err == nil && (info.Leader == leader || info.Leader == 0) {
			info, err = p.Info(ctx)
		}
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(60), info.Start)
	})
}

// All that is committed is what was when it was asked for, however often the call asks.
func TestDeletingAllTakesNothingThatComesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c, leader := hundred(ctx, t)
		for _, other := range c.Brokers() {
			if other != leader {
				c.Delay(other, leader, 700*time.Millisecond)
				c.Delay(leader, other, 700*time.Millisecond)
			}
		}
		client := c.Broker(leader).Client()
		near, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		var sent sync.WaitGroup
		sent.Add(1)
		near.SendAsync(ctx, samsa.Record{Topic: "t", Value: []byte("new")}, func(_ samsa.Record, err error) {
			require.NoError(t, err)
			sent.Done()
		})
		time.Sleep(900 * time.Millisecond)
		// It is committed before the followers hear of the first attempt, which is over
		// before they have done as it says.
		time.AfterFunc(1100*time.Millisecond, c.Heal)
		start, err := client.Topic("t").Partition(0).DeleteBefore(ctx, -1)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(100), start)
		sent.Wait()
	})
}

// What a disk would not remove at first is not taken for removed.
func TestAllIsDeletedAlthoughTheDiskRefusesAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c, leader := hundred(ctx, t)
		p := c.Client().Topic("t").Partition(0)
		_, err := p.DeleteBefore(ctx, 60)
		require.NoError(t, err)
		c.Disk(leader).Inject(logtest.Fault{Op: logtest.Create, Name: "bounds*", Err: syscall.EIO})
		start, err := p.DeleteBefore(ctx, -1)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(100), start)
	})
}

func TestATimeFarAheadIsRefused(t *testing.T) {
	ctx := bounded(t)
	client := alone(ctx, t)
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}))
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	_, err = producer.Send(ctx, samsa.Record{Topic: "t", Time: time.Now().Add(2 * time.Hour)})
	require.ErrorIs(t, err, samsa.ErrInvalidTimestamp)
	require.False(t, errors.Is(err, samsa.ErrOutcomeUnknown))
	_, err = producer.Send(ctx, samsa.Record{Topic: "t", Time: time.Now().Add(time.Minute)})
	require.NoError(t, err)
}
