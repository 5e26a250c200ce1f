package log

import (
	"hash/maphash"
	"math/bits"
)

// A keyMap knows the last offset of each key in a range of offsets. A pass of
// compaction goes by it: what has its key in the map at a higher offset is
// superseded.
//
// It holds a hash of 128 bits in place of a key, so that an entry takes 24 bytes
// however long the key is. Two keys with one hash would cost somebody a record:
// the seeds are drawn anew for each map and never leave it, so that nobody can
// choose such keys, and for a hundred million keys chance makes a pair with a
// probability below 2^-75. All memory is taken once, at the start.
type keyMap struct {
	// The range covered. It begins where the log is not compacted yet, and may
	// end within a batch, where the map was full.
	start, end Offset

	seeds   [2]maphash.Seed
	entries []keyEntry // open addressing, linear probing
	used    int
	room    int // entries that may be used: three quarters, so that a probe is short

	inflated []byte // records, kept from batch to batch for its memory
}

type keyEntry struct {
	hash [2]uint64
	next Offset // one past the last offset of the key; 0: the entry is free
}

const keyEntrySize = 24

// newKeyMap returns a map of at most limit bytes for the keys from start on. It
// takes no more than upTo-start records can need.
func newKeyMap(limit int, start, upTo Offset) *keyMap {
	slots := int64(max(limit, 0) / keyEntrySize)
	if span := int64(max(upTo-start, 0)); span < slots {
		slots = min(slots, span+span/3+2)
	}
	return &keyMap{
		start: start, end: start,
		seeds:   [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		entries: make([]keyEntry, slots),
		room:    int(slots * 3 / 4),
	}
}

// cover adds the keys of the batch that holds the end of the range, and moves the
// end behind it. full says that the range ends within the batch, or before it:
// the pass goes as far as that, and the next one on from there.
//
// Nothing is superseded by a batch that may yet prove void, as long as nobody
// knows which transactions were aborted; control records have no key of a user.
// limit bounds the records of a compressed batch.
func (m *keyMap) cover(b Batch, limit int) (full bool, err error) {
	if err := b.Check(); err != nil {
		return false, err
	}
	if b.First() > m.end || b.Next() <= m.end {
		return false, badBatch("offset")
	}
	if b.Count() == 0 || b.Attributes()&(attrControl|attrTransactional) != 0 {
		m.end = b.Next()
		return false, nil
	}
	records, err := inflateInto(m.inflated, b.Compression(), b[BatchOverhead:], limit)
	if err != nil {
		return false, err
	}
	if b.Compression() != NoCompression {
		m.inflated = records[:0]
	}
	start := m.end
	for r, err := range recordHeads(b, records) {
		switch {
		case err != nil:
			return false, err
		case r.key == nil || r.offset < start:
			continue
		case !m.put(r.key, r.offset):
			m.end = r.offset
			return true, nil
		}
	}
	m.end = b.Next()
	return false, nil
}

// put notes that key has a record at off. It is false, and nothing has changed,
// if the map has no room for one more key.
func (m *keyMap) put(key []byte, off Offset) bool {
	hash := m.hash(key)
	e := m.probe(hash)
	switch {
	case e == nil:
		return false
	case e.next != 0:
		e.next = max(e.next, off+1)
		return true
	case m.used == m.room:
		return false
	}
	*e = keyEntry{hash: hash, next: off + 1}
	m.used++
	return true
}

// find returns the last offset of key in the range.
func (m *keyMap) find(key []byte) (Offset, bool) {
	if m.used == 0 {
		return 0, false
	}
	e := m.probe(m.hash(key))
	return e.next - 1, e.next != 0
}

func (m *keyMap) hash(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)}
}

// probe returns the entry of a hash, or the free one that it would take: there
// always is one, unless the map has no entries at all.
func (m *keyMap) probe(hash [2]uint64) *keyEntry {
	if len(m.entries) == 0 {
		return nil
	}
	at, _ := bits.Mul64(hash[0], uint64(len(m.entries)))
	for i := int(at); ; {
		e := &m.entries[i]
		if e.next == 0 || e.hash == hash {
			return e
		}
		if i++; i == len(m.entries) {
			i = 0
		}
	}
}
