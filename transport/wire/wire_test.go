package wire

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFieldsComeBackAsTheyWereWritten(t *testing.T) {
	id := [16]byte{1, 2, 15: 255}
	w := NewWriter([]byte("kept"))
	w.Uint8(200)
	w.Bool(true)
	w.Bool(false)
	w.Uint8(5)
	w.Int16(math.MinInt16)
	w.Int32(math.MaxInt32)
	w.Int64(-1)
	w.Count(300)
	w.Blob(nil)
	w.Blob([]byte{})
	w.Blob([]byte("blob"))
	w.String("")
	w.String("text")
	w.ID(id)
	for range 300 {
		w.Uint8(0)
	}

	b := w.Bytes()
	require.Equal(t, "kept", string(b[:4]))
	r := NewReader(b[4:])
	require.Equal(t, uint8(200), r.Uint8())
	require.True(t, r.Bool())
	require.False(t, r.Bool())
	require.Equal(t, uint8(5), r.Flags(7))
	require.Equal(t, int16(math.MinInt16), r.Int16())
	require.Equal(t, int32(math.MaxInt32), r.Int32())
	require.Equal(t, int64(-1), r.Int64())
	require.Equal(t, 300, r.Count(300, 1))
	require.Nil(t, r.Blob(100))
	empty := r.Blob(0)
	require.NotNil(t, empty)
	require.Empty(t, empty)
	require.Equal(t, "blob", string(r.Blob(4)))
	require.Equal(t, "", r.String(0))
	require.Equal(t, "text", r.String(4))
	require.Equal(t, id, r.ID())
	require.Equal(t, 300, r.Left())
	for range 300 {
		r.Uint8()
	}
	require.NoError(t, r.Err())
	require.NoError(t, r.Done())
}

// These bytes are in every file and on every link: they may not change.
func TestGoldenBytes(t *testing.T) {
	var w Writer
	w.Uint8(1)
	w.Bool(true)
	w.Int16(-2)
	w.Int32(3)
	w.Int64(4)
	w.Count(300)
	w.Blob(nil)
	w.Blob([]byte{})
	w.Blob([]byte{0xAB})
	w.String("hi")
	w.ID([16]byte{0: 0xFF})
	const want = "01" + "01" + "fffe" + "00000003" + "0000000000000004" +
		"ac02" + // 300, low seven bits first
		"00" + "01" + "02ab" + // nil, empty, one byte
		"026869" +
		"ff000000000000000000000000000000"
	require.Equal(t, want, hex.EncodeToString(w.Bytes()))
}

func TestBoundsAreChecked(t *testing.T) {
	number := func(n int) []byte {
		var w Writer
		w.Count(n)
		return w.Bytes()
	}
	zeros := make([]byte, 10)
	for _, c := range []struct {
		name string
		in   []byte
		read func(r *Reader)
		ok   bool
	}{
		{"flags that are known", []byte{6}, func(r *Reader) { r.Flags(7) }, true},
		{"flags that are not", []byte{8}, func(r *Reader) { r.Flags(7) }, false},
		{"a count at its limit", append(number(10), zeros...), func(r *Reader) { r.Count(10, 1) }, true},
		{"a count over its limit", append(number(10), zeros...), func(r *Reader) { r.Count(9, 1) }, false},
		{"a count of more than can follow", append(number(10), zeros[1:]...), func(r *Reader) { r.Count(10, 1) }, false},
		{"a count of large elements that can just follow", append(number(2), zeros...), func(r *Reader) { r.Count(10, 5) }, true},
		{"a count of large elements that cannot", append(number(3), zeros...), func(r *Reader) { r.Count(10, 5) }, false},
		{"a count of elements said to be empty is bounded too", append(number(11), zeros...), func(r *Reader) { r.Count(100, 0) }, false},
		{"a negative limit allows no count", append(number(1), zeros...), func(r *Reader) { r.Count(-1, 1) }, false},
		{"a negative limit allows none of something", number(0), func(r *Reader) { r.Count(-1, 1) }, true},
		{"a blob at its limit", append(number(11), zeros...), func(r *Reader) { r.Blob(10) }, true},
		{"a blob over its limit", append(number(11), zeros...), func(r *Reader) { r.Blob(9) }, false},
		{"a blob that is not all there", append(number(11), zeros[1:]...), func(r *Reader) { r.Blob(100) }, false},
		{"a negative limit allows no blob", append(number(2), zeros...), func(r *Reader) { r.Blob(-1) }, false},
		{"a string at its limit", append(number(10), zeros...), func(r *Reader) { r.String(10) }, true},
		{"a string over its limit", append(number(10), zeros...), func(r *Reader) { r.String(9) }, false},
		{"a string that is not all there", append(number(10), zeros[1:]...), func(r *Reader) { r.String(100) }, false},
		{"a negative limit allows no string", append(number(1), zeros...), func(r *Reader) { r.String(-1) }, false},
		{"a length that no int holds", []byte(strings.Repeat("\xff", 9) + "\x01"), func(r *Reader) { r.Blob(math.MaxInt) }, false},
		{"a varint of more than 64 bits", []byte(strings.Repeat("\xff", 10) + "\x01"), func(r *Reader) { r.Count(math.MaxInt, 1) }, false},
		{"a varint that does not end", []byte{0x80}, func(r *Reader) { r.Count(10, 1) }, false},
		{"a varint longer than need be", []byte{0x81, 0x00, 0}, func(r *Reader) { r.Count(10, 1) }, false},
		{"no varint", nil, func(r *Reader) { r.Count(10, 1) }, false},
		{"a bool of 1", []byte{1}, func(r *Reader) { r.Bool() }, true},
		{"a bool of 2", []byte{2}, func(r *Reader) { r.Bool() }, false},
		{"half an int16", zeros[:1], func(r *Reader) { r.Int16() }, false},
		{"most of an int32", zeros[:3], func(r *Reader) { r.Int32() }, false},
		{"most of an int64", zeros[:7], func(r *Reader) { r.Int64() }, false},
		{"most of an ID", make([]byte, 15), func(r *Reader) { r.ID() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.in)
			c.read(r)
			if c.ok {
				require.NoError(t, r.Err())
			} else {
				require.ErrorIs(t, r.Err(), ErrMalformed)
			}
		})
	}
}

func TestFirstFaultIsKept(t *testing.T) {
	r := NewReader([]byte{2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9})
	r.Bool()
	first := r.Err()
	require.ErrorIs(t, first, ErrMalformed)
	require.Zero(t, r.Uint8())
	require.False(t, r.Bool())
	require.Zero(t, r.Int16())
	require.Zero(t, r.Int32())
	require.Zero(t, r.Int64())
	require.Zero(t, r.Count(100, 1))
	require.Nil(t, r.Blob(100))
	require.Zero(t, r.String(100))
	require.Zero(t, r.ID())
	require.Same(t, first, r.Err())
	require.Same(t, first, r.Done())
}

func TestBytesLeftOverAreAFault(t *testing.T) {
	r := NewReader([]byte{1, 2})
	r.Uint8()
	require.NoError(t, r.Err())
	require.ErrorIs(t, r.Done(), ErrMalformed)
}

// What is read may be appended to without harm to what follows it.
func TestBlobEndsWhereItEnds(t *testing.T) {
	var w Writer
	w.Blob([]byte("one"))
	w.Blob([]byte("two"))
	r := NewReader(w.Bytes())
	_ = append(r.Blob(10), 0xFF)
	require.Equal(t, "two", string(r.Blob(10)))
}
