package wire

import (
	"encoding/binary"
	"slices"
)

// A Writer appends fields to a message. The zero Writer is an empty message.
type Writer struct{ b []byte }

// NewWriter returns a writer that appends to b, which may be nil.
func NewWriter(b []byte) *Writer { return &Writer{b: b} }

// Bytes returns the message so far. It is valid until the next write.
func (w *Writer) Bytes() []byte { return w.b }

// Grow makes room for n more bytes, so that what comes next is written at once.
func (w *Writer) Grow(n int) { w.b = slices.Grow(w.b, n) }

// Uint8 appends one byte.
func (w *Writer) Uint8(v uint8) { w.b = append(w.b, v) }

// Bool appends 1 for true and 0 for false.
func (w *Writer) Bool(v bool) {
	if v {
		w.Uint8(1)
	} else {
		w.Uint8(0)
	}
}

// Int16 appends two bytes.
func (w *Writer) Int16(v int16) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }

// Int32 appends four bytes.
func (w *Writer) Int32(v int32) { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }

// Int64 appends eight bytes.
func (w *Writer) Int64(v int64) { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }

// Count appends the number of elements that follow. It must not be negative.
func (w *Writer) Count(n int) { w.b = binary.AppendUvarint(w.b, uint64(n)) }

// Blob appends a length and b. Nil is told apart from empty.
func (w *Writer) Blob(b []byte) {
	if b == nil {
		w.Count(0)
		return
	}
	w.Count(len(b) + 1)
	w.b = append(w.b, b...)
}

// String appends a length and s.
func (w *Writer) String(s string) {
	w.Count(len(s))
	w.b = append(w.b, s...)
}

// ID appends the 16 bytes of an identifier, without a length.
func (w *Writer) ID(id [16]byte) { w.b = append(w.b, id[:]...) }
