package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Most inputs of these targets are put behind a checksum that fits: what is hit by
// chance stops at the checksum, and what is made on purpose does not.

// fuzzLimit is small, so that inputs reach it.
const fuzzLimit = 1 << 16

func FuzzInflate(f *testing.F) {
	for _, codec := range codecs {
		whole, _ := deflate(codec, nil, bytes.Repeat(ride(1), 20))
		f.Add(uint8(codec), whole)
	}
	f.Fuzz(func(t *testing.T, codec uint8, data []byte) {
		c := Compression(codec % 8)
		out, err := inflate(c, data, fuzzLimit)
		switch {
		case c == NoCompression:
			require.Equal(t, data, out)
			return
		case c.Check() != nil:
			require.ErrorIs(t, err, ErrUnsupported)
			return
		case err != nil:
			require.True(t, isEither(err, ErrCorrupt, ErrTooLarge), "%v", err)
			require.Nil(t, out)
			return
		}
		require.LessOrEqual(t, len(out), fuzzLimit)
		again, err := inflateInto(make([]byte, 0, 100), c, data, len(out))
		require.NoError(t, err, "the limit is exact")
		require.True(t, bytes.Equal(out, again))
		if packed, smaller := deflate(c, nil, out); smaller {
			again, err = inflate(c, packed, len(out))
			require.NoError(t, err)
			require.True(t, bytes.Equal(out, again))
		}
	})
}

func FuzzDeflate(f *testing.F) {
	f.Add(uint8(Zstd), bytes.Repeat(ride(1), 20), uint16(3))
	f.Fuzz(func(t *testing.T, codec uint8, data []byte, times uint16) {
		c := Compression(codec % 8)
		data = bytes.Repeat(data, min(int(times), (1<<20)/max(len(data), 1)))
		packed, smaller := deflate(c, []byte("head"), data)
		if !smaller {
			require.Equal(t, "head", string(packed))
			return
		}
		require.Less(t, len(packed)-4, len(data))
		out, err := inflate(c, packed[4:], len(data))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, out))
	})
}

// FuzzCompressedBatch compresses a section of any bytes: Records and CheckRecords
// must see in it what they see in the plain one.
func FuzzCompressedBatch(f *testing.F) {
	g := goldenBatch()
	f.Add(uint8(Gzip), uint16(3), []byte(g[BatchOverhead:]))
	f.Add(uint8(Snappy), uint16(2), []byte(g[BatchOverhead:]))
	f.Add(uint8(Zstd), uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, codec uint8, count uint16, section []byte) {
		c := codecs[int(codec)%len(codecs)]
		packed, err := pack(c, section)
		require.NoError(t, err)
		if count == 0 {
			require.NoError(t, emptyBatch(5, 9, 1, uint16(codec%8)).Check())
			return
		}
		plain, small := sealed(NoCompression, int(count), section), sealed(c, int(count), packed)
		require.NoError(t, small.Check())
		require.Equal(t, plain.CheckRecords(), small.CheckRecords())
		var want []Record
		var fault error
		for r, err := range plain.Records() {
			if fault = err; err == nil {
				want = append(want, r)
			}
		}
		var got []Record
		for r, err := range small.Records() {
			if err != nil {
				require.Equal(t, fault, err)
				continue
			}
			got = append(got, r)
		}
		require.Equal(t, want, got)
	})
}

// pack is deflate of what may not get smaller.
func pack(c Compression, section []byte) ([]byte, error) {
	switch c {
	case Gzip:
		return deflateGzip(nil, section)
	case Zstd:
		return deflateZstd(nil, section)
	default:
		return deflateSnappy(nil, section), nil
	}
}

func FuzzSmallFile(f *testing.F) {
	fsys := NewMemFS()
	require.NoError(f, WriteFile(fsys, "f", 7, 2, []byte("payload")))
	whole, err := readWhole(fsys, "f", 1<<20)
	require.NoError(f, err)
	f.Add(whole, true)
	f.Fuzz(func(t *testing.T, data []byte, fits bool) {
		data = bytes.Clone(data)
		if fits && len(data) >= fileHeader {
			binary.BigEndian.PutUint32(data[fileCRC:], fileChecksum(data))
		}
		fsys := NewMemFS()
		putFile(t, fsys, "f", data)
		payload, err := ReadFile(fsys, "f", 7, 2)
		if err != nil {
			require.True(t, isEither(err, ErrCorrupt, ErrNewer), "%v", err)
			return
		}
		version := uint16(data[4])<<8 | uint16(data[5])
		require.LessOrEqual(t, version, uint16(2))
		require.NoError(t, WriteFile(fsys, "f", 7, version, payload))
		again, err := readWhole(fsys, "f", 1<<30)
		require.NoError(t, err)
		require.Equal(t, data, again)
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 0, 0, 9, 0, 0, 16, 0, 0, 0, 0, 20, 0, 0, 32, 0}, int64(9000))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		entries := parseEntries(data, size)
		require.Equal(t, string(data[:len(entries)*indexEntrySize]), string(appendEntries(nil, entries)))
		last := indexEntry{-1, 0}
		for _, e := range entries {
			require.Greater(t, e.offset, last.offset)
			require.Greater(t, e.position, last.position)
			require.Less(t, int64(e.position), size)
			last = e
			found, ok := findEntry(entries, 100, 100+Offset(e.offset))
			require.True(t, ok)
			require.Equal(t, e, found)
		}
	})
}

func FuzzTimeIndex(f *testing.F) {
	f.Add(appendTimes(nil, []timeEntry{{-5, 3}, {1_700_000_000_000, 90}}), int64(200))
	f.Fuzz(func(t *testing.T, data []byte, below int64) {
		times := parseTimes(data, below)
		require.Equal(t, string(data[:len(times)*timeEntrySize]), string(appendTimes(nil, times)))
		last := timeEntry{noTime, -1}
		for _, e := range times {
			require.Greater(t, e.time, last.time)
			require.Greater(t, e.offset, last.offset)
			require.Less(t, int64(e.offset), below)
			require.Equal(t, 100+Offset(last.offset), findTime(times, 100, e.time), "up to the entry before all are earlier")
			last = e
		}
	})
}

func FuzzSeal(f *testing.F) {
	f.Add((&seal{base: 5, end: 9, size: 100, digest: digest{7, 8, 3}, sums: indexSums{entriesCRC: 1, timesCRC: 2}}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSeal(data, "x.sum")
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Equal(t, string(data), string(s.encode()))
	})
}

func FuzzBounds(f *testing.F) {
	f.Add(bounds{start: 1, removed: 2, cleaned: 3, horizon: noHorizon, reset: true}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodeBounds(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Equal(t, string(data), string(b.encode()))
	})
}

func isEither(err error, a, b error) bool { return errors.Is(err, a) || errors.Is(err, b) }

func putFile(t *testing.T, fsys FS, name string, data []byte) {
	t.Helper()
	f, err := fsys.Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
