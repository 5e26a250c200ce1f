package log

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const testAge = 1000 // of tombstones, in milliseconds

// compactOnce runs a pass over a whole log at a time, all of it covered from
// start on.
func compactOnce(t require.TestingT, batches []Batch, start Offset, c compaction) ([]Batch, compactStats) {
	first, size := Offset(0), int64(0)
	if len(batches) > 0 {
		first = batches[0].First()
		start = max(start, first)
	}
	if c.keys == nil {
		c.keys = newKeyMap(1<<20, start, start+1<<10)
		for _, b := range batches {
			if b.Next() <= start {
				continue
			}
			full, err := c.keys.cover(b, 1<<20)
			require.NoError(t, err)
			require.False(t, full)
		}
	}
	if c.limit == 0 {
		c.limit = 1 << 20
	}
	for _, b := range batches {
		size += int64(len(b))
	}
	c.tombstoneAge = testAge
	r := newRewriter(c, first, size)
	var out []byte
	var err error
	for _, b := range batches {
		before := string(b)
		out, err = r.rewrite(out, b)
		require.NoError(t, err)
		require.Equal(t, before, string(b), "the input stays as it is")
	}
	out = r.finish(out)
	require.Equal(t, size, r.stats.bytesIn)
	require.EqualValues(t, len(out), r.stats.bytesOut)
	return splitAll(t, out), r.stats
}

func splitAll(t require.TestingT, data []byte) []Batch {
	var batches []Batch
	for len(data) > 0 {
		b, rest, err := SplitBatch(data)
		require.NoError(t, err)
		require.NoError(t, b.Check())
		batches, data = append(batches, b), rest
	}
	return batches
}

// show prints batches so that a table can say what it wants: first offset to
// last, epoch, then the records as keyed takes them, with their offsets.
func show(t require.TestingT, batches []Batch) []string {
	var out []string
	for _, b := range batches {
		s := fmt.Sprintf("%d-%d e%d:", b.First(), b.Last(), b.Epoch())
		for r, err := range b.Records() {
			require.NoError(t, err)
			s += fmt.Sprintf(" %d/%s", r.Offset, r.Key)
			if r.Value != nil {
				s += "=" + string(r.Value)
			}
		}
		out = append(out, s)
	}
	return out
}

func records(t require.TestingT, b Batch) []Record {
	var rs []Record
	for r, err := range b.Records() {
		require.NoError(t, err)
		rs = append(rs, r)
	}
	return rs
}

// patched sets fields of a header.
func patched(b Batch, change func(h Batch)) Batch {
	b = append(Batch(nil), b...)
	change(b)
	return reseal(b)
}

// rawBatch makes a batch of one record of the bytes given in hexadecimal.
func rawBatch(first Offset, epoch Epoch, record string) Batch {
	raw, err := hex.DecodeString(strings.ReplaceAll(record, " ", ""))
	if err != nil {
		panic(err)
	}
	b := append(fillerOf(first, first, epoch), raw...)
	return patched(b, func(h Batch) {
		binary.BigEndian.PutUint32(h[atLength:], uint32(len(h)-lengthEnd))
		h[atCount+3] = 1
	})
}

func withProducer(b Batch, id int64, epoch int16, sequence int32) Batch {
	return patched(b, func(h Batch) {
		binary.BigEndian.PutUint64(h[atProducer:], uint64(id))
		binary.BigEndian.PutUint16(h[atPEpoch:], uint16(epoch))
		binary.BigEndian.PutUint32(h[atSequence:], uint32(sequence))
	})
}

func withAttrs(b Batch, attrs uint16) Batch {
	return patched(b, func(h Batch) { binary.BigEndian.PutUint16(h[atAttrs:], attrs) })
}

