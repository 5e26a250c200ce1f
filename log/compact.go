package log

import "math"

// Compaction keeps the last record of each key, and rewrites the rest of a log
// without moving anything (KIP-534). What a pass does:
//
//  1. It covers the part that is not compacted yet with a [keyMap].
//  2. It rewrites everything from the start of the log to the end of that map,
//     group by group, from the oldest on. Each group must have replaced its
//     originals, durably, before the next one does: a tombstone goes only when
//     all that it deletes, which lies before it, has gone.
//  3. Where the map ends, the log is compacted to. The next pass begins there.
//
// A record without a key stays: nothing says what would supersede it, and to
// drop it would lose it. A tombstone supersedes like any value. The first pass
// over it sets a delete horizon in the header of its batch; a pass at or after
// that time removes it. A reader who is not slower than that, from the record
// that was deleted to its tombstone, misses no deletion. A replica may be slower:
// see compactStats.removedBelow.
//
// Offsets have no holes: what lost all its records is covered by a filler, see
// filler.go.
type compaction struct {
	keys *keyMap
	now  int64 // milliseconds since the Unix epoch

	// tombstoneAge is how long a tombstone stays after the first pass over it, in
	// milliseconds.
	tombstoneAge int64

	// isLast tells whether a batch is the last one of a producer that is still
	// active: it stays, if without records, since recovery learns from it which
	// sequence comes next. Nil means that no producer is active.
	isLast func(Batch) bool

	// limit is how many bytes of records a batch may hold, inflated. No batch is
	// made longer than that.
	limit int
}

// compactStats says what a pass has done, or a part of it.
type compactStats struct {
	recordsIn, recordsOut int64
	bytesIn, bytesOut     int64

	changed    bool  // what came out is not what went in
	tombstones int64 // removed because their horizon has passed

	// removedBelow is one past the last of those tombstones; 0 if there is none.
	// A replica whose log ends below may have records that they deleted, and will
	// never see them: it has to begin anew. So this must be durable before what
	// was rewritten replaces its originals.
	removedBelow Offset

	// nextHorizon is the earliest time at which another pass can remove a
	// tombstone; noHorizon if there is none to remove.
	nextHorizon int64
}

const noHorizon int64 = math.MaxInt64

// add takes in what another part of the pass has done.
func (s *compactStats) add(o compactStats) {
	s.recordsIn += o.recordsIn
	s.recordsOut += o.recordsOut
	s.bytesIn += o.bytesIn
	s.bytesOut += o.bytesOut
	s.changed = s.changed || o.changed
	s.tombstones += o.tombstones
	s.removedBelow = max(s.removedBelow, o.removedBelow)
	s.nextHorizon = min(s.nextHorizon, o.nextHorizon)
}

// A rewriter rewrites the batches of adjacent segments into those of one. It
// holds one batch and a filler, whatever their number.
type rewriter struct {
	compaction
	stats compactStats
	size  int64 // bytes of the batches that are to come in all
	room  int64 // bytes that horizons may let what comes out grow to

	next   Offset // what the next batch begins with
	epoch  Epoch  // of the last one
	filler filler

	kept, shifted, inflated []byte // records, kept from batch to batch for their memory
}

// newRewriter returns a rewriter of the batches from first on, which are size
// bytes in all.
func newRewriter(c compaction, first Offset, size int64) *rewriter {
	return &rewriter{
		compaction: c, next: first, epoch: NoEpoch, size: size,
		stats: compactStats{nextHorizon: noHorizon},
		room:  math.MaxInt32, // an index entry must be able to say where a batch lies
	}
}

// rewrite appends to dst what is left of b, and what of earlier batches was held
// back; maybe nothing. The batches come in order, without a hole, and each is
// checked, so that no damage gets a new checksum. After an error the whole
// output is void.
func (r *rewriter) rewrite(dst []byte, b Batch) ([]byte, error) {
	if err := r.follow(b); err != nil {
		return dst, err
	}
	control := b.Attributes()&attrControl != 0
	switch {
	case b.Count() == 0 && !control:
		if len(b) != BatchOverhead {
			return dst, badBatch("bytes behind the last record")
		}
		if r.active(b) {
			return r.pass(dst, b), nil
		}
		return r.fill(dst, b), nil
	case control, b.First() >= r.keys.end:
		return r.pass(dst, b), nil
	}
	records, err := inflateInto(r.inflated, b.Compression(), b[BatchOverhead:], r.limit)
	if err != nil {
		return dst, err
	}
	if b.Compression() != NoCompression {
		r.inflated = records[:0]
	}
	s, err := r.sift(b, records)
	switch {
	case err != nil:
		return dst, err
	case s.count > 0:
		return r.write(dst, b, s)
	case r.active(b):
		return r.empty(dst, b), nil
	}
	return r.fill(dst, b), nil
}

// finish appends what was held back. Nothing may be rewritten after it.
func (r *rewriter) finish(dst []byte) []byte { return r.flush(dst) }

// follow tells whether b is sound and comes next.
func (r *rewriter) follow(b Batch) error {
	if err := b.Check(); err != nil {
		return err
	}
	switch {
	case b.First() != r.next:
		return badBatch("offset")
	case b.Epoch() < r.epoch:
		return badBatch("epoch")
	}
	r.next, r.epoch = b.Next(), b.Epoch()
	r.stats.recordsIn += int64(b.Count())
	r.stats.bytesIn += int64(len(b))
	return nil
}

func (r *rewriter) active(b Batch) bool {
	return b.ProducerID() >= 0 && r.isLast != nil && r.isLast(b)
}

// pass appends b as it is.
func (r *rewriter) pass(dst []byte, b Batch) []byte {
	dst = r.flush(dst)
	return r.emit(append(dst, b...), len(dst))
}

// emit counts the batch that begins at a place in dst.
func (r *rewriter) emit(dst []byte, at int) []byte {
	r.stats.bytesOut += int64(len(dst) - at)
	r.stats.recordsOut += int64(Batch(dst[at:]).Count())
	return dst
}
