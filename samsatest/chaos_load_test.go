package samsatest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/samsalog/samsa"
)

// A sender is one goroutine that sends.
type sender struct {
	c        *chaos
	rng      *rand.Rand
	number   uint32 // its own
	next     uint32
	embedded bool          // through brokers' own clients, which die with them
	window   chan struct{} // records under way, of one that does not wait
	pace     time.Duration
	cfg      samsa.ProducerConfig

	mu     sync.Mutex // guards all below
	closed bool       // the producer's broker has gone
	chosen map[string]samsa.PartitionID
	told   map[samsa.PartitionID]uint32 // the newest record of which has been told
}

// Partition implements [samsa.Partitioner]: by key, and it is noted.
func (s *sender) Partition(key []byte, partitions int) (samsa.PartitionID, bool) {
	p, ok := samsa.ByKey.Partition(key, partitions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chosen[string(key)] = p
	return p, ok
}

func (c *chaos) startLoad() {
	for i := range 6 {
		rng := rand.New(rand.NewPCG(c.seed, 100+uint64(i)))
		s := &sender{
			c: c, rng: rng, number: uint32(i), embedded: i == 3 || i == 4,
			chosen: make(map[string]samsa.PartitionID), told: make(map[samsa.PartitionID]uint32),
			pace: time.Duration(float64(10+rng.IntN(120)) * max(1, *chaosMinutes) * float64(time.Millisecond)), // a long run has no more records
			cfg: samsa.ProducerConfig{
				DeliveryTimeout: []time.Duration{3 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute}[rng.IntN(4)],
				Linger:          []time.Duration{0, 0, 0, 3 * time.Millisecond}[rng.IntN(4)],
				BufferBytes:     []int{0, 16 << 10}[rng.IntN(2)],
				BatchBytes:      []int{0, 1 << 10}[rng.IntN(2)],
			},
		}
		s.cfg.Partitioner = s
		if i == 5 {
			s.cfg.Acks = samsa.AcksLeader
		}
		if i%2 == 1 {
			s.window = make(chan struct{}, 1+rng.IntN(100))
		}
		c.load.Go(s.run)
	}
}

// run sends until the load shall end, with one producer after another.
func (s *sender) run() {
	for !ended(s.c.stop) {
		client := s.c.cluster.Client()
		if s.embedded {
			b := s.c.cluster.Broker(samsa.BrokerID(1 + s.rng.IntN(s.c.plan.brokers)))
			if b == nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			client = b.Client()
		}
		producer, err := client.NewProducer(s.cfg)
		if s.died(err) {
			continue
		}
		if err != nil {
			s.c.complain("sender %d: %v", s.number, err)
			return
		}
		s.send(producer)
		begin := time.Now()
		if err := producer.Close(); err != nil && !s.embedded {
			s.c.complain("sender %d: close: %v", s.number, err)
		}
		for range cap(s.window) { // all have been told
			s.window <- struct{}{}
		}
		for range cap(s.window) {
			<-s.window
		}
		if took := time.Since(begin); took > s.cfg.DeliveryTimeout+time.Second {
			s.c.complain("sender %d: close took %v, the delivery timeout is %v", s.number, took, s.cfg.DeliveryTimeout)
		}
	}
}

// died says whether the broker whose client this was has gone.
func (s *sender) died(err error) bool { return s.embedded && errors.Is(err, samsa.ErrClosed) }

// send sends through one producer, until the load shall end or its broker has gone.
func (s *sender) send(producer *samsa.Producer) {
	for first := true; !s.isClosed() && !ended(s.c.stop); {
		if s.rng.IntN(4) == 0 {
			time.Sleep(time.Duration(s.rng.ExpFloat64() * float64(s.pace) * 4))
		}
		first = errors.Is(s.sendOne(producer, first), samsa.ErrUnknownTopic) && first
	}
	s.mu.Lock()
	s.closed = false
	s.mu.Unlock()
}

// sendOne sends one record. One that is the first, as far as is known, may have to wait
// for the topic. The error is that of a record that was waited for.
func (s *sender) sendOne(producer *samsa.Producer, first bool) error {
	id := ident{Sender: s.number, Number: s.next}
	s.next++
	rec := samsa.Record{Topic: topic, Key: fmt.Append(nil, id), Value: valueOf(id)}
	ctx, cancel := context.Background(), func() {}
	calm := ended(s.c.calm)
	limit := s.cfg.DeliveryTimeout + 2*time.Second
	if first { // the topic is waited for as long
		limit += s.cfg.DeliveryTimeout
	}
	if !calm && s.rng.IntN(10) == 0 {
		d := time.Duration(s.rng.IntN(2000)) * time.Millisecond
		ctx, cancel = context.WithTimeout(ctx, d)
		limit = min(limit, d+2*time.Second)
	}
	s.c.book.sends(id, s.cfg.Acks == samsa.AcksAll)
	begin := time.Now()
	tell := func(got samsa.Record, err error) {
		s.note(id, got, err, time.Since(begin), calm)
		cancel()
	}
	if s.window != nil {
		s.window <- struct{}{}
		begin = time.Now()
		producer.SendAsync(ctx, rec, func(got samsa.Record, err error) {
			s.inOrder(rec.Key, id)
			tell(got, err)
			<-s.window
		})
		return nil
	}
	got, err := producer.Send(ctx, rec)
	if took := time.Since(begin); took > limit {
		s.c.complain("%v: Send took %v, with a limit of %v: %v", id, took, limit, err)
	}
	tell(got, err)
	return err
}

func (s *sender) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// note tells the book. In calm every record must arrive.
func (s *sender) note(id ident, rec samsa.Record, err error, took time.Duration, calm bool) {
	s.c.book.told(id, rec, err, took, 2*s.cfg.DeliveryTimeout)
	if calm && err != nil && !s.died(err) {
		s.c.complain("%v was sent when all was well: %v", id, err)
	}
	if s.died(err) {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
	} else if errors.Is(err, samsa.ErrClosed) {
		s.c.complain("%v: %v", id, err)
	}
}

// inOrder checks that senders are told of the records of a partition in the order in
// which they were sent.
func (s *sender) inOrder(key []byte, id ident) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known := s.chosen[string(key)]
	if !known {
		return // it was refused before it had one
	}
	if last, ok := s.told[p]; ok && last >= id.Number {
		s.c.complain("%v was told of after %d, which is of partition %d too", id, last, p)
	}
	s.told[p] = id.Number
}

func ended(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
