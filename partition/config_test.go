package partition

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTopicConfigWithDefaults(t *testing.T) {
	whole := TopicConfig{
		Name: "rides", Partitions: 1, Replicas: 1, MinISR: 1, Retention: 7 * 24 * time.Hour, RetentionBytes: -1,
		SegmentBytes: 64 << 20, MaxBatchBytes: 1 << 20,
	}
	with := func(edit func(*TopicConfig)) TopicConfig {
		c := whole
		edit(&c)
		return c
	}
	tests := []struct {
		name     string
		in       TopicConfig
		brokers  int
		inMemory bool
		want     TopicConfig
	}{
		{"one broker keeps one copy", TopicConfig{Name: "rides"}, 1, false, whole},
		{"nobody registered counts as one", TopicConfig{Name: "rides"}, 0, false, whole},
		{"two brokers keep two, both in sync", TopicConfig{Name: "rides"}, 2, false, with(func(c *TopicConfig) { c.Replicas, c.MinISR = 2, 2 })},
		{"three keep three, two in sync", TopicConfig{Name: "rides"}, 3, false, with(func(c *TopicConfig) { c.Replicas, c.MinISR = 3, 2 })},
		{"more do not keep more", TopicConfig{Name: "rides"}, 9, false, with(func(c *TopicConfig) { c.Replicas, c.MinISR = 3, 2 })},
		{"memory is bounded", TopicConfig{Name: "rides"}, 1, true, with(func(c *TopicConfig) { c.RetentionBytes = 256 << 20 })},
		{"what is set stays", with(func(c *TopicConfig) { c.Partitions, c.Retention, c.MinISR = 7, -1, -3 }), 3, true,
			with(func(c *TopicConfig) { c.Partitions, c.Retention, c.MinISR = 7, -1, -3 })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.in.WithDefaults(tt.brokers, tt.inMemory)
			require.Equal(t, tt.want, got)
			if got.MinISR > 0 {
				require.NoError(t, got.Validate())
			}
		})
	}
}

func TestTopicConfigValidate(t *testing.T) {
	good := TopicConfig{Name: "rides"}.WithDefaults(3, false)
	tests := []struct {
		name string
		edit func(*TopicConfig)
		want string
	}{
		{"no name", func(c *TopicConfig) { c.Name = "" }, `Name ""`},
		{"a dot for a name", func(c *TopicConfig) { c.Name = "." }, `Name "."`},
		{"two dots for a name", func(c *TopicConfig) { c.Name = ".." }, `Name ".."`},
		{"a name with a slash", func(c *TopicConfig) { c.Name = "a/b" }, `Name "a/b"`},
		{"a name in another alphabet", func(c *TopicConfig) { c.Name = "é" }, `Name "é"`},
		{"a name too long", func(c *TopicConfig) { c.Name = strings.Repeat("x", 250) }, "1 to 249"},
		{"partitions below one", func(c *TopicConfig) { c.Partitions = -1 }, "Partitions is -1"},
		{"too many partitions", func(c *TopicConfig) { c.Partitions = 10_001 }, "Partitions is 10001"},
		{"replicas below one", func(c *TopicConfig) { c.Replicas = -1 }, "Replicas is -1"},
		{"too many replicas", func(c *TopicConfig) { c.Replicas = 65 }, "Replicas is 65"},
		{"MinISR below one", func(c *TopicConfig) { c.MinISR = -1 }, "MinISR is -1 of 3"},
		{"MinISR above the replicas", func(c *TopicConfig) { c.MinISR = 4 }, "MinISR is 4 of 3"},
		{"retention of less than nothing", func(c *TopicConfig) { c.Retention = -time.Second }, "Retention is -1s"},
		{"retention of too little to mean", func(c *TopicConfig) { c.Retention = 7 }, "Retention is 7ns"},
		{"bytes of less than nothing", func(c *TopicConfig) { c.RetentionBytes = -2 }, "RetentionBytes is -2"},
		{"a tiny segment", func(c *TopicConfig) { c.SegmentBytes = 1023 }, "SegmentBytes is 1023"},
		{"a segment past the index", func(c *TopicConfig) { c.SegmentBytes = 1<<30 + 1 }, "SegmentBytes is 1073741825"},
		{"a tiny batch", func(c *TopicConfig) { c.MaxBatchBytes = -1 }, "MaxBatchBytes is -1"},
		{"a huge batch", func(c *TopicConfig) { c.MaxBatchBytes = 64<<20 + 1 }, "MaxBatchBytes is 67108865"},
		{"a durability that does not exist", func(c *TopicConfig) { c.Durability = 3 }, "Durability has no level 3"},
		{"Replicated on two", func(c *TopicConfig) { c.Durability, c.Replicas = Replicated, 2 }, "they are 2 and 2"},
		{"Replicated with one in sync", func(c *TopicConfig) { c.Durability, c.MinISR = Replicated, 1 }, "they are 3 and 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := good
			tt.edit(&bad)
			err := bad.Validate()
			require.ErrorIs(t, err, InvalidTopic)
			require.ErrorContains(t, err, tt.want)
		})
	}
	for _, edit := range []func(*TopicConfig){
		func(c *TopicConfig) { c.Name = strings.Repeat("x", 249) },
		func(c *TopicConfig) { c.Name = "azAZ09._-" },
		func(c *TopicConfig) { c.Retention, c.RetentionBytes = -1, -1 },
		func(c *TopicConfig) { c.Compact = true },
		func(c *TopicConfig) { c.Durability = Replicated },
		func(c *TopicConfig) { c.Durability, c.Replicas, c.MinISR = Unsynced, 1, 1 },
	} {
		fine := good
		edit(&fine)
		require.NoError(t, fine.Validate())
	}
}

