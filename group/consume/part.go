package consume

import (
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

const (
	firstBackoff = 5 * time.Millisecond
	maxBackoff   = 250 * time.Millisecond
)

// A part is a partition that the consumer reads. All of it is guarded by the
// consumer's mu.
type part struct {
	place    Place
	id       partition.ID
	progress progress
	paused   bool
	revoking bool // nothing of it is delivered any more
	inHand   bool // the caller has records of it
	fresh    bool // the caller has not been told of it
	gone     bool // it is read no more

	located bool       // the two below are known
	next    log.Offset // of the next record to hand out
	fetch   log.Offset // where the next read begins: behind the buffer
	buffer  []log.Batch
	decoded []log.Record // of buffer[0], for Poll
	bytes   int          // in buffer

	reading    *flight // the request under way
	leader     Leader  // whom that went to
	generation int     // moves when an answer under way, or a batch in hand, is void
	backoff    time.Duration
	retryAt    time.Time // no read before
	failed     Leader    // who gave cause for that
}

// jump makes off the next offset to hand out, and drops what was fetched.
func (p *part) jump(off log.Offset) {
	p.located, p.next, p.fetch = true, off, off
	p.buffer, p.decoded, p.bytes = nil, nil, 0
	p.generation++
	p.backoff, p.retryAt = 0, time.Time{}
}

// start makes off the place from which records are handed out and finished.
func (p *part) start(m mark) {
	p.progress.start(m)
	p.jump(m.at)
}

// add takes in batches that were read from p.fetch on.
func (p *part) add(b log.Batch) {
	if b.Next() <= p.fetch {
		return // the head of an answer may lie below what was asked for
	}
	p.buffer = append(p.buffer, b)
	p.bytes += len(b)
	p.fetch = b.Next()
}

// drop takes the first batch off the buffer: it has been handed out.
func (p *part) drop() {
	p.next = max(p.next, p.buffer[0].Next())
	p.bytes -= len(p.buffer[0])
	p.buffer[0], p.decoded = nil, nil
	p.buffer = p.buffer[1:]
	if len(p.buffer) == 0 {
		p.buffer = nil
	}
}

// delay puts the next read off, longer each time until one succeeds.
func (p *part) delay(now time.Time, cause Leader) {
	p.backoff = min(max(2*p.backoff, firstBackoff), maxBackoff)
	p.retryAt = now.Add(p.backoff)
	p.failed = cause
}
