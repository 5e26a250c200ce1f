package produce

import (
	"context"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A queue is the accumulator of one partition. It has no goroutine of its own:
// who brings a record while nobody sends takes the role of the sender, or starts
// a goroutine that has it until the queue is empty.
type queue struct {
	producer *Producer
	topic    *topic
	id       partition.ID

	mu     sync.Mutex // guards all below; never held while anything waits
	active bool       // somebody has the role of the sender
	hurry  bool       // somebody waits for all that is here: no lingering
	opened uint64     // the number of the newest batch
	left   uint64     // the number of the newest batch that has left
	open   *batch     // takes records; nil: none
	full   []*batch   // take no more, the oldest first
	flying *batch     // with the sender
	wake   chan struct{}
	room   room // that the next batch has from the start

	wait *wait // of who has the role of the sender; nil: the next one is made
}

// A place is what add has made of a record.
type place struct {
	number uint64 // of its batch
	sender bool   // the caller has the role of the sender now
	batch  *batch // taken at once for the sender, if that was asked for
	filled *batch // that had no room for the record: for the caller to complete; nil: none
}

// complete does the caller's part of the batch that it found full. It takes no lock, so
// that others go on to fill the next.
func (at *place) complete(c log.Compression) {
	if at.filled != nil {
		at.filled.complete(c)
	}
}

// add appends an admitted record. If now is set and nobody sends, the record
// leaves alone with the caller, who becomes the sender.
func (q *queue) add(ctx context.Context, rec *Record, size int, done Receiver, now bool) (place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.producer.closed.Load() {
		return place{}, ErrClosed
	}
	var at place
	limit := min(q.producer.cfg.BatchBytes, q.topic.maxBatch)
	if q.open != nil && q.open.builder.Count() > 0 && q.open.builder.Size()+size > limit {
		at.filled = q.open
		at.filled.filling = make(chan struct{})
		q.seal()
	}
	b := q.opening()
	b.add(ctx, rec, size, done)
	if b.builder.Size() >= limit {
		q.seal()
	}
	at.number, at.sender = b.number, q.claim()
	if at.sender && now {
		at.batch = q.take()
	}
	return at, nil
}

// refuse tells done of a refusal in its turn, perhaps before it returns.
func (q *queue) refuse(err error, done Receiver) {
	q.mu.Lock()
	active := q.active
	if active {
		q.opening().refuse(err, done)
	}
	q.mu.Unlock()
	if !active {
		done.Receive(Placed{Partition: q.id.Partition}, err)
	}
}

// claim takes the role of the sender if nobody has it; the caller holds mu.
func (q *queue) claim() bool {
	if q.active {
		return false
	}
	q.active = true
	q.producer.senders.Add(1)
	return true
}

// opening returns the open batch, and opens one if need be; the caller holds mu.
func (q *queue) opening() *batch {
	if q.open == nil {
		q.opened++
		q.open = q.producer.batch(q.opened, q.room)
	}
	return q.open
}

// seal closes the open batch; the caller holds mu. Records without a key go on
// to the next partition.
func (q *queue) seal() {
	q.full = append(q.full, q.open)
	// Where one is full the next will be.
	q.room = room{min(q.open.builder.Size(), q.producer.cfg.BatchBytes), len(q.open.entries)}
	q.open = nil
	q.topic.moveOn(q.id.Partition)
	q.rouse()
}

// rouse ends the sender's lingering, if it does; the caller holds mu.
func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the batch that leaves now, without the records whose context has
// ended; nil: there is none. The caller holds mu and has the role of the sender.
func (q *queue) take() *batch {
	var b *batch
	switch {
	case len(q.full) > 0:
		b = q.full[0]
		n := copy(q.full, q.full[1:])
		q.full[n] = nil
		q.full = q.full[:n]
	case q.open != nil:
		b, q.open, q.room = q.open, nil, room{}
		q.topic.moveOn(q.id.Partition)
	default:
		return nil
	}
	b.dropped = b.drop(q.refusal)
	q.flying, q.left = b, b.number
	return b
}

// next returns the batch that leaves now. Nil: there is none, and the role of the
// sender is given back. With linger it waits for company first.
func (q *queue) next(linger bool) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if linger && len(q.full) == 0 && !q.hurry {
		select {
		case <-q.wake: // meant for an earlier batch
		default:
		}
		q.mu.Unlock()
		q.linger()
		q.mu.Lock()
	}
	b := q.take()
	if b == nil {
		q.active, q.hurry = false, false
		q.producer.senders.Done()
	}
	return b
}

// linger waits until Linger has passed, or a batch is full, or somebody hurries.
func (q *queue) linger() {
	timer := time.NewTimer(q.producer.cfg.Linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.wake:
	case <-q.producer.ctx.Done():
	}
}

// landed notes that b has been answered and its senders have been told.
func (q *queue) landed(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying = nil
	if b.finished != nil {
		close(b.finished)
	}
}

// hasLeft reports whether that batch has left: if not, its records whose context
// has ended by now will never be sent.
func (q *queue) hasLeft(number uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return number <= q.left
}

// flush hurries all that is here, and returns a channel that is closed when its
// senders have been told; nil: nothing is here.
func (q *queue) flush() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := q.flying
	if len(q.full) > 0 {
		last = q.full[len(q.full)-1]
	}
	if q.open != nil {
		last = q.open
	}
	if last == nil {
		return nil
	}
	q.hurry = true
	q.rouse()
	if last.finished == nil {
		last.finished = make(chan struct{})
	}
	return last.finished
}

// size returns what a record adds to a batch, at most.
func size(rec *Record) int { return log.RecordSize(rec.Key, rec.Value, rec.Headers) }
