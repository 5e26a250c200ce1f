package log

import (
	"encoding/binary"
	"fmt"
)

// A Batch is the bytes of exactly one batch, as [SplitBatch] or [Builder] make
// them; its methods but Check do not look for less than a whole header.
type Batch []byte

// SplitBatch takes the first batch off data, looking at its length and magic
// alone. The error matches [ErrShort] if data ends before the batch does, and
// [ErrCorrupt] if no batch begins so.
func SplitBatch(data []byte) (b Batch, rest []byte, err error) {
	if len(data) < atMagic+1 {
		return nil, data, ErrShort
	}
	length := int64(int32(binary.BigEndian.Uint32(data[atLength:])))
	switch {
	case length < minLength:
		return nil, data, badBatch("length")
	case data[atMagic] != batchMagic:
		return nil, data, badBatch("magic")
	case lengthEnd+length > int64(len(data)):
		return nil, data, ErrShort
	}
	n := int(lengthEnd + length)
	return Batch(data[:n:n]), data[n:], nil
}

// First returns the offset of the first record.
func (b Batch) First() Offset { return Offset(binary.BigEndian.Uint64(b[atFirst:])) }

// Last returns the offset of the last record.
func (b Batch) Last() Offset { return b.First() + Offset(b.lastDelta()) }

// Next returns the offset that follows the batch.
func (b Batch) Next() Offset { return b.Last() + 1 }

// Epoch returns the epoch of the leader that placed the batch.
func (b Batch) Epoch() Epoch { return Epoch(binary.BigEndian.Uint32(b[atEpoch:])) }

// Count returns the number of records.
func (b Batch) Count() int { return int(int32(binary.BigEndian.Uint32(b[atCount:]))) }

// BaseTimestamp returns the time that those of the records are relative to.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atBase:])) }

// MaxTimestamp returns the latest time of a record.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[atMax:])) }

// Attributes returns the attribute bits; see format.go.
func (b Batch) Attributes() uint16 { return binary.BigEndian.Uint16(b[atAttrs:]) }

// ProducerID returns the id of an idempotent producer, or -1.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[atProducer:])) }

// ProducerEpoch returns the epoch of an idempotent producer, or -1.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[atPEpoch:])) }

// BaseSequence returns the producer's number of the first record, or -1.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[atSequence:])) }

// Compression returns the codec of the records. What it says of a batch without
// records has no meaning.
func (b Batch) Compression() Compression { return Compression(b.Attributes() & attrCodec) }

func (b Batch) lastDelta() int32 { return int32(binary.BigEndian.Uint32(b[atDelta:])) }

// size returns the length that the header claims, of the batch as a whole.
func (b Batch) size() int64 {
	return lengthEnd + int64(int32(binary.BigEndian.Uint32(b[atLength:])))
}

// Place sets the offset of the first record and the leader epoch, in place. The
// checksum does not cover them.
func (b Batch) Place(first Offset, epoch Epoch) {
	binary.BigEndian.PutUint64(b[atFirst:], uint64(first))
	binary.BigEndian.PutUint32(b[atEpoch:], uint32(epoch))
}

// Check tells whether b is one whole batch as it was built: length, magic,
// checksum, attributes and counts. The error matches [ErrCorrupt], or
// [ErrUnsupported] for a sound batch that this version cannot read. Offset and
// epoch are not covered: only who knows what came before can judge them. Records
// are not looked at, nor inflated.
func (b Batch) Check() error {
	switch {
	case len(b) < BatchOverhead:
		return badBatch("header")
	case b.size() != int64(len(b)):
		return badBatch("length")
	case b[atMagic] != batchMagic:
		return badBatch("magic")
	case binary.BigEndian.Uint32(b[atCRC:]) != checksum(b[atAttrs:]):
		return badBatch("checksum")
	case b.Attributes()&attrUnknown != 0:
		return badBatch("attributes")
	case b.lastDelta() < 0 || b.Count() < 0 || int64(b.Count()) > int64(b.lastDelta())+1:
		return badBatch("counts")
	case b.First() < 0 || b.Next() < 0: // the end must be an offset too
		return badBatch("offset")
	}
	if b.Count() == 0 {
		return nil // there is nothing to inflate
	}
	return b.Compression().Check()
}

// CheckRecords is Check and what a leader demands of a client's batch: at least
// one record, offsets without holes, every record well formed and nothing behind
// the last, and none of the attributes that are not a client's to set. Compressed
// records may inflate to [MaxInflatedBytes].
func (b Batch) CheckRecords() error { return b.CheckRecordsWithin(MaxInflatedBytes) }

// CheckRecordsWithin is [Batch.CheckRecords] with a limit of its own to what
// compressed records inflate to: [MaxInflatedBytes] where that is less. Above it
// the error matches [ErrTooLarge].
func (b Batch) CheckRecordsWithin(inflated int) error {
	if err := b.Check(); err != nil {
		return err
	}
	switch attrs := b.Attributes(); {
	case attrs&attrTransactional != 0:
		return fmt.Errorf("%w: transactions", ErrUnsupported)
	case attrs&(attrControl|attrHorizon) != 0:
		return badBatch("attributes of a client's batch")
	case b.Count() < 1 || int64(b.Count()) != int64(b.lastDelta())+1:
		return badBatch("counts of a client's batch")
	}
	if b.Compression() == NoCompression {
		return checkSection(b[BatchOverhead:], b.Count())
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	section, err := inflateInto(s.b, b.Compression(), b[BatchOverhead:], min(inflated, MaxInflatedBytes))
	if err != nil {
		return err
	}
	s.b = section
	return checkSection(section, b.Count())
}

// checkSection checks the records of a client's batch.
func checkSection(rest []byte, count int) error {
	for i := range count {
		body, after, ok := cutRecord(rest)
		if !ok {
			return badBatch("record length")
		}
		if delta, ok := checkRecord(body); !ok || delta != int64(i) {
			return badBatch("record")
		}
		rest = after
	}
	if len(rest) != 0 {
		return badBatch("bytes behind the last record")
	}
	return nil
}