func TestTopicConfigReportsEverythingAtOnce(t *testing.T) {
	err := TopicConfig{Name: "a b", Partitions: -1, Replicas: -2, MinISR: -3, Retention: -4, RetentionBytes: -5,
		SegmentBytes: -6, MaxBatchBytes: -7, Durability: 8}.Validate()
	for _, field := range []string{"Name", "Partitions", "Replicas", "MinISR", "Retention ", "RetentionBytes", "SegmentBytes", "MaxBatchBytes", "Durability"} {
		require.ErrorContains(t, err, field)
	}
	require.Equal(t, 1, strings.Count(err.Error(), "partition: "), err.Error())
	require.NotContains(t, err.Error(), "\n")
}

func TestTopicConfigMatches(t *testing.T) {
	have := TopicConfig{Name: "rides", Compact: true, Durability: Replicated}.WithDefaults(3, true)
	require.True(t, have.Matches(TopicConfig{}))
	require.True(t, have.Matches(have))
	for _, edit := range []func(*TopicConfig){
		func(c *TopicConfig) { c.Name = "Rides" },
		func(c *TopicConfig) { c.Partitions++ },
		func(c *TopicConfig) { c.Replicas++ },
		func(c *TopicConfig) { c.MinISR++ },
		func(c *TopicConfig) { c.Retention = -1 },
		func(c *TopicConfig) { c.RetentionBytes = -1 },
		func(c *TopicConfig) { c.SegmentBytes++ },
		func(c *TopicConfig) { c.MaxBatchBytes++ },
		func(c *TopicConfig) { c.Durability = Unsynced },
	} {
		other := have
		edit(&other)
		require.False(t, have.Matches(other), "%+v", other)
	}
	have.Compact = false
	require.False(t, have.Matches(TopicConfig{Compact: true}))
}

func TestNamesOfSettings(t *testing.T) {
	require.Equal(t, "synced replicated unsynced durability 9",
		strings.Join([]string{Synced.String(), Replicated.String(), Unsynced.String(), Durability(9).String()}, " "))
	require.Equal(t, "all leader none acks -1",
		strings.Join([]string{AcksAll.String(), AcksLeader.String(), AcksNone.String(), Acks(-1).String()}, " "))
}

// What a change leaves at zero stays: a topic that is compacted stays so.
func TestCompactIsSwitchedOnAndNotOff(t *testing.T) {
	plain := TopicConfig{Name: "rides"}.WithDefaults(3, false)
	on, err := plain.With(TopicConfig{Compact: true})
	require.NoError(t, err)
	require.True(t, on.Compact)
	again, err := on.With(plain)
	require.NoError(t, err)
	require.Equal(t, on, again)
}
