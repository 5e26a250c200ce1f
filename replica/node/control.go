package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport/wire"
)

// runController runs the controller while this broker's voter leads the quorum.
func (n *Node) runController() {
	ticker := time.NewTicker(max(n.cfg.SessionTimeout/12, time.Millisecond))
	defer ticker.Stop()
	term := log.NoEpoch
	for {
		st, changed := n.quorum.Watch()
		if st.Term != term || !st.Leading {
			n.resign()
		}
		if st.Leading {
			n.lead(st.Term)
			term = st.Term
		}
		select {
		case <-changed:
		case <-ticker.C:
			n.command(control.Tick{})
		case <-n.ctx.Done():
			n.resign()
			return
		}
	}
}

func (n *Node) lead(term log.Epoch) {
	n.mu.Lock()
	if n.leads {
		n.mu.Unlock()
		return
	}
	n.leads = true
	brokers := n.table.Brokers()
	n.mu.Unlock()
	n.logger.Info("controller active", "broker", n.self, "term", term)
	n.command(control.Lead{})
	// A broker that died together with the controller before is not waited for.
	for _, b := range brokers {
		if !b.Fenced && b.ID != n.self {
			n.workers.Go(func() { n.probe(b) })
		}
	}
}

func (n *Node) resign() {
	n.mu.Lock()
	led := n.leads
	n.leads = false
	n.mu.Unlock()
	if led {
		n.command(control.Resign{})
	}
}

// command steps the controller with an input that wants no answer.
func (n *Node) command(in control.Input) {
	n.mu.Lock()
	out := n.control.Step(time.Now(), in)
	n.mu.Unlock()
	n.carryControl(out)
}

// ask steps the controller with a request, and waits for its reply.
func (n *Node) ask(ctx context.Context, request func(token uint64) control.Input) (any, error) {
	reply := make(chan any, 1)
	n.mu.Lock()
	n.token++
	token := n.token
	n.replies[token] = reply
	out := n.control.Step(time.Now(), request(token))
	n.mu.Unlock()
	n.carryControl(out)
	select {
	case v := <-reply:
		return v, nil
	case <-ctx.Done():
	case <-n.ctx.Done():
	}
	n.mu.Lock()
	delete(n.replies, token)
	n.mu.Unlock()
	return nil, errNotController
}

// carryControl carries out the controller's orders.
func (n *Node) carryControl(out control.Output) {
	if len(out.Propose) > 0 {
		data := partition.EncodeRecords(out.Propose)
		n.workers.Go(func() { n.proposeEntry(data) })
	}
	for _, r := range out.Replies {
		n.mu.Lock()
		reply := n.replies[r.Token]
		delete(n.replies, r.Token)
		n.mu.Unlock()
		if reply != nil {
			reply <- r.Value
		}
	}
	for _, a := range out.Ask {
		n.workers.Go(func() { n.askLogEnds(a) })
	}
	for _, e := range out.Events {
		n.logger.Info("controller", "event", e.Kind.String(), "broker", e.Broker, "epoch", e.Epoch, "partition", e.Partition)
	}
}

func (n *Node) proposeEntry(data []byte) {
	_, err := n.quorum.Propose(n.ctx, data)
	switch {
	case err == nil:
	case errors.Is(err, quorum.ErrOutcomeUnknown):
		// It will be applied, or this voter has lost its place: either is told.
		n.logger.Debug("proposal", "error", err)
	default:
		n.logger.Debug("proposal", "error", err)
		n.command(control.Dropped{})
	}
}

// probe asks whether a broker whose link broke is still there. Only a refusal
// counts: silence is the session's business.
func (n *Node) probe(b partition.Broker) {
	for range 3 {
		ctx, cancel := context.WithTimeout(n.ctx, n.cfg.CallTimeout)
		_, err := n.peers.Call(ctx, b.Addr, Message{Kind: KindPing})
		cancel()
		switch {
		case errors.Is(err, ErrUnreachable):
			n.logger.Info("broker is gone", "broker", b.ID, "epoch", b.Epoch)
			n.command(control.Broken{Broker: b.ID, Epoch: b.Epoch})
			return
		case err == nil, n.ctx.Err() != nil:
			return
		}
	}
}

