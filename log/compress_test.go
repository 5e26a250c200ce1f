package log

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
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

// filler is the batch without records that compaction leaves in place of some.
func filler(first, last Offset, epoch Epoch, attrs uint16) Batch {
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
		b := filler(40, 49, 2, codec)
		require.NoError(t, b.Check(), codec)
		require.Empty(t, collect(t, b))
		require.EqualValues(t, 50, b.Next())
		require.ErrorIs(t, b.CheckRecords(), ErrCorrupt, "no client sends one")

		more := reseal(append(filler(40, 49, 2, codec), 0))
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

// bomb returns size zeros, compressed as far as the codec can.
func bomb(t *testing.T, codec Compression, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	piece := make([]byte, 64<<10)
	switch codec {
	case Gzip:
		w := gzip.NewWriter(&out)
		for range size / len(piece) {
			_, err := w.Write(piece)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
	case Zstd: // without its size in front
		w, err := zstd.NewWriter(&out)
		require.NoError(t, err)
		for range size / len(piece) {
			_, err := w.Write(piece)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
	default:
		out.WriteString(snappyMagic + "\x00\x00\x00\x01\x00\x00\x00\x01")
		block := snappy.Encode(nil, piece)
		for range size / len(piece) {
			out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(block))))
			out.Write(block)
		}
	}
	return out.Bytes()
}

func TestABombIsRefusedAtTheLimit(t *testing.T) {
	const limit = 1 << 20
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			data := bomb(t, codec, 80<<20)
			var err error
			used := allocated(func() { _, err = inflate(codec, data, limit) })
			require.ErrorIs(t, err, ErrTooLarge)
			require.NotErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, codec.String())
			require.Less(t, used, uint64(5*limit), "memory is taken up to the limit, and for the decoder")

			b := sealed(codec, 1, data)
			require.ErrorIs(t, b.CheckRecordsWithin(limit), ErrTooLarge)
			require.ErrorIs(t, b.CheckRecordsWithin(1<<30), ErrTooLarge, "there is a limit for all")
			require.ErrorIs(t, b.CheckRecords(), ErrTooLarge)
			require.ErrorIs(t, recordsError(b), ErrTooLarge)
		})
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A few bytes that claim to be much are believed no further than they could be.
func TestClaimsAreNotBelieved(t *testing.T) {
	const limit = 32 << 20
	size := binary.BigEndian.AppendUint32(nil, 30)
	header := []byte(snappyMagic + "\x00\x00\x00\x01\x00\x00\x00\x01")
	huge := binary.AppendUvarint(nil, limit-1)
	frame := func(size uint32) []byte { // of one byte
		return append(binary.LittleEndian.AppendUint32([]byte("\x28\xb5\x2f\xfd\xa0"), size), 1|1<<3, 0, 0, 'x')
	}
	one, err := inflate(Zstd, frame(1), limit)
	require.NoError(t, err)
	require.Equal(t, "x", string(one))
	_, err = inflate(Zstd, frame(limit+1), limit)
	require.ErrorIs(t, err, ErrCorrupt)
	for name, c := range map[string]struct {
		codec Compression
		data  []byte
	}{
		"zstd: size in front":   {Zstd, frame(limit - 1)},
		"gzip: size at the end": {Gzip, append(gzipped(t, ride(1))[:40], 0, 0, 0, 1)},
		"snappy: size in front": {Snappy, append(huge[:len(huge):len(huge)], make([]byte, 26)...)},
		"snappy: of a block":    {Snappy, append(append(append(header, size...), huge...), make([]byte, 26)...)},
	} {
		var err error
		used := allocated(func() { _, err = inflate(c.codec, c.data, limit) })
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.Less(t, used, uint64(1<<20), name)
	}
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	out, err := deflateGzip(nil, data)
	require.NoError(t, err)
	return out
}

// unsized returns a frame of zstd that does not say what it inflates to.
func unsized(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithZeroFrames(true))
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Flush()) // before the size is known
	require.NoError(t, w.Close())
	var h zstd.Header
	require.NoError(t, h.Decode(out.Bytes()))
	require.False(t, h.HasFCS)
	return out.Bytes()
}

func TestTheLimitIsExact(t *testing.T) {
	data := bytes.Repeat([]byte("samsa"), 40_000)
	small := bytes.Repeat([]byte("samsa"), 40)
	frames := slices.Concat(unsized(t, data[:70_000]), unsized(t, nil), unsized(t, data[70_000:]))
	two := append(gzipped(t, data[:9]), gzipped(t, data[9:])...)
	own := func(c Compression) []byte {
		out, ok := deflate(c, nil, data)
		require.True(t, ok)
		return out
	}
	for name, c := range map[string]struct {
		codec Compression
		src   []byte
	}{
		"gzip": {Gzip, own(Gzip)}, "gzip, in two": {Gzip, two},
		"snappy": {Snappy, own(Snappy)}, "snappy, one block": {Snappy, snappy.Encode(nil, data)},
		"zstd": {Zstd, own(Zstd)}, "zstd, frames of unknown size": {Zstd, frames},
	} {
		for _, limit := range []int{len(data), len(data) + 1, 10 * len(data)} {
			out, err := inflate(c.codec, c.src, limit)
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(data, out), name)
			require.LessOrEqual(t, cap(out), 2*len(out), name)
			out, err = inflateInto(make([]byte, 3, 1<<20), c.codec, c.src, limit)
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(data, out), name)
		}
		for _, limit := range []int{len(data) - 1, len(data) - 20, 1, 0} {
			_, err := inflate(c.codec, c.src, limit)
			require.ErrorIs(t, err, ErrTooLarge, "%s: %d", name, limit)
			_, err = inflateInto(make([]byte, 0, 1<<20), c.codec, c.src, limit)
			require.ErrorIs(t, err, ErrTooLarge, "%s: %d", name, limit)
		}
	}
	out, err := inflate(Zstd, unsized(t, small), 1<<20)
	require.NoError(t, err)
	require.Equal(t, small, out)
	require.LessOrEqual(t, cap(out), 2*len(out), "the room that a block may need is given back")
	out, err = inflate(NoCompression, data, 1)
	require.NoError(t, err)
	require.Equal(t, data, out)
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
