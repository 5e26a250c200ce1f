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

// An audience is what the readers have seen.
type audience struct {
	c *chaos

	mu        sync.Mutex // guards all below
	seen      map[place]ident
	processed map[samsa.PartitionID]map[samsa.Offset]bool // by the group, above what follows
	frontier  map[samsa.PartitionID]samsa.Offset          // all below has been processed
	delivered int
	loops     int
}

func newAudience(c *chaos) *audience {
	return &audience{
		c: c, seen: make(map[place]ident),
		processed: make(map[samsa.PartitionID]map[samsa.Offset]bool),
		frontier:  make(map[samsa.PartitionID]samsa.Offset),
	}
}

func (a *audience) summary() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%d delivered in %d loops, %d records read", a.delivered, a.loops, len(a.seen))
}

// saw notes that a record has been delivered to anybody. A place never shows two
// records.
func (a *audience) saw(who string, rec samsa.Record) {
	id, whole := identOf(rec.Value)
	at := place{rec.Partition, rec.Offset}
	if !whole {
		a.c.complain("%s read at %v what nobody sent: %x", who, at, rec.Value)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if before, ok := a.seen[at]; ok && before != id {
		a.c.complain("%s read %v at %v, where %v was read before", who, id, at, before)
	}
	a.seen[at] = id
	a.delivered++
}

// reached checks that the group does not skip: what it is delivered lies behind
// nothing that it has not processed.
func (a *audience) reached(who string, rec samsa.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if done := a.frontier[rec.Partition]; rec.Offset > done {
		a.c.complain("%s got %v; the group has processed that partition up to %d", who, place{rec.Partition, rec.Offset}, done)
	}
}

// finished notes that a record has been processed.
func (a *audience) finished(rec samsa.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := rec.Partition
	if rec.Offset < a.frontier[p] {
		return
	}
	if a.processed[p] == nil {
		a.processed[p] = make(map[samsa.Offset]bool)
	}
	a.processed[p][rec.Offset] = true
	for a.processed[p][a.frontier[p]] {
		delete(a.processed[p], a.frontier[p])
		a.frontier[p]++
	}
}

// A member is one goroutine that reads for the group, with one consumer after
// another.
type member struct {
	c        *chaos
	rng      *rand.Rand
	name     string
	embedded bool
	session  time.Duration

	mu   sync.Mutex                         // guards next
	next map[samsa.PartitionID]samsa.Offset // within an assignment
}

func (c *chaos) startReaders() {
	n := 2 + c.rng.IntN(2)
	session := []time.Duration{6 * time.Second, 10 * time.Second, 30 * time.Second}[c.rng.IntN(3)]
	for i := range n {
		m := &member{
			c: c, rng: rand.New(rand.NewPCG(c.seed, 200+uint64(i))), name: fmt.Sprintf("member %d", i), embedded: i == 2,
			session: session, next: make(map[samsa.PartitionID]samsa.Offset),
		}
		c.read.Go(m.run)
	}
	c.read.Go(c.tail)
}

// tail reads one partition without a group, from its beginning to the end.
func (c *chaos) tail() {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	go func() {
		select {
		case <-c.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	next := samsa.Offset(0)
	for rec, err := range c.cluster.Client().Topic(topic).Partition(0).Records(ctx, 0) {
		if err != nil {
			c.complain("the reader of partition 0, at %d: %v", next, err)
			return
		}
		if rec.Offset != next {
			c.complain("the reader of partition 0 got %d, and should have got %d", rec.Offset, next)
		}
		next = rec.Offset + 1
		c.group.saw("the reader of partition 0", rec)
	}
}

// run joins and leaves the group until the readers shall go.
func (m *member) run() {
	for !ended(m.c.gone) {
		client := m.c.cluster.Client()
		if m.embedded {
			b := m.c.cluster.Broker(samsa.BrokerID(1 + m.rng.IntN(3)))
			if b == nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			client = b.Client()
		}
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{
			Group: "live", Topics: []string{topic}, Client: m.name, SessionTimeout: m.session,
			RebalanceTimeout: 2 * m.session, CommitInterval: time.Duration(50+m.rng.IntN(2000)) * time.Millisecond,
			OnAssigned: m.forget, OnRevoked: m.forget, OnLost: m.forget,
		})
		if m.died(err) {
			continue
		}
		if err != nil {
			m.c.complain("%s: %v", m.name, err)
			return
		}
		for again := true; again && !ended(m.c.gone); {
			again = m.loop(consumer) && (m.rng.IntN(4) != 0 || ended(m.c.calm))
		}
		begin, calm := time.Now(), ended(m.c.calm)
		err = consumer.Close()
		if took := time.Since(begin); took > 6*time.Second {
			m.c.complain("%s: close took %v", m.name, took)
		}
		if err != nil && calm && !m.embedded {
			m.c.complain("%s: close: %v", m.name, err)
		}
		if !ended(m.c.calm) {
			time.Sleep(time.Duration(m.rng.IntN(4000)) * time.Millisecond)
		}
	}
}

func (m *member) died(err error) bool { return m.embedded && errors.Is(err, samsa.ErrClosed) }

// forget is told of every change of an assignment.
func (m *member) forget(ps []samsa.TopicPartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range ps {
		delete(m.next, p.Partition)
	}
}

// step checks that positions do not skip within an assignment.
func (m *member) step(rec samsa.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if next, ok := m.next[rec.Partition]; ok && rec.Offset != next {
		m.c.complain("%s got %d in partition %d, and should have got %d", m.name, rec.Offset, rec.Partition, next)
	}
	m.next[rec.Partition] = rec.Offset
}

func (m *member) stepped(rec samsa.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if next, ok := m.next[rec.Partition]; ok && next == rec.Offset {
		m.next[rec.Partition]++
	}
}

// loop runs one loop. It leaves it in one of the ways there are, and reports
// whether there may be another.
func (m *member) loop(consumer *samsa.Consumer) bool {
	ctx, cancel := context.WithCancel(m.c.ctx)
	defer cancel()
	m.c.group.mu.Lock()
	m.c.group.loops++
	m.c.group.mu.Unlock()
	calm := ended(m.c.calm)
	left := make(chan struct{})
	defer close(left)
	lasts := time.Duration(m.rng.IntN(15_000)) * time.Millisecond
	go func() {
		timer := time.NewTimer(lasts)
		defer timer.Stop()
		late := timer.C
		if calm {
			late = nil
		}
		select {
		case <-m.c.gone:
		case <-late:
		case <-left:
		}
		cancel()
	}()
	for rec, err := range consumer.Records(ctx) {
		if err != nil {
			if !m.died(err) {
				m.c.complain("%s: %v", m.name, err)
			}
			return false
		}
		m.c.group.saw(m.name, rec)
		m.c.group.reached(m.name, rec)
		m.step(rec)
		if !calm && m.work(ctx, consumer, rec) {
			break
		}
		m.c.group.finished(rec)
		m.stepped(rec)
	}
	return true
}

// work is the loop body. It reports whether to break.
func (m *member) work(ctx context.Context, consumer *samsa.Consumer, rec samsa.Record) bool {
	switch m.rng.IntN(400) {
	case 0:
		return true
	case 1:
		m.c.group.finished(rec) // it is, if anybody is told of it
		m.stepped(rec)
		if err := consumer.Commit(ctx, rec); err != nil {
			m.c.note("%s: commit of %v: %v", m.name, place{rec.Partition, rec.Offset}, err)
		}
		return true
	case 2:
		time.Sleep(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
	case 3, 4, 5, 6, 7:
		time.Sleep(time.Duration(m.rng.IntN(20)) * time.Millisecond)
	}
	return false
}
