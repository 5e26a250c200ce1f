package log_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// BenchmarkOpenAfterDeath opens a log of 1 GiB whose process died, from the page
// cache. The limit reads and checks what must be scanned, and nothing else.
func BenchmarkOpenAfterDeath(b *testing.B) {
	dir := b.TempDir()
	batch := benchBatch(1<<10, 100)
	dead := open(b, log.OS(), dir, log.Config{})
	for i := range (1 << 30) / len(batch) {
		_, err := dead.Append(0, batch)
		require.NoError(b, err)
		if i%10 == 0 {
			_, err = dead.Flush()
			require.NoError(b, err)
		}
	}
	slots := filepath.Join(dir, "flushed")
	before, err := os.ReadFile(slots)
	require.NoError(b, err)

	var l *log.Log
	var rec log.Recovery
	ours := side{
		ready: func(b *testing.B) { require.NoError(b, os.WriteFile(slots, before, 0o600)) },
		run: func(b *testing.B) int {
			l, rec, err = log.Open(log.OS(), dir, log.Config{})
			require.NoError(b, err)
			return 1
		},
		done: func(b *testing.B) {
			require.Equal(b, dead.End(), l.End())
			require.False(b, rec.Lost)
			require.NoError(b, l.Close())
		},
	}
	ours.time(b) // it syncs what the dead one had not
	data := make([]byte, rec.Scanned/int64(len(batch))*int64(len(batch)))
	none := func(*testing.B) {}
	limit := side{ready: none, done: none, run: func(b *testing.B) int {
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("%020d.log", 0)))
		require.NoError(b, err)
		_, err = f.ReadAt(data, 0)
		require.NoError(b, err)
		for rest := data; len(rest) > 0; {
			var batch log.Batch
			batch, rest, err = log.SplitBatch(rest)
			if err != nil || batch.Check() != nil {
				b.Fatal("not a batch")
			}
		}
		require.NoError(b, f.Close())
		return 1
	}}
	compare(b, 0, limit, ours)
	b.ReportMetric(float64(rec.Scanned)/(1<<20), "MiB-scanned")
}

// BenchmarkOpen opens a log that was closed, and closes it again.
func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		name string
		fsys log.FS
	}{{"os", log.OS()}, {"memory", log.NewMemFS()}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			l := open(b, c.fsys, dir, log.Config{})
			appendTo(b, l, 0, "a", "b")
			require.NoError(b, l.Close())
			for b.Loop() {
				l, _, err := log.Open(c.fsys, dir, log.Config{})
				require.NoError(b, err)
				require.NoError(b, l.Close())
			}
		})
	}
}

// BenchmarkPartition says what a log costs that is open and not used: bytes of
// memory, and files and their bytes.
func BenchmarkPartition(b *testing.B) {
	const logs = 500
	for _, c := range []struct {
		name    string
		records int
	}{{"never written", 0}, {"one record", 1}} {
		b.Run(c.name, func(b *testing.B) {
			var heap, files, bytes float64
			for b.Loop() {
				dir := b.TempDir()
				memory := log.NewMemory(16 << 20)
				held := make([]*log.Log, logs)
				before := heapBytes()
				for i := range held {
					held[i] = open(b, log.OS(), filepath.Join(dir, fmt.Sprint(i)), log.Config{Memory: memory})
					for range c.records {
						appendTo(b, held[i], 0, "a")
					}
				}
				heap = float64(heapBytes() - before)
				files, bytes = 0, 0
				for i, l := range held {
					entries, err := os.ReadDir(filepath.Join(dir, fmt.Sprint(i)))
					require.NoError(b, err)
					for _, e := range entries {
						info, err := e.Info()
						require.NoError(b, err)
						files, bytes = files+1, bytes+float64(info.Size())
					}
					require.NoError(b, l.Close())
				}
			}
			b.ReportMetric(heap/logs, "memory-B")
			b.ReportMetric(files/logs, "files")
			b.ReportMetric(bytes/logs, "disk-B")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
