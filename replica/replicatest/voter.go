package replicatest

import (
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/replica/quorum"
)

// votes is what a process keeps for its engine.
type votes struct {
	alarm   int // the newest; older ones do not ring
	waiting map[quorum.Token]func(error)
	decided []decided
	term    log.Epoch // that the controller was last looked at in
}

type decided struct {
	token quorum.Token
	err   error
}

// drive hands the engine an input, and lets it work until it rests.
func (p *process) drive(input func()) {
	if p.dead {
		return
	}
	input()
	for {
		worked, err := p.engine.Work()
		if err != nil {
			p.w.watch.voted(p)
			p.trouble(err)
			return
		}
		if !worked || p.dead {
			break
		}
	}
	p.w.watch.voted(p)
	list := p.votes.decided
	p.votes.decided = nil
	for _, d := range list {
		if done := p.votes.waiting[d.token]; done != nil {
			delete(p.votes.waiting, d.token)
			done(d.err)
		}
	}
	if st := p.engine.Status(); st.Leading != p.leads || st.Term != p.votes.term {
		p.w.at(span(p.w.rng, 0, 300*time.Microsecond), p.b, awake, "elected", p.watchQuorum)
	}
}

func (p *process) ticks() {
	p.w.at(tick, p.b, disk, "tick", func() {
		if p.engine.NeedsTicks() {
			p.drive(p.engine.Tick)
		}
		p.ticks()
	})
}

// Send implements [quorum.Host].
func (p *process) Send(m quorum.Message) bool {
	if p.dead {
		return false
	}
	data := m.Bytes()
	p.w.call(p.b, m.To, "quorum", disk, callTime, func(q *process, answer func(any)) {
		q.drive(func() {
			if b, err := q.engine.Step(data); err == nil {
				answer(b)
			}
		})
	}, func(v any, err error) {
		b, _ := v.([]byte)
		if err == nil && len(b) == 3 && b[2] == 0 {
			return // a post was taken: the engine has no interest in that
		}
		p.w.at(0, p.b, disk, "answered", func() {
			p.drive(func() { p.engine.Answered(m, b, err) })
		})
	})
	return true
}

// Apply implements [quorum.Host].
func (p *process) Apply(index log.Offset, data []byte) {
	if p.dead {
		return
	}
	p.apply(index, data)
}

// Snapshot implements [quorum.Host].
func (p *process) Snapshot() ([]byte, error) {
	if p.dead {
		return nil, errKilled
	}
	return p.table.Snapshot(), nil
}

// Restore implements [quorum.Host].
func (p *process) Restore(index log.Offset, state []byte) error {
	if p.dead {
		return nil
	}
	return p.restore(index, state)
}

// Decided implements [quorum.Host].
func (p *process) Decided(token quorum.Token, _ log.Offset, err error) {
	p.votes.decided = append(p.votes.decided, decided{token, err})
}

// Wake implements [quorum.Host].
func (p *process) Wake(after time.Duration) {
	p.votes.alarm++
	alarm := p.votes.alarm
	if after < 0 {
		return
	}
	p.w.at(after, p.b, disk, "wake", func() {
		if alarm == p.votes.alarm {
			p.drive(p.engine.Wake)
		}
	})
}

// propose asks the quorum for an entry, in a term; dropped is called if it certainly never
// is one.
func (p *process) propose(term log.Epoch, data []byte, dropped func()) {
	p.w.at(span(p.w.rng, 0, 200*time.Microsecond), p.b, disk, "propose", func() {
		p.drive(func() {
			token, err := p.engine.Propose(term, data)
			if err != nil {
				p.w.at(0, p.b, awake, "dropped", dropped)
				return
			}
			if p.votes.waiting == nil {
				p.votes.waiting = make(map[quorum.Token]func(error))
			}
			p.votes.waiting[token] = func(err error) {
				if err != nil && !errors.Is(err, quorum.ErrOutcomeUnknown) {
					dropped()
				}
			}
		})
	})
}
