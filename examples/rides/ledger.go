package main

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/samsalog/samsa"
)

// An order knows in which order the identities of a run are sent: all lines, then
// all of them again.
type order struct {
	lines   []int       // in the order of the rides
	place   map[int]int // of a line
	repeats int
}

func newOrder(rides []Ride, repeats int) *order {
	o := &order{lines: make([]int, len(rides)), place: make(map[int]int, len(rides)), repeats: repeats}
	for i, r := range rides {
		o.lines[i], o.place[r.Line] = r.Line, i
	}
	return o
}

func (o *order) len() int { return len(o.lines) * o.repeats }

// of returns when an identity is sent, from 0; false if it is not of this run.
func (o *order) of(id identity) (int, bool) {
	at, ok := o.place[id.line]
	if !ok || id.repeat < 0 || id.repeat >= o.repeats {
		return 0, false
	}
	return id.repeat*len(o.lines) + at, true
}

func (o *order) identity(n int) identity {
	return identity{line: o.lines[n%len(o.lines)], repeat: n / len(o.lines)}
}

// A book is the sender's side: what was sent, and what was answered. Each identity
// is answered once.
type book struct {
	order    *order
	sent     atomic.Int64
	acked    atomic.Int64
	failed   atomic.Int64    // certainly not in the log
	unknown  atomic.Int64    // no answer: it may be in the log, or not
	answered []atomic.Uint64 // by send order: 0, or where it stands: partition, offset+1
}

// offsetBits is how much of a word of book.answered is for the offset.
const offsetBits = 48

func newBook(o *order) *book { return &book{order: o, answered: make([]atomic.Uint64, o.len())} }

func (b *book) ack(n int, rec samsa.Record) {
	b.answered[n].Store(uint64(rec.Partition)<<offsetBits | uint64(rec.Offset+1))
	b.acked.Add(1)
}

// answers is how many were answered, in whatever way.
func (b *book) answers() int { return int(b.acked.Load() + b.failed.Load() + b.unknown.Load()) }

// describe says which acknowledged ride is the n-th and where it should stand.
func (b *book) describe(n int) string {
	at := b.answered[n].Load()
	return fmt.Sprintf("%v, acknowledged at %s/%d, offset %d", b.order.identity(n), requested, at>>offsetBits, int64(at&(1<<offsetBits-1))-1)
}

// A ledger is one group's side: which identities it was given, how often, and in
// which order. One goroutine delivers; others may count.
type ledger struct {
	group string
	order *order

	mu    sync.Mutex // guards all below
	seen  []uint64   // a bit an identity
	last  map[string]*int
	tally tally
}

// A tally is what a ledger counts.
type tally struct {
	consumed   int // deliveries
	repeated   int // those of an identity that came before
	outOfOrder int // first ones below an earlier first one of their key
}

func newLedger(group string, o *order) *ledger {
	return &ledger{group: group, order: o, seen: make([]uint64, (o.len()+63)/64), last: make(map[string]*int)}
}

// deliver notes one record. first says that its identity was not there before: a
// log that delivers at least once leaves it to each service not to do things twice.
func (l *ledger) deliver(rec samsa.Record) (first bool, err error) {
	id, err := identityOf(rec)
	if err != nil {
		return false, err
	}
	n, ok := l.order.of(id)
	if !ok {
		return false, fmt.Errorf("%s/%d, offset %d: %v is of another run", rec.Topic, rec.Partition, rec.Offset, id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.consumed++
	word, bit := &l.seen[n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		l.tally.repeated++
		return false, nil
	}
	*word |= bit
	if rec.Key != nil { // what has no key has no order
		l.inOrder(rec.Key, n)
	}
	return true, nil
}

func (l *ledger) inOrder(key []byte, n int) {
	last, ok := l.last[string(key)]
	switch {
	case !ok:
		l.last[string(key)] = &n
	case n < *last:
		l.tally.outOfOrder++
	default:
		*last = n
	}
}

func (l *ledger) counts() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally
}

// missing returns how many acknowledged identities the group has not been given,
// and the first of them.
func (l *ledger) missing(b *book) (count, first int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = -1
	for w, seen := range l.seen {
		var acked uint64
		for n := w * 64; n < min(w*64+64, len(b.answered)); n++ {
			if b.answered[n].Load() != 0 {
				acked |= 1 << (n % 64)
			}
		}
		if lost := acked &^ seen; lost != 0 {
			if first < 0 {
				first = w*64 + bits.TrailingZeros64(lost)
			}
			count += bits.OnesCount64(lost)
		}
	}
	return count, first
}

// complaint says what the group misses; empty if that is nothing.
func (l *ledger) complaint(b *book) string {
	count, first := l.missing(b)
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("%s misses %s acknowledged rides; the first is that of %s", l.group, thousands(int64(count)), b.describe(first))
}
