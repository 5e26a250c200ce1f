package node

import (
	"context"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport/wire"
)

// Handle answers a message of another broker. It returns soon after ctx has ended.
func (n *Node) Handle(ctx context.Context, m Message) (Message, error) {
	if m.Kind == KindFetch {
		return n.handleFetch(ctx, m)
	}
	w := wire.NewWriter(nil)
	var err error
	switch m.Kind {
	case KindPing:
	case KindRegister:
		err = n.handleRegister(ctx, m.Head, w)
	case KindHeartbeat:
		err = n.handleHeartbeat(ctx, m.Head, w)
	case KindAlterISR:
		err = n.handleAlterISR(ctx, m.Head, w)
	case KindDiscard:
		err = n.handleDiscard(ctx, m.Head, w)
	case KindLogEnds:
		err = n.handleLogEnds(m.Head, w)
	default:
		err = fmt.Errorf("node: message of unknown kind %d", m.Kind)
	}
	return Message{Kind: m.Kind, Head: w.Bytes()}, err
}

func (n *Node) handleRegister(ctx context.Context, head []byte, w *wire.Writer) error {
	req, err := control.DecodeRegisterRequest(head)
	if err != nil {
		return err
	}
	v, err := n.ask(ctx, func(token uint64) control.Input {
		return control.Register{Token: token, RegisterRequest: req}
	})
	resp := control.RegisterResponse{Code: partition.NotController}
	if got, ok := v.(control.RegisterResponse); ok && err == nil {
		resp = got
	}
	resp.Encode(w)
	return nil
}

func (n *Node) handleHeartbeat(ctx context.Context, head []byte, w *wire.Writer) error {
	req, err := control.DecodeHeartbeatRequest(head)
	if err != nil {
		return err
	}
	v, err := n.ask(ctx, func(token uint64) control.Input {
		return control.Heartbeat{Token: token, HeartbeatRequest: req}
	})
	resp := control.HeartbeatResponse{Code: partition.NotController}
	if got, ok := v.(control.HeartbeatResponse); ok && err == nil {
		resp = got
	}
	if resp.Code == partition.OK && !resp.Fenced {
		n.keep(ctx, req)
	}
	resp.Encode(w)
	return nil
}

// keep holds a heartbeat for the interval. It is the link to its broker: when it
// breaks, the broker is probed, and fenced at once if it is gone.
func (n *Node) keep(ctx context.Context, req control.HeartbeatRequest) {
	timer := time.NewTimer(n.cfg.HeartbeatInterval)
	defer timer.Stop()
	_, elected := n.quorum.Watch()
	select {
	case <-timer.C:
	case <-elected: // the controller may be another now
	case <-n.ctx.Done():
	case <-ctx.Done():
		if b, ok := n.Broker(req.Broker); ok && b.Epoch == req.Epoch && n.ctx.Err() == nil {
			n.workers.Go(func() { n.probe(b) })
		}
	}
}

func (n *Node) handleAlterISR(ctx context.Context, head []byte, w *wire.Writer) error {
	req, err := replica.DecodeAlterISR(head)
	if err != nil {
		return err
	}
	v, err := n.ask(ctx, func(token uint64) control.Input { return control.Alter{Token: token, AlterISR: req} })
	resp := replica.AlterISRAnswer{Code: partition.NotController}
	if got, ok := v.(replica.AlterISRAnswer); ok && err == nil {
		resp = got
	}
	resp.Encode(w)
	return nil
}

func (n *Node) handleDiscard(ctx context.Context, head []byte, w *wire.Writer) error {
	req, err := replica.DecodeDiscard(head)
	if err != nil {
		return err
	}
	v, err := n.ask(ctx, func(token uint64) control.Input { return control.Discard{Token: token, Discard: req} })
	resp := replica.DiscardAnswer{Code: partition.NotController}
	if got, ok := v.(replica.DiscardAnswer); ok && err == nil {
		resp = got
	}
	resp.Encode(w)
	return nil
}

// HandleCreateTopic answers a client's wish, if this broker runs the controller.
func (n *Node) HandleCreateTopic(ctx context.Context, req partition.CreateTopicRequest, id partition.UUID) partition.CreateTopicResponse {
	v, err := n.ask(ctx, func(token uint64) control.Input {
		return control.CreateTopic{Token: token, Config: req.Config, Topic: id}
	})
	if got, ok := v.(partition.CreateTopicResponse); ok && err == nil {
		return got
	}
	return partition.CreateTopicResponse{Code: partition.NotController, Controller: n.quorum.Status().Leader}
}

func (n *Node) handleLogEnds(head []byte, w *wire.Writer) error {
	req, err := control.DecodeLogEndsRequest(head)
	if err != nil {
		return err
	}
	resp := control.LogEndsResponse{Broker: n.self, Epoch: n.Epoch()}
	if req.Broker != n.self || req.Epoch != resp.Epoch {
		resp.Code = partition.StaleBroker
		req.IDs = nil
	}
	for _, id := range req.IDs {
		if end, ok := n.logEnd(id); ok {
			resp.Ends = append(resp.Ends, end)
		}
	}
	resp.Encode(w)
	return nil
}

// logEnd says how complete this broker's copy of a partition is, by what counts
// for an acknowledgement there.
func (n *Node) logEnd(id partition.ID) (control.LogEnd, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	topic, _ := n.table.TopicByID(id.Topic)
	f := n.found[id]
	l, damaged := f.log, f.behind || f.damage != nil
	switch r := n.replicas[id]; {
	case r != nil:
		l, damaged = r.log, r.behind.Load() || r.damage.Load() != nil
	case l == nil && damaged:
		return control.LogEnd{ID: id, Damaged: true, Unusable: true}, true
	case l == nil:
		return control.LogEnd{}, false // it is being opened: the controller asks again
	}
	end := l.End()
	if topic.Config.Durability == partition.Synced {
		end = l.Flushed()
	}
	epoch, ok := l.EpochAt(end - 1)
	if !ok {
		epoch = log.NoEpoch
	}
	return control.LogEnd{ID: id, LastEpoch: epoch, End: end, Damaged: damaged}, true
}
