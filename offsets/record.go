package offsets

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// Commit record format
//
// A commit is one record of __consumer_offsets, in the layout that Kafka's tools
// print. Integers are big-endian; a string is an int16 length and that many bytes.
//
//	key    int16   1; the first int16 of every key of the topic says what the record is
//	       string  group
//	       string  topic: the topic's id, as 32 hex digits
//	       int32   partition
//
//	value  int16   3
//	       int64   offset
//	       int32   leader epoch of the last record read, -1 for none
//	       string  metadata
//	       int64   commit time, milliseconds since the Unix epoch
//
// No value: the commit is gone. Reading. Another first int16 is another kind of
// record, and not for this codec. Another version of the value, or bytes left over,
// are refused. Changing any of this needs new numbers.
const (
	KeyVersion   = 1
	valueVersion = 3
)

// ErrRecord is matched by errors about bytes that are no commit record.
var ErrRecord = errors.New("offsets: not a commit record")

// EncodeKey returns the bytes of a commit's key.
func EncodeKey(k Key) []byte {
	b := make([]byte, 0, 2+2+len(k.Group)+2+32+4)
	b = binary.BigEndian.AppendUint16(b, KeyVersion)
	b = appendString(b, k.Group)
	b = binary.BigEndian.AppendUint16(b, 32)
	b = hex.AppendEncode(b, k.Partition.Topic[:])
	return binary.BigEndian.AppendUint32(b, uint32(k.Partition.Partition))
}

// DecodeKey decodes a whole key.
func DecodeKey(b []byte) (Key, error) {
	var k Key
	f := fields{b: b}
	if v := f.int16(); v != KeyVersion {
		f.fail("key version %d", v)
	}
	k.Group = f.string()
	topic := f.string()
	if len(topic) != 32 {
		f.fail("topic id of %d digits", len(topic))
	} else if _, err := hex.Decode(k.Partition.Topic[:], []byte(topic)); err != nil {
		f.fail("topic id: %v", err)
	}
	k.Partition.Partition = partition.PartitionID(f.int32())
	return k, f.done()
}

// EncodeCommit returns the bytes of a commit's value.
func EncodeCommit(c Commit) []byte {
	b := make([]byte, 0, 2+8+4+2+len(c.Metadata)+8)
	b = binary.BigEndian.AppendUint16(b, valueVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(c.Epoch))
	b = appendString(b, c.Metadata)
	return binary.BigEndian.AppendUint64(b, uint64(c.Timestamp))
}

// DecodeCommit decodes a whole value.
func DecodeCommit(b []byte) (Commit, error) {
	var c Commit
	f := fields{b: b}
	if v := f.int16(); v != valueVersion {
		f.fail("value version %d", v)
	}
	c.Offset = log.Offset(f.int64())
	c.Epoch = log.Epoch(f.int32())
	c.Metadata = f.string()
	c.Timestamp = f.int64()
	return c, f.done()
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// fields takes values off the front of b; after the first fault, zeros.
type fields struct {
	b   []byte
	err error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: %s", ErrRecord, fmt.Sprintf(format, args...))
	}
}

func (f *fields) take(n int) []byte {
	if f.err == nil && len(f.b) < n {
		f.fail("%d bytes wanted, %d left", n, len(f.b))
	}
	if f.err != nil {
		return make([]byte, min(n, 8))
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) int16() int16 { return int16(binary.BigEndian.Uint16(f.take(2))) }
func (f *fields) int32() int32 { return int32(binary.BigEndian.Uint32(f.take(4))) }
func (f *fields) int64() int64 { return int64(binary.BigEndian.Uint64(f.take(8))) }

func (f *fields) string() string {
	n := int(f.int16())
	if n < 0 {
		f.fail("string of length %d", n)
		return ""
	}
	b := f.take(n)
	if f.err != nil {
		return ""
	}
	return string(b)
}

func (f *fields) done() error {
	if f.err == nil && len(f.b) > 0 {
		f.fail("%d bytes left over", len(f.b))
	}
	return f.err
}
