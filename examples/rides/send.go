package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/samsalog/samsa"
)

// inFlight bounds the requests without an answer, so that a broker dies under load
// and not behind it.
const inFlight = 8192

// complaints is how many requests that failed, or may have, are named one by one.
const complaints = 5

// A sender sends the requests of a run. One goroutine does it all: that is what
// gives the rides of a zone their order.
type sender struct {
	rides    []Ride
	book     *book
	complain func(format string, args ...any)
	hold     chan struct{} // the requests behind holdAt wait until it is closed
	slots    chan struct{} // one a request without an answer
	watch    watch
	first    time.Time // when the first request was sent

	mu   sync.Mutex // guards last
	last time.Time  // when the latest was acknowledged
}

func newSender(rides []Ride, b *book, complain func(string, ...any)) *sender {
	slots := min(inFlight, max(1, b.order.len()/20))
	return &sender{rides: rides, book: b, complain: complain, hold: make(chan struct{}), slots: make(chan struct{}, slots)}
}

// run sends everything, as often as it shall be sent, and waits for the answers.
func (s *sender) run(ctx context.Context, producer *samsa.Producer) error {
	s.first = time.Now()
	total := s.book.order.len()
	for n := range total {
		if n == holdAt*total/100 {
			select {
			case <-s.hold:
			case <-ctx.Done():
			}
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if s.hopeless() {
			<-s.slots
			s.complain("nothing gets through: %s requests are not sent", thousands(int64(total-n)))
			break
		}
		rec, err := s.rides[n%len(s.rides)].record(n / len(s.rides))
		if err != nil {
			return err
		}
		s.book.sent.Add(1)
		producer.SendAsync(ctx, rec, func(rec samsa.Record, err error) {
			s.answered(n, rec, err)
			<-s.slots
		})
	}
	for range cap(s.slots) { // they are all free when every request has its answer
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// hopeless says that as many requests failed as may be under way, and more than succeeded.
func (s *sender) hopeless() bool {
	bad := s.book.failed.Load() + s.book.unknown.Load()
	return bad >= int64(cap(s.slots)) && bad > s.book.acked.Load()
}

// answered notes what became of the n-th request.
func (s *sender) answered(n int, rec samsa.Record, err error) {
	switch {
	case err == nil:
		now := time.Now()
		s.book.ack(n, rec)
		if rec.Partition == watchedPartition {
			s.watch.acked(now, rec.Epoch)
		}
		s.mu.Lock()
		s.last = now
		s.mu.Unlock()
	case errors.Is(err, context.Canceled): // the run is being stopped
	case errors.Is(err, samsa.ErrOutcomeUnknown):
		if s.book.unknown.Add(1) <= complaints {
			s.complain("ride of %v may be in the log or not: %v", s.book.order.identity(n), err)
		}
	default:
		if s.book.failed.Add(1) <= complaints {
			s.complain("ride of %v is not in the log: %v", s.book.order.identity(n), err)
		}
	}
}

// took is the time from the first request to the last acknowledgement.
func (s *sender) took() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.last.Sub(s.first))
}
