package log_test

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// BenchmarkCompact holds a compaction of 48 MiB, in which every key comes twice, against
// reading the same bytes, checking them, and writing and syncing one half: here a
// batch is all of it.
func BenchmarkCompact(b *testing.B) {
	const records, size = 48 << 10, 1 << 10
	fill := func(b *testing.B, l *log.Log) {
		var builder log.Builder
		for i := range records {
			builder.Append(1, fmt.Appendf(nil, "key %d", i%(records/2)), make([]byte, size), nil)
			if builder.Count() == 100 || i == records-1 {
				if _, err := l.Append(0, builder.Build()); err != nil {
					b.Fatal(err)
				}
				builder.Reset(nil)
			}
		}
		require.NoError(b, l.Roll())
		_, err := l.Flush()
		require.NoError(b, err)
	}
	var l *log.Log
	var dir string
	ours := side{
		ready: func(b *testing.B) {
			dir = b.TempDir()
			var err error
			l, _, err = log.Open(log.OS(), dir, log.Config{SegmentBytes: 16 << 20})
			require.NoError(b, err)
			fill(b, l)
		},
		run: func(b *testing.B) int {
			c, err := l.Compact(b.Context(), time.UnixMilli(2), log.CompactConfig{UpTo: l.End()})
			require.NoError(b, err)
			require.True(b, c.Ran)
			return 1
		},
		done: func(b *testing.B) { require.NoError(b, l.Close()) },
	}
	var raw []byte
	limit := side{
		ready: func(b *testing.B) {
			dir = b.TempDir()
			raw = make([]byte, records*size)
			require.NoError(b, os.WriteFile(filepath.Join(dir, "in"), raw, 0o600))
		},
		run: func(b *testing.B) int {
			in, err := os.Open(filepath.Join(dir, "in"))
			require.NoError(b, err)
			out, err := os.Create(filepath.Join(dir, "out"))
			require.NoError(b, err)
			table := crc32.MakeTable(crc32.Castagnoli)
			buf := raw[:1<<20]
			for at := int64(0); at < int64(len(raw)); at += int64(len(buf)) {
				_, err := in.ReadAt(buf, at)
				require.NoError(b, err)
				crc32.Checksum(buf, table)
				half := buf[:len(buf)/2]
				crc32.Checksum(half, table)
				_, err = out.WriteAt(half, at/2)
				require.NoError(b, err)
			}
			require.NoError(b, datasync(out))
			require.NoError(b, out.Close())
			require.NoError(b, in.Close())
			return 1
		},
		done: func(*testing.B) {},
	}
	compare(b, 0, limit, ours)
}
