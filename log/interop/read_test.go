package interop

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/samsalog/samsa/log"
)

// A writer is one way in which others compress.
type writer struct {
	name     string
	compress func(t *testing.T, records []byte) ([]byte, int16)
}

func franz(name string, codec kgo.CompressionCodec) writer {
	return writer{name, func(t *testing.T, records []byte) ([]byte, int16) {
		c, err := kgo.DefaultCompressor(codec)
		require.NoError(t, err)
		out, used := c.Compress(new(bytes.Buffer), records)
		return bytes.Clone(out), int16(used)
	}}
}

var writers = []writer{
	{"plain", func(_ *testing.T, records []byte) ([]byte, int16) { return records, 0 }},
	franz("gzip", kgo.GzipCompression()),
	franz("snappy", kgo.SnappyCompression()), // one block without a frame
	franz("zstd", kgo.ZstdCompression()),
	{"gzip of the standard library", func(t *testing.T, records []byte) ([]byte, int16) {
		var out bytes.Buffer
		w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
		require.NoError(t, err)
		_, err = w.Write(records)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return out.Bytes(), 1
	}},
}

// encode makes a batch of records whose offsets begin at first and rise, up to last.
func (w writer) encode(t *testing.T, first, last log.Offset, epoch log.Epoch, records []log.Record) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: int64(first), PartitionLeaderEpoch: int32(epoch), Magic: 2,
		LastOffsetDelta: int32(last - first), NumRecords: int32(len(records)),
		FirstTimestamp: -1, MaxTimestamp: -1,
		ProducerID: 4711, ProducerEpoch: 2, FirstSequence: int32(first),
	}
	var section []byte
	for i, r := range records {
		if i == 0 {
			b.FirstTimestamp = r.Timestamp
		}
		b.MaxTimestamp = max(b.MaxTimestamp, r.Timestamp)
		section = appendRecord(section, r, r.Timestamp-b.FirstTimestamp, int32(r.Offset-first))
	}
	if len(records) > 0 {
		b.Records, b.Attributes = w.compress(t, section)
	}
	b.Length = int32(49 + len(b.Records))
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

func appendRecord(dst []byte, r log.Record, time int64, offset int32) []byte {
	k := kmsg.Record{TimestampDelta: int32(time), TimestampDelta64: time, OffsetDelta: offset, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	k.Length = int32(len(k.AppendTo(nil)) - 1) // that of zero takes one byte
	return k.AppendTo(dst)
}

// records returns n records from an offset on, skip of them left out after each.
func records(first log.Offset, n, skip int) (all []log.Record) {
	for i := range n {
		r := record(int(first) + i)
		r.Offset = first + log.Offset(i*(1+skip))
		all = append(all, r)
	}
	return all
}

// read returns all records of a log.
func read(t *testing.T, l *log.Log) (got []entry) {
	for at := l.Start(); at < l.End(); {
		data, err := l.Read(at, l.End(), 1<<20)
		require.NoError(t, err)
		for len(data) > 0 {
			var b log.Batch
			b, data, err = log.SplitBatch(data)
			require.NoError(t, err)
			require.NoError(t, b.Check())
			for r, err := range b.Records() {
				require.NoError(t, err)
				got = append(got, entry{b.Epoch(), r})
			}
			at = b.Next()
		}
	}
	return got
}

func TestWeReadWhatAClientOfOthersSends(t *testing.T) {
	for _, w := range writers {
		t.Run(w.name, func(t *testing.T) {
			dir := t.TempDir()
			l, _, err := log.Open(log.OS(), dir, log.Config{SegmentBytes: 32 << 10})
			require.NoError(t, err)
			var want []entry
			for n := range 50 {
				recs := records(0, 1+n*7%90, 0)
				b := log.Batch(w.encode(t, 0, log.Offset(len(recs)-1), log.NoEpoch, recs))
				require.NoError(t, b.CheckRecords())
				first, err := l.Append(log.Epoch(n/20), b)
				require.NoError(t, err)
				for _, r := range recs {
					r.Offset += first
					want = append(want, entry{log.Epoch(n / 20), r})
				}
			}
			require.Equal(t, want, read(t, l))
			require.NoError(t, l.Close())
			l, recovery, err := log.Open(log.OS(), dir, log.Config{}) // from the disk
			require.NoError(t, err)
			require.False(t, recovery.Lost)
			require.Equal(t, want, read(t, l))
			require.NoError(t, l.Close())
		})
	}
}

// A leader of others may have compacted: offsets are missing within a batch and at
// its end, and whole batches have no record left.
func TestWeReadWhatALeaderOfOthersHas(t *testing.T) {
	for _, w := range writers {
		t.Run(w.name, func(t *testing.T) {
			l, _, err := log.Open(log.OS(), t.TempDir(), log.Config{})
			require.NoError(t, err)
			var want []entry
			var data []byte
			next := log.Offset(0)
			add := func(epoch log.Epoch, span log.Offset, recs []log.Record) {
				for _, r := range recs {
					want = append(want, entry{epoch, r})
				}
				data = append(data, w.encode(t, next, next+span-1, epoch, recs)...)
				next += span
			}
			for epoch := range log.Epoch(3) {
				add(epoch, 100, records(next, 100, 0))
				add(epoch, 1000, nil)
				add(epoch, 250, records(next, 80, 2))
				add(epoch, 1, records(next, 1, 0))
			}
			end, err := l.Replicate(data)
			require.NoError(t, err)
			require.Equal(t, next, end)
			require.Equal(t, want, read(t, l))
			kept, err := l.Read(0, end, len(data))
			require.NoError(t, err)
			require.Equal(t, data, kept, "bytes are kept as they came")
			require.NoError(t, l.Close())
		})
	}
}

func TestLZ4OfOthersIsRefusedByName(t *testing.T) {
	b := log.Batch(franz("lz4", kgo.Lz4Compression()).encode(t, 0, 99, log.NoEpoch, records(0, 100, 0)))
	require.ErrorIs(t, b.CheckRecords(), log.ErrUnsupported)
	require.ErrorContains(t, b.CheckRecords(), "lz4")
}
