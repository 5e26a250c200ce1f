package log

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/require"
)

const lz4 Compression = 3

var codecs = []Compression{Gzip, Snappy, Zstd}

// ride returns a value as applications send it.
func ride(n int) []byte {
	return fmt.Appendf(nil, `{"ride_id":"r-%08d","zone":"zone-%d","driver":"d-%d","fare":%d.%02d,"state":"requested"}`,
		n*7919, n%263, n*31%5000, n%90, n%100)
}

// rides builds a batch of about that many bytes of records.
func rides(b *Builder, size int) (records []Record) {
	b.Reset(nil)
	for n := 0; b.Size() < size; n++ {
		r := Record{Offset: Offset(n), Timestamp: 1_700_000_000_000 + int64(n), Key: fmt.Appendf(nil, "zone-%d", n%263), Value: ride(n)}
		b.Append(r.Timestamp, r.Key, r.Value, nil)
		records = append(records, r)
	}
	return records
}

func TestCompressedBatchesComeBackWhole(t *testing.T) {
	for _, codec := range codecs {
		for _, size := range []int{1 << 10, 64 << 10, 600 << 10, 5 << 20} {
			t.Run(fmt.Sprint(codec, size), func(t *testing.T) {
				var b Builder
				want := rides(&b, size)
				plain := append(Batch(nil), b.Build()...)
				packed := b.Compress(codec)
				require.Less(t, len(packed), len(plain)/2)
				require.Equal(t, codec, packed.Compression())
				require.NoError(t, packed.CheckRecords())
				require.Equal(t, plain[atDelta:BatchOverhead], packed[atDelta:BatchOverhead], "the header is that of the plain batch")
				var got []Record
				for r, err := range packed.Records() {
					require.NoError(t, err)
					got = append(got, r)
				}
				require.Equal(t, want, got)
				require.Equal(t, plain, b.Build(), "the records are still there")
			})
		}
	}
}

// What was inflated is kept by whoever keeps a record: no later batch may come
// upon its memory.
func TestInflatedRecordsMayBeKept(t *testing.T) {
	for _, codec := range codecs {
		var b Builder
		want := rides(&b, 4<<10)
		batch := append(Batch(nil), b.Compress(codec)...)
		kept := collect(t, batch)
		for i := range batch {
			batch[i] = 0xee
		}
		b.Reset(nil)
		b.Append(1, nil, bytes.Repeat([]byte("x"), 64<<10), nil)
		other := b.Compress(codec)
		require.NoError(t, other.CheckRecords())
		collect(t, other)
		require.True(t, reflect.DeepEqual(want, kept), codec) // and not megabytes of difference
	}
}

func collect(t *testing.T, b Batch) (records []Record) {
	t.Helper()
	for r, err := range b.Records() {
		require.NoError(t, err)
		records = append(records, r)
	}
	return records
}

func TestWhatDoesNotGetSmallerIsLeftAlone(t *testing.T) {
	noise := make([]byte, 4<<10)
	rand.New(rand.NewSource(1)).Read(noise)
	for _, codec := range []Compression{NoCompression, Gzip, Snappy, lz4, Zstd, 5, 200} {
		var b Builder
		require.Nil(t, b.Compress(codec))
		b.Append(1, nil, noise, nil)
		batch := b.Compress(codec)
		require.Equal(t, NoCompression, batch.Compression(), codec)
		require.NoError(t, batch.CheckRecords())
		require.Equal(t, noise, collect(t, batch)[0].Value)
	}
	var b Builder
	b.Append(1, nil, []byte("after"), nil)
	b.Append(1, nil, make([]byte, MaxInflatedBytes), nil)
	require.Equal(t, NoCompression, b.Compress(Zstd).Compression(), "nobody could inflate it")
}

func TestCodecsHaveNames(t *testing.T) {
	for c, name := range []string{"none", "gzip", "snappy", "lz4", "zstd", "codec 5"} {
		require.Equal(t, name, Compression(c).String())
	}
	for _, c := range append(codecs, NoCompression) {
		require.NoError(t, c.Check())
	}
	for _, c := range []Compression{lz4, 5, 7, 200} {
		require.ErrorIs(t, c.Check(), ErrUnsupported)
		require.ErrorContains(t, c.Check(), c.String())
	}
}

// sealed returns a batch of that many records whose section is as given.
func sealed(codec Compression, count int, section []byte) Batch {
	var b Builder
	for range count {
		b.Append(1, nil, nil, nil)
	}
	h := append(b.Build()[:BatchOverhead:BatchOverhead], section...)
	return b.complete(h, codec)
}

func TestLZ4IsRefusedByName(t *testing.T) {
	b := sealed(lz4, 1, []byte{4, 34, 77, 24})
	for _, err := range []error{b.Check(), b.CheckRecords(), recordsError(b)} {
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, "lz4")
	}
}

func recordsError(b Batch) error {
	for _, err := range b.Records() {
		if err != nil {
			return err
		}
	}
	return nil
}

// emptyBatch is the batch without records that compaction leaves in place of some.
func emptyBatch(first, last Offset, epoch Epoch, attrs uint16) Batch {
	b := make(Batch, BatchOverhead)
	b.Place(first, epoch)
	binary.BigEndian.PutUint32(b[atLength:], minLength)
	b[atMagic] = batchMagic
	binary.BigEndian.PutUint16(b[atAttrs:], attrs)
	binary.BigEndian.PutUint32(b[atDelta:], uint32(last-first))
	for i := atBase; i < atCount; i++ {
		b[i] = 0xff // times, producer, sequence: -1
	}
	return reseal(b)
}

