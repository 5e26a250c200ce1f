package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/node"
)

const retryPause = 20 * time.Millisecond

// member keeps the broker registered, and known to be alive.
func (p *process) member() {
	p.turn++
	if p.epoch == 0 {
		p.register()
		return
	}
	p.heartbeat()
}

// again is member after a pause, unless something else has called it meanwhile.
func (p *process) again(after time.Duration) {
	turn := p.turn
	p.w.at(after, p.b, awake, "member", func() {
		if turn == p.turn {
			p.member()
		}
	})
}

// askController sends one request to the controller, who may be this very process.
func (p *process) askController(what string, limit time.Duration, serve func(q *process, answer func(any)), done func(any, error)) *call {
	to := p.engine.Status().Leader
	if to == partition.NoBroker {
		p.w.at(0, p.b, awake, what, func() { done(nil, errRefused) })
		return nil
	}
	return p.w.call(p.b, to, what, awake, limit, serve, func(v any, err error) {
		if err == errRefused && to != p.id {
			p.w.at(0, p.b, disk, "gone", func() { p.drive(func() { p.engine.Gone(to) }) })
		}
		done(v, err)
	})
}

func (p *process) register() {
	req := control.RegisterRequest{
		Broker: partition.Broker{
			ID: p.id, Addr: addr(p.id), Directory: p.directory, Incarnation: p.incarnation,
		},
		PrevEpoch: p.cleanEpoch, Suspect: p.suspects,
	}
	p.beat = p.askController("register", callTime, func(q *process, answer func(any)) {
		q.ask(func(token uint64) control.Input { return control.Register{Token: token, RegisterRequest: req} }, answer)
	}, func(v any, err error) {
		resp, ok := v.(control.RegisterResponse)
		if err != nil || !ok || resp.Code != partition.OK {
			p.again(retryPause)
			return
		}
		p.w.at(0, p.b, disk, "registered", func() { p.registered(resp.Epoch) })
	})
}

func (p *process) registered(epoch partition.BrokerEpoch) {
	for _, l := range p.lossy {
		if err := l.Reported(); err != nil {
			p.trouble(err)
			return
		}
	}
	p.lossy = nil
	p.epoch = epoch
	p.w.note("registered", p.id, int64(epoch), int64(len(p.suspects)))
	p.w.faults.happens(registered, p.id, partition.NoBroker)
	p.touch()
	p.await(callTime, func(last bool) bool {
		if p.table.Offset() < log.Offset(epoch) && !last {
			return false
		}
		p.again(0)
		return true
	})
}

func (p *process) heartbeat() {
	req := control.HeartbeatRequest{Broker: p.id, Epoch: p.epoch, Applied: p.table.Offset(), WantFence: p.fencing, WantStop: p.leaving}
	p.beat = p.askController("heartbeat", heartbeatPace+callTime, func(q *process, answer func(any)) {
		q.ask(func(token uint64) control.Input { return control.Heartbeat{Token: token, HeartbeatRequest: req} }, func(v any) {
			if resp, ok := v.(control.HeartbeatResponse); ok && resp.Code == partition.OK && !resp.Fenced {
				q.keep(func() { answer(v) })
				return
			}
			answer(v)
		})
	}, func(v any, err error) {
		resp, ok := v.(control.HeartbeatResponse)
		switch {
		case err != nil || !ok:
			p.again(retryPause)
		case resp.Code == partition.StaleBroker:
			p.superseded()
		case resp.Code == partition.UnknownBroker:
			p.epoch = 0
			p.again(0)
		case resp.Code != partition.OK, resp.Fenced:
			p.again(retryPause)
		default:
			p.again(0)
		}
	})
}

// superseded ends a process that is told that another has taken its id. That may come
// from a late registration of the disk that was there before this one, which nobody can
// tell from a newer one, also if a late one of its own came after that; never from one of
// this disk's own past alone (I11).
func (p *process) superseded() {
	if at := p.w.watch.disks[p.id]; at.directory == p.directory && at.epoch <= p.epoch {
		p.w.fail("I11", "broker %d lives as incarnation %d, and is told that another has taken its id", p.id, p.epoch)
	}
	p.trouble(node.ErrSuperseded)
}

// A held heartbeat is answered when its time is over, or the controller is another.
type held struct{ answer func() }

// keep holds a heartbeat for its interval.
func (p *process) keep(answer func()) {
	h := &held{answer}
	p.kept = append(p.kept, h)
	p.w.at(heartbeatPace, p.b, awake, "keep", func() {
		if i := slices.Index(p.kept, h); i >= 0 {
			p.kept = slices.Delete(p.kept, i, i+1)
			h.answer()
		}
	})
}

// fence has the controller hear at once that this broker wants to be fenced, or not any
// more.
func (p *process) fence(want bool) {
	p.fencing = want
	p.hurry()
}

// hurry has the next heartbeat sent at once, for there is news that it tells.
func (p *process) hurry() {
	if p.epoch == 0 {
		return
	}
	if p.beat != nil {
		p.beat.drop()
	}
	p.again(0)
}

// someoneStops reports whether a broker waits to be let go until all have applied what
// there is.
func (p *process) someoneStops() bool {
	return slices.ContainsFunc(p.table.Brokers(), func(b partition.Broker) bool { return b.Stopping && !b.Fenced })
}

// handOver has others lead in this broker's place, and stops it when it is fenced, or when
// the time is over.
func (p *process) handOver(limit time.Duration) {
	if p.epoch == 0 {
		p.stop()
		return
	}
	p.leaving = true
	p.hurry()
	p.stopped = func() {
		b, _ := p.table.Broker(p.id)
		if !b.Fenced {
			return
		}
		for _, s := range p.table.All() {
			if s.Leader == p.id {
				return
			}
		}
		p.stop()
	}
	p.w.at(limit, p.b, disk, "stop", p.stop)
}
