package samsa

import (
	"context"
	"fmt"

	"github.com/samsalog/samsa/partition"
)

// createTopic makes a topic and waits until each of its partitions has a leader.
func (c *cluster) createTopic(ctx context.Context, cfg TopicConfig) error {
	waitsFor := ""
	for {
		_, changed := c.view.Changed()
		resp, err := c.askController(ctx, cfg)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("samsa: create topic %q: %s%w", cfg.Name, waitsFor, context.Cause(ctx))
		case c.ctx.Err() != nil:
			return ErrClosed
		case err == nil && resp.Code == partition.OK:
			return c.until(ctx, func() bool { return c.allLed(resp.Topic) })
		case err == nil && !resp.Code.Retriable() && resp.Code != partition.InvalidReplicas:
			if resp.Text != "" {
				return fmt.Errorf("samsa: create topic %q: %w: %s", cfg.Name, resp.Code, resp.Text)
			}
			return fmt.Errorf("samsa: create topic %q: %w", cfg.Name, resp.Code)
		}
		// The controller may be just being elected, or brokers be on their way.
		if err == nil && resp.Text != "" {
			waitsFor = resp.Text + ": "
		}
		_ = c.pause(ctx, changed)
	}
}

func (c *cluster) askController(ctx context.Context, cfg TopicConfig) (partition.CreateTopicResponse, error) {
	at := c.view.Controller()
	if at == partition.NoBroker {
		return partition.CreateTopicResponse{Code: partition.NotController}, nil
	}
	req := partition.CreateTopicRequest{Config: cfg}
	got, err := c.call(ctx, at, encoded(kindCreateTopic, req.Encode), func() bool { return c.view.Controller() == at })
	if err != nil {
		return partition.CreateTopicResponse{}, err
	}
	return partition.DecodeCreateTopicResponse(got.Head)
}

func (c *cluster) allLed(id partition.UUID) bool {
	t, ok := c.view.TopicByID(id)
	if !ok {
		return false
	}
	for _, st := range t.Partitions {
		if st.Leader == partition.NoBroker {
			return false
		}
	}
	return true
}