func TestABatchWithoutRecordsHasNothingToInflate(t *testing.T) {
	for codec := range uint16(8) {
		b := emptyBatch(40, 49, 2, codec)
		require.NoError(t, b.Check(), codec)
		require.Empty(t, collect(t, b))
		require.EqualValues(t, 50, b.Next())
		require.ErrorIs(t, b.CheckRecords(), ErrCorrupt, "no client sends one")

		more := reseal(append(emptyBatch(40, 49, 2, codec), 0))
		require.ErrorIs(t, recordsError(more), ErrCorrupt)
	}
}

func TestDamagedDataIsCorrupt(t *testing.T) {
	for _, codec := range codecs {
		var b Builder
		want := rides(&b, 8<<10)
		whole := append([]byte(nil), b.Compress(codec)[BatchOverhead:]...)
		for n := range whole { // cut off
			err := sealed(codec, len(want), whole[:n]).CheckRecords()
			require.ErrorIs(t, err, ErrCorrupt, "%v: %d bytes", codec, n)
			require.ErrorIs(t, recordsError(sealed(codec, len(want), whole[:n])), ErrCorrupt)
		}
		require.ErrorIs(t, sealed(codec, len(want), append(whole[:len(whole):len(whole)], 0, 0, 0)).CheckRecords(), ErrCorrupt, codec)
		require.ErrorIs(t, sealed(codec, len(want)+1, whole).CheckRecords(), ErrCorrupt, codec)
		require.ErrorIs(t, sealed(codec, len(want)-1, whole).CheckRecords(), ErrCorrupt, codec)
		for i := range whole {
			flipped := append([]byte(nil), whole...)
			flipped[i] ^= 0x10
			if err := sealed(codec, len(want), flipped).CheckRecords(); err != nil {
				require.ErrorIs(t, err, ErrCorrupt, "%v: byte %d", codec, i)
			}
		}
	}
}

func TestDeflateAppends(t *testing.T) {
	data := []byte(strings.Repeat("samsa", 10_000))
	for _, codec := range codecs {
		for _, room := range []int{0, 100, 200_000} {
			front := append(make([]byte, 0, 4+room), "head"...)
			out, ok := deflate(codec, front, data)
			require.True(t, ok)
			require.Equal(t, "head", string(out[:4]))
			back, err := inflate(codec, out[4:], len(data))
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, back))
		}
		out, ok := deflate(codec, []byte("head"), []byte("x"))
		require.False(t, ok)
		require.Equal(t, "head", string(out))
	}
}

func TestSnappyFraming(t *testing.T) {
	data := []byte(strings.Repeat("samsa", 20_000))
	out := deflateSnappy(nil, data)
	require.Equal(t, "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01", string(out[:16]))
	blocks := 0
	for rest := out[16:]; len(rest) > 0; blocks++ {
		n := binary.BigEndian.Uint32(rest)
		block, err := snappy.Decode(nil, rest[4:4+n])
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(data[blocks*snappyBlock:], block))
		rest = rest[4+n:]
	}
	require.Equal(t, 4, blocks)

	// Two letters, six more by looking back two, and four by repeating that look:
	// the last is none of snappy but of an extension.
	repeat := []byte{12, 4, 'a', 'b', 0x01 | 2<<2, 2, 0x01, 0}
	extended, err := snappy.Decode(nil, repeat)
	require.NoError(t, err)
	require.Equal(t, "abababababab", string(extended))

	head := out[:16:16]
	newer := append([]byte(nil), out...)
	newer[15] = 2
	for name, bad := range map[string][]byte{
		"a version that nobody knows": newer,
		"the end within the header":   out[:15],
		"the end within a length":     append(head, 0, 0, 0),
		"a length beyond the end":     append(head, 0, 0, 0, 2, 0),
		"an empty block":              append(head, 0, 0, 0, 0),
		"an extension":                repeat,
		"an extension in a frame":     append(append(head, 0, 0, 0, 8), repeat...),
	} {
		_, err := inflate(Snappy, bad, 1<<20)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	none, err := inflate(Snappy, head, 1<<20)
	require.NoError(t, err)
	require.Empty(t, none)
}

func useAllCodecs(t *testing.T) {
	for _, codec := range codecs {
		var b Builder
		want := rides(&b, 200<<10)
		batch := b.Compress(codec)
		require.NoError(t, batch.CheckRecords())
		require.Len(t, collect(t, batch), len(want))
	}
}

// Codecs are pooled. What a bubble leaves in a pool must be good for another, and
// for whoever has none; and a bubble ends only when its goroutines have.
func TestCodecsLeaveTheirBubble(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))  // a processor has a pool of its own,
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // and a collection empties it
	for range 3 {
		synctest.Test(t, useAllCodecs)
		useAllCodecs(t)
	}
}

func TestCodecsStartNoGoroutine(t *testing.T) {
	useAllCodecs(t)
	before := runtime.NumGoroutine()
	for range 20 {
		useAllCodecs(t)
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
	}
}

func TestCodecsMayOverlap(t *testing.T) {
	var all sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		all.Go(func() { useAllCodecs(t) })
	}
	all.Wait()
}

func TestABuilderCompressesIntoTheSameMemory(t *testing.T) {
	for _, codec := range codecs {
		var b Builder
		rides(&b, 64<<10)
		first := b.Compress(codec)
		b.Reset(nil)
		rides(&b, 32<<10)
		second := b.Compress(codec)
		require.Same(t, &first[0], &second[0], codec)
	}
}
