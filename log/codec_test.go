package log

import (
	"io/fs"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadFileRefusesWhatWasNotWritten(t *testing.T) {
	fsys := NewMemFS()
	_, err := ReadFile(fsys, "f", 1, 1)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, WriteFile(fsys, "f", 0x10, 2, []byte("payload")))
	got, err := ReadFile(fsys, "f", 0x10, 2)
	require.NoError(t, err)
	require.Equal(t, "payload", string(got))
	_, err = ReadFile(fsys, "f", 0x10, 1)
	require.ErrorIs(t, err, ErrNewer)
	_, err = ReadFile(fsys, "f", 0x11, 2)
	require.ErrorIs(t, err, ErrCorrupt)
	f, err := fsys.Open("f")
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	for at := range size {
		var b [1]byte
		_, err := f.ReadAt(b[:], at)
		require.NoError(t, err)
		for bit := range 8 {
			_, err = f.WriteAt([]byte{b[0] ^ 1<<bit}, at)
			require.NoError(t, err)
			_, err = ReadFile(fsys, "f", 0x10, 2)
			require.Error(t, err, "byte %d bit %d", at, bit)
		}
		_, err = f.WriteAt(b[:], at)
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(size-1))
	_, err = ReadFile(fsys, "f", 0x10, 2)
	require.ErrorIs(t, err, ErrCorrupt)
}

func FuzzSlots(f *testing.F) {
	file := make([]byte, 2*slotStride)
	appendSlot(file[:0], slot{sequence: 2, end: 5, from: 3, at: 9})
	appendSlot(file[slotStride:slotStride], slot{sequence: 3, end: 6, from: 3, at: 9})
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSlots(b)
		if err != nil {
			return
		}
		back, err := parseSlot(appendSlot(nil, s))
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}

func FuzzEpochs(f *testing.F) {
	f.Add(epochs{{1, 0}, {4, 700}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decodeEpochs(b); err == nil {
			require.Equal(t, b, e.encode())
		}
	})
}

func TestASlotIsNeverWrittenOverTheOneThatCounts(t *testing.T) {
	// Of the two slots one is always whole, whatever a crash does to the other.
	w := slots{synced: 4, last: slot{sequence: 4}}
	fsys := NewMemFS()
	var err error
	w.file, err = fsys.Create("flushed")
	require.NoError(t, err)
	for range 5 {
		require.NoError(t, w.write(slot{}))
		require.EqualValues(t, 1, w.last.sequence%2)
	}
	require.NoError(t, w.sync(w.syncedAt))
	require.NoError(t, w.write(slot{}))
	require.EqualValues(t, 0, w.last.sequence%2)
}

func TestEpochCache(t *testing.T) {
	e := epochs{}.assign(1, 0).assign(3, 10).assign(3, 15).assign(5, 20)
	require.Equal(t, epochs{{1, 0}, {3, 10}, {5, 20}}, e)
	for name, c := range map[string]struct{ got, want epochs }{
		"a newer epoch at the same place replaces":      {e.assign(6, 20), epochs{{1, 0}, {3, 10}, {6, 20}}},
		"an older epoch drops the newer":                {e.assign(4, 15), epochs{{1, 0}, {3, 10}, {4, 15}}},
		"the epoch before the marker goes on":           {e.assign(3, 20), epochs{{1, 0}, {3, 10}}},
		"an earlier start drops what begins later":      {e.assign(7, 5), epochs{{1, 0}, {7, 5}}},
		"truncateEnd drops what begins there":           {e.truncateEnd(10), epochs{{1, 0}}},
		"truncateEnd keeps what begins before":          {e.truncateEnd(11), epochs{{1, 0}, {3, 10}}},
		"truncateStart leaves the one that holds it":    {e.truncateStart(12), epochs{{3, 10}, {5, 20}}},
		"truncateStart leaves the one that ends there":  {e.truncateStart(20), epochs{{3, 10}, {5, 20}}},
		"truncateStart before all":                      {e.truncateStart(-1), e},
		"truncateStart of one that begins later":        {epochs{{1, 5}}.truncateStart(3), epochs{{1, 5}}},
		"of a log whose records were all removed":       {e.truncateEnd(50).truncateStart(50), epochs{{5, 20}}},
		"the first epoch is that of the first batch on": {epochs(nil).assign(9, 100), epochs{{9, 100}}},
	} {
		require.Equal(t, c.want, c.got, name)
	}
	for _, c := range []struct {
		ask, epoch Epoch
		end        Offset
		ok         bool
	}{
		{5, 5, 99, true}, {6, NoEpoch, 0, false}, {4, 3, 20, true}, {3, 3, 20, true},
		{2, 1, 10, true}, {1, 1, 10, true}, {0, 0, 0, true}, {NoEpoch, NoEpoch, 0, true}, {-2, NoEpoch, 0, false},
	} {
		epoch, end, ok := e.endOf(c.ask, 99)
		require.Equal(t, []any{c.epoch, c.end, c.ok}, []any{epoch, end, ok}, "endOf(%d)", c.ask)
	}
	epoch, end, ok := epochs(nil).endOf(NoEpoch, 7)
	require.Equal(t, []any{NoEpoch, Offset(7), true}, []any{epoch, end, ok})
	_, _, ok = epochs(nil).endOf(0, 7)
	require.False(t, ok)
}

func TestEpochValuesAreNotChangedInPlace(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	e := epochs{}
	for i := range 200 {
		before, held := append(epochs{}, e...), e
		switch rng.Intn(3) {
		case 0:
			e = e.truncateEnd(Offset(rng.Intn(i + 1)))
		case 1:
			e = e.truncateStart(Offset(rng.Intn(i + 1)))
		default:
			e = e.assign(Epoch(rng.Intn(i+1)), Offset(rng.Intn(i+1)))
		}
		require.Equal(t, before, append(epochs{}, held...))
		for i := 1; i < len(e); i++ {
			require.Less(t, e[i-1].epoch, e[i].epoch)
			require.Less(t, e[i-1].start, e[i].start)
		}
	}
}
