package quorum

import (
	"context"
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
	queue chan letter // raft messages
	ask   chan struct{}
}

// A letter is one raft message, encoded.
type letter struct {
	to   uint64
	data []byte
}

// A greeting is what Run wishes the peers to be told now.
type greeting struct {
	round int
	hello []byte
}

// A report is what a sender tells Run.
type report struct {
	from        partition.BrokerID
	answer      *hello // to a greeting
	round       int    // of that greeting
	lost        bool   // the greeting found nobody
	unreachable uint64 // raft messages to this one were lost
}

func newSender(id partition.BrokerID, addr string) *sender {
	return &sender{id: id, addr: addr, queue: make(chan letter, queueLength), ask: make(chan struct{}, 1)}
}

// send leaves a raft message; false means that the queue is full.
func (s *sender) send(l letter) bool {
	select {
	case s.queue <- l:
		return true
	default:
		return false
	}
}

// greet makes the sender tell the peer the newest greeting, soon.
func (s *sender) greet() {
	select {
	case s.ask <- struct{}{}:
	default: // it has not begun with the last one yet
	}
}

// deliver runs a sender until ctx ends.
func (q *Quorum) deliver(ctx context.Context, s *sender, reports chan<- report) {
	tell := func(r report) {
		r.from = s.id
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ask:
			g := q.greeting.Load()
			answer, err := q.call(ctx, s.addr, g.hello)
			if h, ok := readHello(answer, err); ok {
				tell(report{answer: &h, round: g.round})
			} else {
				tell(report{lost: true})
			}
		case l := <-s.queue:
			cluster := q.Status().Cluster
			messages := s.gather(l)
			answer, err := q.call(ctx, s.addr, encodePost(cluster, l.to, messages))
			if err != nil || !wasTaken(answer) {
				tell(report{unreachable: l.to})
			}
		}
	}
}

// gather takes more messages along with the first, within bounds.
func (s *sender) gather(first letter) [][]byte {
	messages := [][]byte{first.data}
	size := len(first.data)
	for len(messages) < maxPosted && size < maxMessage {
		select {
		case l := <-s.queue: // all are to the same voter: it has one name
			messages = append(messages, l.data)
			size += len(l.data)
		default:
			return messages
		}
	}
	return messages
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
