package interop

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/samsalog/samsa/log"
)

var codecs = []log.Compression{log.NoCompression, log.Gzip, log.Snappy, log.Zstd}

// An entry is a record with the epoch of its batch.
type entry struct {
	epoch log.Epoch
	log.Record
}

// record returns the n-th record of a test: with and without key, value, headers.
func record(n int) log.Record {
	r := log.Record{
		Timestamp: 1_700_000_000_000 + int64(n*n%1000) - 500, // it goes back, too
		Key:       fmt.Appendf(nil, "zone-%d", n%263),
		Value:     fmt.Appendf(nil, `{"ride":%d,"state":"requested","fare":%d}`, n, n%90),
		Headers:   []log.Header{{Key: "n", Value: fmt.Append(nil, n)}, {Key: "n"}, {Key: "", Value: []byte{}}},
	}
	switch n % 5 {
	case 1:
		r.Key = nil
	case 2:
		r.Value, r.Headers = nil, nil
	case 3:
		r.Key, r.Value = []byte{}, []byte{}
	}
	return r
}

func TestOthersReadWhatWeWrite(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			dir := t.TempDir()
			want := write(t, dir, codec)
			segments, err := filepath.Glob(filepath.Join(dir, "*.log"))
			require.NoError(t, err)
			require.Greater(t, len(segments), 3)
			slices.Sort(segments)
			var got []entry
			next, entries := int64(0), 0
			for _, name := range segments {
				base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 64)
				require.NoError(t, err)
				require.Equal(t, next, base, "a segment is named after its first offset")
				data, err := os.ReadFile(name)
				require.NoError(t, err)
				batches := decodeSegment(t, data, codec)
				for _, at := range slices.Sorted(maps.Keys(batches)) {
					b := batches[at]
					require.Equal(t, next, b.FirstOffset)
					next = b.FirstOffset + int64(b.LastOffsetDelta) + 1
					got = append(got, decodeRecords(t, b)...)
				}
				entries += checkIndex(t, strings.TrimSuffix(name, ".log")+".index", base, batches)
			}
			require.Equal(t, want, got)
			require.Greater(t, entries, 5)
		})
	}
}

// write makes a log of several segments and epochs, and returns its records.
func write(t *testing.T, dir string, codec log.Compression) (want []entry) {
	l, _, err := log.Open(log.OS(), dir, log.Config{SegmentBytes: 16 << 10, IndexInterval: 1 << 10})
	require.NoError(t, err)
	var b log.Builder
	for n := 0; n < 3000; {
		b.Reset(nil)
		epoch := log.Epoch(n / 1000 * 3)
		for range 1 + n%37 {
			r := record(n)
			b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
			r.Offset = log.Offset(n)
			want = append(want, entry{epoch, r})
			n++
		}
		first, err := l.Append(epoch, b.Compress(codec))
		require.NoError(t, err)
		require.Equal(t, want[len(want)-b.Count()].Offset, first)
	}
	require.NoError(t, l.Close())
	return want
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decodeSegment returns the batches of a segment by where they lie.
func decodeSegment(t *testing.T, data []byte, codec log.Compression) map[int]kmsg.RecordBatch {
	batches := make(map[int]kmsg.RecordBatch)
	packed := 0
	for at := 0; at < len(data); {
		if strings.Trim(string(data[at:]), "\x00") == "" {
			break // zeros follow the last batch
		}
		var b kmsg.RecordBatch
		size := 12 + int(binary.BigEndian.Uint32(data[at+8:]))
		require.NoError(t, b.ReadFrom(data[at:at+size]))
		require.EqualValues(t, 2, b.Magic)
		require.Equal(t, crc32.Checksum(data[at+21:at+size], castagnoli), uint32(b.CRC))
		require.EqualValues(t, -1, b.ProducerID)
		require.EqualValues(t, -1, b.ProducerEpoch)
		require.EqualValues(t, -1, b.FirstSequence)
		require.Contains(t, []log.Compression{codec, log.NoCompression}, log.Compression(b.Attributes))
		if b.Attributes != 0 {
			packed++
		}
		batches[at] = b
		at += size
	}
	if codec != log.NoCompression {
		require.Greater(t, packed, len(batches)*3/4)
	}
	return batches
}

// decodeRecords inflates and decodes the records of a batch.
func decodeRecords(t *testing.T, b kmsg.RecordBatch) (entries []entry) {
	rest, err := inflate(b.Records, b.Attributes&7)
	require.NoError(t, err)
	latest := b.FirstTimestamp
	for range b.NumRecords {
		var r kmsg.Record
		length, n := binary.Varint(rest)
		require.NoError(t, r.ReadFrom(rest[:n+int(length)]))
		rest = rest[n+int(length):]
		e := entry{log.Epoch(b.PartitionLeaderEpoch), log.Record{
			Offset:    log.Offset(b.FirstOffset + int64(r.OffsetDelta)),
			Timestamp: b.FirstTimestamp + r.TimestampDelta64,
			Key:       r.Key, Value: r.Value,
		}}
		for _, h := range r.Headers {
			e.Headers = append(e.Headers, log.Header{Key: h.Key, Value: h.Value})
		}
		latest = max(latest, e.Timestamp)
		entries = append(entries, e)
	}
	require.Empty(t, rest)
	require.Equal(t, latest, b.MaxTimestamp)
	return entries
}

// inflate leaves gzip to the standard library, and the rest to franz-go.
func inflate(data []byte, codec int16) ([]byte, error) {
	if codec != int16(log.Gzip) {
		return kgo.DefaultDecompressor().Decompress(data, kgo.CompressionCodecType(codec))
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// checkIndex checks that the entries of a segment's index rise and point at
// batches, and returns how many there are.
func checkIndex(t *testing.T, name string, base int64, batches map[int]kmsg.RecordBatch) int {
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	require.Zero(t, len(data)%8)
	last, lastAt := int64(-1), -1
	for rest := data; len(rest) > 0; rest = rest[8:] {
		offset, at := base+int64(binary.BigEndian.Uint32(rest)), int(binary.BigEndian.Uint32(rest[4:]))
		b, ok := batches[at]
		require.True(t, ok, "%s: no batch at byte %d", name, at)
		require.Equal(t, b.FirstOffset+int64(b.LastOffsetDelta), offset)
		require.Greater(t, offset, last)
		require.Greater(t, at, lastAt)
		last, lastAt = offset, at
	}
	return len(data) / 8
}
