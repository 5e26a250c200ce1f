package log_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// Where the newest slot of the flushed-end file is damaged the other counts, of before a
// compaction that has written the segment of its recovery point anew.
func TestASlotOfBeforeACompactionCutsNothing(t *testing.T) {
	for batches := 4; batches < 40; batches++ {
		t.Run(fmt.Sprintf("%d batches", batches), func(t *testing.T) {
			d := logtest.NewDisk(log.NewMemFS())
			cfg := log.Config{SegmentBytes: 400, Now: ticking(100 * time.Millisecond)}
			l := open(t, d, "d", cfg)
			for i := range batches {
				_, err := l.Append(0, keyedBatch(fmt.Sprint("key ", i%3), []byte(fmt.Sprint("value ", i))))
				require.NoError(t, err)
				_, err = l.Flush()
				require.NoError(t, err)
			}
			_, err := l.Compact(context.Background(), time.UnixMilli(5000), log.CompactConfig{UpTo: l.End(), MinDirty: 0.01})
			require.NoError(t, err)
			end, want := l.End(), values(t, l, 0)
			require.NoError(t, l.Close())

			f, err := d.Open("d/flushed")
			require.NoError(t, err)
			newest := int64(0)
			var sequences [2]uint64
			for i := range sequences {
				b := make([]byte, 8)
				_, err := f.ReadAt(b, int64(i)*512+8)
				require.NoError(t, err)
				sequences[i] = binary.BigEndian.Uint64(b)
			}
			if sequences[1] > sequences[0] {
				newest = 512
			}
			require.NoError(t, f.Close())
			require.NoError(t, d.FlipBit("d/flushed", newest+40, 3))

			l, r, err := log.Open(d, "d", cfg)
			require.NoError(t, err)
			require.False(t, r.Lost)
			require.Equal(t, end, l.End())
			require.Equal(t, want, values(t, l, 0))
			require.NoError(t, l.Close())
		})
	}
}

// Where the slot that was synced is damaged, the one that counts is made durable before the
// log is used: the power that takes it later would leave none.
func TestTheOnlySoundSlotIsMadeDurable(t *testing.T) {
	d := logtest.NewDisk(log.NewMemFS())
	cfg := log.Config{Now: func() time.Time { return time.Unix(0, 0) }} // too early for a second sync
	l := open(t, d, "d", cfg)
	for i := range 3 {
		_, err := l.Append(0, keyedBatch("key", []byte(fmt.Sprint(i))))
		require.NoError(t, err)
		_, err = l.Flush()
		require.NoError(t, err)
	}
	d.Fail(logtest.ErrCrashed)
	d.Revive()
	require.NoError(t, d.FlipBit("d/flushed", 512+40, 3)) // the first one, in slot 1
	l, _, err := log.Open(d, "d", cfg)                    // which nobody closes
	require.NoError(t, err)
	end := l.End()
	require.NoError(t, d.PowerFailKeeping(0, rand.New(rand.NewSource(1))))
	d.Revive()
	l, r, err := log.Open(d, "d", cfg)
	require.NoError(t, err)
	require.False(t, r.Lost)
	require.Equal(t, end, l.End())
}
