package samsatest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa"
)

// An ident names a record: the sender's number, and the record's among those of
// the sender, in the order in which it sent them.
type ident struct{ sender, number uint32 }

// value is what the record of that name carries, of a size that its name decides.
func (id ident) value() []byte {
	rng := rand.New(rand.NewPCG(uint64(id.sender), uint64(id.number)))
	size := rng.IntN(100)
	if rng.IntN(50) == 0 {
		size = rng.IntN(3000)
	}
	v := make([]byte, 8, 8+size)
	binary.BigEndian.PutUint32(v, id.sender)
	binary.BigEndian.PutUint32(v[4:], id.number)
	for range size {
		v = append(v, byte(rng.Uint32()))
	}
	return v
}

func identOf(value []byte) (ident, bool) {
	if len(value) < 8 {
		return ident{}, false
	}
	id := ident{binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:])}
	return id, bytes.Equal(value, id.value())
}

func (id ident) String() string { return fmt.Sprintf("%d-%d", id.sender, id.number) }

type place struct {
	partition samsa.PartitionID
	offset    samsa.Offset
}

func (p place) String() string { return fmt.Sprintf("%d@%d", p.partition, p.offset) }

// A ledger is what the senders have been told.
type ledger struct {
	c *chaos

	mu      sync.Mutex // guards all below
	sent    int
	acked   map[ident]samsa.Record
	at      map[place]ident // the same the other way round
	failed  map[ident]error // definitely
	unknown map[ident]error
}

func newLedger(c *chaos) *ledger {
	return &ledger{
		c: c, acked: make(map[ident]samsa.Record), at: make(map[place]ident),
		failed: make(map[ident]error), unknown: make(map[ident]error),
	}
}

func (l *ledger) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d sent, %d acknowledged, %d failed, %d unknown", l.sent, len(l.acked), len(l.failed), len(l.unknown))
}

// told takes in what has become of a record.
func (l *ledger) told(id ident, rec samsa.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	switch {
	case err == nil:
		p := place{rec.Partition, rec.Offset}
		if other, taken := l.at[p]; taken {
			l.c.complain("%v is acknowledged at %v, and so is %v", id, p, other)
		}
		l.acked[id], l.at[p] = rec, id
	case errors.Is(err, samsa.ErrOutcomeUnknown):
		l.unknown[id] = err
	default:
		l.failed[id] = err
	}
}

// ordered checks that the acknowledged records of each sender stand in the order
// in which they were sent.
func (l *ledger) ordered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]ident, 0, len(l.acked))
	for id := range l.acked {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b ident) int {
		if a.sender != b.sender {
			return int(a.sender) - int(b.sender)
		}
		return int(a.number) - int(b.number)
	})
	type lane struct {
		sender    uint32
		partition samsa.PartitionID
	}
	last := make(map[lane]ident)
	for _, id := range ids {
		rec := l.acked[id]
		at := lane{id.sender, rec.Partition}
		if before, ok := last[at]; ok && l.acked[before].Offset >= rec.Offset {
			l.c.complain("%v was sent after %v, and stands before it in partition %d: at %d and %d",
				id, before, rec.Partition, rec.Offset, l.acked[before].Offset)
		}
		last[at] = id
	}
}

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

	mu   sync.Mutex
	told map[string]uint32 // by key, the newest record whose fate has been told
}

func (c *chaos) startLoad() {
	for i := range 5 {
		rng := rand.New(rand.NewPCG(c.seed, 100+uint64(i)))
		s := &sender{
			c: c, rng: rng, number: uint32(i), embedded: i >= 3, told: make(map[string]uint32),
			pace: time.Duration(5+rng.IntN(80)) * time.Millisecond,
			cfg: samsa.ProducerConfig{
				DeliveryTimeout: []time.Duration{3 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute}[rng.IntN(4)],
				Linger:          []time.Duration{0, 0, 0, 3 * time.Millisecond}[rng.IntN(4)],
				BufferBytes:     []int{0, 16 << 10}[rng.IntN(2)],
				BatchBytes:      []int{0, 1 << 10}[rng.IntN(2)],
			},
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
			b := s.c.cluster.Broker(samsa.BrokerID(1 + s.rng.IntN(3)))
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
	var closed bool
	for first := true; !closed && !ended(s.c.stop); first = false {
		if s.rng.IntN(4) == 0 {
			time.Sleep(time.Duration(s.rng.ExpFloat64() * float64(s.pace) * 4))
		}
		id := ident{s.number, s.next}
		s.next++
		rec := samsa.Record{Topic: topic, Key: fmt.Appendf(nil, "%d-%d", s.number, s.rng.IntN(9)), Value: id.value()}
		ctx, cancel := context.Background(), func() {}
		calm := ended(s.c.calm)
		limit := s.cfg.DeliveryTimeout + 2*time.Second
		if first { // the topic may have to be waited for as long
			limit += s.cfg.DeliveryTimeout
		}
		if !calm && s.rng.IntN(10) == 0 {
			d := time.Duration(s.rng.IntN(2000)) * time.Millisecond
			ctx, cancel = context.WithTimeout(ctx, d)
			limit = min(limit, d+2*time.Second)
		}
		begin := time.Now()
		tell := func(rec samsa.Record, err error) {
			s.note(id, rec, err, calm)
			cancel()
		}
		if s.window != nil {
			s.window <- struct{}{}
			producer.SendAsync(ctx, rec, func(got samsa.Record, err error) {
				s.inOrder(rec.Key, id)
				tell(got, err)
				<-s.window
			})
			s.mu.Lock()
			closed = s.told["closed"] > 0
			s.mu.Unlock()
			continue
		}
		got, err := producer.Send(ctx, rec)
		if took := time.Since(begin); took > limit {
			s.c.complain("%v: Send took %v, with a limit of %v: %v", id, took, limit, err)
		}
		tell(got, err)
		closed = s.died(err)
	}
	s.mu.Lock()
	delete(s.told, "closed")
	s.mu.Unlock()
}

// note tells the ledger. In calm every record must arrive.
func (s *sender) note(id ident, rec samsa.Record, err error, calm bool) {
	s.c.ledger.told(id, rec, err)
	if calm && err != nil && !s.died(err) {
		s.c.complain("%v was sent when all was well: %v", id, err)
	}
	if s.died(err) {
		s.mu.Lock()
		s.told["closed"] = 1
		s.mu.Unlock()
	} else if errors.Is(err, samsa.ErrClosed) {
		s.c.complain("%v: %v", id, err)
	}
}

// inOrder checks that senders are told of the records of a key, hence of a
// partition, in the order in which they were sent.
func (s *sender) inOrder(key []byte, id ident) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.told[string(key)]; ok && last >= id.number {
		s.c.complain("%v was told of after %d, which has the same key", id, last)
	}
	s.told[string(key)] = id.number
}

func ended(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
