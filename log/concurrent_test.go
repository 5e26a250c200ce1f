package log_test

import (
	"encoding/binary"
	"errors"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// Readers, flushes, rolls and cuts run at once; a reader sees whole batches that
// follow one another, and each says its own offset. What it was given stays so.
func TestReadersBesideAWriterThatCuts(t *testing.T) {
	for name, fsys := range map[string]log.FS{"memory": log.NewMemFS(), "os": log.OS()} {
		t.Run(name, func(t *testing.T) {
			l := open(t, fsys, t.TempDir()+"/d", log.Config{SegmentBytes: 4000, IndexInterval: 300, Memory: log.NewMemory(3000)})
			var over atomic.Bool
			var wg sync.WaitGroup
			for i := range 3 {
				wg.Go(func() { readAll(t, l, rand.New(rand.NewSource(int64(i))), &over) })
			}
			wg.Go(func() {
				for !over.Load() {
					_, err := l.Flush()
					require.NoError(t, err)
				}
			})
			rng := rand.New(rand.NewSource(9))
			for range 4000 {
				size := rng.Intn(100)
				if rng.Intn(30) == 0 {
					size = 1600 // not kept in memory
				}
				value := binary.BigEndian.AppendUint64(make([]byte, size), uint64(l.End()))
				_, err := l.Append(0, batchOf(string(value)))
				require.NoError(t, err)
				if rng.Intn(60) == 0 {
					require.NoError(t, l.Truncate(l.End()-log.Offset(rng.Intn(int(min(l.End(), 50))))))
				}
			}
			over.Store(true)
			wg.Wait()
		})
	}
}

func readAll(t *testing.T, l *log.Log, rng *rand.Rand, over *atomic.Bool) {
	at := log.Offset(0)
	var kept, copies [50][]byte
	for i := 0; !over.Load(); i++ {
		if rng.Intn(20) == 0 {
			at = log.Offset(rng.Int63n(int64(l.End()) + 1))
		}
		data, err := l.Read(at, l.End(), 1+rng.Intn(3000))
		if errors.Is(err, log.ErrOutOfRange) { // cut meanwhile
			at = 0
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		if k := i % len(kept); rng.Intn(3) > 0 {
			require.Equal(t, copies[k], kept[k])
			kept[k], copies[k] = data, append([]byte(nil), data...)
		}
		for len(data) > 0 {
			b, rest, err := log.SplitBatch(data)
			if err != nil || b.Check() != nil || b.First() != at {
				t.Errorf("at %d: %v, %v", at, err, b)
				return
			}
			for r := range b.Records() {
				if got := binary.BigEndian.Uint64(r.Value[len(r.Value)-8:]); got != uint64(at) {
					t.Errorf("offset %d holds the record of %d", at, got)
				}
			}
			data, at = rest, b.Next()
		}
	}
}
