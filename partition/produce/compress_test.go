package produce

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

func TestBatchesTravelCompressed(t *testing.T) {
	for _, codec := range []log.Compression{log.NoCompression, log.Gzip, log.Snappy, log.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.maxBatch = 20_000
				f.fault = func(_ context.Context, n int) ending {
					return ending{err: map[bool]error{true: errBroken}[n%2 == 1]} // each is sent twice
				}
				p := start(t, Config{Compression: codec, Linger: time.Second}, f)
				var want []string
				var heard teller
				for n := range 100 {
					v := fmt.Sprintf("%d %s", n, strings.Repeat("samsa ", 150))
					want = append(want, v)
					p.Send(t.Context(), value(v), heard.done(v))
				}
				require.NoError(t, p.Flush(t.Context()))
				require.Equal(t, want, f.values("t", 0))
				require.Equal(t, want, heard.values())
				require.Greater(t, len(f.written()), 4, "records count before they are compressed")
				for n, b := range f.held {
					require.Equal(t, codec, b.Compression())
					require.NoError(t, b.CheckRecordsWithin(f.maxBatch), "batch %d: its bytes are not used again", n)
					require.Less(t, len(b), 20_000)
				}
			})
		})
	}
}

// The records that are left when the context of others has ended are compressed
// like all.
func TestARebuiltBatchIsCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := start(t, Config{Compression: log.Zstd, Linger: time.Second}, f)
		ctx, cancel := context.WithCancel(t.Context())
		var want []string
		for n := range 100 {
			v := fmt.Sprint("value ", n)
			if n%3 == 0 {
				p.Send(ctx, value(v), ReceiverFunc(func(_ Placed, err error) { require.ErrorIs(t, err, context.Canceled) }))
				continue
			}
			want = append(want, v)
			p.Send(t.Context(), value(v), ReceiverFunc(func(_ Placed, err error) { require.NoError(t, err) }))
		}
		cancel()
		f.fault = func(_ context.Context, n int) ending {
			return ending{err: map[bool]error{true: errBroken}[n == 1]}
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, want, f.values("t", 0))
		require.Equal(t, log.Zstd, f.held[0].Compression())
	})
}