func TestCompactionKeepsTheLastOfEachKey(t *testing.T) {
	for name, c := range map[string]struct {
		in   []Batch
		want []string
	}{
		"nothing": {},
		"a key that comes again": {
			[]Batch{keyed(0, 1, 5, "a=1", "b=1"), keyed(2, 1, 5, "a=2")},
			[]string{"0-1 e1: 1/b=1", "2-2 e1: 2/a=2"},
		},
		"a key that comes again in its batch": {
			[]Batch{keyed(0, 1, 5, "a=1", "a=2", "a=3", "b=1")},
			[]string{"0-3 e1: 2/a=3 3/b=1"},
		},
		"records without a key": {
			[]Batch{keyed(0, 1, 5, "=1", "=1", "a=1"), keyed(3, 1, 5, "=1", "a=2")},
			[]string{"0-2 e1: 0/=1 1/=1", "3-4 e1: 3/=1 4/a=2"},
		},
		"a tombstone supersedes": {
			[]Batch{keyed(0, 1, 5, "a=1", "b=1"), keyed(2, 1, 5, "a")},
			[]string{"0-1 e1: 1/b=1", "2-2 e1: 2/a"},
		},
		"a tombstone is superseded": {
			[]Batch{keyed(0, 1, 5, "a", "b=1"), keyed(2, 1, 5, "a=2")},
			[]string{"0-1 e1: 1/b=1", "2-2 e1: 2/a=2"},
		},
		"empty batches become one filler": {
			[]Batch{keyed(7, 1, 5, "a=1", "b=1"), keyed(9, 1, 5, "a=2"), keyed(10, 1, 5, "a=3", "b=2")},
			[]string{"7-9 e1:", "10-11 e1: 10/a=3 11/b=2"},
		},
		"a filler at the end": {
			[]Batch{keyed(0, 1, 5, "b=1"), keyed(1, 1, 5, "a=1"), fillerOf(2, 2, 1), keyed(3, 1, 5, "a=2"), fillerOf(4, 7, 1)},
			[]string{"0-0 e1: 0/b=1", "1-2 e1:", "3-3 e1: 3/a=2", "4-7 e1:"},
		},
		"fillers merge with those already there": {
			[]Batch{fillerOf(0, 4, 1), keyed(5, 1, 5, "a=1"), fillerOf(6, 9, 1), fillerOf(10, 11, 1), keyed(12, 1, 5, "a=2")},
			[]string{"0-11 e1:", "12-12 e1: 12/a=2"},
		},
		"a filler ends with its epoch": {
			[]Batch{keyed(0, 1, 5, "a=1"), keyed(1, 2, 5, "a=2"), fillerOf(2, 5, 2), keyed(6, 4, 5, "a=3")},
			[]string{"0-0 e1:", "1-5 e2:", "6-6 e4: 6/a=3"},
		},
		"a filler reaches as far as a delta": {
			[]Batch{fillerOf(0, math.MaxInt32-1, 1), keyed(math.MaxInt32, 1, 5, "a=1"), keyed(math.MaxInt32+1, 1, 5, "a=2"), keyed(math.MaxInt32+2, 1, 5, "a=3")},
			[]string{"0-2147483647 e1:", "2147483648-2147483648 e1:", "2147483649-2147483649 e1: 2147483649/a=3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, stats := compactOnce(t, c.in, 0, compaction{now: 5000})
			require.Equal(t, c.want, show(t, out))
			require.True(t, stats.changed || len(c.in) == 0)
			again, stats := compactOnce(t, out, 0, compaction{now: 5000})
			require.Equal(t, out, again, "the same pass changes nothing more")
			require.False(t, stats.changed)
		})
	}
}

func fillerOf(first, last Offset, epoch Epoch) Batch {
	var f filler
	f.set(first, last, epoch)
	return f.header[:]
}

// The bytes below are a promise to files already on users' disks.
func TestFillerGolden(t *testing.T) {
	const want = "0000000000000007" + "00000031" + "00000003" + "02" + "7bbd84bc" +
		"0000" + "00000002" + "ffffffffffffffff" + "ffffffffffffffff" +
		"ffffffffffffffff" + "ffff" + "ffffffff" + "00000000"
	require.Equal(t, want, fmt.Sprintf("%x", []byte(fillerOf(7, 9, 3))))
}

// A log that ends within a filler of another needs the rest of it, and of nothing else.
func TestTheRestOfAFiller(t *testing.T) {
	b := fillerOf(7, 11, 3)
	rest, ok := b.Rest(9)
	require.True(t, ok)
	require.Equal(t, fillerOf(9, 11, 3), rest)
	require.NoError(t, rest.Check())
	for name, c := range map[string]struct {
		b    Batch
		from Offset
	}{
		"it begins there":    {b, 7},
		"it begins behind":   {b, 6},
		"it ends before":     {b, 12},
		"it has records":     {keyed(7, 3, 10, "a=1", "b=2"), 8},
		"a producer's is it": {withProducer(fillerOf(7, 11, 3), 4, 0, 9), 9},
		"it is a control's":  {withAttrs(fillerOf(7, 11, 3), attrControl), 9},
	} {
		_, ok := c.b.Rest(c.from)
		require.False(t, ok, name)
	}
}

