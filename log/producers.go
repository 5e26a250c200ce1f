package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
)

// Why a batch of an idempotent producer is refused. Nothing was written, and
// nothing is known of the batch; the error's text names the producer.
var (
	// ErrStaleProducer: the producer's id is in use with a newer epoch. Whoever
	// sent the batch was replaced, and must stop.
	ErrStaleProducer = errors.New("log: stale producer")
	// ErrOutOfSequence: a batch of the producer before this one is missing here.
	// It may still be under way: send both again, in order.
	ErrOutOfSequence = errors.New("log: out of sequence")
	// ErrUnknownProducer: the batch is not the first of its producer, and what
	// was known of that producer may have been forgotten. Whether earlier batches
	// are in the log cannot be told here.
	ErrUnknownProducer = errors.New("log: unknown producer")
)

const (
	noProducer = -1

	// producerWindow is how many batches of a producer are told from new ones
	// when they come again: as many as it may have under way at a time.
	producerWindow = 5

	// maxProducers bounds what a log remembers, to about 2 MB. One producer more
	// costs the one that has been silent the longest.
	maxProducers = 10_000
)

// A producerBatch is what is remembered of a batch. Its sequences and its offsets
// run side by side, so that the first offset need not be kept.
type producerBatch struct {
	firstSequence, lastSequence int32
	last                        Offset
	timestamp                   int64 // the latest of its records
}

// first returns the offset of the first record.
func (p producerBatch) first() Offset {
	return p.last - Offset((p.lastSequence-p.firstSequence)&math.MaxInt32)
}

// A producer is what a log remembers of a producer id.
type producer struct {
	id       int64
	epoch    int16
	count    uint8                         // of batches
	batches  [producerWindow]producerBatch // of this epoch, oldest first
	appended int64                         // when the last batch was, in milliseconds since the Unix epoch

	coordinatorEpoch int32  // of the last end of a transaction; -1: none
	transaction      Offset // first offset of the transaction under way; -1: none

	older, newer int32 // its neighbours in the order of use; -1: none
}

// newest returns the last batch of the epoch; nil if there is none, and the next
// one begins at 0.
func (p *producer) newest() *producerBatch {
	if p.count == 0 {
		return nil
	}
	return &p.batches[p.count-1]
}

// A producers remembers the idempotent producers of a log, so that a batch which
// comes again is known (KIP-98). What it holds is a function of the batches
// of the log and of when they came, so that every replica has it and recovery
// can make it anew; only what it has forgotten differs from one to the next.
//
// Its calls may overlap. Those that append allocate nothing for a producer that
// is known, and touch nothing for a batch without one.
type producers struct {
	mu         sync.Mutex      // guards all that follows; held for no I/O
	at         map[int64]int32 // where an id is in all
	all        []producer
	oldest     int32 // the one silent the longest; -1: none
	latest     int32
	incomplete bool // producers may have been forgotten
}

func newProducers() *producers {
	return &producers{at: map[int64]int32{}, oldest: -1, latest: -1}
}

