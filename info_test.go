package samsa_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// A leader that has just begun, and may not commit alone, does not know what has been
// committed, perhaps for days. An operator is told the rest.
func TestInfoOfALeaderThatWaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := samsatest.Start(t, 3)
		client, err := c.Dial(ctx)
		require.NoError(t, err)
		defer client.Close()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Replicas: 2, MinISR: 2}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		_, err = producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte("a")})
		require.NoError(t, err)
		p := client.Topic(orders).Partition(0)
		info, err := p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(1), info.HighWatermark)

		require.NoError(t, c.Kill(info.ISR[0]+info.ISR[1]-info.Leader))
		require.NoError(t, c.WaitISR(ctx, orders, 1))
		require.NoError(t, c.Kill(info.Leader))
		require.NoError(t, c.Restart(ctx, info.Leader))
		_, err = c.Leader(ctx, orders, 0)
		require.NoError(t, err)
		begun := time.Now()
		after, err := p.Info(ctx)
		require.NoError(t, err)
		require.Less(t, time.Since(begun), 3*time.Second)
		require.Equal(t, info.Leader, after.Leader)
		require.Equal(t, []samsa.Offset{0, -1, 1}, []samsa.Offset{after.Start, after.HighWatermark, after.End})
	})
}
