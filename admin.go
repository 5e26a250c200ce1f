package samsa

import (
	"context"
	"fmt"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/wire"
)

// DeleteTopic removes a topic with all its records. One of the same name that is made
// afterwards is another topic: what a producer sends to the old one after its end is
// refused with an error that matches [ErrUnknownTopic], and its next record goes to
// the new one. The error of a topic that is not there matches [ErrUnknownTopic].
func (c *Client) DeleteTopic(ctx context.Context, name string) error {
	found, _ := c.cluster.view.Topic(name)
	what := fmt.Sprintf("delete topic %q", name)
	_, err := c.cluster.change(ctx, what, kindDeleteTopic, func(seen log.Offset, w *wire.Writer) {
		(&partition.DeleteTopicRequest{Seen: seen, Name: name, Topic: found.ID}).Encode(w)
	})
	return err
}

// AddPartitions gives a topic more partitions, so that it has total. They begin
// empty, and records of a key that were sent before stay where they are: from then on
// a key may go elsewhere. Partitions cannot be taken away; the error then matches
// [ErrInvalidTopic].
func (c *Client) AddPartitions(ctx context.Context, topic string, total int) error {
	what := fmt.Sprintf("add partitions to topic %q", topic)
	found, err := c.cluster.known(what, topic)
	if err != nil {
		return err
	}
	_, err = c.cluster.change(ctx, what, kindAddPartitions, func(seen log.Offset, w *wire.Writer) {
		(&partition.AddPartitionsRequest{Seen: seen, Topic: found.ID, Total: total}).Encode(w)
	})
	if err != nil {
		return err
	}
	err = c.cluster.until(ctx, func() bool { return c.cluster.allLed(found.ID) })
	return wrapped(what+": wait for leaders", err)
}

// AlterTopic changes the configuration of the topic that cfg names: MinISR,
// Retention, RetentionBytes, and Compact, which can be switched on and not off: false
// leaves it as it is, and to be rid of it one copies what is kept to another topic. Zero
// fields stay as they are. Others may be given if they are what the topic has
// already; otherwise the error matches [ErrInvalidTopic] and says what to do instead.
// MinISR is not raised above the replicas that are in sync now: the error matches
// [ErrNotEnoughReplicas].
func (c *Client) AlterTopic(ctx context.Context, cfg TopicConfig) error {
	what := fmt.Sprintf("alter topic %q", cfg.Name)
	found, err := c.cluster.known(what, cfg.Name)
	if err != nil {
		return err
	}
	_, err = c.cluster.change(ctx, what, kindAlterTopic, func(seen log.Offset, w *wire.Writer) {
		(&partition.AlterTopicRequest{Seen: seen, Topic: found.ID, Config: cfg}).Encode(w)
	})
	return err
}

// Reassign moves a partition to other brokers, given in order of preference. It
// returns when the move has begun: those that are new copy what there is and join the
// ISR, and once all have those that are not named give their copies up. Until then
// all keep theirs, and leader and ISR work as ever. [Partition.Info] shows how far it
// is; [Partition.AwaitReassigned] waits for the end. A second call replaces the
// first. The error of an impossible list matches [ErrInvalidReplicas].
func (c *Client) Reassign(ctx context.Context, topic string, p PartitionID, replicas []BrokerID) error {
	if len(replicas) == 0 {
		return fmt.Errorf("samsa: reassign %s/%d: %w: no broker is named", topic, p, ErrInvalidReplicas)
	}
	return c.reassign(ctx, topic, p, replicas)
}

// CancelReassign has a partition stay with the brokers that it was at before its
// reassignment began. If fewer than MinISR of those are in sync the error matches
// [ErrNotEnoughReplicas], and the move goes on.
func (c *Client) CancelReassign(ctx context.Context, topic string, p PartitionID) error {
	return c.reassign(ctx, topic, p, nil)
}

func (c *Client) reassign(ctx context.Context, topic string, p PartitionID, replicas []BrokerID) error {
	_, err := c.cluster.changeAt(ctx, "reassign", topic, p, kindReassign, func(seen log.Offset, id partition.ID, w *wire.Writer) {
		(&partition.ReassignRequest{Seen: seen, ID: id, Replicas: replicas}).Encode(w)
	})
	return err
}

