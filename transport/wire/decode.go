package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is matched by every error of a [Reader].
var ErrMalformed = errors.New("wire: malformed message")

// A Reader takes fields off the front of a message. After its first fault it
// returns zero values.
type Reader struct {
	b   []byte
	at  int
	err error
}

// NewReader returns a reader of b. What it returns of type []byte shares b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns the first fault, or nil.
func (r *Reader) Err() error { return r.err }

// Done returns the first fault; bytes left over are one.
func (r *Reader) Done() error {
	if r.err == nil && r.at != len(r.b) {
		r.fail("%d bytes left over", len(r.b)-r.at)
	}
	return r.err
}

// Left returns how many bytes have not been read.
func (r *Reader) Left() int { return len(r.b) - r.at }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: byte %d: %s", ErrMalformed, r.at, fmt.Sprintf(format, args...))
	}
}

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.at {
		r.fail("%d bytes wanted, %d left", n, len(r.b)-r.at)
		return nil
	}
	b := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

// Uint8 takes one byte.
func (r *Reader) Uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Bool takes one byte, which must be 0 or 1.
func (r *Reader) Bool() bool {
	switch v := r.Uint8(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.fail("%d is not a bool", v)
		return false
	}
}

// Flags takes a byte in which no bit but those of known may be set.
func (r *Reader) Flags(known uint8) uint8 {
	v := r.Uint8()
	if v&^known != 0 {
		r.fail("flags of %#x; those known are %#x", v, known)
		return 0
	}
	return v
}

// Int16 takes two bytes.
func (r *Reader) Int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

// Int32 takes four bytes.
func (r *Reader) Int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Int64 takes eight bytes.
func (r *Reader) Int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Count takes the number of elements that follow: at most limit, and no more
// than could fit in what is left at least bytes each. At least 1 is assumed.
func (r *Reader) Count(limit, least int) int {
	n := r.uvarint()
	if r.err != nil {
		return 0
	}
	if n > bound(limit) || n > uint64(r.Left()/max(least, 1)) {
		r.fail("%d elements; the limit is %d, and %d bytes are left", n, limit, r.Left())
		return 0
	}
	return int(n)
}

// List takes a [Reader.Count] and that many elements, which one takes; nil for none, and
// after a fault.
func List[T any](r *Reader, limit, least int, one func() T) []T {
	n := r.Count(limit, least)
	if n == 0 {
		return nil
	}
	all := make([]T, 0, n)
	for range n {
		all = append(all, one())
		if r.Err() != nil {
			return nil
		}
	}
	return all
}

// Blob takes a length and that many bytes, at most limit. It returns nil for a
// blob written as nil, and shares the message's memory.
func (r *Reader) Blob(limit int) []byte {
	n := r.uvarint()
	if r.err != nil || n == 0 {
		return nil
	}
	n--
	if n > bound(limit) || n > uint64(r.Left()) {
		r.fail("blob of %d bytes; the limit is %d, and %d are left", n, limit, r.Left())
		return nil
	}
	return r.take(int(n))
}

// String takes a length and that many bytes, at most limit.
func (r *Reader) String(limit int) string {
	n := r.uvarint()
	if r.err != nil {
		return ""
	}
	if n > bound(limit) || n > uint64(r.Left()) {
		r.fail("string of %d bytes; the limit is %d, and %d are left", n, limit, r.Left())
		return ""
	}
	return string(r.take(int(n)))
}

// ID takes 16 bytes.
func (r *Reader) ID() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *Reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.fail("bad varint")
		return 0
	}
	if n > 1 && r.b[r.at+n-1] == 0 { // one value has one encoding
		r.fail("varint longer than need be")
		return 0
	}
	r.at += n
	return v
}

// bound makes a limit comparable: a negative one, as a caller's subtraction may
// give, allows nothing.
func bound(limit int) uint64 { return uint64(max(limit, 0)) }
