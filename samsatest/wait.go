package samsatest

import (
	"context"
	"fmt"
	"time"

	"github.com/samsalog/samsa"
)

// look is how often a wait looks again at what sends no word of its changes.
const look = 5 * time.Millisecond

// until looks until what it looks for is so. The text of the last look says what
// is missing.
func until(ctx context.Context, what string, so func() (missing string, err error)) error {
	for {
		missing, err := so()
		if err == nil && missing == "" {
			return nil
		}
		timer := time.NewTimer(look)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if err != nil {
				return fmt.Errorf("samsatest: wait for %s: %w: %w", what, err, context.Cause(ctx))
			}
			return fmt.Errorf("samsatest: wait for %s: %s: %w", what, missing, context.Cause(ctx))
		}
	}
}

// Leader waits until a partition has a leader, and returns it.
func (c *Cluster) Leader(ctx context.Context, topic string, p samsa.PartitionID) (leader samsa.BrokerID, err error) {
	err = until(ctx, fmt.Sprintf("a leader of %s/%d", topic, p), func() (string, error) {
		info, err := c.client.Topic(topic).Partition(p).Info(ctx)
		if err != nil {
			return "", err
		}
		leader = info.Leader
		if leader == 0 {
			return "there is none", nil
		}
		return "", nil
	})
	return leader, err
}

// WaitISR waits until each partition of a topic has n replicas in sync.
func (c *Cluster) WaitISR(ctx context.Context, topic string, n int) error {
	return until(ctx, fmt.Sprintf("an ISR of %d in %s", n, topic), func() (string, error) {
		info, err := c.client.Topic(topic).Info(ctx)
		if err != nil {
			return "", err
		}
		for _, p := range info.Partitions {
			if len(p.ISR) != n {
				return fmt.Sprintf("partition %d has %v", p.ID, p.ISR), nil
			}
		}
		return "", nil
	})
}

// WaitAssigned waits until a group has n members, each of which holds all that it
// shall hold.
func (c *Cluster) WaitAssigned(ctx context.Context, group string, n int) error {
	return until(ctx, fmt.Sprintf("%d members of group %s", n, group), func() (string, error) {
		info, err := c.client.Group(group).Info(ctx)
		if err != nil {
			return "", err
		}
		if len(info.Members) != n || info.Status != "stable" {
			return fmt.Sprintf("it has %d and is %s", len(info.Members), info.Status), nil
		}
		return "", nil
	})
}

// WaitLagZero waits until a group has committed all that is in its partitions.
func (c *Cluster) WaitLagZero(ctx context.Context, group string) error {
	return until(ctx, fmt.Sprintf("group %s to have read everything", group), func() (string, error) {
		info, err := c.client.Group(group).Info(ctx)
		if err != nil {
			return "", err
		}
		for _, p := range info.Partitions {
			if p.Lag != 0 || p.End < 0 {
				return fmt.Sprintf("%s/%d lags by %d", p.Topic, p.Partition, p.Lag), nil
			}
		}
		return "", nil
	})
}