func TestWhatNothingWasDroppedFromPassesAsItIs(t *testing.T) {
	in := []Batch{
		keyed(0, 1, 5, "a=1", "=1"),
		withAttrs(keyed(2, 1, 5, "b=1", "c=1"), attrAppendTime),
		withProducer(keyed(4, 1, 5, "d=1"), 8, 1, math.MaxInt32),
		withAttrs(keyed(5, 1, 5, "f=0"), attrControl),
		withAttrs(keyed(6, 2, 5, "a=2", "e"), attrTransactional),
		patched(keyed(8, 2, 5, "f=1", "g=1"), func(h Batch) { binary.BigEndian.PutUint64(h[atMax:], 9_000) }),
		patched(keyed(10, 2, 5, "h=1", "i=1"), func(h Batch) { h[BatchOverhead+1] = 0xff }), // attributes of a record
	}
	out, stats := compactOnce(t, in, 0, compaction{now: 5000})
	require.Equal(t, in, out)
	require.False(t, stats.changed)
	require.Equal(t, stats.recordsIn, stats.recordsOut)
	require.Equal(t, noHorizon, stats.nextHorizon)
}

func TestWhatIsKeptOfABatchStaysAsItIs(t *testing.T) {
	for _, attrs := range []uint16{0, attrAppendTime, attrTransactional} {
		in := withProducer(keyed(10, 3, 500, "a=1", "b=1", "=1", "a=2", "c=1"), 77, 5, math.MaxInt32-1)
		in = withAttrs(in, attrs)
		out, stats := compactOnce(t, []Batch{in, keyed(15, 3, 5, "c=2", "a=3")}, 0, compaction{now: 5000})
		require.Len(t, out, 2)
		b := out[0]
		want := patched(in, func(h Batch) {
			if attrs&attrAppendTime == 0 {
				binary.BigEndian.PutUint64(h[atMax:], 502)
			}
			binary.BigEndian.PutUint32(h[atCount:], 2)
			binary.BigEndian.PutUint32(h[atLength:], uint32(len(b)-lengthEnd))
		})[:BatchOverhead]
		binary.BigEndian.PutUint32(want[atCRC:], binary.BigEndian.Uint32(b[atCRC:]))
		require.Equal(t, want, b[:BatchOverhead])
		var from, kept []Record
		for r := range in.Records() {
			if r.Offset == 11 || r.Offset == 12 {
				from = append(from, r)
			}
		}
		for r, err := range b.Records() {
			require.NoError(t, err)
			kept = append(kept, r)
		}
		require.Equal(t, from, kept)
		require.Equal(t, []int64{7, 4}, []int64{stats.recordsIn, stats.recordsOut})
	}
}

func TestTheLastBatchOfAnActiveProducerStays(t *testing.T) {
	for _, attrs := range []uint16{0, attrAppendTime, attrHorizon} {
		old := withAttrs(withProducer(keyed(1, 1, 10, "a=1", "b=1"), 7, 2, 30), attrs)
		in := []Batch{keyed(0, 1, 10, "a=0"), old, keyed(3, 1, 10, "a=2", "b=2"), withProducer(keyed(5, 1, 10, "a=3"), 8, 0, 0), keyed(6, 1, 10, "a=4")}
		var asked []Offset
		active := compaction{now: 5000, isLast: func(b Batch) bool {
			asked = append(asked, b.First())
			return b.ProducerID() == 7
		}}
		out, stats := compactOnce(t, in, 0, active)
		require.Equal(t, []string{"0-0 e1:", "1-2 e1:", "3-4 e1: 4/b=2", "5-5 e1:", "6-6 e1: 6/a=4"}, show(t, out))
		require.Equal(t, []Offset{1, 5}, asked, "asked of batches of producers alone")
		b := out[1]
		require.Equal(t, []int64{7, 2, 30}, []int64{b.ProducerID(), int64(b.ProducerEpoch()), int64(b.BaseSequence())})
		require.Equal(t, attrs&attrAppendTime, b.Attributes())
		require.Equal(t, []int64{-1, 11}, []int64{b.BaseTimestamp(), b.MaxTimestamp()})
		require.EqualValues(t, 1, b.lastDelta())

		require.True(t, stats.changed)

		again, stats := compactOnce(t, out, 0, active)
		require.Equal(t, out, again)
		require.False(t, stats.changed)
		later, stats := compactOnce(t, out, 0, compaction{now: 5000})
		require.Equal(t, []string{"0-2 e1:", "3-4 e1: 4/b=2", "5-5 e1:", "6-6 e1: 6/a=4"}, show(t, later))
		require.True(t, stats.changed)
	}
}

func TestABatchThatIsEmptiedIsAChange(t *testing.T) {
	in := []Batch{withProducer(keyed(0, 1, 10, "a=1"), 7, 2, 30), keyed(1, 1, 10, "a=2")}
	_, stats := compactOnce(t, in, 0, compaction{now: 5000, isLast: func(Batch) bool { return true }})
	require.True(t, stats.changed)
}

