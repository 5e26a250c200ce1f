package samsatest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest/internal/history"
)

// The group whose members come and go.
const live = "live"

// A member is one goroutine that reads for the group, with one consumer after
// another.
type member struct {
	c        *chaos
	rng      *rand.Rand
	name     string
	embedded bool
	polls    bool // and commits by itself
	session  time.Duration
	reader   history.Reader
}

func (c *chaos) startReaders() {
	n := 2 + c.rng.IntN(3)
	session := []time.Duration{6 * time.Second, 10 * time.Second, 30 * time.Second}[c.rng.IntN(3)]
	for i := range n {
		m := &member{
			c: c, rng: rand.New(rand.NewPCG(c.seed, 200+uint64(i))), name: fmt.Sprintf("member %d", i), embedded: i == 2,
			polls: i == 3, session: session,
		}
		m.reader = history.Reader{Name: m.name, Group: live}
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
	reader := history.Reader{Name: "the reader of partition 0"}
	next := samsa.Offset(0)
	for rec, err := range c.cluster.Client().Topic(topic).Partition(0).Records(ctx, 0) {
		if err != nil {
			c.complain("the reader of partition 0, at %d: %v", next, err)
			return
		}
		if next == 0 && rec.Offset != 0 {
			c.complain("the reader of partition 0 begins at %d", rec.Offset)
		}
		next = rec.Offset + 1
		c.book.read(reader, rec)
		c.book.done(reader, rec)
	}
}

// run joins and leaves the group until the readers shall go.
func (m *member) run() {
	for !ended(m.c.gone) {
		client := m.c.cluster.Client()
		if m.embedded {
			b := m.c.cluster.Broker(samsa.BrokerID(1 + m.rng.IntN(m.c.plan.brokers)))
			if b == nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			client = b.Client()
		}
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{
			Group: live, Topics: []string{topic}, Client: m.name, SessionTimeout: m.session,
			RebalanceTimeout: 2 * m.session, CommitInterval: time.Duration(50+m.rng.IntN(2000)) * time.Millisecond,
			Manual: m.polls, OnAssigned: m.assigned,
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

// assigned is told of partitions that come: of each it begins where the group has
// committed.
func (m *member) assigned(ps []samsa.TopicPartition) {
	m.c.book.tell(func(h *history.History) error {
		for _, p := range ps {
			h.Assigned(m.reader, partitionOf(p.Topic, p.Partition))
		}
		return nil
	})
}

// loop runs one loop. It leaves it in one of the ways there are, and reports
// whether there may be another.
func (m *member) loop(consumer *samsa.Consumer) bool {
	ctx, cancel := context.WithCancel(m.c.ctx)
	defer cancel()
	m.c.book.mu.Lock()
	m.c.book.loops++
	m.c.book.mu.Unlock()
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
	if m.polls {
		return m.poll(ctx, consumer, calm)
	}
	for rec, err := range consumer.Records(ctx) {
		if err != nil {
			if !m.died(err) {
				m.c.complain("%s: %v", m.name, err)
			}
			return false
		}
		m.c.book.read(m.reader, rec)
		if !calm && m.work(ctx, consumer, rec) {
			break
		}
		m.c.book.done(m.reader, rec)
	}
	return true
}

// poll takes some records at a time, and commits them.
func (m *member) poll(ctx context.Context, consumer *samsa.Consumer, calm bool) bool {
	for {
		recs, err := consumer.Poll(ctx, 1+m.rng.IntN(50))
		switch {
		case ctx.Err() != nil && len(recs) == 0:
			return true
		case err != nil:
			m.c.complain("%s: %v", m.name, err)
			return false
		}
		for _, rec := range recs {
			m.c.book.read(m.reader, rec)
			m.c.book.done(m.reader, rec)
		}
		if !calm && m.rng.IntN(4) == 0 {
			time.Sleep(time.Duration(m.rng.IntN(100)) * time.Millisecond)
		}
		if err := consumer.Commit(ctx, recs...); err == nil {
			m.c.book.commits(live, recs...)
		}
	}
}

// work is the loop body. It reports whether to break.
func (m *member) work(ctx context.Context, consumer *samsa.Consumer, rec samsa.Record) bool {
	switch m.rng.IntN(400) {
	case 0:
		return true
	case 1:
		m.c.book.done(m.reader, rec) // it is, if anybody is told of it
		if err := consumer.Commit(ctx, rec); err != nil {
			m.c.note("%s: commit of %v: %v", m.name, placeOf(rec), err)
		} else {
			m.c.book.commits(live, rec)
		}
		return true
	case 2:
		time.Sleep(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
	case 3, 4, 5, 6, 7:
		time.Sleep(time.Duration(m.rng.IntN(20)) * time.Millisecond)
	}
	return false
}
