package samsa

import (
	"context"
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// createTopic makes a topic and waits until each of its partitions has a leader.
func (c *cluster) createTopic(ctx context.Context, cfg TopicConfig) error {
	what, waitsFor := fmt.Sprintf("create topic %q", cfg.Name), ""
	req := partition.CreateTopicRequest{Config: cfg}
	for {
		_, changed := c.view.Changed()
		resp, err := decoded(partition.DecodeCreateTopicResponse)(c.askController(ctx, encoded(kindCreateTopic, req.Encode)))
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("samsa: %s: %s%w", what, waitsFor, context.Cause(ctx))
		case c.ctx.Err() != nil:
			return wrapped(what, ErrClosed)
		case err == nil && resp.Code == partition.OK:
			err := c.until(ctx, func() bool { return c.allLed(resp.Topic) })
			return wrapped(what+": wait for leaders", err)
		case err == nil && !resp.Code.Retriable():
			return refusal(what, resp.Code, resp.Text)
		}
		// The controller may be just being elected, or brokers be on their way.
		if err == nil && resp.Text != "" {
			waitsFor = resp.Text + ": "
		}
		_ = c.pause(ctx, changed)
	}
}

// askController sends one request to the controller, if one is known.
func (c *cluster) askController(ctx context.Context, f transport.Frame) (transport.Frame, error) {
	at := c.view.Controller()
	if at == partition.NoBroker {
		return transport.Frame{}, fmt.Errorf("no controller is known: %w", transport.ErrRefused)
	}
	return c.call(ctx, at, f, func() bool { return c.view.Controller() == at })
}

func (c *cluster) allLed(id partition.UUID) bool {
	t, ok := c.view.TopicByID(id)
	return ok && !slices.ContainsFunc(t.Partitions, func(st *partition.State) bool { return st.Leader == partition.NoBroker })
}
