package log

import (
	"encoding/binary"
	"hash/crc32"
)

// Batch format: Kafka's RecordBatch, version 2
//
// Integers are big-endian; a varint is zig-zag, base 128.
//
//	byte  0        8      12     16  17     21    23     27
//	      +--------+------+------+---+------+-----+------+
//	      | first  |length|epoch | 2 | crc  |attrs|delta |
//	      +--------+------+------+---+------+-----+------+
//	byte  27       35       43       51    53     57     61
//	      +--------+--------+--------+-----+------+------+---------
//	      | base   | max    |producer|pepo.|pseq. |count | records
//	      +--------+--------+--------+-----+------+------+---------
//
//	first     int64   offset of the first record; set by the leader
//	length    int32   bytes after this field, at least 49
//	epoch     int32   leader epoch; set by the leader
//	magic     int8    2
//	crc       uint32  CRC-32C of all that follows it
//	attrs     int16   bits 0-2 codec, 3 time is the broker's, 4 transactional,
//	                  5 control, 6 base is a delete horizon; the rest must be 0
//	delta     int32   the last record's offset less first
//	base, max int64   time of the first record and the latest time, in milliseconds
//	producer  int64, int16, int32  producer id, its epoch, first sequence; -1 for none
//	count     int32   number of records; delta+1, or fewer after compaction, or 0
//	records   as many, one behind another; with a codec, compressed as one piece
//
// The codecs are 0 none, 1 gzip, 2 snappy, 3 lz4, which is refused, and 4 zstd.
//
// A record:
//
//	length varint   bytes after this field
//	attributes int8 0
//	time varlong    less base
//	offset varint   less first
//	key, value      length varint (-1: none), bytes
//	headers varint  their number, then for each: key length varint (not -1), key,
//	                value length varint (-1: none), value
//
// Bytes 0 to 16 are outside the crc, so that a leader can place a batch without
// reading it. A reader therefore checks that first follows the batch before and
// that epoch is the one that the epoch checkpoint has for it.
const (
	atFirst    = 0
	atLength   = 8
	atEpoch    = 12
	atMagic    = 16
	atCRC      = 17
	atAttrs    = 21
	atDelta    = 23
	atBase     = 27
	atMax      = 35
	atProducer = 43
	atPEpoch   = 51
	atSequence = 53
	atCount    = 57

	// BatchOverhead is the size of a batch without its records.
	BatchOverhead = 61

	batchMagic = 2
	lengthEnd  = 12                        // length counts the bytes from here
	minLength  = BatchOverhead - lengthEnd // of a batch without records
)

// The attribute bits of a batch.
const (
	attrCodec         = 0x07
	attrAppendTime    = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrHorizon       = 0x40
	attrUnknown       = ^uint16(0x7f)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func updateChecksum(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }

// varintSize is the number of bytes that v takes as a zig-zag varint.
func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// varint decodes a zig-zag varint at the start of b. n is 0 if there is none.
func varint(b []byte) (v int64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	v, n = binary.Varint(b)
	return v, max(n, 0)
}
