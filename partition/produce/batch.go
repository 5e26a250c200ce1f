package produce

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A batch is the records of one partition that travel together, each encoded
// once, in place, and what to tell their senders. Until it leaves it belongs to
// its queue, from then on to the sender.
type batch struct {
	number   uint64 // within the partition, from 1
	builder  log.Builder
	data     log.Batch     // what it has built; nil: that is left to the sender
	filling  chan struct{} // closed when whoever found it full has done so; nil: nobody does
	entries  []entry
	contexts []context.Context // those that can end, each once
	lasting  bool              // a record's context never ends
	dropped  bool              // it must be rebuilt before it is sent
	bytes    int               // taken from the buffer's budget
	deadline time.Time
	finished chan struct{} // closed when all senders have been told; made by who waits
	largest  int           // bytes for which it has had room
}

// An entry is one call to Send: in the order of the calls.
type entry struct {
	done    Receiver
	at      int64 // the record's timestamp
	context int   // index into contexts; forever: one that never ends
	err     error // not nil: refused, and no record of the batch
}

const forever = -1

// A room is what a batch is expected to come to.
type room struct{ bytes, entries int }

// open makes b, fresh or used, an empty batch, with that room at once.
func (b *batch) open(number uint64, deadline time.Time, r room) {
	b.number, b.deadline = number, deadline
	b.entries = slices.Grow(b.entries, r.entries)
	if b.largest >= r.bytes {
		b.builder.Reset(nil)
		return
	}
	b.builder.Reset(make([]byte, 0, r.bytes))
	b.largest = r.bytes
}

// add appends a record that has been admitted with that size.
func (b *batch) add(ctx context.Context, rec *Record, size int, done Receiver) {
	b.builder.Append(rec.Timestamp, rec.Key, rec.Value, rec.Headers)
	b.bytes += size
	b.entries = append(b.entries, entry{done: done, at: rec.Timestamp, context: b.watch(ctx)})
}

// complete builds the batch, if that is no more than a checksum: the sender, who waits
// for answers meanwhile, finds it ready. It is for whoever found it full.
func (b *batch) complete(c log.Compression) {
	defer close(b.filling)
	if c == log.NoCompression {
		b.data = b.builder.Build()
	}
}

// finish returns what is sent.
func (b *batch) finish(c log.Compression) log.Batch {
	if b.filling != nil {
		<-b.filling
	}
	if b.dropped {
		b.rebuild()
		b.data = nil
	}
	if b.data == nil {
		b.data = b.builder.Compress(c)
	}
	return b.data
}

// refuse appends the place of a record that is not sent, so that its sender is
// told in its turn.
func (b *batch) refuse(err error, done Receiver) {
	b.entries = append(b.entries, entry{done: done, context: forever, err: err})
}

// watch returns the index of ctx among the contexts. Contexts with one channel
// end as one; the last few are looked at, since most callers use one for all.
func (b *batch) watch(ctx context.Context) int {
	done := ctx.Done()
	if done == nil {
		b.lasting = true
		return forever
	}
	for i := len(b.contexts) - 1; i >= max(0, len(b.contexts)-4); i-- {
		if b.contexts[i].Done() == done {
			return i
		}
	}
	b.contexts = append(b.contexts, ctx)
	return len(b.contexts) - 1
}

// drop marks the records whose context has ended before the batch left as
// refused, and reports whether there are any: the batch must then be rebuilt.
func (b *batch) drop(refusal func(error) error) bool {
	dropped := false
	for c, ctx := range b.contexts {
		err := ctx.Err()
		if err == nil {
			continue
		}
		err = refusal(err)
		for i := range b.entries {
			if e := &b.entries[i]; e.context == c && e.err == nil {
				e.err = err
				dropped = true
			}
		}
	}
	return dropped
}

// rebuild encodes the batch anew without the records that drop has marked. What
// was refused from the start never was in it and has no context.
func (b *batch) rebuild() {
	if b.builder.Count() == 0 {
		return
	}
	var fresh log.Builder
	fresh.Reset(nil)
	at := 0
	for rec := range b.records() {
		for b.entries[at].err != nil && b.entries[at].context == forever {
			at++
		}
		if b.entries[at].err == nil {
			fresh.Append(rec.Timestamp, rec.Key, rec.Value, rec.Headers)
		}
		at++
	}
	b.builder = fresh
}

func (b *batch) records() func(func(log.Record) bool) {
	return func(yield func(log.Record) bool) {
		for rec, err := range b.builder.Build().Records() {
			if err != nil || !yield(rec) {
				return // what was built here always parses
			}
		}
	}
}

// tell tells every sender, in order.
func (b *batch) tell(topic string, part partition.PartitionID, out outcome) {
	var next log.Offset
	for i := range b.entries {
		e := &b.entries[i]
		placed, err := Placed{Topic: topic, Partition: part}, e.err
		switch {
		case err != nil:
		case out.err != nil:
			err = b.explain(e, out)
		default:
			placed.Offset, placed.Epoch, placed.Timestamp = out.first+next, out.epoch, e.at
			next++
		}
		e.done.Receive(placed, err)
	}
}

// explain returns the batch's error as the sender of e must see it: where its
// own context has ended, that shows as well.
func (b *batch) explain(e *entry, out outcome) error {
	if e.context == forever {
		return out.err
	}
	err := b.contexts[e.context].Err()
	if err == nil {
		return out.err
	}
	return out.err.because(err)
}

// reset clears b for another use of its memory. Shared says that somebody may
// still hold the bytes of the batch.
func (b *batch) reset(shared bool) {
	clear(b.entries)
	clear(b.contexts)
	b.largest = max(b.largest, b.builder.Size())
	if shared {
		b.builder, b.largest = log.Builder{}, 0
	}
	*b = batch{builder: b.builder, entries: b.entries[:0], contexts: b.contexts[:0], largest: b.largest}
}
