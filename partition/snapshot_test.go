package partition

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// Replaying from a snapshot and what follows it gives what replaying everything
// does, wherever the snapshot was taken. The entries are those of a whole life: of
// brokers that come and go, elections and changes of the ISR.
func TestReplayFromASnapshotEqualsReplayFromTheStart(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 60 {
				w.step()
				w.settle()
			}
			whole := replay(t, NewTable(), w.records)
			require.Equal(t, w.table.Hash(), whole.Hash())
			for at := 0; at <= len(w.records); at += 1 + w.rng.IntN(7) {
				b := replay(t, NewTable(), w.records[:at]).Snapshot()
				table, err := DecodeSnapshot(b)
				require.NoError(t, err)
				require.EqualValues(t, at, table.Offset())
				require.Equal(t, b, table.Snapshot())
				require.Equal(t, whole.Hash(), replay(t, table, w.records).Hash(), "from %d of %d", at, len(w.records))
			}
		})
	}
}

// replay applies all entries; the table skips those that it has.
func replay(t *testing.T, table *Table, entries [][]Record) *Table {
	for i, recs := range entries {
		recs, err := DecodeRecords(EncodeRecords(recs))
		require.NoError(t, err)
		table.Apply(log.Offset(i+1), recs)
	}
	return table
}

// The bytes below are a promise to files already on users' disks. If this test
// fails, add a record type or bump snapshotVersion; do not edit want.
func TestSnapshotGolden(t *testing.T) {
	table := NewTable()
	table.Apply(258, []Record{RegisterBroker{Broker: Broker{
		ID: 3, Addr: "a:1", Rack: "r", Directory: UUID{0: 0xAA, 15: 1}, Incarnation: UUID{0: 0xBB, 15: 2},
	}}})
	const want = "01" + "0000000000000102" + "01" + // version, offset, count
		"01" + "00000003" + "0000000000000102" + "03613a31" + "0172" +
		"aa000000000000000000000000000001" + "bb000000000000000000000000000002" + "01" + "00" + "00"
	require.Equal(t, want, hex.EncodeToString(table.Snapshot()))
	require.Equal(t, "01"+"0000000000000000"+"00", hex.EncodeToString(NewTable().Snapshot()))
}

func TestDecodeSnapshotRefuses(t *testing.T) {
	w := newWorld(t, 1)
	good := w.table.Snapshot()
	for n := range good {
		_, err := DecodeSnapshot(good[:n])
		require.Error(t, err, "cut to %d bytes", n)
	}
	_, err := DecodeSnapshot(append(good[:len(good):len(good)], 0))
	require.Error(t, err)
	for name, b := range map[string][]byte{
		"version": {2},
		"type":    {1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 77},
	} {
		_, err := DecodeSnapshot(b)
		require.ErrorIs(t, err, Unsupported, name)
	}
	_, err = DecodeSnapshot([]byte{1, 255, 0, 0, 0, 0, 0, 0, 0, 0})
	require.ErrorContains(t, err, "offset")
	twice := append([]byte{1}, make([]byte, 8)...)
	one := w.table.Snapshot()[10 : 10+1+leastBroker]
	twice = append(append(append(twice, 2), one...), one...)
	_, err = DecodeSnapshot(twice)
	require.ErrorContains(t, err, "out of order")
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(NewTable().Snapshot())
	table := NewTable()
	table.Apply(6, allRecords())
	f.Add(table.Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := DecodeSnapshot(b)
		if err != nil {
			return
		}
		again, err := DecodeSnapshot(table.Snapshot())
		require.NoError(t, err)
		require.Equal(t, table.Hash(), again.Hash())
	})
}
