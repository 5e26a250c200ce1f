package log

import (
	"encoding/binary"
	"fmt"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestKeyMapEntriesTakeWhatTheyAreCountedAs(t *testing.T) {
	require.EqualValues(t, keyEntrySize, unsafe.Sizeof(keyEntry{}))
}

func TestKeyMapKeepsTheLastOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 100*keyEntrySize).Draw(t, "limit")
		m := newKeyMap(limit, 0, 1000)
		require.LessOrEqual(t, len(m.entries)*keyEntrySize, limit)
		model := map[string]Offset{}
		for range rapid.IntRange(0, 200).Draw(t, "puts") {
			key := rapid.StringN(0, 2, 3).Draw(t, "key")
			off := Offset(rapid.IntRange(0, 999).Draw(t, "offset"))
			before, known := model[key]
			if m.put([]byte(key), off) {
				model[key] = max(off, before)
				continue
			}
			require.False(t, known, "a key that is there always has room")
			require.Equal(t, len(m.entries)*3/4, len(model), "full before its bound")
		}
		require.LessOrEqual(t, 4*m.used, 3*len(m.entries))
		for key, want := range model {
			got, ok := m.find([]byte(key))
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		_, ok := m.find([]byte("a key that was never put"))
		require.False(t, ok)
	})
}

func TestKeyMapTakesNoMoreThanItsRangeNeeds(t *testing.T) {
	for _, span := range []Offset{0, 1, 2, 3, 4, 5, 100, 101, 102} {
		m := newKeyMap(1<<20, 50, 50+span)
		require.LessOrEqual(t, len(m.entries), int(span)*4/3+2)
		for i := range span {
			require.True(t, m.put(fmt.Append(nil, i), i), "span %d", span)
		}
	}
	require.Empty(t, newKeyMap(1<<20, 50, 40).entries[2:])
	require.Len(t, newKeyMap(10*keyEntrySize, 0, 1<<62).entries, 10)
}

func TestKeyMapLooksAtTheWholeHash(t *testing.T) {
	m := newKeyMap(10*keyEntrySize, 0, 100)
	*m.probe([2]uint64{1, 1}) = keyEntry{hash: [2]uint64{1, 1}, next: 1}
	require.Zero(t, *m.probe([2]uint64{1, 2}))
	require.Zero(t, *m.probe([2]uint64{2, 1}))
}

func TestKeyMapAllocatesNothingAKey(t *testing.T) {
	m := newKeyMap(1<<20, 0, 1<<20)
	var key [8]byte
	require.Zero(t, testing.AllocsPerRun(10_000, func() {
		binary.BigEndian.PutUint64(key[:], binary.BigEndian.Uint64(key[:])+1)
		m.put(key[:], 1)
		m.find(key[:])
	}))
}

func TestKeyMapSeedsDiffer(t *testing.T) {
	// Neither from one map to the next nor from one half of a hash to the other.
	a, b := newKeyMap(100, 0, 1), newKeyMap(100, 0, 1)
	key := []byte("key")
	require.NotEqual(t, a.hash(key), b.hash(key))
	require.NotEqual(t, a.hash(key)[0], a.hash(key)[1])
	require.Equal(t, a.hash(key), a.hash(key))
}

// keyed makes a batch of records "key=value"; "key" alone is a tombstone, and
// "=value" has no key. Their times are the base and one more for each.
func keyed(first Offset, epoch Epoch, base int64, records ...string) Batch {
	var b Builder
	for i, r := range records {
		key, value := splitRecord(r)
		b.Append(base+int64(i), key, value, []Header{{Key: "at", Value: fmt.Append(nil, first+Offset(i))}})
	}
	batch := b.Build()
	batch.Place(first, epoch)
	return batch
}

func splitRecord(r string) (key, value []byte) {
	for i := range r {
		if r[i] == '=' {
			if i == 0 {
				return nil, []byte(r[1:])
			}
			return []byte(r[:i]), []byte(r[i+1:])
		}
	}
	return []byte(r), nil
}

func TestKeyMapCoversARange(t *testing.T) {
	m := newKeyMap(1<<10, 1, 100)
	cover := func(b Batch) bool {
		full, err := m.cover(b, 1<<20)
		require.NoError(t, err)
		return full
	}
	find := func(key string) Offset {
		off, ok := m.find([]byte(key))
		if !ok {
			return -1
		}
		return off
	}
	require.False(t, cover(keyed(0, 1, 0, "before=1", "a=1", "=none", "b=1")))
	require.EqualValues(t, 4, m.end)
	require.False(t, cover(keyed(4, 1, 0, "a=2", "b")))
	for _, attrs := range []byte{attrControl, attrTransactional} {
		b := keyed(m.end, 1, 0, "a=3", "c=3")
		b[atAttrs+1] = attrs
		require.False(t, cover(reseal(b)))
	}
	require.EqualValues(t, 10, m.end)
	require.Equal(t, []Offset{-1, 4, 5, -1}, []Offset{find("before"), find("a"), find("b"), find("c")})

	_, err := m.cover(keyed(11, 1, 0, "a=5"), 1<<20)
	require.ErrorIs(t, err, ErrCorrupt, "a hole")
	_, err = m.cover(keyed(8, 1, 0, "a=5"), 1<<20)
	require.ErrorIs(t, err, ErrCorrupt, "a batch that is covered already")
	damaged := keyed(10, 1, 0, "a=5")
	damaged[BatchOverhead+5] ^= 1
	_, err = m.cover(damaged, 1<<20)
	require.ErrorIs(t, err, ErrCorrupt)
	for _, codec := range []byte{3, 7} {
		b := keyed(10, 1, 0, "a=5")
		b[atAttrs+1] = codec
		_, err = m.cover(reseal(b), 1<<20)
		require.ErrorIs(t, err, ErrUnsupported, "codec %d", codec)
	}
	require.Equal(t, []Offset{10, 4}, []Offset{m.end, find("a")}, "what is refused covers nothing")
}

func TestKeyMapEndsWhereItIsFull(t *testing.T) {
	m := newKeyMap(4*keyEntrySize, 0, 100) // room for three
	b := keyed(0, 1, 0, "a=1", "b=1", "a=2", "c=1", "b=2", "d=1", "a=3")
	full, err := m.cover(b, 1<<20)
	require.NoError(t, err)
	require.True(t, full)
	require.EqualValues(t, 5, m.end)
	off, _ := m.find([]byte("a"))
	require.EqualValues(t, 2, off)

	// The next pass goes on within the batch.
	m = newKeyMap(4*keyEntrySize, m.end, 100)
	full, err = m.cover(b, 1<<20)
	require.NoError(t, err)
	require.False(t, full)
	require.EqualValues(t, 7, m.end)
	_, ok := m.find([]byte("c"))
	require.False(t, ok)

	m = newKeyMap(0, 0, 100)
	full, err = m.cover(b, 1<<20)
	require.NoError(t, err)
	require.True(t, full)
	require.Zero(t, m.end)
}
