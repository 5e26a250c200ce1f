package wire

import (
	"bytes"
	"testing"
)

// FuzzReader reads a message as script says, a field for each of its bytes. What
// has been read without a fault must give the same bytes when it is written again:
// no value has two encodings.
func FuzzReader(f *testing.F) {
	var w Writer
	w.Uint8(7)
	w.Bool(true)
	w.Int16(-1)
	w.Int32(1 << 30)
	w.Int64(-1 << 60)
	w.Count(3)
	w.Blob([]byte("blob"))
	w.String("text")
	w.ID([16]byte{1})
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8}, w.Bytes())
	f.Add([]byte{5, 6, 7}, []byte{0x80, 0x00})
	f.Add([]byte{6, 6, 7}, []byte{0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})

	f.Fuzz(func(t *testing.T, script, message []byte) {
		const limit = 1 << 20
		r, again := NewReader(message), NewWriter(nil)
		for _, kind := range script {
			before := r.Left()
			write := readField(r, kind%9, limit)
			if r.Left() > before || r.Left() < 0 {
				t.Fatalf("%d bytes left after %d", r.Left(), before)
			}
			if r.Err() != nil {
				break
			}
			write(again)
		}
		taken := message[:len(message)-r.Left()]
		if r.Err() == nil && !bytes.Equal(again.Bytes(), taken) {
			t.Fatalf("read  %x\nwrote %x", taken, again.Bytes())
		}
		if (r.Done() == nil) != (r.Err() == nil) {
			t.Fatal("Done and Err differ")
		}
	})
}

// readField reads a field, and returns what writes it again.
func readField(r *Reader, kind byte, limit int) func(*Writer) {
	switch kind {
	case 0:
		v := r.Uint8()
		return func(w *Writer) { w.Uint8(v) }
	case 1:
		v := r.Bool()
		return func(w *Writer) { w.Bool(v) }
	case 2:
		v := r.Int16()
		return func(w *Writer) { w.Int16(v) }
	case 3:
		v := r.Int32()
		return func(w *Writer) { w.Int32(v) }
	case 4:
		v := r.Int64()
		return func(w *Writer) { w.Int64(v) }
	case 5:
		v := r.Count(limit, 1)
		return func(w *Writer) { w.Count(v) }
	case 6:
		v := r.Blob(limit)
		return func(w *Writer) { w.Blob(v) }
	case 7:
		v := r.String(limit)
		return func(w *Writer) { w.String(v) }
	default:
		v := r.ID()
		return func(w *Writer) { w.ID(v) }
	}
}
