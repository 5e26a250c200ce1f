package samsa_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// table reads partition 0 of a topic from its start, and returns the last value of
// each key, and how many records there were.
func table(ctx context.Context, t *testing.T, client *samsa.Client, topic string) (values map[string]string, records int) {
	p := client.Topic(topic).Partition(0)
	info, err := p.Info(ctx)
	require.NoError(t, err)
	values = map[string]string{}
	if info.Start == info.HighWatermark {
		return values, 0
	}
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Partitions: []samsa.TopicPartition{{Topic: topic}}})
	require.NoError(t, err)
	defer consumer.Close()
	require.NoError(t, err)
	// A last record, so that the end is seen: what was before may be gone.
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(t, err)
	last, err := producer.Send(ctx, samsa.Record{Topic: topic, Key: []byte("end"), Value: []byte("end")})
	require.NoError(t, err)
	for rec, err := range consumer.Records(ctx) {
		require.NoError(t, err)
		if rec.Offset == last.Offset {
			break
		}
		records++
		values[string(rec.Key)] = string(rec.Value)
		if rec.Value == nil {
			delete(values, string(rec.Key))
		}
	}
	delete(values, "end")
	return values, records
}

func TestACompactedTopicKeepsTheNewestOfEachKeyOnAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		// Hours go by: brokers that say every minute that they live spare the test's time.
		c, err := samsatest.New(ctx, samsatest.Config{Brokers: 3, Broker: samsa.Config{HeartbeatInterval: time.Minute, SessionTimeout: 10 * time.Minute, ElectionTimeout: 10 * time.Minute}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Compact: true, SegmentBytes: 2 << 10}))
		producer, err := client.NewProducer(samsa.ProducerConfig{Compression: log.Zstd})
		require.NoError(t, err)
		_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte("no key")})
		require.ErrorIs(t, err, samsa.ErrMissingKey)
		require.NotErrorIs(t, err, samsa.ErrOutcomeUnknown)

		want := map[string]string{}
		put := func(n int) {
			for i := range n {
				key, value := fmt.Sprintf("key %d", i%10), fmt.Appendf(nil, "value %d of %v", i, time.Now())
				if i%50 == 13 {
					value = nil
				}
				_, err := producer.Send(ctx, samsa.Record{Topic: "t", Key: []byte(key), Value: value})
				require.NoError(t, err)
				want[key] = string(value)
				if value == nil {
					delete(want, key)
				}
			}
		}
		put(400)
		before := segments(t, c, 1, "t")
		time.Sleep(2 * time.Minute)
		got, records := table(ctx, t, client, "t")
		require.Equal(t, want, got)
		require.Less(t, records, 150)
		for _, id := range c.Brokers() {
			require.LessOrEqual(t, segments(t, c, id, "t"), before, "broker %d", id)
		}

		// A broker that was away while tombstones went begins anew, and holds nothing
		// that they deleted.
		leader, err := c.Leader(ctx, "t", 0)
		require.NoError(t, err)
		away := c.Brokers()[0]
		if away == leader {
			away = c.Brokers()[1]
		}
		require.NoError(t, c.Kill(away))
		for i := range 10 {
			_, err := producer.Send(ctx, samsa.Record{Topic: "t", Key: fmt.Appendf(nil, "key %d", i)})
			require.NoError(t, err)
		}
		clear(want)
		for i := range 100 { // so that the tombstones are in a full segment
			_, err := producer.Send(ctx, samsa.Record{Topic: "t", Key: []byte("other"), Value: fmt.Appendf(nil, "other %d", i)})
			require.NoError(t, err)
			want["other"] = fmt.Sprintf("other %d", i)
		}
		time.Sleep(26 * time.Hour)
		for i := range 100 {
			_, err := producer.Send(ctx, samsa.Record{Topic: "t", Key: []byte("other"), Value: fmt.Appendf(nil, "later %d", i)})
			require.NoError(t, err)
			want["other"] = fmt.Sprintf("later %d", i)
		}
		time.Sleep(10 * time.Minute)
		require.NoError(t, c.Restart(ctx, away))
		require.NoError(t, c.WaitISR(ctx, "t", 3))
		require.NoError(t, client.TransferLeader(ctx, "t", 0, away))
		for {
			if now, err := c.Leader(ctx, "t", 0); err == nil && now == away {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		got, _ = table(ctx, t, client, "t")
		require.Equal(t, want, got)
	})
}

// A replica has compacted old values away for the sake of newer ones, which an unclean
// election then gives up: what is left of it must never lead, for the old ones count again.
func TestKeysOutliveAnUncleanElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c, err := samsatest.New(ctx, samsatest.Config{})
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Compact: true, Replicas: 2, MinISR: 1, SegmentBytes: 2 << 10}))
		info, err := client.Topic("t").Partition(0).Info(ctx)
		require.NoError(t, err)
		compacts, away := info.Replicas[0], info.Replicas[1]
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		put := func(key, value string) {
			_, err := producer.Send(ctx, samsa.Record{Topic: "t", Key: []byte(key), Value: []byte(value)})
			require.NoError(t, err)
		}
		old := map[string]string{"kept": "old", "key": "old"}
		put("key", "old")
		put("kept", "old")
		require.NoError(t, c.WaitISR(ctx, "t", 2))
		require.NoError(t, c.Kill(away))
		for range 400 {
			put("key", "new")
		}
		time.Sleep(2 * time.Minute)
		_, records := table(ctx, t, client, "t")
		require.Less(t, records, 300, "it has been compacted")
		require.NoError(t, c.Kill(compacts))
		require.NoError(t, c.Restart(ctx, away))
		require.NoError(t, c.Broker(away).Ready(ctx))
		_, err = client.ElectUnclean(ctx, "t", 0, away)
		require.NoError(t, err)
		committed := func() bool { // a new leader has to learn what is
			info, err := client.Topic("t").Partition(0).Info(ctx)
			return err == nil && info.End > 0 && info.HighWatermark == info.End
		}
		until(ctx, t, "all to be committed", committed)
		got, _ := table(ctx, t, client, "t")
		require.Equal(t, old, got)

		require.NoError(t, c.Restart(ctx, compacts))
		require.NoError(t, c.WaitISR(ctx, "t", 2))
		require.NoError(t, client.TransferLeader(ctx, "t", 0, compacts))
		until(ctx, t, "the other to lead", func() bool {
			now, err := c.Leader(ctx, "t", 0)
			return err == nil && now == compacts && committed()
		})
		got, _ = table(ctx, t, client, "t")
		require.Equal(t, old, got)
	})
}
