package log

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// The bytes of the small files, and of the indexes. If one of these tests fails,
// bump the version of that file, and add one to testdata/golden; do not change one.

// goldenSlots are those of a log that had no producers when the older one was
// written.
func goldenSlots() (even, odd slot) {
	even = slot{
		sequence: 8, end: 1_000_000, from: 999_900, at: 4_096, producers: true,
		digest: digest{0x01020304, 1_700_000_000_000, 99_000}, sums: indexSums{entriesCRC: 0x11121314, timesCRC: 0x21222324},
	}
	odd = startSlot(999_900)
	odd.sequence, odd.end = 7, 999_950
	odd.sums = indexSums{entriesCRC: notSummed, timesCRC: notSummed}
	return even, odd
}

func TestGoldenFlushedEnd(t *testing.T) {
	even, odd := goldenSlots()
	fsys := NewMemFS()
	f, err := fsys.Create(slotFile)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(2*slotStride))
	w := slots{file: f, last: slot{sequence: 6}, synced: 6}
	for _, s := range []slot{odd, even} {
		s.sequence = 0 // write knows it
		require.NoError(t, w.write(s))
		require.NoError(t, w.sync(w.syncedAt))
	}
	got, err := readWhole(fsys, slotFile, 1<<20)
	require.NoError(t, err)

	want, err := hex.DecodeString(readGoldenHex(t, "flushed-1"))
	require.NoError(t, err)
	require.Len(t, want, 2*slotSize, "the zeros behind each slot are left out")
	gap := make([]byte, slotStride-slotSize)
	require.Equal(t, hex.EncodeToString(want[:slotSize])+hex.EncodeToString(gap)+
		hex.EncodeToString(want[slotSize:])+hex.EncodeToString(gap), hex.EncodeToString(got))

	for i, s := range []slot{even, odd} {
		back, err := parseSlot(want[i*slotSize:])
		require.NoError(t, err)
		require.Equal(t, s, back)
	}
	counts, err := parseSlots(got)
	require.NoError(t, err)
	require.Equal(t, even, counts)
}

func TestGoldenSmallFiles(t *testing.T) {
	e := epochs{{1, 0}, {4, 700}}
	sum := &seal{
		base: 70_000, end: 71_000, size: 4_438, digest: digest{0x01020304, 1_700_000_001_039, 43},
		sums: indexSums{entriesCRC: 0x11121314, timesCRC: 0x21222324},
	}
	taken := bounds{start: 70_000, removed: 70_500, cleaned: 71_000, horizon: 1_700_000_000_000}
	reset := bounds{start: 5, removed: 70_500, horizon: noHorizon, reset: true}
	for _, c := range []struct {
		name    string // of the golden file
		file    string
		magic   uint32
		version uint16
		payload []byte
		back    func(b []byte) (any, error)
		want    any
	}{
		{"small-file", "f", 0x01020304, 5, []byte("payload"), func(b []byte) (any, error) { return string(b), nil }, "payload"},
		{"leader-epoch-checkpoint-1", epochsFile, epochsMagic, epochsVersion, e.encode(), func(b []byte) (any, error) { return decodeEpochs(b) }, e},
		{"sum-1", "s" + sealSuffix, sealMagic, sealVersion, sum.encode(), func(b []byte) (any, error) { return decodeSeal(b, "s") }, sum},
		{"bounds-1", boundsFile, boundsMagic, boundsVersion, taken.encode(), func(b []byte) (any, error) { return decodeBounds(b) }, taken},
		{"bounds-reset-1", boundsFile, boundsMagic, boundsVersion, reset.encode(), func(b []byte) (any, error) { return decodeBounds(b) }, reset},
		{"lost-1", lostFile, lostMagic, lostVersion, nil, func(b []byte) (any, error) { return len(b), nil }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := NewMemFS()
			require.NoError(t, WriteFile(fsys, c.file, c.magic, c.version, c.payload))
			got, err := readWhole(fsys, c.file, 1<<20)
			require.NoError(t, err)
			require.Equal(t, readGoldenHex(t, c.name), hex.EncodeToString(got))
			require.NoError(t, writeUnsynced(fsys, c.file, c.magic, c.version, c.payload))
			again, err := readWhole(fsys, c.file, 1<<20)
			require.NoError(t, err)
			require.Equal(t, got, again)

			payload, err := ReadFile(fsys, c.file, c.magic, c.version)
			require.NoError(t, err)
			back, err := c.back(payload)
			require.NoError(t, err)
			require.Equal(t, c.want, back)
		})
	}
}

func TestGoldenIndexes(t *testing.T) {
	entries := []indexEntry{{9, 4_096}, {20, 8_192}, {1<<31 - 1, 1<<31 - 1}}
	require.Equal(t, readGoldenHex(t, "index"), hex.EncodeToString(appendEntries(nil, entries)))
	b, err := hex.DecodeString(readGoldenHex(t, "index"))
	require.NoError(t, err)
	require.Equal(t, entries, parseEntries(b, 1<<31))

	times := []timeEntry{{-5, 3}, {1_700_000_000_000, 20}, {1<<63 - 1, 1<<31 - 1}}
	require.Equal(t, readGoldenHex(t, "timeindex"), hex.EncodeToString(appendTimes(nil, times)))
	b, err = hex.DecodeString(readGoldenHex(t, "timeindex"))
	require.NoError(t, err)
	require.Equal(t, times, parseTimes(b, 1<<31))
}

// A file is refused that is longer than any of its kind, whatever it says.
func TestAFileThatIsTooLongIsRefused(t *testing.T) {
	fsys := NewMemFS()
	f, err := fsys.Create("f")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("0123456789"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	b, err := readWhole(fsys, "f", 10)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(b))
	_, err = readWhole(fsys, "f", 9)
	require.ErrorIs(t, err, ErrCorrupt)
	b, err = readPrefix(fsys, "f", 4)
	require.NoError(t, err)
	require.Equal(t, "0123", string(b))
}