func (n *Node) askLogEnds(req control.LogEndsRequest) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.CallTimeout)
	defer cancel()
	w := wire.NewWriter(nil)
	req.Encode(w)
	m := Message{Kind: KindLogEnds, Head: w.Bytes()}
	var got Message
	var err error
	if req.Broker == n.self {
		got, err = n.Handle(ctx, m)
	} else {
		got, err = n.call(ctx, req.Broker, m)
	}
	if err != nil {
		n.logger.Debug("log ends", "broker", req.Broker, "error", err)
		return // the controller asks again
	}
	resp, err := control.DecodeLogEndsResponse(got.Head)
	if err != nil || resp.Broker != req.Broker {
		return
	}
	n.command(control.LogEnds{LogEndsResponse: resp})
}

// propose asks the controller for a change of a partition's ISR.
func (n *Node) propose(r *Replica, alter replica.AlterISR) {
	n.workers.Go(func() {
		answer, err := n.alterISR(alter)
		if err != nil {
			n.logger.Debug("ISR proposal", "partition", r.name(), "error", err)
			r.do(&inputOp{replica.AlterLost{}})
			return
		}
		r.do(&inputOp{replica.Altered{PartitionEpoch: alter.PartitionEpoch, Code: answer.Code, State: answer.State}})
	})
}

func (n *Node) alterISR(alter replica.AlterISR) (replica.AlterISRAnswer, error) {
	ctx, cancel := context.WithTimeout(n.ctx, 2*n.cfg.CallTimeout)
	defer cancel()
	w := wire.NewWriter(nil)
	alter.Encode(w)
	got, err := n.askController(ctx, Message{Kind: KindAlterISR, Head: w.Bytes()})
	if err != nil {
		return replica.AlterISRAnswer{}, err
	}
	answer, err := replica.DecodeAlterISRAnswer(got.Head)
	if err == nil && answer.Code == partition.NotController {
		err = errNotController
	}
	return answer, err
}

// inputOp hands the machine an input that wants no answer.
type inputOp struct{ in replica.Input }

func (o *inputOp) perform(r *Replica, now time.Time) { r.step(now, o.in) }

// Handle answers a message of another broker. It returns soon after ctx has ended.
func (n *Node) Handle(ctx context.Context, m Message) (Message, error) {
	w := wire.NewWriter(nil)
	var data [][]byte
	var err error
	switch m.Kind {
	case KindPing:
	case KindFetch:
		var req replica.FetchRequest
		if req, err = replica.DecodeFetchRequest(m.Head); err == nil {
			var resp replica.FetchResponse
			resp, data = n.HandleFetch(ctx, req)
			resp.Encode(w)
		}
	case KindRegister:
		err = n.handleRegister(ctx, m.Head, w)
	case KindHeartbeat:
		err = n.handleHeartbeat(ctx, m.Head, w)
	case KindAlterISR:
		err = n.handleAlterISR(ctx, m.Head, w)
	case KindLogEnds:
		err = n.handleLogEnds(m.Head, w)
	default:
		err = fmt.Errorf("node: message of unknown kind %d", m.Kind)
	}
	return Message{Kind: m.Kind, Head: w.Bytes(), Data: data}, err
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
	l := n.found[id].log
	switch r := n.replicas[id]; {
	case n.found[id].damage != nil:
		return control.LogEnd{ID: id, Damaged: true}, true
	case r != nil:
		l = r.log
	case l == nil:
		return control.LogEnd{}, false // it is being opened: the controller asks again
	}
	end := l.End()
	if topic.Config.Durability == partition.Synced {
		end = l.Flushed()
	}
	return control.LogEnd{ID: id, LastEpoch: l.LastEpoch(), End: end}, true
}
