package consume

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestReadsInOrderWithoutGapOrRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for range 10 {
			f.write(at(0), 7)
			f.write(at(1), 3)
		}
		c := start(t, Config{Partitions: []Place{place(0), place(1)}, FetchBytes: 500}, f)
		next := map[partition.PartitionID]log.Offset{}
		n := 0
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, next[rec.Partition], rec.Offset)
			require.Equal(t, fmt.Sprint(rec.Offset), string(rec.Value))
			require.Equal(t, "a", rec.Topic)
			require.EqualValues(t, 1, rec.Epoch)
			next[rec.Partition]++
			if n++; n == 100 {
				f.write(at(1), 1) // while the consumer waits for more
			}
			if n == 101 {
				break
			}
		}
		require.ErrorIs(t, c.Commit(t.Context()), partition.Unsupported)
	})
}

func TestOneLoopAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		c := start(t, Config{Partitions: []Place{place(0)}}, f)
		for range c.Records(t.Context()) {
			_, err := c.Poll(t.Context(), 1)
			require.ErrorIs(t, err, ErrInUse)
			for _, err := range c.Records(t.Context()) {
				require.ErrorIs(t, err, ErrInUse)
			}
			break
		}
		require.Len(t, take(t, t.Context(), c, 10), 10)
	})
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"Partitions":     {},
		"Topics":         {Group: "g"},
		"exclude":        {Group: "g", Topics: []string{"a"}, Partitions: []Place{place(0)}},
		"Start":          {Partitions: []Place{place(0)}, Start: 7},
		"CommitInterval": {Partitions: []Place{place(0)}, CommitInterval: -1},
		"SessionTimeout": {Group: "g", Topics: []string{"a"}, SessionTimeout: 1000 * time.Hour},
		"From":           {Partitions: []Place{place(0)}, Start: At, From: -1},
		"a b":            {Group: "g", Topics: []string{"a b"}},
		"b/-1":           {Partitions: []Place{{"b", -1}}},
		"Client has 250": {Group: "g", Topics: []string{"a"}, Client: strings.Repeat("c", 250)},
		"FetchBytes":     {Partitions: []Place{place(0)}, FetchBytes: -1},
	} {
		_, err := New(cfg, newFake())
		require.ErrorContains(t, err, name)
	}
	_, err := New(Config{Partitions: []Place{place(0)}, Start: 7}, newFake())
	require.ErrorIs(t, err, partition.Unsupported)
}
