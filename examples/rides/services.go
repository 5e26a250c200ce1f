package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa"
)

// A service is one of the company's programs. It is a consumer group of its own,
// with a client of its own, and knows the topic and no other service.
type service struct {
	name   string
	ledger *ledger
	work   worker
}

// A worker is what a service does with its records. What it decodes of a record is
// its own affair; so is what it does about one that it has seen before.
type worker interface {
	// open prepares the work; what it needs to send it sends with client.
	open(client *samsa.Client) error
	// ride handles one record. first: its identity was not there before.
	ride(ctx context.Context, c *samsa.Consumer, rec samsa.Record, first bool) error
	// close finishes what is under way. c still takes commits.
	close(ctx context.Context, c *samsa.Consumer) error
	// manual says that the worker commits by itself.
	manual() bool
}

// run works until ctx ends, and then commits what it has finished.
func (s *service) run(ctx context.Context, dial func(context.Context) (*samsa.Client, error)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
		}
	}()
	client, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{
		Group: s.name, Topics: []string{requested}, Client: s.name, Manual: s.work.manual(),
	})
	if err != nil {
		return err
	}
	defer func() { _ = consumer.Close() }()
	if err := s.work.open(client); err != nil {
		return err
	}
	for rec, err := range consumer.Records(ctx) {
		if err != nil {
			return err
		}
		first, err := s.ledger.deliver(rec)
		if err != nil {
			return err
		}
		if err := s.work.ride(ctx, consumer, rec, first); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		return errors.New("its records ended")
	}
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.work.close(rest, consumer)
}

// simple is a worker that sends nothing and lets the consumer commit.
type simple struct{}

func (simple) open(*samsa.Client) error                     { return nil }
func (simple) close(context.Context, *samsa.Consumer) error { return nil }
func (simple) manual() bool                                 { return false }

// payment takes the money. A ride that comes again has been paid.
type payment struct {
	simple
	taken atomic.Int64
}

func (p *payment) ride(_ context.Context, _ *samsa.Consumer, rec samsa.Record, first bool) error {
	var ride struct {
		Total Cents `json:"total_cents"`
	}
	if err := json.Unmarshal(rec.Value, &ride); err != nil {
		return err
	}
	if first {
		p.taken.Add(int64(ride.Total))
	}
	return nil
}

// notification tells the passenger where it goes.
type notification struct {
	simple
	text []byte
}

func (n *notification) ride(_ context.Context, _ *samsa.Consumer, rec samsa.Record, first bool) error {
	var ride struct {
		To string `json:"dropoff_zone"`
	}
	if err := json.Unmarshal(rec.Value, &ride); err != nil {
		return err
	}
	if first {
		n.text = fmt.Appendf(n.text[:0], "Your ride to %s is on its way.", ride.To)
	}
	return nil
}

// analytics adds up the revenue. Its sums may be read when its loop has ended.
type analytics struct {
	simple
	revenue revenue
}

func (a *analytics) ride(_ context.Context, _ *samsa.Consumer, rec samsa.Record, first bool) error {
	var ride struct {
		Pickup  string `json:"pickup"`
		Borough string `json:"pickup_borough"`
		Total   Cents  `json:"total_cents"`
	}
	if err := json.Unmarshal(rec.Value, &ride); err != nil {
		return err
	}
	at, err := time.Parse(clock, ride.Pickup)
	if err != nil {
		return err
	}
	if first {
		a.revenue.add(ride.Borough, at.Hour(), ride.Total)
	}
	return nil
}

// settleEvery is how many rides matching answers before it commits.
const settleEvery = 5000

// matching finds a driver for each ride, and says so in another topic. It commits
// a ride when its answer is acknowledged, and no sooner: were it to die in
// between, it would answer again rather than never.
type matching struct {
	producer *samsa.Producer
	answers  atomic.Int64 // acknowledged
	since    int          // rides since the last commit

	mu     sync.Mutex // guards failed
	failed error      // the first answer that was not acknowledged
}

func (m *matching) manual() bool { return true }

func (m *matching) open(client *samsa.Client) (err error) {
	m.producer, err = client.NewProducer(samsa.ProducerConfig{})
	return err
}

func (m *matching) ride(ctx context.Context, c *samsa.Consumer, rec samsa.Record, first bool) error {
	if m.since == settleEvery {
		if err := m.settle(ctx, c); err != nil && ctx.Err() == nil {
			return err
		}
	}
	m.since++
	if !first {
		return nil // it has its answer
	}
	// The answer leaves even if the service is told to stop: the ride counts as processed.
	m.producer.SendAsync(context.WithoutCancel(ctx), answer(rec), func(_ samsa.Record, err error) {
		if err == nil {
			m.answers.Add(1)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.failed == nil {
			m.failed = err
		}
	})
	return nil
}

// answer names a driver, one of 12,000.
func answer(rec samsa.Record) samsa.Record {
	driver := (int64(rec.Partition)*1_000_003 + int64(rec.Offset)) % 12_000
	value := strconv.AppendInt([]byte(`{"driver":`), driver, 10)
	return samsa.Record{Topic: matched, Key: rec.Key, Value: append(value, '}'), Headers: rec.Headers}
}

// settle waits for the answers that are under way, and commits the rides that the
// consumer has finished: those before the current one.
func (m *matching) settle(ctx context.Context, c *samsa.Consumer) error {
	if err := m.producer.Flush(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	err := m.failed
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("an answer: %w", err)
	}
	m.since = 0
	return c.Commit(ctx)
}

func (m *matching) close(ctx context.Context, c *samsa.Consumer) error {
	return errors.Join(m.settle(ctx, c), m.producer.Close())
}
