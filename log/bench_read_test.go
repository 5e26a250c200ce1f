package log_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

func BenchmarkRead(b *testing.B) {
	const step = 1 << 20
	batch := benchBatch(1<<10, 100)
	n := roundBytes / len(batch)
	dir := b.TempDir()
	l := open(b, log.OS(), dir, log.Config{})
	for range n {
		_, err := l.Append(0, batch)
		require.NoError(b, err)
	}
	// The newest batches are in memory; both sides leave them out.
	n -= (2 << 20) / len(batch)
	end := log.Offset(n * 100)

	f, err := os.Open(filepath.Join(dir, fmt.Sprintf("%020d.log", 0)))
	require.NoError(b, err)
	defer f.Close()
	none := func(*testing.B) {}
	limit := side{ready: none, done: none, run: func(b *testing.B) int {
		table := crc32.MakeTable(crc32.Castagnoli)
		buf := make([]byte, step/len(batch)*len(batch))
		for i := 0; i < n; {
			got := min(step/len(batch), n-i)
			data := buf[:got*len(batch)]
			if _, err := f.ReadAt(data, int64(i*len(batch))); err != nil {
				b.Fatal(err)
			}
			for rest := data; len(rest) > 0; rest = rest[len(batch):] {
				if crc32.Checksum(rest[21:len(batch)], table) != binary.BigEndian.Uint32(rest[17:]) {
					b.Fatal("checksum")
				}
			}
			i += got
		}
		return n
	}}
	through := func(read func(from log.Offset) ([]byte, error), each func(log.Batch)) side {
		return side{ready: none, done: none, run: func(b *testing.B) int {
			for at := log.Offset(0); at < end; {
				data, err := read(at)
				if err != nil {
					b.Fatal(err)
				}
				for len(data) > 0 {
					var batch log.Batch
					if batch, data, err = log.SplitBatch(data); err != nil {
						b.Fatal(err)
					}
					each(batch)
					at = batch.Next()
				}
			}
			return n
		}}
	}
	kept := func(from log.Offset) ([]byte, error) { return l.Read(from, end, step) }
	skip := func(log.Batch) {}
	buf := make([]byte, step)
	passing := func(from log.Offset) ([]byte, error) { return l.ReadInto(buf, from, end) }
	records := func(batch log.Batch) {
		for _, err := range batch.Records() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	versus := func(ours side) func(b *testing.B) {
		return func(b *testing.B) {
			compare(b, perBatch(5.0e6, 100), limit, ours)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ours.run(b)
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(end), "allocs/record")
		}
	}
	b.Run("passing", versus(through(passing, skip)))
	b.Run("passing/each record", versus(through(passing, records)))
	b.Run("kept", versus(through(kept, skip)))
}

func BenchmarkReadTail(b *testing.B) {
	batch := benchBatch(1<<10, 1)
	l := open(b, log.OS(), b.TempDir(), log.Config{})
	for range 100 {
		_, err := l.Append(0, batch)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Read(90, 100, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuilder(b *testing.B) {
	var builder log.Builder
	value := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if builder.Append(1, nil, value, nil); builder.Count() == 100 {
			builder.Build()
			builder.Reset(nil)
		}
	}
}
