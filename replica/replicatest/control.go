package replicatest

import (
	"errors"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
)

// watchQuorum begins or ends the controller's reign as the quorum has it.
func (p *process) watchQuorum() {
	st := p.engine.Status()
	if st.Term != p.votes.term || !st.Leading {
		p.resign()
	}
	if st.Leading {
		p.lead(st.Term)
	}
	p.votes.term = st.Term
	kept := p.kept
	p.kept = nil
	for _, h := range kept {
		h.answer()
	}
	early := p.early
	p.early = nil
	for _, f := range early {
		f()
	}
}

func (p *process) lead(term log.Epoch) {
	if p.leads {
		return
	}
	p.leads = true
	p.reign = term
	p.w.note("controller", p.id, int64(p.reign), 0)
	p.command(control.Lead{})
	for _, b := range p.table.Brokers() {
		if !b.Fenced && b.ID != p.id {
			p.probe(b.ID, 3)
		}
	}
	p.watchTime(p.reign)
}

// watchTime lets the controller look at the time while its reign lasts.
func (p *process) watchTime(reign log.Epoch) {
	p.w.at(session/12, p.b, awake, "control", func() {
		if p.leads && p.reign == reign {
			p.command(control.Tick{})
			p.watchTime(reign)
		}
	})
}

func (p *process) resign() {
	if p.leads {
		p.leads = false
		p.command(control.Resign{})
	}
}

// command steps the controller with an input that wants no answer.
func (p *process) command(in control.Input) {
	p.carryControl(p.control.Step(p.w.clock(), in), p.reign)
}

// ask steps the controller with a request; its answer goes to reply.
func (p *process) ask(request func(token uint64) control.Input, reply func(any)) {
	if !p.control.Leading() && p.engine.Status().Leader == p.id {
		// It has been elected and does not act yet.
		p.early = append(p.early, func() { p.ask(request, reply) })
		return
	}
	p.token++
	p.replies[p.token] = reply
	out := p.control.Step(p.w.clock(), request(p.token))
	p.carryControl(out, p.reign)
}

func (p *process) carryControl(out control.Output, reign log.Epoch) {
	if p.dead {
		return
	}
	if len(out.Propose) > 0 {
		data := partition.EncodeRecords(out.Propose)
		p.propose(reign, data, func() {
			if p.reign == reign {
				p.command(control.Dropped{})
			}
		})
	}
	for _, r := range out.Replies {
		reply := p.replies[r.Token]
		if reply == nil {
			p.w.fail("I34", "the controller answers request %d twice, or one that is not there", r.Token)
			return
		}
		delete(p.replies, r.Token)
		reply(r.Value)
	}
	for _, a := range out.Ask {
		p.askLogEnds(a)
	}
	for _, e := range out.Events {
		p.w.note("event", e.Broker, int64(e.Kind), int64(e.Epoch))
	}
}

// probe asks whether a broker is still there. Only a refusal counts.
func (p *process) probe(id partition.BrokerID, tries int) {
	b, ok := p.table.Broker(id)
	if !ok || tries == 0 {
		return
	}
	p.w.call(p.b, id, "ping", awake, callTime, func(_ *process, answer func(any)) { answer(true) }, func(_ any, err error) {
		switch {
		case errors.Is(err, errRefused):
			p.command(control.Broken{Broker: b.ID, Epoch: b.Epoch})
		case err != nil:
			p.probe(id, tries-1)
		}
	})
}

func (p *process) askLogEnds(req control.LogEndsRequest) {
	p.w.call(p.b, req.Broker, "log ends", awake, callTime, func(q *process, answer func(any)) {
		answer(q.logEnds(req))
	}, func(v any, _ error) {
		if resp, ok := v.(control.LogEndsResponse); ok && resp.Broker == req.Broker {
			p.command(control.LogEnds{LogEndsResponse: resp})
		}
	})
}

func (p *process) logEnds(req control.LogEndsRequest) control.LogEndsResponse {
	resp := control.LogEndsResponse{Broker: p.id, Epoch: p.epoch}
	if req.Broker != p.id || req.Epoch != p.epoch {
		resp.Code = partition.StaleBroker
		return resp
	}
	for _, id := range req.IDs {
		if end, ok := p.logEnd(id); ok {
			resp.Ends = append(resp.Ends, end)
		}
	}
	return resp
}

// logEnd says how complete this broker's copy of a partition is.
func (p *process) logEnd(id partition.ID) (control.LogEnd, bool) {
	topic, _ := p.table.TopicByID(id.Topic)
	c, f := p.copy(id), p.found[id]
	var l *log.Log
	var behind, damaged bool
	switch {
	case c != nil:
		l, behind, damaged = c.log, c.behind, c.damage != nil
	case f == nil:
		return control.LogEnd{}, false
	case f.log == nil:
		return control.LogEnd{ID: id, Damaged: true, Unusable: true}, true
	default:
		l, behind, damaged = f.log, f.label.Behind, f.damage != nil
	}
	if mutate.On("new copy speaks") {
		behind = false
	}
	end := l.End()
	if topic.Config.Durability == partition.Synced {
		end = l.Flushed()
	}
	epoch, ok := l.EpochAt(end - 1)
	if !ok {
		epoch = log.NoEpoch
	}
	return control.LogEnd{ID: id, LastEpoch: epoch, End: end, Damaged: behind || damaged}, true
}

// alter asks the controller for a change of a partition's ISR.
func (p *process) alter(c *copyOf, alter replica.AlterISR) {
	alter.ISR = slices.Clone(alter.ISR)
	for _, m := range alter.ISR {
		if !slices.Contains(c.state.ISR, m.ID) {
			p.w.faults.happens(joining, m.ID, p.id)
		}
	}
	sent := p.w.now
	p.askController("alter", 2*callTime, func(q *process, answer func(any)) {
		if q.w.now-sent >= lag {
			return // what a shell must keep: it reaches the controller within the lag, or never
		}
		q.ask(func(token uint64) control.Input { return control.Alter{Token: token, AlterISR: alter} }, answer)
	}, func(v any, err error) {
		p.w.at(0, p.b, disk, "altered", func() {
			resp, ok := v.(replica.AlterISRAnswer)
			var in replica.Input = replica.Altered{PartitionEpoch: alter.PartitionEpoch, Code: resp.Code, State: resp.State}
			if err != nil || !ok || resp.Code == partition.NotController {
				in = replica.AlterLost{}
			}
			c.step(in)
			c.settle()
		})
	})
}

// clock is the process's one timer for its copies.
func (p *process) clock() {
	for _, c := range p.copies {
		c.tick()
		if c.dirty {
			c.dirty = false
			c.flushSoon()
		}
		if p.dead {
			return
		}
	}
	p.expireCold()
	if p.late {
		p.late = false
		p.touch()
	}
	p.w.at(lag/2, p.b, disk, "clock", p.clock)
}

// cleanPace is how often retention is looked at.
const cleanPace = 400 * time.Millisecond

func (p *process) clean() {
	for _, c := range p.copies {
		topic, ok := p.table.TopicByID(c.id.Topic)
		switch {
		case !ok || c.lost:
		case topic.Config.Compact:
			c.compact()
		case c.role.leads:
			c.retain(topic.Config)
		}
		if p.dead {
			return
		}
	}
	p.w.at(cleanPace, p.b, disk, "clean", p.clean)
}
