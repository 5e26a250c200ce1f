package samsa_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// A partition under load goes to other brokers and loses nothing; those that it
// leaves remove their copies, and no others (I13).
func TestReassign(t *testing.T) {
	inCluster(t, 5, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Replicas: 3}))
		l := startLoad(ctx, t, client, 3)
		l.until(100)
		p := client.Topic(orders).Partition(0)
		before, err := p.Info(ctx)
		require.NoError(t, err)
		var target []samsa.BrokerID
		for _, id := range c.Brokers() {
			if !slices.Contains(before.Replicas, id) {
				target = append(target, id)
			}
		}
		target = append(target, before.Replicas[2])
		require.NoError(t, client.Reassign(ctx, orders, 0, target))
		require.NoError(t, client.Reassign(ctx, orders, 0, target), "again is a success")
		require.NoError(t, p.AwaitReassigned(ctx))
		info, err := p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, target, info.Replicas)
		require.ElementsMatch(t, target, info.ISR)
		require.Empty(t, info.Adding)
		require.Greater(t, info.Epoch, before.Epoch, "the epoch rises when a replica goes")
		for _, id := range before.Replicas[:2] {
			until(ctx, t, "the copy is removed", func() bool { return len(onDisk(t, c, id, orders)) == 0 })
		}
		for _, id := range target {
			require.Len(t, onDisk(t, c, id, orders), 1)
		}
		acked := l.finish()
		checkRead(ctx, t, client, "g", acked)

		// And back, with the log of before gone.
		require.NoError(t, client.Reassign(ctx, orders, 0, before.Replicas))
		require.NoError(t, p.AwaitReassigned(ctx))
		checkRead(ctx, t, client, "again", acked)

		for text, list := range map[string][]samsa.BrokerID{
			"named twice": brokers(1, 1, 2), "not registered": brokers(1, 2, 9), "MinISR, which is 2": brokers(1), "no broker": nil,
		} {
			err := client.Reassign(ctx, orders, 0, list)
			require.ErrorIs(t, err, samsa.ErrInvalidReplicas)
			require.ErrorContains(t, err, text)
		}
	})
}

func TestReassignShowsProgressAndIsCancelledAndReplaced(t *testing.T) {
	inCluster(t, 4, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Replicas: 2, MinISR: 1}))
		p := client.Topic(orders).Partition(0)
		before, err := p.Info(ctx)
		require.NoError(t, err)
		l := startLoad(ctx, t, client, 1)
		l.until(20)
		var others []samsa.BrokerID
		for _, id := range c.Brokers() {
			if !slices.Contains(before.Replicas, id) {
				others = append(others, id)
			}
		}
		// The one that is to come does not hear of anything: it never arrives.
		gone := others[0]
		require.NoError(t, c.Kill(gone))
		require.NoError(t, client.Reassign(ctx, orders, 0, brokers(gone, before.Replicas[0])))
		info, err := p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, brokers(gone), info.Adding)
		require.Equal(t, brokers(before.Replicas[1]), info.Removing)
		require.ElementsMatch(t, before.Replicas, info.ISR)
		i := slices.IndexFunc(info.Lag, func(l samsa.Lag) bool { return l.Broker == gone })
		require.Equal(t, samsa.Offset(-1), info.Lag[i].Held)
		require.Equal(t, int64(info.End), info.Lag[i].Records)

		require.NoError(t, client.CancelReassign(ctx, orders, 0))
		require.NoError(t, client.CancelReassign(ctx, orders, 0), "again is a success")
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, before.Replicas, info.Replicas)
		require.Empty(t, info.Adding)

		require.NoError(t, client.Reassign(ctx, orders, 0, brokers(gone, before.Replicas[0])))
		require.NoError(t, client.Reassign(ctx, orders, 0, brokers(others[1], before.Replicas[0])), "it replaces the first")
		require.NoError(t, p.AwaitReassigned(ctx))
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, brokers(others[1], before.Replicas[0]), info.Replicas)
		checkRead(ctx, t, client, "g", l.finish())
	})
}

// Records are read again at each start, those too that took a copy away for a while:
// only what they come to in the end counts.
func TestCopyThatWasMovedAwayAndBackMeanwhileStays(t *testing.T) {
	var said lines
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		c, err := samsatest.New(ctx, samsatest.Config{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Replicas: 2, MinISR: 1}))
		p := client.Topic(orders).Partition(0)
		before, err := p.Info(ctx)
		require.NoError(t, err)
		stays, sleeps := before.Replicas[0], before.Replicas[1]
		third := 6 - stays - sleeps
		require.NoError(t, c.Kill(sleeps))
		require.NoError(t, client.Reassign(ctx, orders, 0, brokers(stays, third)))
		require.NoError(t, p.AwaitReassigned(ctx))
		require.NoError(t, client.Reassign(ctx, orders, 0, brokers(stays, sleeps)))
		require.NoError(t, c.Restart(ctx, sleeps))
		require.NoError(t, p.AwaitReassigned(ctx))
		until(ctx, t, "the third's copy is removed", func() bool { return len(onDisk(t, c, third, orders)) == 0 })
		require.NotContains(t, said.String(), fmt.Sprintf(`msg="replica removed" broker=%d`, sleeps))

		// One that was moved away for good goes at the next start.
		require.NoError(t, c.Kill(sleeps))
		require.NoError(t, client.Reassign(ctx, orders, 0, brokers(stays, third)))
		require.NoError(t, p.AwaitReassigned(ctx))
		require.NoError(t, c.Restart(ctx, sleeps))
		until(ctx, t, "the copy is removed", func() bool { return len(onDisk(t, c, sleeps, orders)) == 0 })
	})
}
