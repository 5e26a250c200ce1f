package quorum

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/partition"
)

// queueLength is how many raft messages wait for one peer; more are dropped, and
// raft sends again what it needs to.
const queueLength = 128

// A sender takes messages to one peer, one call after another, so that they
// arrive in order. Who leaves a message never waits.
type sender struct {
	id    partition.BrokerID
	addr  string
	bulk  bool
	queue chan Message // posts, or all that is neither post nor hello
	ask   chan struct{}
	hello atomic.Pointer[Message] // the newest; older ones need not be said any more
	quit  chan struct{}           // closed when nothing will be left with it any more

	used time.Time // when a message was; of Run
}

// idleSender is for how long a sender waits for a message: its peer may have moved, or be
// gone for good.
const idleSender = time.Minute

// A report is what a sender tells Run: what became of a message.
type report struct {
	message Message
	answer  []byte
	err     error
}

func newSender(id partition.BrokerID, addr string, bulk bool) *sender {
	return &sender{id: id, addr: addr, bulk: bulk, queue: make(chan Message, queueLength), ask: make(chan struct{}, 1), quit: make(chan struct{})}
}

// send leaves a message; false means that the queue is full.
func (s *sender) send(m Message) bool {
	if m.kind == kindHello {
		s.hello.Store(&m)
		select {
		case s.ask <- struct{}{}:
		default: // it has not begun with the last one yet
		}
		return true
	}
	select {
	case s.queue <- m:
		return true
	default:
		return false
	}
}

// idle reports whether a sender is of no use any more.
func (s *sender) idle(now time.Time) bool {
	return now.Sub(s.used) > idleSender && len(s.queue) == 0 && len(s.ask) == 0
}

// deliver runs a sender until it is to quit, or ctx ends.
func (q *Quorum) deliver(ctx context.Context, s *sender, reports chan<- report) {
	tell := func(r report) {
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}
	var left *Message // for another voter than those gathered with it
	for {
		if left != nil {
			m := *left
			m, left = s.gather(m)
			q.post(ctx, m, tell)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.quit:
			return
		case <-s.ask:
			m := *s.hello.Load()
			answer, err := q.call(ctx, s.addr, m.Bytes())
			tell(report{m, answer, err})
		case m := <-s.queue:
			if s.bulk {
				answer, err := q.call(ctx, s.addr, m.Bytes())
				tell(report{m, answer, err})
				continue
			}
			m, left = s.gather(m)
			q.post(ctx, m, tell)
		}
	}
}

// post sends raft messages. That they have arrived nobody needs to know.
func (q *Quorum) post(ctx context.Context, m Message, tell func(report)) {
	answer, err := q.call(ctx, m.Addr, m.Bytes())
	if err != nil || !wasTaken(answer) {
		tell(report{m, answer, err})
	}
}

// gather takes more messages along with the first, within bounds. Left is one that
// is for another voter: a broker that came back with a new disk has a new name.
func (s *sender) gather(m Message) (all Message, left *Message) {
	size := len(m.letters[0])
	for len(m.letters) < maxPosted && size < maxMessage {
		select {
		case more := <-s.queue:
			if more.raft != m.raft {
				return m, &more
			}
			m.letters = append(m.letters, more.letters...)
			m.snap = m.snap || more.snap
			size += len(more.letters[0])
		default:
			return m, nil
		}
	}
	return m, nil
}

// call bounds a call: half an election, and time for the bytes on a slow link.
func (q *Quorum) call(ctx context.Context, addr string, msg []byte) ([]byte, error) {
	limit := q.cfg.Tick*time.Duration(q.cfg.ElectionTicks)/2 + time.Duration(len(msg)/1024)*time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return q.peers.Call(ctx, addr, msg)
}

func readHello(answer []byte, err error) (hello, bool) {
	if err != nil {
		return hello{}, false
	}
	kind, body, err := openEnvelope(answer)
	if err != nil || kind != kindHello {
		return hello{}, false
	}
	h, err := decodeHello(body)
	return h, err == nil
}
