package log

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

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
