package log_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// keyedBatch is a batch of one record; without a value it is a tombstone.
func keyedBatch(key string, value []byte) log.Batch {
	var b log.Builder
	b.Append(1000, []byte(key), value, nil)
	return b.Build()
}

// A log that was cut below the end of the last compaction gets records that no pass
// has seen. A tombstone among them must not go before what it deletes.
func TestWhatIsWrittenBehindACutIsNotCompactedYet(t *testing.T) {
	one := log.Config{SegmentBytes: 1} // a batch a segment
	for name, cut := range map[string]func(d *logtest.Disk, l *log.Log) *log.Log{
		"truncated": func(_ *logtest.Disk, l *log.Log) *log.Log {
			require.NoError(t, l.Truncate(2))
			return l
		},
		"repaired": func(d *logtest.Disk, l *log.Log) *log.Log {
			require.NoError(t, l.Close())
			require.NoError(t, d.FlipBit("d/00000000000000000002.log", 30, 1))
			r, err := log.Repair(d, "d", one)
			require.NoError(t, err)
			require.EqualValues(t, 2, r.End)
			return open(t, d, "d", one)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			l := open(t, d, "d", one)
			add := func(key string, value []byte) {
				_, err := l.Append(0, keyedBatch(key, value))
				require.NoError(t, err)
			}
			compact := func(now int64) {
				_, err := l.Flush()
				require.NoError(t, err)
				_, err = l.Compact(context.Background(), time.UnixMilli(now), log.CompactConfig{
					UpTo: l.End(), MinDirty: 0.01, TombstoneAge: time.Millisecond,
				})
				require.NoError(t, err)
			}
			add("deleted", []byte("secret"))
			for _, key := range []string{"a", "b", "c", "d"} {
				add(key, []byte("x"))
			}
			compact(2000)
			l = cut(d, l)
			add("deleted", nil)
			add("e", []byte("x"))
			for now := int64(3000); now < 8000; now += 1000 {
				compact(now)
				add("f", []byte("x"))
			}
			require.NotContains(t, values(t, l, 0), "secret", "what was deleted is back")
		})
	}
}
