package log

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATombstoneStaysUntilItsHorizon(t *testing.T) {
	in := []Batch{keyed(0, 1, 10, "a=1", "b=1"), withProducer(keyed(2, 1, 10, "a", "=1", "b=2"), 4, 0, 9)}
	first, stats := compactOnce(t, in, 0, compaction{now: 5000})
	require.Equal(t, []string{"0-1 e1:", "2-4 e1: 2/a 3/=1 4/b=2"}, show(t, first))
	b := first[1]
	require.EqualValues(t, attrHorizon, b.Attributes())
	require.EqualValues(t, 6000, b.BaseTimestamp())
	require.EqualValues(t, 12, b.MaxTimestamp())
	require.Equal(t, []int64{4, 9}, []int64{b.ProducerID(), int64(b.BaseSequence())})
	require.Equal(t, records(t, in[1]), records(t, b), "times and all the rest are as they were")
	require.EqualValues(t, 6000, stats.nextHorizon)
	require.Zero(t, stats.removedBelow)

	// A later pass neither moves the horizon nor removes the tombstone before it.
	out, stats := compactOnce(t, first, 5, compaction{now: 5999})
	require.Equal(t, first, out)
	require.EqualValues(t, 6000, stats.nextHorizon)

	for name, start := range map[string]Offset{"compacted before": 5, "covered now": 0} {
		out, stats = compactOnce(t, first, start, compaction{now: 6000})
		require.Equal(t, []string{"0-1 e1:", "2-4 e1: 3/=1 4/b=2"}, show(t, out), name)
		require.EqualValues(t, attrHorizon, out[1].Attributes())
		require.Equal(t, records(t, in[1])[1:], records(t, out[1]))
		require.EqualValues(t, 3, stats.removedBelow)
		require.EqualValues(t, 1, stats.tombstones)
		require.Equal(t, noHorizon, stats.nextHorizon)
	}
}

func TestATombstoneIsRemovedOnlyIfNothingItDeletesRemains(t *testing.T) {
	dead := func(b Batch) Batch { // its horizon has passed
		out, _ := compactOnce(t, []Batch{b}, b.First(), compaction{now: 0})
		return out[0]
	}
	t.Run("not behind the map", func(t *testing.T) {
		in := []Batch{keyed(0, 1, 10, "a=1"), dead(keyed(1, 1, 10, "a")), keyed(2, 1, 10, "b")}
		c := compaction{now: 5000, keys: newKeyMap(1<<10, 0, 10)}
		_, err := c.keys.cover(in[0], 1<<20)
		require.NoError(t, err)
		out, stats := compactOnce(t, in, 0, c)
		require.Equal(t, in, out)
		require.Equal(t, noHorizon, stats.nextHorizon)
	})
	t.Run("not behind the end of a map within its batch", func(t *testing.T) {
		in := []Batch{keyed(0, 1, 10, "a=1"), dead(keyed(1, 1, 10, "b", "a"))}
		c := compaction{now: 5000, keys: newKeyMap(3*keyEntrySize, 0, 10)} // room for two
		for _, b := range in {
			_, err := c.keys.cover(b, 1<<20)
			require.NoError(t, err)
		}
		c.keys.end = 2
		out, stats := compactOnce(t, in, 0, c)
		require.Equal(t, []string{"0-0 e1:", "1-2 e1: 2/a"}, show(t, out))
		require.Equal(t, noHorizon, stats.nextHorizon, "the next pass meets it anyway")
		require.EqualValues(t, 2, stats.removedBelow)
	})
	t.Run("not if it should be in the map and is not", func(t *testing.T) {
		in := []Batch{dead(keyed(0, 1, 10, "a"))}
		c := compaction{now: 5000, keys: newKeyMap(1<<10, 0, 10)}
		c.keys.end = 1
		out, _ := compactOnce(t, in, 0, c)
		require.Equal(t, in, out)
	})
	t.Run("superseded it is none that a replica could miss", func(t *testing.T) {
		in := []Batch{dead(keyed(0, 1, 10, "a", "b")), keyed(2, 1, 10, "a=1")}
		_, stats := compactOnce(t, in, 0, compaction{now: 5000})
		require.Equal(t, []int64{1, 2}, []int64{stats.tombstones, int64(stats.removedBelow)})
	})
	t.Run("one of a transaction deletes nothing yet", func(t *testing.T) {
		in := []Batch{keyed(0, 1, 10, "a=1"), withAttrs(keyed(1, 1, 10, "a"), attrTransactional)}
		out, _ := compactOnce(t, in, 0, compaction{now: 5000})
		require.Equal(t, in, out)
		in[1] = withAttrs(in[1], attrTransactional|attrHorizon)
		out, _ = compactOnce(t, in, 2, compaction{now: 5000})
		require.Equal(t, in, out)
	})
	t.Run("nor does one without a key", func(t *testing.T) {
		var b Builder
		b.Append(1, nil, nil, nil)
		for _, attrs := range []uint16{0, attrHorizon} {
			in := []Batch{withAttrs(b.Build(), attrs)}
			out, stats := compactOnce(t, in, 1, compaction{now: 5000})
			require.Equal(t, in, out)
			require.Equal(t, noHorizon, stats.nextHorizon)
		}
	})
}

