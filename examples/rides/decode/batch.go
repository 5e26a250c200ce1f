package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A summary says what a segment holds.
type summary struct {
	batches, records int
	first, next      int64 // offsets; equal if there are no records
	bytes, zeros     int   // of batches; behind them
}

func (s summary) String() string {
	if s.batches == 0 {
		return fmt.Sprintf("no batches, %d zeros", s.zeros)
	}
	return fmt.Sprintf("%d batches, %d records, offsets %d to %d, %d bytes, %d zeros", s.batches, s.records, s.first, s.next-1, s.bytes, s.zeros)
}

// Where the fields of a batch are, and how large its header is.
const (
	baseOffset      = 0
	batchLength     = 8 // of what follows this field
	leaderEpoch     = 12
	magic           = 16
	checksum        = 17
	attributes      = 21 // the checksum is of everything from here
	lastOffsetDelta = 23
	baseTimestamp   = 27
	maxTimestamp    = 35
	recordsCount    = 57
	headerSize      = 61

	lengthFrom = batchLength + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decode checks a whole segment. Its first offset must be first, unless that is -1.
func decode(data []byte, first int64) (summary, error) {
	var s summary
	epoch, next := int32(-1), first
	for rest := data; len(rest) > 0; rest = data[s.bytes:] {
		if onlyZeros(rest) {
			s.zeros = len(rest)
			break
		}
		b, err := split(rest)
		if err == nil {
			err = b.check(next, epoch)
		}
		if err != nil {
			return s, fmt.Errorf("byte %d: %w", s.bytes, err)
		}
		if s.batches == 0 {
			s.first = b.int64(baseOffset)
		}
		epoch, next = b.int32(leaderEpoch), b.int64(baseOffset)+int64(b.int32(lastOffsetDelta))+1
		s.batches++
		s.records += int(b.int32(recordsCount))
		s.bytes += len(b)
		s.next = next
	}
	return s, nil
}

func onlyZeros(data []byte) bool {
	for _, c := range data {
		if c != 0 {
			return false
		}
	}
	return true
}

// A batch is the bytes of one, header and records.
type batch []byte

func (b batch) int16(at int) int16 { return int16(binary.BigEndian.Uint16(b[at:])) }
func (b batch) int32(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func (b batch) int64(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }

// split takes the first batch off data.
func split(data []byte) (batch, error) {
	if len(data) < headerSize {
		return nil, fmt.Errorf("a header has %d bytes, and %d are left", headerSize, len(data))
	}
	size := lengthFrom + int64(batch(data).int32(batchLength))
	if size < headerSize || size > int64(len(data)) {
		return nil, fmt.Errorf("a batch of %d bytes, where %d are left", size, len(data))
	}
	return batch(data[:size]), nil
}

// check tells whether the batch is sound, begins at offset next, unless that is
// -1, and is of no earlier leader than the one before.
func (b batch) check(next int64, epoch int32) error {
	if b[magic] != 2 {
		return fmt.Errorf("magic %d, want 2", b[magic])
	}
	if got, want := crc32.Checksum(b[attributes:], castagnoli), uint32(b.int32(checksum)); got != want {
		return fmt.Errorf("checksum %08x, of what is there %08x", want, got)
	}
	count, delta := b.int32(recordsCount), b.int32(lastOffsetDelta)
	switch base := b.int64(baseOffset); {
	case base < 0 || next >= 0 && base != next:
		return fmt.Errorf("offset %d, want %d", base, next)
	case b.int32(leaderEpoch) < max(epoch, 0):
		return fmt.Errorf("leader epoch %d behind %d", b.int32(leaderEpoch), epoch)
	case b.int16(attributes) != 0:
		return fmt.Errorf("attributes %#x: compressed, transactional and control batches are not expected", b.int16(attributes))
	case count < 1 || delta != count-1:
		return fmt.Errorf("%d records, the last at %d", count, delta)
	}
	return b.checkRecords()
}

func (b batch) checkRecords() error {
	in := &input{rest: b[headerSize:]}
	latest := b.int64(baseTimestamp)
	for i := range int64(b.int32(recordsCount)) {
		size := in.varint()
		body := &input{rest: in.take(size)}
		if in.err != nil {
			return fmt.Errorf("record %d: %w", i, in.err)
		}
		timestamp, err := record(body, i)
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		latest = max(latest, b.int64(baseTimestamp)+timestamp)
	}
	switch {
	case len(in.rest) > 0:
		return fmt.Errorf("%d bytes behind the last record", len(in.rest))
	case latest != b.int64(maxTimestamp):
		return fmt.Errorf("the latest time is %d; the header has %d", latest, b.int64(maxTimestamp))
	}
	return nil
}

// record checks the body of the i-th record of a batch. It returns its time, which
// is relative to the batch's.
func record(in *input, i int64) (timestamp int64, err error) {
	attributes := in.take(1)
	timestamp = in.varint()
	delta := in.varint()
	in.optional() // key
	in.optional() // value
	for n := in.varint(); n != 0 && in.err == nil; n-- {
		if n < 0 {
			return 0, fmt.Errorf("%d headers", n)
		}
		in.take(in.varint()) // a header has a key
		in.optional()
	}
	switch {
	case in.err != nil:
		return 0, in.err
	case attributes[0] != 0:
		return 0, fmt.Errorf("attributes %#x", attributes[0])
	case delta != i:
		return 0, fmt.Errorf("its offset is %d behind the batch's", delta)
	case len(in.rest) > 0:
		return 0, fmt.Errorf("%d bytes too many", len(in.rest))
	}
	return timestamp, nil
}

var errShort = errors.New("it is cut off")

// An input is eaten from the front. After the first error it gives zeros.
type input struct {
	rest []byte
	err  error
}

// varint reads a zig-zag varint.
func (in *input) varint() int64 {
	if in.err != nil {
		return 0
	}
	v, n := binary.Varint(in.rest)
	if n <= 0 {
		in.err = errShort
		return 0
	}
	in.rest = in.rest[n:]
	return v
}

func (in *input) take(n int64) []byte {
	if in.err == nil && (n < 0 || n > int64(len(in.rest))) {
		in.err = fmt.Errorf("%d bytes, where %d are left: %w", n, len(in.rest), errShort)
	}
	if in.err != nil {
		return nil
	}
	taken := in.rest[:n]
	in.rest = in.rest[n:]
	return taken
}

// optional reads a length and so many bytes, or a length of -1 for none.
func (in *input) optional() {
	if n := in.varint(); n != -1 {
		in.take(n)
	}
}
