package consume

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

// holes writes 30 offsets of which compaction has left 10 to 14 and 20 to 22.
func holes(f *fakeCluster) {
	f.compact(at(0), 5, 0)
	f.compact(at(0), 5, 0)
	f.write(at(0), 5)
	f.compact(at(0), 5, 0)
	f.compact(at(0), 5, 3)
	f.compact(at(0), 5, 0)
}

var left = []log.Offset{10, 11, 12, 13, 14, 20, 21, 22}

func TestBatchesWithoutRecordsArePassed(t *testing.T) {
	for _, bytes := range []int{1, 1 << 20} { // one batch a read, and all
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			holes(f)
			c := start(t, Config{Partitions: []Place{place(0)}, FetchBytes: bytes}, f)
			require.Equal(t, left, offsetsOf(take(t, t.Context(), c, len(left))))
			f.write(at(0), 2)
			require.Equal(t, []log.Offset{22, 30, 31}, offsetsOf(take(t, t.Context(), c, 3)), "the last was in hand")
		})
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			holes(f)
			f.write(at(0), 2)
			c := start(t, Config{Partitions: []Place{place(0)}, FetchBytes: bytes}, f)
			var got []Record
			for len(got) < len(left)+2 {
				recs, err := c.Poll(t.Context(), 4)
				require.NoError(t, err)
				require.NotEmpty(t, recs)
				got = append(got, recs...)
			}
			require.Equal(t, append(left[:len(left):len(left)], 30, 31), offsetsOf(got))
		})
	}
}

// A group must come to the end of a log whose end has no records, or it would lag
// for ever.
func TestOffsetsWithoutRecordsAreCommitted(t *testing.T) {
	loop := func(ctx context.Context, c *Consumer) {
		for range c.Records(ctx) {
		}
	}
	poll := func(ctx context.Context, c *Consumer) {
		for ctx.Err() == nil {
			_, _ = c.Poll(ctx, 3)
		}
		ended, cancel := context.WithCancel(context.Background())
		defer cancel()
		require.NoError(t, c.Commit(ended))
	}
	for name, read := range map[string]func(context.Context, *Consumer){"loop": loop, "poll": poll} {
		t.Run(name, func(t *testing.T) {
			for _, records := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					if records {
						holes(f)
					} else {
						f.compact(at(0), 30, 0)
					}
					f.assign(at(0))
					c := start(t, inGroup(), f)
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					read(ctx, c)
					require.EqualValues(t, 30, f.committed(at(0)))
				})
			}
		})
	}
}

// A Poll goes on to the next batch while its records are in the caller's hands.
func TestWhatIsPassedWaitsForWhatIsInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		holes(f)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		recs, err := c.Poll(t.Context(), 100)
		require.NoError(t, err)
		require.Equal(t, left, offsetsOf(recs))
		require.NoError(t, c.Commit(t.Context()))
		require.EqualValues(t, 10, f.committed(at(0)), "all before the first record, and no more")
		require.NoError(t, c.Commit(t.Context(), recs[3]))
		require.EqualValues(t, 14, f.committed(at(0)))
		require.NoError(t, c.Commit(t.Context(), recs[7]))
		require.EqualValues(t, 23, f.committed(at(0)), "the caller's word is taken as it is")
	})
}

func TestCompressedBatchesAreRead(t *testing.T) {
	for _, codec := range []log.Compression{log.Gzip, log.Snappy, log.Zstd} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.codec = codec
			f.write(at(0), 500)
			require.Equal(t, codec, f.log(at(0)).batches[0].Compression())
			c := start(t, Config{Partitions: []Place{place(0)}, Start: At, From: 100}, f)
			recs := take(t, t.Context(), c, 200)
			require.EqualValues(t, 100, recs[0].Offset)
			recs, err := c.Poll(t.Context(), 1000)
			require.NoError(t, err)
			require.Len(t, recs, 201, "the last was in hand")
			require.Equal(t, "499", string(recs[200].Value))
		})
	}
}
