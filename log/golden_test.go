package log

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files of testdata/golden are a promise to files on users' disks: if one of
// these tests fails, the format has changed. Compressed ones are for reading alone,
// as the bytes that a codec makes may change with its version: gzip.batch comes from
// GNU gzip, zstd.batch and zstd-unsized.batch from the zstd command, which knew the
// size of its input or did not, and snappy.batch has Kafka's framing, which
// snappy-block.batch has not.

func goldenRecords() []Record {
	records := []Record{
		{Timestamp: 1_700_000_000_000, Key: []byte("k"), Value: []byte("hello"), Headers: []Header{{"h", []byte{1}}, {"n", nil}, {"", []byte{}}}},
		{Timestamp: 1_699_999_999_998},
		{Timestamp: 1_700_000_000_300, Key: []byte{}, Value: []byte{}},
		{Timestamp: 1_700_000_000_300, Key: []byte("tombstone")},
	}
	for n := range 40 {
		records = append(records, Record{Timestamp: 1_700_000_001_000 + int64(n), Key: fmt.Appendf(nil, "zone-%d", n%7), Value: ride(n)})
	}
	for i := range records {
		records[i].Offset = 70_000 + Offset(i)
	}
	return records
}

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/golden/" + name)
	require.NoError(t, err)
	return b
}

// readGoldenHex returns the hex of a file in which what follows a # is a comment.
func readGoldenHex(t *testing.T, name string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(string(readGolden(t, name+".hex"))) {
		line, _, _ = strings.Cut(line, "#")
		for _, part := range strings.Fields(line) {
			out.WriteString(part)
		}
	}
	return out.String()
}

func buildGolden(codec Compression) Batch {
	var b Builder
	for _, r := range goldenRecords() {
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	batch := b.Compress(codec)
	batch.Place(70_000, 3)
	return batch
}

func TestGoldenBatchesAreWritten(t *testing.T) {
	require.Equal(t, readGolden(t, "plain.batch"), []byte(buildGolden(NoCompression)))
	require.Equal(t, readGolden(t, "filler.batch"), []byte(emptyBatch(70_044, 70_999, 3, 0)))
}

func TestGoldenBatchesAreRead(t *testing.T) {
	for name, codec := range map[string]Compression{
		"plain": NoCompression, "gzip": Gzip, "snappy": Snappy, "snappy-block": Snappy, "zstd": Zstd, "zstd-unsized": Zstd,
	} {
		t.Run(name, func(t *testing.T) {
			b, rest, err := SplitBatch(readGolden(t, name+".batch"))
			require.NoError(t, err)
			require.Empty(t, rest)
			require.NoError(t, b.CheckRecords())
			require.Equal(t, codec, b.Compression())
			require.Equal(t, goldenRecords(), collect(t, b))

			ours := buildGolden(codec)
			require.Equal(t, b[:atLength], ours[:atLength])
			require.Equal(t, b[lengthEnd:atCRC], ours[lengthEnd:atCRC])
			require.Equal(t, b[atAttrs:BatchOverhead], ours[atAttrs:BatchOverhead])
			require.Equal(t, goldenRecords(), collect(t, ours))
		})
	}
	b := Batch(readGolden(t, "filler.batch"))
	require.NoError(t, b.Check())
	require.Empty(t, collect(t, b))
	require.EqualValues(t, 70_044, b.First())
	require.EqualValues(t, 71_000, b.Next())
	require.EqualValues(t, 3, b.Epoch())
	require.EqualValues(t, -1, b.BaseTimestamp())
	require.EqualValues(t, -1, b.MaxTimestamp())
	require.EqualValues(t, -1, b.ProducerID())
}
