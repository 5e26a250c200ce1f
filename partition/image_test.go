package partition_test

import (
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestWhatIsNewsOfAnImage(t *testing.T) {
	known := partition.Image{Cluster: partition.UUID{1}, Offset: 5, Controller: 2, Voters: []partition.BrokerID{1, 2}}
	for _, tt := range []struct {
		name   string
		change func(*partition.Image)
		want   bool
		err    string
	}{
		{"the same", func(*partition.Image) {}, false, ""},
		{"newer", func(m *partition.Image) { m.Offset = 6 }, true, ""},
		{"older", func(m *partition.Image) { m.Offset = 4 }, false, ""},
		{"older, and another controller", func(m *partition.Image) { m.Offset, m.Controller = 4, 1 }, false, ""},
		{"another controller", func(m *partition.Image) { m.Controller = 1 }, true, ""},
		{"other voters", func(m *partition.Image) { m.Voters = []partition.BrokerID{1} }, true, ""},
		{"of a broker that is in no cluster", func(m *partition.Image) { *m = partition.Image{Offset: 9} }, false, ""},
		{"of another cluster", func(m *partition.Image) { m.Cluster, m.Offset = partition.UUID{2}, 9 }, false,
			"an image of cluster 02000000000000000000000000000000, where 01000000000000000000000000000000 is known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			im := known
			tt.change(&im)
			news, err := im.News(known)
			require.Equal(t, tt.want, news)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
		})
	}
	news, err := known.News(partition.Image{Offset: -1})
	require.NoError(t, err)
	require.True(t, news, "nothing was known")
}
