package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was taken of a slab stays as it is, whatever is written later, also by who has
// it and appends.
func TestMessagesOfASlabAreNeverWrittenAgain(t *testing.T) {
	var s Slab
	var taken, want [][]byte
	for i := range 1000 {
		size := []int{0, 1, 100, 700, slabBytes / 4, slabBytes, 2 * slabBytes}[i%7]
		w := s.Writer()
		for range size {
			w.Uint8(uint8(i))
		}
		b := s.Take(&w)
		require.Len(t, b, size)
		_ = append(b, "not of it"...)
		taken, want = append(taken, b), append(want, bytes.Repeat([]byte{uint8(i)}, size))
	}
	require.Equal(t, want, taken)
}

func TestASlabSparesAllocations(t *testing.T) {
	var s Slab
	write := func(size int) {
		w := s.Writer()
		for range size {
			w.Uint8(1)
		}
		s.Take(&w)
	}
	require.Less(t, testing.AllocsPerRun(1000, func() { write(100) }), 1.0)
	write(100)
	left := len(s.free)
	write(slabBytes) // it takes memory of its own, and none of the slab's with it
	require.Len(t, s.free, left)
	require.Positive(t, left)
}
