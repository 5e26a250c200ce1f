package node

import (
	"context"
	"log/slog"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
)

// What an operator asks is answered if this broker runs the controller.

// change steps the controller with an operator's request, and waits for its answer.
func (n *Node) change(ctx context.Context, request func(token uint64) control.Input) partition.ChangeResponse {
	v, err := n.ask(ctx, request)
	if got, ok := v.(partition.ChangeResponse); ok && err == nil && got.Code != partition.NotController {
		return got
	}
	return partition.ChangeResponse{Code: partition.NotController, Controller: n.quorum.Status().Leader}
}

// HandleDeleteTopic removes a topic.
func (n *Node) HandleDeleteTopic(ctx context.Context, req partition.DeleteTopicRequest) partition.ChangeResponse {
	return n.change(ctx, func(token uint64) control.Input { return control.DeleteTopic{Token: token, DeleteTopicRequest: req} })
}

// HandleAddPartitions gives a topic more partitions.
func (n *Node) HandleAddPartitions(ctx context.Context, req partition.AddPartitionsRequest) partition.ChangeResponse {
	return n.change(ctx, func(token uint64) control.Input {
		return control.AddPartitions{Token: token, AddPartitionsRequest: req}
	})
}

// HandleAlterTopic changes a topic's configuration.
func (n *Node) HandleAlterTopic(ctx context.Context, req partition.AlterTopicRequest) partition.ChangeResponse {
	return n.change(ctx, func(token uint64) control.Input { return control.AlterTopic{Token: token, AlterTopicRequest: req} })
}

// HandleReassign moves a partition, or has it stay.
func (n *Node) HandleReassign(ctx context.Context, req partition.ReassignRequest) partition.ChangeResponse {
	return n.change(ctx, func(token uint64) control.Input { return control.Reassign{Token: token, ReassignRequest: req} })
}

// HandleTransfer makes another replica the leader.
func (n *Node) HandleTransfer(ctx context.Context, req partition.TransferRequest) partition.ChangeResponse {
	return n.change(ctx, func(token uint64) control.Input { return control.Transfer{Token: token, TransferRequest: req} })
}

// HandleElect has a replica elected that may be incomplete.
func (n *Node) HandleElect(ctx context.Context, req partition.ElectRequest) partition.ChangeResponse {
	return n.change(ctx, func(token uint64) control.Input { return control.ElectUnclean{Token: token, ElectRequest: req} })
}

// levels are those of the events that are worth more than a line.
var levels = map[control.EventKind]slog.Level{
	control.FencedSilent:     slog.LevelWarn,
	control.FencedBroken:     slog.LevelWarn,
	control.ISRShrunk:        slog.LevelWarn,
	control.CopyDiscarded:    slog.LevelWarn,
	control.BalancedElection: slog.LevelWarn,
	control.PartitionOffline: slog.LevelError,
	control.UncleanElection:  slog.LevelError,
}

// report tells the log of an event at the controller.
func (n *Node) report(e control.Event) {
	level := levels[e.Kind] // zero is Info
	if e.Partition == (partition.ID{}) {
		n.logger.Log(n.ctx, level, "broker "+e.Kind.String(), "broker", e.Broker, "epoch", e.Epoch)
		return
	}
	topic, _ := n.TopicByID(e.Partition.Topic)
	st, _ := n.State(e.Partition)
	n.logger.Log(n.ctx, level, e.Kind.String(), "partition", dirName(topic.Config.Name, e.Partition.Partition),
		"leader", st.Leader, "epoch", st.Epoch, "replicas", st.Replicas, "isr", st.ISR, "elr", st.ELR)
}
