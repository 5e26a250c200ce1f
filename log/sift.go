package log

import (
	"encoding/binary"
	"iter"
)

// A recordHead is what compaction looks at in a record.
type recordHead struct {
	at, end   int // the record's place in the records of its batch
	offset    Offset
	time      int64
	key       []byte // nil: none
	tombstone bool
}

// recordHeads returns the heads of the records of b, which are given as they are
// without compression. An error ends the loop; it matches [ErrCorrupt].
func recordHeads(b Batch, records []byte) iter.Seq2[recordHead, error] {
	return func(yield func(recordHead, error) bool) {
		rest, last := records, int64(-1)
		for range b.Count() {
			body, after, ok := cutRecord(rest)
			if !ok {
				yield(recordHead{}, badBatch("record length"))
				return
			}
			p := recordParser{rest: body, ok: len(body) > 0}
			p.skip(1) // attributes: unused
			h := recordHead{at: len(records) - len(rest), end: len(records) - len(after)}
			h.time = b.BaseTimestamp() + p.varint()
			delta := p.varint()
			h.key = p.bytes()
			h.tombstone = p.bytes() == nil
			for range p.count() {
				p.ok = p.bytes() != nil // a header must have a key
				p.bytes()
			}
			if !p.ok || len(p.rest) != 0 || delta <= last || delta > int64(b.lastDelta()) {
				yield(recordHead{}, badBatch("record"))
				return
			}
			h.offset = b.First() + Offset(delta)
			if !yield(h, nil) {
				return
			}
			rest, last = after, delta
		}
		if len(rest) != 0 {
			yield(recordHead{}, badBatch("bytes behind the last record"))
		}
	}
}

// A sifted is what remains of the records of a batch.
type sifted struct {
	records    []byte
	count      int
	dropped    int
	tombstones int   // of those that remain; they wait for a horizon
	max        int64 // the latest time of those that remain
}

// sift drops the records of b that are superseded, and the tombstones that have
// had their time.
func (r *rewriter) sift(b Batch, records []byte) (sifted, error) {
	s := sifted{}
	expired := r.expired(b)
	kept, copied := r.kept[:0], 0 // what lies before copied is dropped, or in kept
	for h, err := range recordHeads(b, records) {
		if err != nil {
			return sifted{}, err
		}
		gone := h.tombstone && expired && r.settled(h)
		switch {
		case gone:
			r.stats.tombstones++
			r.stats.removedBelow = max(r.stats.removedBelow, h.offset+1)
		case r.superseded(h):
			gone = true
		}
		if gone {
			s.dropped++
			kept, copied = append(kept, records[copied:h.at]...), h.end
			continue
		}
		if s.count == 0 || h.time > s.max {
			s.max = h.time
		}
		s.count++
		if h.tombstone && h.key != nil {
			s.tombstones++
		}
	}
	s.records = records
	if s.dropped > 0 {
		r.kept = append(kept, records[copied:]...)
		s.records = r.kept
	}
	return s, nil
}

// superseded tells whether the key of a record comes again.
func (r *rewriter) superseded(h recordHead) bool {
	if h.key == nil {
		return false
	}
	last, ok := r.keys.find(h.key)
	return ok && last > h.offset
}

// settled tells whether a record is the last of its key, in a part of the log in
// which nothing before it has that key any more once this pass is over.
func (r *rewriter) settled(h recordHead) bool {
	if h.key == nil || h.offset >= r.keys.end {
		return false
	}
	last, ok := r.keys.find(h.key)
	return ok && last == h.offset || !ok && h.offset < r.keys.start
}

// expired tells whether the tombstones of b have had their time. One of a
// transaction stays: it covers nothing in the map, so what it deletes stays too.
func (r *rewriter) expired(b Batch) bool {
	return b.Attributes()&(attrHorizon|attrTransactional) == attrHorizon && b.BaseTimestamp() <= r.now
}

// write appends b with the records that remain.
func (r *rewriter) write(dst []byte, b Batch, s sifted) ([]byte, error) {
	attrs, base, latest := b.Attributes(), b.BaseTimestamp(), s.max
	if s.tombstones > 0 && attrs&(attrHorizon|attrTransactional) == 0 {
		if horizon, ok := r.setHorizon(b, &s); ok {
			attrs, base = attrs|attrHorizon, horizon
		}
	}
	if s.tombstones > 0 && attrs&(attrHorizon|attrTransactional) == attrHorizon && !r.expired(b) {
		r.stats.nextHorizon = min(r.stats.nextHorizon, base)
	}
	if s.dropped == 0 && attrs == b.Attributes() {
		return r.pass(dst, b), nil
	}
	if attrs&attrAppendTime != 0 {
		latest = b.MaxTimestamp() // it is the time of each record
	}
	dst = r.flush(dst)
	at := len(dst)
	dst = append(dst, b[:BatchOverhead]...)
	if packed, smaller := deflate(b.Compression(), dst, s.records); smaller {
		dst = packed
	} else {
		attrs &^= attrCodec
		dst = append(dst, s.records...)
	}
	h := Batch(dst[at:])
	binary.BigEndian.PutUint32(h[atLength:], uint32(len(h)-lengthEnd))
	binary.BigEndian.PutUint16(h[atAttrs:], attrs)
	binary.BigEndian.PutUint64(h[atBase:], uint64(base))
	binary.BigEndian.PutUint64(h[atMax:], uint64(latest))
	binary.BigEndian.PutUint32(h[atCount:], uint32(s.count))
	binary.BigEndian.PutUint32(h[atCRC:], checksum(h[atAttrs:]))
	r.stats.changed = true
	return r.emit(dst, at), nil
}

// setHorizon puts the records of a batch at times relative to its delete
// horizon, which takes the place of its base. That makes them longer: a batch
// that would become longer than a batch may be, or than its file may be, does not
// get one now, and keeps its tombstones until it has shrunk.
func (r *rewriter) setHorizon(b Batch, s *sifted) (horizon int64, ok bool) {
	horizon = r.now + min(max(r.tombstoneAge, 0), noHorizon-max(r.now, 0))
	r.shifted = shiftTimes(r.shifted[:0], s.records, b.BaseTimestamp()-horizon)
	n := len(r.shifted)
	ahead := r.size - r.stats.bytesIn // bytes that may come out as they are
	if n > r.limit || r.stats.bytesOut+2*BatchOverhead+int64(n)+ahead > r.room {
		return 0, false
	}
	s.records = r.shifted
	return horizon, true
}

// shiftTimes appends records to dst with by added to each time. All else is as
// it was.
func shiftTimes(dst, records []byte, by int64) []byte {
	for len(records) > 0 {
		body, rest, _ := cutRecord(records)
		delta, n := varint(body[1:])
		delta += by
		dst = binary.AppendVarint(dst, int64(len(body)-n+varintSize(delta)))
		dst = binary.AppendVarint(append(dst, body[0]), delta)
		dst = append(dst, body[1+n:]...)
		records = rest
	}
	return dst
}

// CheckKeys tells whether each record of a checked batch has a key, as records do
// that are to be compacted. The error matches [ErrCorrupt].
func (b Batch) CheckKeys() error {
	records, err := b.section()
	if err != nil {
		return err
	}
	for r, err := range recordHeads(b, records) {
		if err != nil {
			return err
		}
		if r.key == nil {
			return badBatch("a record without a key")
		}
	}
	return nil
}
