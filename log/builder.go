package log

import "encoding/binary"

// A Builder makes a batch of records, encoding each in place behind the last.
// The zero value is ready.
type Builder struct {
	buf       []byte // the header's room, then the records
	packed    []byte // likewise, of a batch that was compressed
	count     int
	base, max int64 // times: of the first record, and the latest

	identified    bool // by those that follow
	producer      int64
	producerEpoch int16
	sequence      int32
}

// Identify makes the batch one of an idempotent producer, whose sequence number of
// the first record is given. Reset undoes it.
func (b *Builder) Identify(producer int64, epoch int16, sequence int32) {
	b.identified, b.producer, b.producerEpoch, b.sequence = true, producer, epoch, sequence
}

// Reset drops what was appended and goes on in buf, whose contents are lost; it
// grows when it must. nil keeps the buffer in use.
func (b *Builder) Reset(buf []byte) {
	if buf == nil {
		buf = b.buf
	}
	*b = Builder{buf: buf[:0], packed: b.packed[:0]}
}

// Count returns the number of records appended.
func (b *Builder) Count() int { return b.count }

// Size returns the bytes of the batch so far; 0 if it has no records.
func (b *Builder) Size() int {
	if b.count == 0 {
		return 0
	}
	return len(b.buf)
}

// Append adds a record; key, value and headers are copied.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []Header) {
	if b.count == 0 {
		b.base, b.max = timestamp, timestamp
		b.buf = append(b.buf[:0], make([]byte, BatchOverhead)...)
	}
	b.max = max(b.max, timestamp)
	delta, offset := timestamp-b.base, int64(b.count)

	body := 1 + varintSize(delta) + varintSize(offset) + bytesSize(key) + bytesSize(value) + varintSize(int64(len(headers)))
	for _, h := range headers {
		body += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	buf := binary.AppendVarint(b.buf, int64(body))
	buf = append(buf, 0)
	buf = binary.AppendVarint(buf, delta)
	buf = binary.AppendVarint(buf, offset)
	buf = appendBytes(buf, key)
	buf = appendBytes(buf, value)
	buf = binary.AppendVarint(buf, int64(len(headers)))
	for _, h := range headers {
		buf = binary.AppendVarint(buf, int64(len(h.Key)))
		buf = append(buf, h.Key...)
		buf = appendBytes(buf, h.Value)
	}
	b.buf = buf
	b.count++
}

// Build completes the batch: first offset 0, epoch -1. It is nil
// without records. The bytes are the builder's: they hold until the next Append,
// Reset or Compress.
func (b *Builder) Build() Batch {
	if b.count == 0 {
		return nil
	}
	return b.complete(b.buf, NoCompression)
}

// Compress is Build of a compressed batch. One that would not get smaller is left
// as it is, as is one of more than [MaxInflatedBytes], and every one if codec is
// none that [Compression.Check] approves of. The bytes hold until the next Append,
// Reset, Build or Compress.
func (b *Builder) Compress(codec Compression) Batch {
	if b.count == 0 || codec == NoCompression {
		return b.Build()
	}
	packed := append(b.packed[:0], b.buf[:BatchOverhead]...)
	packed, smaller := deflate(codec, packed, b.buf[BatchOverhead:])
	b.packed = packed
	if !smaller {
		return b.Build()
	}
	return b.complete(packed, codec)
}

// complete fills in the header in front of the records.
func (b *Builder) complete(h []byte, codec Compression) Batch {
	batch := Batch(h[:len(h):len(h)])
	batch.Place(0, NoEpoch)
	binary.BigEndian.PutUint32(h[atLength:], uint32(len(h)-lengthEnd))
	h[atMagic] = batchMagic
	binary.BigEndian.PutUint16(h[atAttrs:], uint16(codec))
	binary.BigEndian.PutUint32(h[atDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[atBase:], uint64(b.base))
	binary.BigEndian.PutUint64(h[atMax:], uint64(b.max))
	producer, producerEpoch, sequence := int64(noProducer), int16(-1), int32(-1)
	if b.identified {
		producer, producerEpoch, sequence = b.producer, b.producerEpoch, b.sequence
	}
	binary.BigEndian.PutUint64(h[atProducer:], uint64(producer))
	binary.BigEndian.PutUint16(h[atPEpoch:], uint16(producerEpoch))
	binary.BigEndian.PutUint32(h[atSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(h[atCount:], uint32(b.count))
	binary.BigEndian.PutUint32(h[atCRC:], checksum(h[atAttrs:]))
	return batch
}

// RecordSize returns an upper bound of what [Builder.Append] adds to
// [Builder.Size] for a record, the header of the batch aside.
func RecordSize(key, value []byte, headers []Header) int {
	const (
		lengths  = 5     // the most that a length takes
		overhead = 5 + 1 // the record's length, attributes
		place    = 10 + 5
	)
	n := overhead + place + 3*lengths + len(key) + len(value)
	for _, h := range headers {
		n += 2*lengths + len(h.Key) + len(h.Value)
	}
	return n
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

func appendBytes(buf, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(buf, -1)
	}
	return append(binary.AppendVarint(buf, int64(len(b))), b...)
}
