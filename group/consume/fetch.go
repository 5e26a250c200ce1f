package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

const (
	// patience is how long an answer is waited for beyond the time for which the
	// broker may park the request.
	patience = 5 * time.Second

	// parked is how long a request is out before it is taken to be waiting for data.
	parked = 2 * time.Millisecond
)

// errMisfit stands for an answer that does not fit its request.
var errMisfit = errors.New("the answer does not fit the request")

// fetching is what the consumer has under way. It is guarded by the consumer's mu.
type fetching struct {
	flights map[partition.BrokerID]*flight // one a leader at most
	changed <-chan struct{}                // closed when the leaders may be others
	lookAt  time.Time                      // when a parked request is in somebody's way
}

// A flight is one request to a leader.
type flight struct {
	broker      partition.BrokerID
	parts       []*part
	generations []int // of the parts when it left
	request     partition.ReadRequest
	started     time.Time
	cancel      context.CancelFunc
	void        bool // it was cancelled for want of another
}

// dispatch sends a request to every leader that has none and from which something
// is wanted. What is wanted from a leader whose request is parked goes with a new
// one. It may run on many goroutines at once.
func (c *Consumer) dispatch() {
	parts, ids := c.readable()
	if len(parts) == 0 {
		c.mu.Lock()
		c.fetching.changed = nil // nobody's leader matters: a closed one would keep run awake
		c.mu.Unlock()
		return
	}
	leaders, changed := c.cluster.Leaders(ids)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fetching.changed != changed {
		c.fetching.changed = changed
		signal(c.kick) // run must look at this one
	}
	if c.ctx.Err() != nil {
		return
	}
	now := time.Now()
	wanted := make(map[partition.BrokerID][]*part)
	var brokers []partition.BrokerID
	for i, p := range parts {
		if !c.wants(p, leaders[i], now) {
			continue
		}
		b := leaders[i].Broker
		if wanted[b] == nil {
			brokers = append(brokers, b)
		}
		p.leader = leaders[i]
		wanted[b] = append(wanted[b], p)
	}
	for _, b := range brokers {
		if f := c.fetching.flights[b]; f != nil {
			c.hurry(f, now)
			continue
		}
		c.fly(b, wanted[b], now)
	}
}

// readable returns the parts of which a place is known, beginning with the one
// whose turn it is: a leader fills its answer in the order of the request.
func (c *Consumer) readable() ([]*part, []partition.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []*part
	var ids []partition.ID
	for i := range c.parts {
		if p := c.parts[(c.turn+i)%len(c.parts)]; p.located {
			parts = append(parts, p)
			ids = append(ids, p.id)
		}
	}
	return parts, ids
}

// wants reports whether a read of p should go to its leader now; the caller holds mu.
func (c *Consumer) wants(p *part, l Leader, now time.Time) bool {
	if p.gone || l.Broker == partition.NoBroker {
		return false
	}
	if p.reading != nil {
		if p.leader != l {
			p.reading.abandon() // the answer may never come
		}
		return false
	}
	if p.paused || p.revoking || p.fresh || p.bytes >= c.share() || c.buffered() >= c.cfg.BufferBytes {
		return false
	}
	return !now.Before(p.retryAt) || l != p.failed
}

// share is how much of a partition is fetched ahead; the caller holds mu.
func (c *Consumer) share() int {
	return max(1, min(c.cfg.FetchBytes, c.cfg.BufferBytes/max(1, len(c.parts))))
}

// buffered is how much has been fetched ahead; the caller holds mu.
func (c *Consumer) buffered() int {
	n := 0
	for _, p := range c.parts {
		n += p.bytes
	}
	return n
}

// hurry makes way for a new request where one is parked; the caller holds mu.
func (c *Consumer) hurry(f *flight, now time.Time) {
	if at := f.started.Add(parked); now.Before(at) {
		// Only a moment that is earlier than the one in view is news: run itself comes
		// this way, and two requests must not keep waking it by turns.
		if look := c.fetching.lookAt; !now.Before(look) || at.Before(look) {
			c.fetching.lookAt = at
			signal(c.kick)
		}
		return
	}
	f.abandon()
}

func (f *flight) abandon() {
	f.void = true
	f.cancel()
}

