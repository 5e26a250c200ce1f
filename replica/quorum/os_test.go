package quorum

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// alone runs a voter alone until the test ends or stop is called.
func alone(tb testing.TB, cfg Config, apply func(log.Offset, []byte)) (q *Quorum, stop func()) {
	cfg.Self, cfg.Directory = 1, partition.UUID{1}
	q, err := Open(cfg, nil, applyFunc(apply))
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for {
		s, changed := q.Watch()
		if s.Leading {
			break
		}
		<-changed
	}
	return q, func() {
		cancel()
		require.NoError(tb, <-ended)
	}
}

func TestOnTheRealDisk(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "a", "quorum"), FS: log.OS()}
	q, stop := alone(t, cfg, func(log.Offset, []byte) {})
	index, err := q.Propose(t.Context(), log.NoEpoch, []byte("a"))
	require.NoError(t, err)
	cluster := q.Status().Cluster
	stop()
	var got []byte
	q, stop = alone(t, cfg, func(i log.Offset, data []byte) {
		if i == index {
			got = data
		}
	})
	defer stop()
	require.Equal(t, "a", string(got))
	require.Equal(t, cluster, q.Status().Cluster)
}

func BenchmarkProposeAlone(b *testing.B) {
	for name, cfg := range map[string]Config{
		"memory": {Dir: "quorum"},
		"disk":   {Dir: filepath.Join(b.TempDir(), "quorum"), FS: log.OS()},
	} {
		b.Run(name, func(b *testing.B) {
			q, stop := alone(b, cfg, func(log.Offset, []byte) {})
			defer stop()
			data := make([]byte, 200)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := q.Propose(b.Context(), log.NoEpoch, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
