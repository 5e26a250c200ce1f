package log_test

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// A file in memory is made of pages, of which some are written as a whole, some bit by
// bit, and some never. It reads as one piece.
func TestAFileInMemoryHoldsWhatWasWritten(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, seed int64) {
		rng := rand.New(rand.NewSource(seed))
		f, err := log.NewMemFS().Create("file")
		require.NoError(t, err)
		want := []byte{}
		resize := func(n int) {
			if n < len(want) {
				want = want[:n:n]
			}
			want = append(want, make([]byte, n-len(want))...)
		}
		const page = 64 << 10
		sizes := []int{1, 1000, page - 1, page, page + 1, 3*page + 100}
		for range 100 {
			at := []int{0, page, len(want), rng.Intn(4 * page)}[rng.Intn(4)]
			if rng.Intn(5) == 0 {
				require.NoError(t, f.Truncate(int64(at)))
				resize(at)
			} else {
				p := make([]byte, sizes[rng.Intn(len(sizes))])
				rng.Read(p)
				_, err := f.WriteAt(p, int64(at))
				require.NoError(t, err)
				resize(max(len(want), at+len(p)))
				copy(want[at:], p)
				clear(p) // the file has a copy
			}
			got := make([]byte, len(want))
			if len(got) > 0 {
				_, err = f.ReadAt(got, 0)
				require.NoError(t, err)
			}
			require.Equal(t, want, got)
		}
	})
}
