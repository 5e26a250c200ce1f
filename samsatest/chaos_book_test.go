package samsatest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest/internal/history"
)

// An ident names a record. The value carries it.
type ident = history.Record

// valueOf is what the record of that name carries, of a size that its name decides.
func valueOf(id ident) []byte {
	rng := rand.New(rand.NewPCG(uint64(id.Sender), uint64(id.Number)))
	size := rng.IntN(100)
	if rng.IntN(50) == 0 {
		size = rng.IntN(3000)
	}
	v := make([]byte, 8, 8+size)
	binary.BigEndian.PutUint32(v, id.Sender)
	binary.BigEndian.PutUint32(v[4:], id.Number)
	for range size {
		v = append(v, byte(rng.Uint32()))
	}
	return v
}

func identOf(value []byte) (ident, bool) {
	if len(value) < 8 {
		return ident{}, false
	}
	id := ident{Sender: binary.BigEndian.Uint32(value), Number: binary.BigEndian.Uint32(value[4:])}
	return id, bytes.Equal(value, valueOf(id))
}

func partitionOf(name string, p samsa.PartitionID) history.Log {
	return history.Log{Topic: name, Partition: p}
}

func placeOf(rec samsa.Record) history.Place {
	return history.Place{Log: partitionOf(rec.Topic, rec.Partition), Offset: rec.Offset}
}

// A book keeps the history of a run, for those who tell it all at once, and
// complains of what cannot be.
type book struct {
	c *chaos

	mu        sync.Mutex // guards all below
	h         *history.History
	delivered int
	loops     int
}

// tell adds to the history.
func (b *book) tell(add func(h *history.History) error) {
	b.mu.Lock()
	err := add(b.h)
	b.mu.Unlock()
	if err != nil {
		b.c.complain("%v", err)
	}
}

func (b *book) summary() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	sent, acked, failed, unknown := b.h.Counts()
	return fmt.Sprintf("%d sent, %d acknowledged, %d failed, %d unknown; %d delivered in %d loops", sent, acked, failed, unknown, b.delivered, b.loops)
}

// sends says that a record is about to be sent.
func (b *book) sends(id ident, safe bool) {
	b.tell(func(h *history.History) error {
		h.Send(id, safe)
		return nil
	})
}

// told takes in what has become of a record that was under way for so long. One of
// which the outcome is not known may be tried for longer than its sender waited: for
// as long as limit.
func (b *book) told(id ident, rec samsa.Record, err error, took, limit time.Duration) {
	b.tell(func(h *history.History) error {
		switch {
		case err == nil:
			return h.Acked(id, placeOf(rec), rec.Epoch, attempts(took))
		case errors.Is(err, samsa.ErrOutcomeUnknown):
			return h.Unknown(id, attempts(limit))
		}
		return h.Failed(id)
	})
}

// attempts is how often a producer can have tried a batch in that time: it waits
// between two attempts, for 5 ms at first, and then longer.
func attempts(took time.Duration) int {
	n := 1
	for wait := 5 * time.Millisecond; took >= wait; n++ {
		took -= wait
		wait = min(2*wait, 250*time.Millisecond)
	}
	return n
}

// read notes that a record has been delivered.
func (b *book) read(r history.Reader, rec samsa.Record) {
	id, whole := identOf(rec.Value)
	if !whole {
		b.c.complain("%v read at %v what nobody sent: %x", r, placeOf(rec), rec.Value)
		return
	}
	b.tell(func(h *history.History) error {
		b.delivered++
		return h.Read(r, placeOf(rec), id)
	})
}

// done notes that a record has been processed.
func (b *book) done(r history.Reader, rec samsa.Record) {
	b.tell(func(h *history.History) error {
		h.Done(r, placeOf(rec))
		return nil
	})
}

// commits notes that commits have been accepted.
func (b *book) commits(group string, recs ...samsa.Record) {
	b.tell(func(h *history.History) error {
		for _, rec := range recs {
			h.Commit(group, placeOf(rec))
		}
		return nil
	})
}
