package samsatest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest/internal/history"
)

// What an operator's call may meet while brokers die.
var refusals = []error{
	context.DeadlineExceeded, samsa.ErrOutcomeUnknown, samsa.ErrIneligible, samsa.ErrNotEnoughReplicas, samsa.ErrInvalidReplicas,
	samsa.ErrInvalidTopic, samsa.ErrUnknownPartition,
}

// operate makes an operator's call beside what else happens.
func (c *chaos) operate(what string, call func(ctx context.Context, client *samsa.Client) error) bool {
	c.operating.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
		defer cancel()
		err := call(ctx, c.cluster.Client())
		c.note("%s: %v", what, err)
		if err == nil {
			c.mu.Lock()
			c.operated[what]++
			c.mu.Unlock()
			return
		}
		for _, known := range refusals {
			if errors.Is(err, known) {
				return
			}
		}
		c.complain("%s: %v", what, err)
	})
	return true
}

// pick chooses a partition among those there are.
func pick(client *samsa.Client, drawn int) samsa.PartitionID {
	return samsa.PartitionID(drawn % len(client.Topic(topic).Partitions()))
}

func (c *chaos) transfer(drawn int, to samsa.BrokerID) bool {
	return c.operate("transfer", func(ctx context.Context, client *samsa.Client) error {
		return client.TransferLeader(ctx, topic, pick(client, drawn), to)
	})
}

func (c *chaos) reassign(drawn int, to []samsa.BrokerID, cancel bool) bool {
	return c.operate("reassign", func(ctx context.Context, client *samsa.Client) error {
		p := pick(client, drawn)
		if err := client.Reassign(ctx, topic, p, to); err != nil || !cancel {
			return err
		}
		return client.CancelReassign(ctx, topic, p)
	})
}

func (c *chaos) grow() bool {
	n := len(c.cluster.Client().Topic(topic).Partitions()) + 1
	if n > 8 {
		return false
	}
	return c.operate("grow", func(ctx context.Context, client *samsa.Client) error {
		return client.AddPartitions(ctx, topic, n)
	})
}

// A remade is a topic that is deleted and made again, over and over.
type remade struct {
	c    *chaos
	cfg  samsa.TopicConfig
	busy bool // guarded by chaos.mu, and what follows is of who is

	life uint32
	made bool
	logs map[history.Log][]ident // what stood in each of its lives
}

func newRemade(c *chaos) *remade {
	cfg := samsa.TopicConfig{Name: "fleeting", Partitions: 2, Replicas: 3, MinISR: 2}
	return &remade{c: c, cfg: cfg, logs: make(map[history.Log][]ident)}
}

// sendersOf are the numbers of those who send in one life, and of the one who sends
// while it ends: the last of whose records may come to stand in the next.
func sendersOf(life uint32) (within [2]uint32, across uint32) {
	base := 1000 + 10*life
	return [2]uint32{base, base + 1}, base + 2
}

// remake ends a life of the topic that is deleted and made again, unless one is
// being ended.
func (c *chaos) remake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.remade
	if r.busy {
		return false
	}
	r.busy = true
	c.operating.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Minute)
		defer cancel()
		if err := r.live(ctx); err != nil {
			c.complain("life %d of topic %s: %v", r.life, r.cfg.Name, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		r.busy = false
		c.operated["remake"]++
	})
	return true
}

// live is one life: written, read, deleted and made again while somebody writes.
func (r *remade) live(ctx context.Context) error {
	client := r.c.cluster.Client()
	if !r.made {
		if err := client.CreateTopic(ctx, r.cfg); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		r.made = true
	}
	within, across := sendersOf(r.life)
	var load sync.WaitGroup
	for _, number := range within {
		load.Go(func() { r.send(ctx, number, 40, nil) })
	}
	load.Wait()
	for p := range samsa.PartitionID(r.cfg.Partitions) {
		if err := r.read(ctx, p); err != nil {
			return fmt.Errorf("read partition %d: %w", p, err)
		}
	}
	over := make(chan struct{})
	load.Go(func() { r.send(ctx, across, 1<<20, over) })
	err := r.again(ctx)
	close(over)
	load.Wait()
	r.life++
	return err
}

// again deletes the topic and makes it again.
func (r *remade) again(ctx context.Context) error {
	client := r.c.cluster.Client()
	err := client.DeleteTopic(ctx, r.cfg.Name)
	for errors.Is(err, samsa.ErrOutcomeUnknown) {
		err = client.DeleteTopic(ctx, r.cfg.Name)
	}
	if err != nil && !errors.Is(err, samsa.ErrUnknownTopic) {
		return fmt.Errorf("delete: %w", err)
	}
	r.c.note("life %d of topic %s is over", r.life, r.cfg.Name)
	if err := client.CreateTopic(ctx, r.cfg); err != nil {
		return fmt.Errorf("make again: %w", err)
	}
	return nil
}

// send sends up to n records, until over. What is sent while the topic goes may have
// been acknowledged in either life.
func (r *remade) send(ctx context.Context, number uint32, n uint32, over chan struct{}) {
	cfg := samsa.ProducerConfig{DeliveryTimeout: 5 * time.Second}
	producer, err := r.c.cluster.Client().NewProducer(cfg)
	if err != nil {
		r.c.complain("sender %d: %v", number, err)
		return
	}
	defer producer.Close()
	for i := range n {
		if over != nil && ended(over) {
			return
		}
		id := ident{Sender: number, Number: i}
		r.c.book.sends(id, over == nil)
		begin := time.Now()
		rec, err := producer.Send(ctx, samsa.Record{Topic: r.cfg.Name, Key: fmt.Append(nil, i), Value: valueOf(id)})
		if over != nil && err == nil {
			err = samsa.ErrOutcomeUnknown
		}
		rec.Topic = r.name()
		r.c.book.told(id, rec, err, time.Since(begin), cfg.DeliveryTimeout)
		time.Sleep(time.Millisecond)
	}
}

// name is what this life of the topic is called in the history.
func (r *remade) name() string { return fmt.Sprintf("%s#%d", r.cfg.Name, r.life) }

// read reads all of a partition, when nobody sends, and looks for what should not be
// there: the records of an earlier life.
func (r *remade) read(ctx context.Context, n samsa.PartitionID) error {
	p := r.c.cluster.Client().Topic(r.cfg.Name).Partition(n)
	info, err := p.Info(ctx)
	for ; err == nil && (info.HighWatermark < 0 || info.HighWatermark < info.End); info, err = p.Info(ctx) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || info.End == 0 {
		return err
	}
	reader := history.Reader{Name: "the reader of " + r.name()}
	within, _ := sendersOf(r.life)
	_, across := sendersOf(r.life - 1) // of nobody, at first
	for rec, err := range p.Records(ctx, 0) {
		if err != nil {
			return err
		}
		rec.Topic = r.name()
		r.c.book.read(reader, rec)
		r.c.book.done(reader, rec)
		id, _ := identOf(rec.Value)
		if id.Sender != within[0] && id.Sender != within[1] && id.Sender != across {
			r.c.complain("%v stands at %v: it is of an earlier life", id, placeOf(rec))
		}
		at := partitionOf(r.name(), n)
		if r.logs[at] = append(r.logs[at], id); rec.Offset == info.End-1 {
			return nil
		}
	}
	return ctx.Err()
}