func TestARewriterRefusesWhatIsNotSound(t *testing.T) {
	good := keyed(3, 2, 10, "a=1", "b=1")
	for name, c := range map[string]struct {
		b    Batch
		want error
	}{
		"a hole":                       {keyed(4, 2, 10, "a=1"), ErrCorrupt},
		"an older epoch":               {keyed(3, 0, 10, "a=1"), ErrCorrupt},
		"damage":                       {append(append(Batch(nil), good[:70]...), append([]byte{good[70] ^ 1}, good[71:]...)...), ErrCorrupt},
		"a record that is too long":    {patched(good, func(h Batch) { h[BatchOverhead] = 0x7e }), ErrCorrupt},
		"a record that is too short":   {patched(good, func(h Batch) { h[BatchOverhead] -= 2 }), ErrCorrupt},
		"two records at one offset":    {patched(good, func(h Batch) { h[BatchOverhead+(len(good)-BatchOverhead)/2+3] = 0 }), ErrCorrupt},
		"a record beyond the batch":    {patched(good, func(h Batch) { h[BatchOverhead+(len(good)-BatchOverhead)/2+3] = 4 }), ErrCorrupt},
		"a header without a key":       {rawBatch(3, 2, "12 00 00 00 02 61 01 02 01 01"), ErrCorrupt},
		"bytes behind the last record": {patched(good, func(h Batch) { h[atCount+3] = 1 }), ErrCorrupt},
		"bytes behind no record":       {patched(good, func(h Batch) { h[atCount+3] = 0 }), ErrCorrupt},
		"a codec that is not read":     {withAttrs(good, 3), ErrUnsupported},
		"a codec that nobody knows":    {withAttrs(good, 7), ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			keys := newKeyMap(1<<10, 0, 10)
			keys.end = 10
			r := newRewriter(compaction{keys: keys, limit: 1 << 20}, 0, 1000)
			out, err := r.rewrite(nil, keyed(0, 1, 10, "c=1", "d=1", "e=1"))
			require.NoError(t, err)
			same, err := r.rewrite(out, c.b)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, out, same)
		})
	}
	out, err := newRewriter(compaction{keys: newKeyMap(0, 0, 0)}, 3, 1000).rewrite(nil, good)
	require.NoError(t, err)
	require.Equal(t, good, Batch(out))
}

// Whatever bytes pass for a batch, rewriting them panics never, invents nothing
// and is done after one pass.
func FuzzCompact(f *testing.F) {
	f.Add([]byte(goldenBatch()), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, now int64) {
		b, _, err := SplitBatch(data)
		if err != nil {
			return
		}
		b, now = reseal(append(Batch(nil), b...)), now%(1<<50)
		limit := len(b) * 4
		if b.Check() != nil || b.Next() < b.First() {
			return
		}
		keys := newKeyMap(64*keyEntrySize, b.First(), b.Next())
		if _, err := keys.cover(b, limit); err != nil {
			return
		}
		c := compaction{keys: keys, now: now, tombstoneAge: testAge, limit: limit}
		r := newRewriter(c, b.First(), int64(len(b)))
		out, err := r.rewrite(nil, b)
		if err != nil {
			require.Empty(t, out)
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		out = r.finish(out)
		got := splitAll(t, out)
		require.Len(t, got, 1)
		require.Equal(t, []Offset{b.First(), b.Last()}, []Offset{got[0].First(), got[0].Last()})
		require.Equal(t, b.Epoch(), got[0].Epoch())
		require.Equal(t, !bytes.Equal(b, out), r.stats.changed)
		if got[0].Count() > 0 && b.Attributes()&attrControl == 0 {
			was := map[Offset]Record{}
			for _, rec := range records(t, b) {
				was[rec.Offset] = rec
			}
			for _, rec := range records(t, got[0]) {
				require.Equal(t, was[rec.Offset], rec)
			}
		}
		again := newRewriter(c, b.First(), int64(len(out)))
		same, err := again.rewrite(nil, got[0])
		require.NoError(t, err)
		require.Equal(t, out, again.finish(same))
	})
}

func TestThePartsOfAPassAddUp(t *testing.T) {
	a := compactStats{recordsIn: 1, recordsOut: 2, bytesIn: 3, bytesOut: 4, changed: true, tombstones: 5, removedBelow: 6, nextHorizon: 7}
	b := compactStats{recordsIn: 10, recordsOut: 20, bytesIn: 30, bytesOut: 40, tombstones: 50, removedBelow: 5, nextHorizon: 8}
	want := compactStats{recordsIn: 11, recordsOut: 22, bytesIn: 33, bytesOut: 44, changed: true, tombstones: 55, removedBelow: 6, nextHorizon: 7}
	for _, parts := range [][2]compactStats{{a, b}, {b, a}} {
		sum := parts[0]
		sum.add(parts[1])
		require.Equal(t, want, sum)
	}
}
