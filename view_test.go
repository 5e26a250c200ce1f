package samsa

import (
	"context"
	"log/slog"
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// A client that follows one broker must go on to another when that one has no more to
// tell: it may be cut off, or hang.
func TestWhoTellsNothingNewIsLeftAlone(t *testing.T) {
	known := partition.Image{Cluster: partition.UUID{1}, Offset: 5, Controller: 2, Voters: []BrokerID{1, 2}, Brokers: []partition.Broker{{ID: 1}, {ID: 2}}}
	for _, tt := range []struct {
		name   string
		change func(*partition.Image)
		err    error
	}{
		{"the same, after the wait", func(*partition.Image) {}, nil},
		{"something newer", func(m *partition.Image) { m.Offset = 6 }, nil},
		{"no controller", func(m *partition.Image) { m.Controller = 0 }, nil}, // which is news, once
		{"what is older", func(m *partition.Image) { m.Offset = 4 }, errNoNews},
		{"what is older, and no controller", func(m *partition.Image) { m.Offset, m.Controller = 4, 0 }, errNoNews},
		{"not in the cluster yet", func(m *partition.Image) { *m = partition.Image{} }, errNoNews},
	} {
		t.Run(tt.name, func(t *testing.T) {
			net := transport.NewNetwork()
			server, err := net.Join("a", func(_ context.Context, _ transport.Addr, f transport.Frame) (transport.Frame, error) {
				told := known
				tt.change(&told)
				return encoded(f.Kind, told.Encode), nil
			})
			require.NoError(t, err)
			defer server.Close()
			client, err := net.Join("", nil)
			require.NoError(t, err)
			defer client.Close()
			v := newRemoteView([]string{"a"}, client, slog.New(slog.DiscardHandler))
			_, err = v.take(known)
			require.NoError(t, err)
			require.Equal(t, tt.err, v.ask(t.Context(), "a", 0))
		})
	}
}

// An address may be another cluster's by now. As long as anybody of the known one answers,
// that is not believed; if nobody does, it may have begun anew.
func TestAnotherClusterIsBelievedWhenNobodyIsLeft(t *testing.T) {
	net := transport.NewNetwork()
	images := map[string]partition.Image{}
	for i, addr := range []string{"a", "b", "c"} {
		images[addr] = partition.Image{Cluster: partition.UUID{1}, Offset: 5, Controller: 1, Brokers: []partition.Broker{
			{ID: 1, Addr: "a"}, {ID: 2, Addr: "b"}, {ID: 3, Addr: "c"},
		}}
		server, err := net.Join(transport.Addr(addr), func(_ context.Context, _ transport.Addr, f transport.Frame) (transport.Frame, error) {
			told := images[addr]
			return encoded(f.Kind, told.Encode), nil
		})
		require.NoError(t, err, i)
		defer server.Close()
	}
	client, err := net.Join("", nil)
	require.NoError(t, err)
	defer client.Close()
	v := newRemoteView([]string{"a"}, client, slog.New(slog.DiscardHandler))
	ask := func(addr string) error { return v.ask(t.Context(), addr, 0) }
	require.NoError(t, ask("a"))
	other := images["a"]
	other.Cluster, other.Offset = partition.UUID{2}, 900
	images["a"] = other
	for range 10 { // b and c speak for the known one
		require.ErrorContains(t, ask("a"), "of cluster 02000000000000000000000000000000, where 01000000000000000000000000000000 is known")
		require.NoError(t, ask("b"))
		require.ErrorContains(t, ask("a"), "of cluster")
		require.NoError(t, ask("c"))
	}
	require.Equal(t, partition.UUID{1}, v.known.Load().image.Cluster)
	images["b"], images["c"] = other, other
	require.Error(t, ask("b"))
	require.Error(t, ask("c"))
	require.NoError(t, ask("a"))
	require.Equal(t, partition.UUID{2}, v.known.Load().image.Cluster)
}