// TransferLeader has another replica lead a partition; zero stands for the
// preferred one, the first of its replicas. Producers and consumers follow by
// themselves. If that broker is not in sync or not there the error matches
// [ErrIneligible].
func (c *Client) TransferLeader(ctx context.Context, topic string, p PartitionID, to BrokerID) error {
	_, err := c.cluster.changeAt(ctx, "transfer the leadership of", topic, p, kindTransfer, func(seen log.Offset, id partition.ID, w *wire.Writer) {
		(&partition.TransferRequest{Seen: seen, ID: id, To: to}).Encode(w)
	})
	return err
}

// ElectUnclean has a replica lead a partition that has no leader, although it may
// lack records that were acknowledged: THEY ARE THEN LOST FOR GOOD, also where
// other replicas still have them. It is for the day on which those will not come back.
// Zero stands for the most complete of the replicas that are there. What is returned
// says, for people, what may be lost. In a compacted topic that can be a key as a whole,
// whose older records have been compacted away; its other replicas are copied anew. A
// partition that has a leader, or can get one without loss, keeps or gets that one.
func (c *Client) ElectUnclean(ctx context.Context, topic string, p PartitionID, to BrokerID) (loss string, err error) {
	resp, err := c.cluster.changeAt(ctx, "elect a leader of", topic, p, kindElect, func(seen log.Offset, id partition.ID, w *wire.Writer) {
		(&partition.ElectRequest{Seen: seen, ID: id, To: to}).Encode(w)
	})
	return resp.Text, err
}

// notOwn refuses what only Samsa may do to a topic of its own.
func notOwn(name string) error {
	if name == control.OffsetsTopic {
		return fmt.Errorf("%w: %q is Samsa's own", ErrInvalidTopic, name)
	}
	return nil
}

// known finds a topic by its name.
func (c *cluster) known(what, name string) (partition.Topic, error) {
	found, ok := c.view.Topic(name)
	if err := notOwn(name); err != nil {
		return found, wrapped(what, err)
	}
	if !ok {
		return found, wrapped(what, ErrUnknownTopic)
	}
	return found, nil
}

// place finds a partition.
func (c *cluster) place(what, topic string, p PartitionID) (partition.ID, error) {
	found, ok := c.view.Topic(topic)
	if !ok {
		return partition.ID{}, wrapped(what, ErrUnknownTopic)
	}
	if p < 0 || int(p) >= len(found.Partitions) {
		return partition.ID{}, wrapped(what, ErrUnknownPartition)
	}
	return partition.ID{Topic: found.ID, Partition: p}, nil
}

// changeAt is change of one partition.
func (c *cluster) changeAt(ctx context.Context, verb, topic string, p PartitionID, kind transport.Kind, encode func(log.Offset, partition.ID, *wire.Writer)) (partition.ChangeResponse, error) {
	what := fmt.Sprintf("%s %s/%d", verb, topic, p)
	id, err := c.place(what, topic, p)
	if err != nil {
		return partition.ChangeResponse{}, err
	}
	return c.change(ctx, what, kind, func(seen log.Offset, w *wire.Writer) { encode(seen, id, w) })
}

// change asks the controller for something until it has answered for good, and then
// waits until this client's metadata has it.
func (c *cluster) change(ctx context.Context, what string, kind transport.Kind, encode func(seen log.Offset, w *wire.Writer)) (partition.ChangeResponse, error) {
	for {
		seen, changed := c.view.Changed()
		resp, err := decoded(partition.DecodeChangeResponse)(c.askController(ctx, encoded(kind, func(w *wire.Writer) { encode(seen, w) })))
		switch {
		case err == nil && resp.Code == partition.OK:
			err := c.until(ctx, func() bool {
				have, _ := c.view.Changed()
				return have >= resp.Offset
			})
			return resp, wrapped(what, err)
		case ctx.Err() != nil:
			return resp, wrapped(what, context.Cause(ctx))
		case c.ctx.Err() != nil:
			return resp, wrapped(what, ErrClosed)
		case err == nil && !slices.Contains(comeAgain, resp.Code):
			return resp, refusal(what, resp.Code, resp.Text)
		}
		if err := c.pause(ctx, changed); err != nil {
			return resp, wrapped(what, err)
		}
	}
}

// comeAgain are the answers that say nothing of what was asked.
var comeAgain = []partition.Code{partition.NotController, partition.NotAttempted, partition.Internal}

func refusal(what string, code partition.Code, text string) error {
	if text == "" {
		return wrapped(what, code)
	}
	return fmt.Errorf("samsa: %s: %w: %s", what, code, text)
}

func wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("samsa: %s: %w", what, err)
}
