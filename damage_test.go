package samsa_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// flip flips a bit in the first segment of partition 0 of a topic on a broker's disk.
func flip(t *testing.T, c *samsatest.Cluster, id samsa.BrokerID, topic string) {
	require.NoError(t, c.Disk(id).FlipBit(filepath.Join("samsa", topic+"-0", "00000000000000000000.log"), 100, 2))
}

// read reads partition 0 of a topic from the start, and returns the values.
func read(ctx context.Context, t *testing.T, client *samsa.Client, topic string, n int) (values []string, err error) {
	for rec, err := range client.Topic(topic).Partition(0).Records(ctx, 0) {
		if err != nil {
			return values, err
		}
		require.Equal(t, samsa.Offset(len(values)), rec.Offset)
		if values = append(values, string(rec.Value)); len(values) == n {
			break
		}
	}
	return values, nil
}

// Damage of one copy costs nobody anything: whoever reads it is served by another, and
// the copy is made anew.
func TestADamagedCopyIsMadeAnewFromAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := samsatest.Start(t, 3)
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", SegmentBytes: 2 << 10}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		send(ctx, t, producer, "t", 0, 100)
		want, err := read(ctx, t, client, "t", 100)
		require.NoError(t, err)

		leader, err := c.Leader(ctx, "t", 0)
		require.NoError(t, err)
		require.NoError(t, c.Kill(leader))
		flip(t, c, leader, "t")
		require.NoError(t, c.Restart(ctx, leader))
		require.NoError(t, c.WaitISR(ctx, "t", 3))
		require.NoError(t, client.TransferLeader(ctx, "t", 0, leader))
		begun := time.Now()
		got, err := read(ctx, t, client, "t", 100) // the leader's memory is empty
		require.NoError(t, err)
		require.Equal(t, want, got)
		now, err := c.Leader(ctx, "t", 0)
		require.NoError(t, err)
		require.NotEqual(t, leader, now)
		require.Less(t, time.Since(begun), 5*time.Second, "by this reader alone, not by the broker's own rounds")

		send(ctx, t, producer, "t", 100, 10)
		require.NoError(t, c.WaitISR(ctx, "t", 3))
		require.NoError(t, client.TransferLeader(ctx, "t", 0, leader))
		got, err = read(ctx, t, client, "t", 110)
		require.NoError(t, err)
		require.Equal(t, want, got[:100])
		report, err := log.Verify(c.Disk(leader), filepath.Join("samsa", "t-0"))
		require.NoError(t, err)
		require.Empty(t, report.Damage)
	})
}

// A sole copy is kept, with a clear error where it is damaged.
func TestTheDamageOfASoleCopyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := samsatest.Start(t, 1)
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", SegmentBytes: 2 << 10}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		send(ctx, t, producer, "t", 0, 100)
		require.NoError(t, c.Kill(1))
		flip(t, c, 1, "t")
		require.NoError(t, c.Restart(ctx, 1))
		require.NoError(t, c.Broker(1).Ready(ctx))

		got, err := read(ctx, t, client, "t", 100)
		require.ErrorContains(t, err, "corrupt batch")
		require.Less(t, len(got), 10)
		_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte("goes on")})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		p := client.Topic("t").Partition(0)
		info, err := p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, samsa.BrokerID(1), info.Leader)
		require.Contains(t, info.Damage[1], "00000000000000000000.log at byte ")
		require.Equal(t, samsa.Offset(101), info.End)
		count := 0
		for rec, err := range p.Records(ctx, 50) {
			require.NoError(t, err)
			if count++; rec.Offset == 100 {
				break
			}
		}
		require.Equal(t, 51, count)

		// What does not even open is offline, and says why.
		require.NoError(t, c.Kill(1))
		for _, at := range []int64{20, 532} {
			require.NoError(t, c.Disk(1).FlipBit(filepath.Join("samsa", "t-0", "flushed"), at, 1))
		}
		require.NoError(t, c.Restart(ctx, 1))
		require.NoError(t, c.Broker(1).Ready(ctx))
		time.Sleep(time.Second)
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Zero(t, info.Leader)
		require.Contains(t, info.Damage[1], "flushed")
		require.Contains(t, client.Cluster().Offline, samsa.TopicPartition{Topic: "t"})

		// The way out is explicit: what is damaged is given up.
		require.NoError(t, c.Kill(1))
		c.Disk(1).Revive()
		repairs, err := log.Repair(c.Disk(1), filepath.Join("samsa", "t-0"), log.Config{})
		require.NoError(t, err)
		require.NotEmpty(t, repairs.Aside)
		require.NoError(t, c.Restart(ctx, 1))
		_, err = c.Leader(ctx, "t", 0)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, repairs.End, info.End)
		require.Empty(t, info.Damage)
	})
}
