package quorum

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// inARow is how many messages and proposals are taken before their entries are
// synced, all at once.
const inARow = 256

// A submission is an entry on its way to Run, and its outcome back.
type submission struct {
	term log.Epoch // in which it is to be agreed on; NoEpoch: in any
	data []byte
	done chan outcome // has room for one
}

type outcome struct {
	index log.Offset
	err   error
}

// A runner is what Run owns: the engine, and the host that it works for. Nobody
// else touches it.
type runner struct {
	q       *Quorum
	ctx     context.Context
	engine  *Engine
	senders []*sender
	swept   time.Time      // when those of no use any more were ended
	running sync.WaitGroup // the senders
	reports chan report
	ticker  *time.Ticker // stopped while time has no meaning
	ticking bool
	wake    *time.Timer

	waiting map[Token]*submission
	decided []decision // to be told once the status is published
}

// Run takes part in the quorum until ctx ends, and then returns nil. It returns
// an error if the disk fails or an invariant breaks: this voter is then offline.
// When it returns, all that it started has ended, and the files are closed. It is
// called once.
func (q *Quorum) Run(ctx context.Context) error {
	if !q.running.CompareAndSwap(false, true) {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{
		q: q, ctx: ctx, engine: q.engine, reports: make(chan report), waiting: make(map[Token]*submission),
		wake: time.NewTimer(time.Hour), ticker: time.NewTicker(time.Hour),
	}
	r.wake.Stop()
	r.ticker.Stop()
	q.host.runner = r
	r.engine.Begin()
	err := r.work()
	for err == nil && ctx.Err() == nil {
		r.turn()
		err = r.work()
	}
	cancel()
	close(q.ended)
	r.end(err)
	r.running.Wait()
	return errors.Join(err, r.engine.Close())
}

// turn waits for something to happen, and hands it to the engine with all that has
// come with it, so that one sync serves all of it.
func (r *runner) turn() {
	defer r.sweep()
	select {
	case <-r.ctx.Done():
		return
	case <-r.ticker.C:
		r.engine.Tick()
	case <-r.wake.C:
		r.engine.Wake()
	case p := <-r.q.inbox:
		r.engine.receive(p)
	case s := <-r.q.proposals:
		r.propose(s)
	case call := <-r.q.steps:
		answer, err := r.engine.Step(call.msg)
		call.answer <- stepAnswer{answer, err}
	case o := <-r.q.orders:
		r.order(o)
	case rep := <-r.reports:
		r.engine.Answered(rep.message, rep.answer, rep.err)
	case id := <-r.q.gone:
		r.engine.Gone(id)
	}
	for range inARow {
		select {
		case p := <-r.q.inbox:
			r.engine.receive(p)
		case s := <-r.q.proposals:
			r.propose(s)
		default:
			return
		}
	}
}

// work has the engine do what is to be done. The status is published before
// anybody is told of what it follows from.
func (r *runner) work() error {
	for {
		worked, err := r.engine.Work()
		if needs := r.engine.NeedsTicks(); needs != r.ticking {
			r.ticking = needs
			r.ticker.Stop()
			if needs {
				r.ticker.Reset(r.engine.cfg.Tick)
			}
		}
		r.q.publish(r.engine.Status())
		for _, d := range r.decided {
			r.waiting[d.token].done <- outcome{d.index, d.err}
			delete(r.waiting, d.token)
		}
		r.decided = r.decided[:0]
		if err != nil || !worked {
			return err
		}
	}
}

func (r *runner) propose(s *submission) {
	token, err := r.engine.propose(s.term, s.data)
	if err != nil {
		s.done <- outcome{err: err}
		return
	}
	r.waiting[token] = s
}

// An order is an operator's, on its way to Run.
type order struct {
	change   *Change // nil: hand the lead over
	transfer partition.BrokerID
	barrier  bool         // neither: confirm that this voter leads
	done     chan outcome // has room for one
}

func (r *runner) order(o order) {
	var token Token
	var err error
	switch {
	case o.barrier:
		token, err = r.engine.ReadBarrier()
	case o.change != nil:
		token, err = r.engine.ChangeVoters(*o.change)
	default:
		o.done <- outcome{err: r.engine.Transfer(o.transfer)}
		return
	}
	if err != nil {
		o.done <- outcome{err: err}
		return
	}
	r.waiting[token] = &submission{done: o.done}
}

// end tells everybody who waits that Run is over.
func (r *runner) end(err error) {
	if err == nil {
		err = ErrClosed
	}
	for _, d := range r.decided {
		r.waiting[d.token].done <- outcome{d.index, d.err}
		delete(r.waiting, d.token)
	}
	for _, s := range r.waiting {
		s.done <- outcome{err: &unknownError{err}}
	}
	r.wake.Stop()
	r.ticker.Stop()
	r.q.publish(r.engine.Status().retired())
}

// send leaves a message with the sender to that broker, and starts one if there is
// none yet.
func (r *runner) send(m Message) bool {
	// What is large must not stand in the way of a heartbeat.
	bulk := m.kind != kindPost && m.kind != kindHello
	at := slices.IndexFunc(r.senders, func(s *sender) bool { return s.id == m.To && s.addr == m.Addr && s.bulk == bulk })
	if at < 0 {
		at = len(r.senders)
		s := newSender(m.To, m.Addr, bulk)
		r.senders = append(r.senders, s)
		r.running.Go(func() { r.q.deliver(r.ctx, s, r.reports) })
	}
	r.senders[at].used = time.Now()
	return r.senders[at].send(m)
}

// sweep ends the senders that are of no use any more.
func (r *runner) sweep() {
	now := time.Now()
	if now.Sub(r.swept) < idleSender/4 {
		return
	}
	r.swept = now
	r.senders = slices.DeleteFunc(r.senders, func(s *sender) bool {
		if s.idle(now) {
			close(s.quit)
			return true
		}
		return false
	})
}

// A shellHost is the host of a quorum's engine. Its runner is set when Run begins:
// before that the engine asks nothing of it.
type shellHost struct {
	*runner
	Applier
}

func (h *shellHost) Send(m Message) bool { return h.send(m) }

func (h *shellHost) Decided(token Token, index log.Offset, err error) {
	h.decided = append(h.decided, decision{token, index, err})
}

func (h *shellHost) Wake(after time.Duration) {
	if after < 0 {
		h.wake.Stop()
		return
	}
	h.wake.Reset(max(after, 1)) // one that has run out when it is set is no wait
}

var _ Host = (*shellHost)(nil)