// fly sends a request; the caller holds mu.
func (c *Consumer) fly(broker partition.BrokerID, parts []*part, now time.Time) {
	f := &flight{broker: broker, parts: parts, started: now}
	f.request = partition.ReadRequest{
		MaxWaitMs: int32(c.cfg.MaxWait / time.Millisecond), MinBytes: 1, MaxBytes: int32(c.cfg.FetchBytes),
		Partitions: make([]partition.ReadPartition, len(parts)),
	}
	f.generations = make([]int, len(parts))
	share := int32(c.share())
	for i, p := range parts {
		p.reading = f
		f.generations[i] = p.generation
		f.request.Partitions[i] = partition.ReadPartition{ID: p.id, Epoch: p.leader.Epoch, From: p.fetch, MaxBytes: share}
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.MaxWait+patience)
	f.cancel = cancel
	c.fetching.flights[broker] = f
	c.running.Go(func() {
		defer cancel()
		resp, data, err := c.cluster.Read(ctx, broker, f.request)
		if err == nil && (len(resp.Partitions) != len(parts) || len(data) != len(parts)) {
			err = errMisfit
		}
		c.land(f, resp, data, err)
		c.dispatch()
	})
}

// land takes in an answer.
func (c *Consumer) land(f *flight, resp partition.ReadResponse, data [][]byte, err error) {
	batches := make([][]log.Batch, len(f.parts))
	faults := make([]error, len(f.parts))
	if err == nil {
		for i := range data {
			batches[i], faults[i] = split(data[i])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fetching.flights, f.broker)
	now := time.Now()
	for i, p := range f.parts {
		p.reading = nil
		switch {
		case p.gone || p.generation != f.generations[i]:
		case err == nil:
			c.take(p, resp.Partitions[i], batches[i], faults[i], now)
		case !f.void:
			p.delay(now, p.leader)
		}
	}
	if err != nil && !f.void && c.ctx.Err() == nil {
		c.cfg.Logger.Debug("read", "broker", f.broker, "err", err)
	}
	signal(c.wake)
	signal(c.kick)
}

// take takes in the answer about one part; the caller holds mu.
func (c *Consumer) take(p *part, a partition.ReadAnswer, batches []log.Batch, fault error, now time.Time) {
	switch {
	case a.Code == partition.OK:
		p.backoff, p.retryAt = 0, time.Time{}
		for _, b := range batches {
			p.add(b)
		}
		if fault != nil {
			c.fault = &Error{p.place, fmt.Errorf("at offset %d: %w", p.fetch, fault)}
			p.delay(now, p.leader)
		}
	case a.Code == partition.OutOfRange && a.Epoch < p.progress.handed.epoch:
		p.delay(now, p.leader) // a leader of before what has been read: it is behind, and does not know it
	case a.Code == partition.OutOfRange && len(p.buffer) == 0 && !p.inHand:
		c.reset(p, a)
	case a.Code.Retriable(), a.Code == partition.OutOfRange:
		p.delay(now, p.leader)
	default:
		c.fault = &Error{p.place, a.Code}
		p.delay(now, p.leader)
	}
}

// reset moves p, whose records are gone, to where the configuration says; the
// caller holds mu.
func (c *Consumer) reset(p *part, a partition.ReadAnswer) {
	if c.cfg.Start == At {
		c.fault = &Error{p.place, fmt.Errorf("%w: offset %d, the records are those from %d to %d", partition.OutOfRange, p.fetch, a.Start, a.HighWatermark)}
		p.gone = true
		signal(c.wake)
		return
	}
	to := a.Start
	if c.cfg.Start == Latest {
		to = a.HighWatermark
	}
	if p.fetch > 0 || to < p.fetch {
		c.cfg.Logger.Warn("the records at an offset are gone", "place", p.place.String(), "offset", int64(p.fetch),
			"start", int64(a.Start), "high watermark", int64(a.HighWatermark), "go on at", int64(to))
	}
	p.start(mark{to, log.NoEpoch})
}

// split cuts an answer into checked batches. Those before a fault are good.
func split(data []byte) ([]log.Batch, error) {
	var batches []log.Batch
	for len(data) > 0 {
		b, rest, err := log.SplitBatch(data)
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			return batches, err
		}
		batches = append(batches, b)
		data = rest
	}
	return batches, nil
}
