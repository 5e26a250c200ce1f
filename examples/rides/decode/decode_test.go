package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

// segment builds batches of so many records each, one behind the other.
func segment(first log.Offset, epoch log.Epoch, counts ...int) []byte {
	var data []byte
	for _, count := range counts {
		var b log.Builder
		for i := range count {
			var key []byte
			if i%3 != 0 {
				key = fmt.Appendf(nil, "zone %d", i)
			}
			b.Append(1_000_000-int64(i%5), key, bytes.Repeat([]byte("v"), i*7%300), []log.Header{{Key: "ride", Value: []byte("1/2")}, {Key: "", Value: nil}})
		}
		batch := b.Build()
		batch.Place(first, epoch)
		data = append(data, batch...)
		first += log.Offset(count)
	}
	return data
}

// A batch that was put together by hand: the decoder and package log may not be
// wrong in the same way.
func TestDecodesAHandMadeBatch(t *testing.T) {
	data, err := hex.DecodeString("0000000000000005" + // base offset
		"0000003e" + // length: 49 of the header, 13 of the record
		"00000003" + "02" + "f681f100" + // epoch, magic, checksum
		"0000" + "00000000" + // attributes, last offset delta
		"0000000000000010" + "0000000000000010" + // times
		"ffffffffffffffff" + "ffff" + "ffffffff" + // producer
		"00000001" + // records
		"18" + "000000" + "026b" + "047677" + "02" + "0268" + "01") // key k, value vw, header h without a value
	require.NoError(t, err)
	sum, err := decode(data, 5)
	require.NoError(t, err)
	require.Equal(t, summary{batches: 1, records: 1, first: 5, next: 6, bytes: len(data)}, sum)
}

func TestDecodesWhatTheLogWrites(t *testing.T) {
	data := segment(40, 2, 1, 100, 3)
	sum, err := decode(slices.Concat(data, make([]byte, 5000)), 40)
	require.NoError(t, err)
	require.Equal(t, summary{batches: 3, records: 104, first: 40, next: 144, bytes: len(data), zeros: 5000}, sum)
	require.Equal(t, fmt.Sprintf("3 batches, 104 records, offsets 40 to 143, %d bytes, 5000 zeros", len(data)), sum.String())
}

func TestDecodesAnEmptySegment(t *testing.T) {
	for _, data := range [][]byte{nil, make([]byte, 100)} {
		sum, err := decode(data, 7)
		require.NoError(t, err)
		require.Zero(t, sum.batches)
	}
}

// Whatever single byte is changed, it is seen: all but the leader epoch, which may
// be any that does not fall, has one right value or is covered by the checksum.
func TestSeesEveryChangedByte(t *testing.T) {
	data := append(segment(40, 2, 2, 4), make([]byte, 64)...)
	second := len(segment(40, 2, 2))
	for at := range data {
		if at/4 == leaderEpoch/4 || at >= second+leaderEpoch && at < second+leaderEpoch+4 {
			continue
		}
		bad := slices.Clone(data)
		bad[at] ^= 0x10
		_, err := decode(bad, 40)
		require.Error(t, err, "byte %d", at)
	}
}

func TestSeesEveryCut(t *testing.T) {
	data := segment(40, 2, 2, 4)
	second := len(segment(40, 2, 2))
	for size := range data {
		if size < 8 || size >= second && size < second+8 {
			continue // no more than the zeros that the offset 40 begins with
		}
		_, err := decode(data[:size], 40)
		require.Error(t, err, "%d bytes", size)
	}
}

// sealed gives a changed batch its right checksum.
func sealed(change func(b []byte)) []byte {
	b := segment(0, 0, 3)
	change(b)
	binary.BigEndian.PutUint32(b[checksum:], crc32.Checksum(b[attributes:], castagnoli))
	return b
}

func TestSeesFaultsUnderARightChecksum(t *testing.T) {
	tests := map[string][]byte{
		"a hole between batches":      slices.Concat(segment(0, 0, 2), segment(3, 0, 2)),
		"a batch twice":               slices.Concat(segment(0, 0, 2), segment(0, 0, 2)),
		"an epoch that falls":         slices.Concat(segment(0, 4, 2), segment(2, 3, 2)),
		"a segment of another name":   segment(9, 0, 2),
		"a batch behind zeros":        slices.Concat(segment(0, 0, 2), make([]byte, 61), segment(2, 0, 2)),
		"compression":                 sealed(func(b []byte) { b[attributes+1] = 4 }),
		"a count too high":            sealed(func(b []byte) { b[recordsCount+3] = 4; b[lastOffsetDelta+3] = 3 }),
		"a count too low":             sealed(func(b []byte) { b[recordsCount+3] = 2; b[lastOffsetDelta+3] = 1 }),
		"no records":                  sealed(func(b []byte) { b[recordsCount+3] = 0 }),
		"a last offset that is wrong": sealed(func(b []byte) { b[lastOffsetDelta+3] = 9 }),
		"attributes of a record":      sealed(func(b []byte) { b[headerSize+1] = 1 }),
		"an offset of a record":       sealed(func(b []byte) { b[headerSize+3] = 2 }),
		"a key that is cut off":       sealed(func(b []byte) { b[headerSize+4] = 0x7e }),
		"a latest time that is wrong": sealed(func(b []byte) { b[maxTimestamp+7]++ }),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := decode(data, 0)
			require.Error(t, err)
		})
	}
}

func TestReadsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	good := write("00000000000000000040.log", segment(40, 0, 5))
	named := write("00000000000000000041.log", segment(40, 0, 5))
	other := write("any", segment(7, 0, 5))

	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run([]string{good, other}, &stdout, &stderr))
	require.Contains(t, stdout.String(), good+": 1 batches, 5 records, offsets 40 to 44,")
	require.Contains(t, stdout.String(), other+": 1 batches, 5 records, offsets 7 to 11,")
	require.Empty(t, stderr.String())

	require.Equal(t, 1, run([]string{named, good}, &stdout, &stderr))
	require.Equal(t, "decode: "+named+": byte 0: offset 40, want 41\n", stderr.String())
	require.Equal(t, 1, run([]string{filepath.Join(dir, "none")}, &stdout, &stderr))
	require.Equal(t, 2, run(nil, &stdout, &stderr))
}

func FuzzDecode(f *testing.F) {
	f.Add(segment(0, 0, 3, 4))
	f.Add(append(segment(0, 0, 1), make([]byte, 70)...))
	f.Add(sealed(func(b []byte) { b[headerSize+4] = 0x7e }))
	f.Fuzz(func(t *testing.T, data []byte) {
		sum, err := decode(data, -1)
		if err == nil && sum.bytes+sum.zeros != len(data) {
			t.Errorf("%d bytes and %d zeros of %d", sum.bytes, sum.zeros, len(data))
		}
	})
}
