package log_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// sizes are records of so many bytes, so many a batch.
var sizes = []struct{ bytes, records int }{{100, 1}, {100, 100}, {1024, 100}}

func benchBatch(bytes, records int) log.Batch {
	var b log.Builder
	for range records {
		b.Append(1, nil, make([]byte, bytes), nil)
	}
	return b.Build()
}

const benchFile = 256 << 20 // files begin anew there, for both sides

func BenchmarkAppend(b *testing.B) {
	for _, s := range sizes {
		batch := benchBatch(s.bytes, s.records)
		b.Run(fmt.Sprintf("%dx%d/raw write", s.bytes, s.records), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			require.NoError(b, err)
			defer f.Close()
			b.SetBytes(int64(len(batch)))
			at := int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(batch, at); err != nil {
					b.Fatal(err)
				}
				if at += int64(len(batch)); at > benchFile {
					require.NoError(b, f.Truncate(0))
					at = 0
				}
			}
		})
		b.Run(fmt.Sprintf("%dx%d/log", s.bytes, s.records), func(b *testing.B) {
			l := open(b, log.OS(), b.TempDir(), log.Config{})
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			at := int64(0)
			for b.Loop() {
				if _, err := l.Append(0, batch); err != nil {
					b.Fatal(err)
				}
				if at += int64(len(batch)); at > benchFile {
					require.NoError(b, l.Truncate(0))
					at = 0
				}
			}
		})
	}
}

func BenchmarkAppendAndFlush(b *testing.B) {
	batch := benchBatch(1024, 1)
	b.Run("raw write and fsync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
		require.NoError(b, err)
		defer f.Close()
		for at := int64(0); b.Loop(); at += int64(len(batch)) {
			if _, err := f.WriteAt(batch, at); err != nil {
				b.Fatal(err)
			}
			require.NoError(b, f.Sync())
		}
	})
	b.Run("log", func(b *testing.B) {
		l := open(b, log.OS(), b.TempDir(), log.Config{})
		for b.Loop() {
			if _, err := l.Append(0, batch); err != nil {
				b.Fatal(err)
			}
			_, err := l.Flush()
			require.NoError(b, err)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	batch := benchBatch(1024, 100)
	dir := b.TempDir()
	l := open(b, log.OS(), dir, log.Config{})
	for range 1000 {
		_, err := l.Append(0, batch)
		require.NoError(b, err)
	}
	run := func(b *testing.B, from log.Offset) {
		b.ReportAllocs()
		total := 0
		at := from
		for b.Loop() {
			if at >= l.End() {
				at = from
			}
			data, err := l.Read(at, l.End(), 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			total += len(data)
			at += log.Offset(len(data) / len(batch) * 100)
		}
		b.SetBytes(int64(total / b.N))
	}
	b.Run("from the disk, checked", func(b *testing.B) { run(b, 0) })
	b.Run("from memory", func(b *testing.B) { run(b, l.End()-500) })
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
