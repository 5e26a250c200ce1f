package log

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// goldenProducers have a window that is full and went around, one that is empty,
// and a transaction under way.
func goldenProducers() *producers {
	t := newProducers()
	for i := range int32(6) {
		t.update(sentAt(Offset(i)*10, 9, 1, addSequence(math.MaxInt32-4, 2*i), 2), 1_000+int64(i))
	}
	var end Builder
	end.Append(50, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 4}, nil)
	marker := withAttrs(withProducer(end.Build(), 3, 8, -1), attrControl|attrTransactional)
	marker.Place(70, 1)
	t.update(marker, 2_000)
	t.update(withAttrs(sentAt(80, 1<<40, 0, 0, 3), attrTransactional), 3_000)
	t.setIncomplete()
	return t
}

const goldenSnapshotAt = 90

// The bytes in testdata are a promise to files already on users' disks. If this
// test fails, bump snapshotVersion and add a file; do not change one.
func TestSnapshotGolden(t *testing.T) {
	payload := goldenProducers().encode(goldenSnapshotAt)
	fsys := NewMemFS()
	name := snapshotPath("", goldenSnapshotAt)
	require.Equal(t, "00000000000000000090.snapshot", name)
	require.NoError(t, WriteFile(fsys, name, snapshotMagic, snapshotVersion, payload))
	got, err := readWhole(fsys, name, 1<<20)
	require.NoError(t, err)
	require.Equal(t, readGoldenHex(t, "snapshot-2"), hex.EncodeToString(got))

	back, err := ReadFile(fsys, name, snapshotMagic, snapshotVersion)
	require.NoError(t, err)
	table, err := decodeProducers(back, goldenSnapshotAt)
	require.NoError(t, err)
	require.Equal(t, payload, table.encode(goldenSnapshotAt))
	require.True(t, table.incomplete)
	require.Equal(t, 3, table.count())
	first, duplicate, err := table.check(sent(9, 1, math.MaxInt32-2, 2))
	require.NoError(t, err)
	require.True(t, duplicate)
	require.EqualValues(t, 10, first)
	_, _, err = table.check(sent(9, 1, 7, 2))
	require.NoError(t, err)
}

func TestASnapshotOfNobody(t *testing.T) {
	table, err := decodeProducers(newProducers().encode(0), 0)
	require.NoError(t, err)
	require.Zero(t, table.count())
	require.False(t, table.incomplete)
}

func TestSnapshotsKeepTheOrderOfUse(t *testing.T) {
	table := newProducersOf(sentAt(0, 1, 0, 0, 1), sentAt(1, 2, 0, 0, 1), sentAt(2, 3, 0, 0, 1), sentAt(3, 1, 0, 1, 1))
	back, err := decodeProducers(table.encode(4), 4)
	require.NoError(t, err)
	var ids []int64
	for i := back.oldest; i >= 0; i = back.all[i].newer {
		ids = append(ids, back.all[i].id)
	}
	require.Equal(t, []int64{2, 3, 1}, ids)
}

func TestASnapshotIsRefused(t *testing.T) {
	golden := goldenProducers().encode(goldenSnapshotAt)
	const full = snapshotHead                               // the producer whose window is full
	const empty = full + snapshotProducer + 5*snapshotBatch // the one without batches
	const open = empty + snapshotProducer                   // the one with a transaction
	put8 := func(at int, v int64) func(b []byte) []byte {
		return func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[at:], uint64(v))
			return b
		}
	}
	put1 := func(at int, v byte) func(b []byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	for name, change := range map[string]func(b []byte) []byte{
		"with another offset":                 put8(0, goldenSnapshotAt+1),
		"with a flag that nobody knows":       put1(9, 2),
		"with a flag of another byte":         put1(8, 1),
		"with more producers than there are":  put1(13, 4),
		"with a count beyond its length":      put1(10, 0xff),
		"with fewer producers than there are": put1(13, 2),
		"with bytes behind it":                func(b []byte) []byte { return append(b, 0) },
		"with bytes missing":                  func(b []byte) []byte { return b[:len(b)-1] },
		"with half a head":                    func(b []byte) []byte { return b[:snapshotHead-1] },
		"with a negative id":                  put8(full, -1),
		"with one id twice":                   put8(empty, 9),
		"with six batches":                    put1(full+30, 6),
		"with a transaction before all":       put8(open+14, -2),
		"with a transaction beyond it":        put8(open+14, goldenSnapshotAt),
		"with a negative sequence":            put8(full+snapshotProducer, -1<<32),                  // -1 to 0
		"with a negative last sequence":       put8(full+snapshotProducer, math.MaxInt32<<32|1<<31), // 2^31-1 to what follows as an int32
		"with a batch before all":             put8(full+snapshotProducer+8, -1),
		"with a batch that begins before 0":   put8(full+snapshotProducer+8, 0),
		"with batches out of order":           put8(full+snapshotProducer+8, 21),
		"with a batch beyond it":              put8(full+snapshotProducer+4*snapshotBatch+8, goldenSnapshotAt),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeProducers(change(append([]byte(nil), golden...)), goldenSnapshotAt)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "00000000000000000090.snapshot")
		})
	}
	for n := range len(golden) {
		_, err := decodeProducers(golden[:n], goldenSnapshotAt)
		require.ErrorIs(t, err, ErrCorrupt, "%d bytes", n)
	}
}

func TestASnapshotOfTooManyProducersKeepsTheLast(t *testing.T) {
	table := newProducers()
	for id := range int64(maxProducers) {
		table.update(sentAt(Offset(id), id, 0, 0, 1), 1000)
	}
	b := table.encode(maxProducers + 1)
	one := newProducersOf(sentAt(maxProducers, maxProducers, 0, 0, 1)).encode(maxProducers + 1)
	b = append(b, one[snapshotHead:]...)
	binary.BigEndian.PutUint32(b[10:], maxProducers+1)
	back, err := decodeProducers(b, maxProducers+1)
	require.NoError(t, err)
	require.Equal(t, maxProducers, back.count())
	require.True(t, back.incomplete)
	_, known := back.at[0]
	require.False(t, known)
	_, known = back.at[maxProducers]
	require.True(t, known)
}

func FuzzProducers(f *testing.F) {
	f.Add(goldenProducers().encode(goldenSnapshotAt))
	f.Add(newProducers().encode(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return
		}
		at := Offset(binary.BigEndian.Uint64(b))
		table, err := decodeProducers(b, at)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		if binary.BigEndian.Uint32(b[10:]) <= maxProducers {
			require.Equal(t, b, table.encode(at))
		}
		for id := range table.at {
			_, _, _ = table.check(sent(id, 0, 0, 1))
		}
		table.truncateEnd(at / 2)
		table.expire(0, 0)
	})
}
