package log

import (
	"encoding/binary"
	"math"
)

// A filler is a batch without records that covers offsets whose records are
// gone, so that each batch of a log begins where the one before it ends. It has
// the epoch of those offsets, no producer, no attributes, and -1 for both times.
//
// Fillers that follow one another become one, within an epoch and as far as the
// offset delta of a batch reaches. The next one to be written is held back for
// that; what is in hand is its header, which is all there is to it.
type filler struct {
	header [BatchOverhead]byte
	held   bool
}

// fill covers the offsets of b with the filler that is held back, or begins a
// new one.
func (r *rewriter) fill(dst []byte, b Batch) []byte {
	f := &r.filler
	first := b.First()
	if f.held {
		h := Batch(f.header[:])
		if h.Epoch() == b.Epoch() && b.Last()-h.First() <= math.MaxInt32 {
			r.stats.changed = true
			f.set(h.First(), b.Last(), b.Epoch())
			return dst
		}
		dst = r.flush(dst)
	}
	f.set(first, b.Last(), b.Epoch())
	r.stats.changed = r.stats.changed || string(b) != string(f.header[:])
	return dst
}

// Rest returns a batch without records that covers those of b's offsets that are from and
// behind. False: b has records, or a producer who counts on it, or does not hold from
// behind its first offset.
//
// One filler may stand for several batches of before, so that a log that ends between two
// of those needs no more than the rest of it.
func (b Batch) Rest(from Offset) (Batch, bool) {
	if b.Count() != 0 || b.ProducerID() >= 0 || b.Attributes()&attrControl != 0 || from <= b.First() || from >= b.Next() {
		return nil, false
	}
	var f filler
	f.set(from, b.Last(), b.Epoch())
	return f.header[:], true
}

// flush appends the filler that is held back.
func (r *rewriter) flush(dst []byte) []byte {
	if !r.filler.held {
		return dst
	}
	r.filler.held = false
	return r.emit(append(dst, r.filler.header[:]...), len(dst))
}

// empty appends b without its records. It keeps the latest time of those that it
// had; compressed it is not, as there is nothing to compress.
func (r *rewriter) empty(dst []byte, b Batch) []byte {
	dst = r.flush(dst)
	at := len(dst)
	dst = append(dst, b[:BatchOverhead]...)
	h := Batch(dst[at:])
	binary.BigEndian.PutUint32(h[atLength:], minLength)
	binary.BigEndian.PutUint16(h[atAttrs:], b.Attributes()&^(attrCodec|attrHorizon))
	binary.BigEndian.PutUint64(h[atBase:], ^uint64(0))
	binary.BigEndian.PutUint32(h[atCount:], 0)
	binary.BigEndian.PutUint32(h[atCRC:], checksum(h[atAttrs:]))
	r.stats.changed = true
	return r.emit(dst, at)
}

func (f *filler) set(first, last Offset, epoch Epoch) {
	h := Batch(f.header[:])
	clear(h)
	h.Place(first, epoch)
	binary.BigEndian.PutUint32(h[atLength:], minLength)
	h[atMagic] = batchMagic
	binary.BigEndian.PutUint32(h[atDelta:], uint32(last-first))
	binary.BigEndian.PutUint64(h[atBase:], ^uint64(0))
	binary.BigEndian.PutUint64(h[atMax:], ^uint64(0))
	binary.BigEndian.PutUint64(h[atProducer:], ^uint64(0))
	binary.BigEndian.PutUint16(h[atPEpoch:], ^uint16(0))
	binary.BigEndian.PutUint32(h[atSequence:], ^uint32(0))
	binary.BigEndian.PutUint32(h[atCRC:], checksum(h[atAttrs:]))
	f.held = true
}
