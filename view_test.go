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
