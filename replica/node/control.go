package node

import (
	"context"
	"errors"
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
	n.reign = term
	brokers := n.table.Brokers()
	n.mu.Unlock()
	n.logger.Info("controller active", "broker", n.self, "term", term)
	n.command(control.Lead{})
	n.mu.Lock()
	n.moved() // for those in awaitReign
	n.mu.Unlock()
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
	out, reign := n.control.Step(time.Now(), in), n.reign
	n.mu.Unlock()
	n.carryControl(out, reign)
}

// ask steps the controller with a request, and waits for its reply.
func (n *Node) ask(ctx context.Context, request func(token uint64) control.Input) (any, error) {
	n.awaitReign(ctx)
	reply := make(chan any, 1)
	n.mu.Lock()
	n.token++
	token := n.token
	n.replies[token] = reply
	out, reign := n.control.Step(time.Now(), request(token)), n.reign
	n.mu.Unlock()
	n.carryControl(out, reign)
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

// awaitReign waits while this broker's voter has been elected and does not act as
// controller yet: a request that came with the news of the election would be
// turned away, and nothing would tell its sender when to come again.
func (n *Node) awaitReign(ctx context.Context) {
	for {
		n.mu.RLock()
		acts, moved := n.control.Leading(), n.changed
		n.mu.RUnlock()
		st, changed := n.quorum.Watch()
		if acts || st.Leader != n.self {
			return
		}
		select {
		case <-moved:
		case <-changed:
		case <-ctx.Done():
			return
		case <-n.ctx.Done():
			return
		}
	}
}

// carryControl carries out the orders that the controller gave in its reign of one term.
func (n *Node) carryControl(out control.Output, reign log.Epoch) {
	if len(out.Propose) > 0 {
		data := partition.EncodeRecords(out.Propose)
		n.workers.Go(func() { n.proposeEntry(data, reign) })
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
		n.report(e)
	}
}

// proposeEntry proposes what was decided in a reign, and in none that comes after: others
// may have decided otherwise in between.
func (n *Node) proposeEntry(data []byte, reign log.Epoch) {
	_, err := n.quorum.Propose(n.ctx, reign, data)
	switch {
	case err == nil:
	case errors.Is(err, quorum.ErrOutcomeUnknown):
		// It will be applied, or this voter has lost its place: either is told.
		n.logger.Debug("proposal", "error", err)
	default:
		n.logger.Debug("proposal", "error", err)
		n.dropped(reign)
	}
}

// dropped tells the controller that its proposal came to nothing, unless that was
// in an earlier reign: the one under way now is another.
func (n *Node) dropped(reign log.Epoch) {
	n.mu.Lock()
	if n.reign != reign {
		n.mu.Unlock()
		return
	}
	out := n.control.Step(time.Now(), control.Dropped{})
	n.mu.Unlock()
	n.carryControl(out, reign)
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
