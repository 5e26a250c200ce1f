package samsa

import (
	"context"
	"fmt"
	"slices"

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
			err := c.until(ctx, func() bool { return c.allLed(resp.Topic) })
			return wrapped(fmt.Sprintf("create topic %q: wait for leaders", cfg.Name), err)
		case err == nil && !resp.Code.Retriable() && resp.Code != partition.InvalidReplicas:
			return refusal(fmt.Sprintf("create topic %q", cfg.Name), resp.Code, resp.Text)
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
	return decoded(partition.DecodeCreateTopicResponse)(c.call(ctx, at, encoded(kindCreateTopic, req.Encode), func() bool { return c.view.Controller() == at }))
}

func (c *cluster) allLed(id partition.UUID) bool {
	t, ok := c.view.TopicByID(id)
	return ok && !slices.ContainsFunc(t.Partitions, func(st *partition.State) bool { return st.Leader == partition.NoBroker })
}