func TestAHorizonWithoutTombstonesIsNotWaitedFor(t *testing.T) {
	in := []Batch{withAttrs(keyed(0, 1, 9000, "a=1"), attrHorizon)}
	out, stats := compactOnce(t, in, 0, compaction{now: 5000})
	require.Equal(t, in, out)
	require.Equal(t, noHorizon, stats.nextHorizon)
}

func TestAHorizonLeavesTheAttributesOfRecords(t *testing.T) {
	in := []Batch{rawBatch(0, 1, "0e 7f 00 00 02 61 01 00")}
	out, _ := compactOnce(t, in, 0, compaction{now: 5000})
	require.EqualValues(t, attrHorizon, out[0].Attributes())
	require.EqualValues(t, 0x7f, out[0][BatchOverhead+1])
}

func TestAHorizonMakesNoBatchTooLong(t *testing.T) {
	in := []Batch{keyed(0, 1, 10, "a", "b"), keyed(2, 1, 10, "c=1")}
	grown, _ := compactOnce(t, in, 0, compaction{now: 1 << 40})
	n := len(grown[0]) - BatchOverhead
	require.Greater(t, n, len(in[0])-BatchOverhead)
	out, _ := compactOnce(t, in, 0, compaction{now: 1 << 40, limit: n})
	require.Equal(t, grown, out)
	out, stats := compactOnce(t, in, 0, compaction{now: 1 << 40, limit: n - 1})
	require.Equal(t, in, out)
	require.Equal(t, noHorizon, stats.nextHorizon)

	// Nor a file.
	rewriteAll := func(room int64) int {
		c := compaction{now: 1 << 40, limit: 1 << 20, keys: newKeyMap(1<<10, 0, 10)}
		r := newRewriter(c, 0, int64(len(in[0])+len(in[1])))
		c.keys.end = 3
		r.room = room
		var out []byte
		for _, b := range in {
			var err error
			out, err = r.rewrite(out, b)
			require.NoError(t, err)
		}
		return len(r.finish(out))
	}
	most := int64(len(grown[0]) + len(grown[1]) + BatchOverhead) // with a filler that may be held
	require.Equal(t, len(grown[0])+len(grown[1]), rewriteAll(most))
	require.Equal(t, len(in[0])+len(in[1]), rewriteAll(most-1))
}

func TestAHorizonBeyondTime(t *testing.T) {
	b := keyed(0, 1, math.MinInt64/2, "a", "b=1")
	c := compaction{now: 5000, tombstoneAge: math.MaxInt64, limit: 1 << 20, keys: newKeyMap(1<<10, 0, 10)}
	c.keys.end = 2
	out, err := newRewriter(c, 0, int64(len(b))).rewrite(nil, b)
	require.NoError(t, err)
	require.Equal(t, noHorizon, Batch(out).BaseTimestamp())
	require.EqualValues(t, int64(math.MinInt64/2+1), Batch(out).MaxTimestamp())
	require.Equal(t, records(t, b), records(t, Batch(out)))
}