// check judges a client's batch. If it is one of the last ones of its producer,
// it is a duplicate, first is where it is, and it must not be appended again;
// it is acknowledged as soon as the high watermark covers it there.
//
// An error matches [ErrStaleProducer], [ErrOutOfSequence], [ErrUnknownProducer],
// or [ErrCorrupt] for a batch that no producer makes.
func (t *producers) check(b Batch) (first Offset, duplicate bool, err error) {
	if b.ProducerID() == noProducer {
		return 0, false, nil
	}
	if b.ProducerID() < 0 || b.ProducerEpoch() < 0 || b.BaseSequence() < 0 {
		return 0, false, badBatch("producer")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.at[b.ProducerID()]
	if !known {
		return 0, false, t.checkUnknown(b)
	}
	return t.all[i].check(b)
}

// checkUnknown takes the first batch of a producer alone. A later one would hide
// that the first is missing (KAFKA-15591).
func (t *producers) checkUnknown(b Batch) error {
	switch {
	case b.BaseSequence() == 0:
		return nil
	case t.incomplete:
		return fmt.Errorf("%w: %d, at sequence %d", ErrUnknownProducer, b.ProducerID(), b.BaseSequence())
	}
	return fmt.Errorf("%w: producer %d begins at sequence %d", ErrOutOfSequence, b.ProducerID(), b.BaseSequence())
}

func (p *producer) check(b Batch) (first Offset, duplicate bool, err error) {
	next := int32(0)
	switch epoch := b.ProducerEpoch(); {
	case epoch < p.epoch:
		return 0, false, fmt.Errorf("%w: producer %d epoch %d after %d", ErrStaleProducer, p.id, epoch, p.epoch)
	case epoch == p.epoch:
		last := addSequence(b.BaseSequence(), b.lastDelta())
		for i := int(p.count) - 1; i >= 0; i-- {
			if have := &p.batches[i]; have.firstSequence == b.BaseSequence() && have.lastSequence == last {
				return have.first(), true, nil
			}
		}
		if newest := p.newest(); newest != nil {
			next = addSequence(newest.lastSequence, 1)
		}
	}
	if b.BaseSequence() != next {
		return 0, false, fmt.Errorf("%w: producer %d epoch %d at sequence %d where %d follows",
			ErrOutOfSequence, p.id, b.ProducerEpoch(), b.BaseSequence(), next)
	}
	return 0, false, nil
}

// addSequence returns the sequence that is n behind s: 0 follows 2^31-1.
func addSequence(s, n int32) int32 { return int32((int64(s) + int64(n)) & math.MaxInt32) }

// update notes a batch that was appended, at a time in milliseconds since the
// Unix epoch. Recovery, which cannot know that time, gives the present: a
// producer is remembered for too long rather than not long enough. Nothing is
// judged.
func (t *producers) update(b Batch, now int64) {
	if b.ProducerID() < 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.at[b.ProducerID()]
	if !known {
		i = t.insert(producer{id: b.ProducerID(), epoch: b.ProducerEpoch(), coordinatorEpoch: -1, transaction: -1})
	}
	t.use(i)
	p := &t.all[i]
	p.appended = now
	if p.epoch != b.ProducerEpoch() {
		p.epoch, p.count = b.ProducerEpoch(), 0
	}
	switch attrs := b.Attributes(); {
	case attrs&attrControl != 0:
		p.endTransaction(b)
		return
	case attrs&attrTransactional != 0 && p.transaction < 0:
		p.transaction = b.First()
	}
	p.note(b)
}

// note puts a batch behind the others, unless it is there.
func (p *producer) note(b Batch) {
	if newest := p.newest(); b.BaseSequence() < 0 || newest != nil && b.First() <= newest.last {
		return
	}
	if p.count == producerWindow {
		copy(p.batches[:], p.batches[1:])
		p.count--
	}
	p.batches[p.count] = producerBatch{
		firstSequence: b.BaseSequence(), lastSequence: addSequence(b.BaseSequence(), b.lastDelta()),
		last: b.Last(), timestamp: b.MaxTimestamp(),
	}
	p.count++
}

// endTransaction notes the end of a transaction: the next batch begins at 0.
func (p *producer) endTransaction(b Batch) {
	p.count, p.transaction = 0, -1
	if b.Compression() != NoCompression {
		return // nobody writes one so, and it is not inflated while readers wait
	}
	for r, err := range b.Records() {
		if err == nil && len(r.Value) >= 6 { // its version, then the coordinator's epoch
			p.coordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[2:]))
		}
	}
}

// holdsLast tells whether b is the last batch of a producer that is remembered,
// which compaction must keep.
func (t *producers) holdsLast(b Batch) bool {
	if b.ProducerID() < 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.at[b.ProducerID()]
	if !known {
		return false
	}
	newest := t.all[i].newest()
	return newest != nil && newest.last == b.Last()
}

// truncateEnd forgets the batches from end on. It is not exact if a producer has
// no other left: what it had before its last ones is not remembered here. Then
// the table must be made anew, from a snapshot at or below end and the batches
// behind it.
func (t *producers) truncateEnd(end Offset) (exact bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	exact = true
	for i := int32(0); i < int32(len(t.all)); {
		p := &t.all[i]
		if p.transaction >= end {
			p.transaction = -1
		}
		for p.count > 0 && p.batches[p.count-1].last >= end {
			p.count--
		}
		if p.count == 0 {
			t.remove(i) // another is at i now
			t.incomplete, exact = true, false
			continue
		}
		i++
	}
	return exact
}

// expire forgets the producers whose last batch came age milliseconds ago or
// more, unless a transaction is under way, and returns how many those were.
func (t *producers) expire(now, age int64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for i := int32(0); i < int32(len(t.all)); {
		p := &t.all[i]
		if p.transaction >= 0 || p.appended > now-age {
			i++
			continue
		}
		t.remove(i)
		t.incomplete = true
		n++
	}
	return n
}

// setIncomplete says that producers may have been forgotten: such as when a log
// that does not begin at 0, or was compacted, has no snapshot.
func (t *producers) setIncomplete() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.incomplete = true
}

// known tells whether there is anything to keep.
func (t *producers) known() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all) > 0 || t.incomplete
}

// become takes over what another has, which nobody else uses.
func (t *producers) become(o *producers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.all, t.oldest, t.latest, t.incomplete = o.at, o.all, o.oldest, o.latest, o.incomplete
}

// count returns how many producers are remembered.
func (t *producers) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}
