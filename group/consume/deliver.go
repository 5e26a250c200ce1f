package consume

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
)

// A turn is a batch whose records from an offset on are to be handed out.
type turn struct {
	part       *part
	generation int
	batch      log.Batch
	from       log.Offset
}

// next waits for a batch. It says that all in hand is finished.
func (c *Consumer) next(ctx context.Context) (turn, error) {
	for {
		c.mu.Lock()
		c.settle()
		if err := c.refusal(ctx); err != nil {
			c.mu.Unlock()
			return turn{}, err
		}
		if p := c.ready(time.Now()); p != nil {
			got := turn{p, p.generation, p.buffer[0], p.next}
			c.mu.Unlock()
			return got, nil
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-ctx.Done():
		}
	}
}

// refusal returns why no record may be handed out any more; the caller holds mu.
func (c *Consumer) refusal(ctx context.Context) error {
	if c.closing {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := c.fault
	if !c.member.over {
		c.fault = nil // whoever asks again may have better luck
	}
	return err
}

// ready returns the part whose turn it is, or nil; the caller holds mu. A part
// keeps its turn until its batch is used up.
func (c *Consumer) ready(now time.Time) *part {
	if c.holding {
		return nil
	}
	for i := range c.parts {
		at := (c.turn + i) % len(c.parts)
		if p := c.parts[at]; len(p.buffer) > 0 && c.deliverable(p, now) {
			c.turn = at
			return p
		}
	}
	return nil
}

// deliverable reports whether a record of p may be handed out now. The session is
// asked each time: the process may have been suspended for longer than the lease.
func (c *Consumer) deliverable(p *part, now time.Time) bool {
	return !p.paused && !p.revoking && !p.fresh && (c.member.session == nil || c.member.session.Holds(now, p.id))
}

// hand puts one record into the caller's hands, and says that the one before is
// finished. False: it may not be, and the loop must look again.
func (c *Consumer) hand(ctx context.Context, got turn, offset log.Offset) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	p := got.part
	if c.holding || c.closing || c.fault != nil || p.generation != got.generation || ctx.Err() != nil ||
		!c.deliverable(p, time.Now()) {
		return false
	}
	c.give(p, offset, got.batch.Epoch())
	p.decoded = nil // of a Poll before; the loop goes its own way through the batch
	return true
}

// give notes that the caller has a record; the caller of give holds mu.
func (c *Consumer) give(p *part, offset log.Offset, epoch log.Epoch) {
	p.progress.hand(offset, epoch)
	p.next = offset + 1
	c.body = true
	if !p.inHand {
		p.inHand = true
		c.hands = append(c.hands, p)
	}
}

// settle notes that the caller has come back for more; the caller of settle holds mu.
func (c *Consumer) settle() {
	if !c.body {
		return
	}
	c.body = false
	for _, p := range c.hands {
		p.progress.settle()
		p.inHand = false
	}
	c.hands = c.hands[:0]
	if c.holding {
		signal(c.idle)
	}
}

// giveBack notes that the caller has gone away: what is in hand is read again. The
// caller of giveBack holds mu.
func (c *Consumer) giveBack() {
	c.body, c.hands = false, nil
	for _, p := range c.parts {
		p.inHand = false
		if at, moved := p.progress.back(); moved && p.located {
			p.jump(at)
			signal(c.kick)
		}
	}
	signal(c.idle)
}

// used notes that all records of a batch have been handed out, and that the
// caller has come back from the last.
func (c *Consumer) used(got turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	if got.part.generation == got.generation {
		c.dropFirst(got.part)
	}
}

// dropFirst takes a batch that is used up off the buffer, and the turn from its
// part; the caller holds mu.
func (c *Consumer) dropFirst(p *part) {
	p.progress.pass(mark{p.buffer[0].Next(), p.buffer[0].Epoch()})
	before := p.bytes
	p.drop()
	c.turn++
	if share := c.share(); before >= share && p.bytes < share || len(p.buffer) == 0 {
		signal(c.kick)
	}
}

// corrupt has the caller told of a batch that does not parse.
func (c *Consumer) corrupt(got turn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if got.part.generation == got.generation {
		c.fault = &Error{got.part.place, err}
		got.part.jump(got.part.next)
	}
}

// collect hands out up to max records that are here now.
func (c *Consumer) collect(got turn, most int) ([]Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var recs []Record
	now := time.Now()
	if got.part.generation != got.generation || c.holding || !c.deliverable(got.part, now) {
		return nil, nil
	}
	for p := got.part; p != nil && len(recs) < max(most, 1); p = c.ready(now) {
		if p.decoded == nil {
			var err error
			if p.decoded, err = decode(p.buffer[0], p.next); err != nil {
				fault := &Error{p.place, err}
				p.jump(p.next)
				if len(recs) > 0 {
					c.fault = fault
					break
				}
				return nil, fault
			}
		}
		epoch := p.buffer[0].Epoch()
		n := min(len(p.decoded), max(most, 1)-len(recs))
		for _, r := range p.decoded[:n] {
			recs = append(recs, Record{p.place.Topic, p.place.Partition, epoch, r})
			c.give(p, r.Offset, epoch)
		}
		if p.decoded = p.decoded[n:]; len(p.decoded) == 0 {
			c.dropFirst(p)
		}
	}
	return recs, nil
}

// decode returns the records of a batch from an offset on.
func decode(b log.Batch, from log.Offset) ([]log.Record, error) {
	recs := make([]log.Record, 0, min(max(b.Count(), 0), len(b))) // not nil: decoded, and perhaps empty
	for r, err := range b.Records() {
		if err != nil {
			return nil, err
		}
		if r.Offset >= from {
			r.Headers = slices.Clip(r.Headers)
			recs = append(recs, r)
		}
	}
	return recs, nil
}
