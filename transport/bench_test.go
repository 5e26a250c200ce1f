package transport_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/transport"
)

func benchPair(tb testing.TB) transport.Node {
	network := transport.NewNetwork()
	b, err := network.Join("b", func(_ context.Context, _ transport.Addr, req transport.Frame) (transport.Frame, error) {
		return req, nil
	})
	require.NoError(tb, err)
	a, err := network.Join("a", func(context.Context, transport.Addr, transport.Frame) (transport.Frame, error) {
		return transport.Frame{}, nil
	})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		require.NoError(tb, a.Close())
		require.NoError(tb, b.Close())
	})
	return a
}

func BenchmarkNetworkCall(b *testing.B) {
	req := transport.Frame{Kind: 1, Head: make([]byte, 100), Data: [][]byte{make([]byte, 4096)}}
	ended, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": ended} {
		b.Run(name, func(b *testing.B) {
			a := benchPair(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Call(ctx, "b", req); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+" parallel", func(b *testing.B) {
			a := benchPair(b)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := a.Call(ctx, "b", req); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// Calls are on the way of every batch between brokers of one process, so that an
// allocation more should be meant.
func TestCallAllocatesLittle(t *testing.T) {
	a := benchPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req := transport.Frame{Kind: 1, Head: []byte("head")}
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := a.Call(ctx, "b", req); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, allocs, 3.0)
}
