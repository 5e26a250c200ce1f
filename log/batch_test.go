package log

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func goldenBatch() Batch {
	var b Builder
	b.Append(1000, []byte("k"), []byte("hello"), []Header{{Key: "h", Value: []byte{1}}, {Key: "n"}})
	b.Append(998, nil, nil, nil)
	b.Append(1300, []byte{}, []byte{}, nil)
	batch := b.Build()
	batch.Place(70000, 3)
	return batch
}

// The bytes below are put together by hand from Kafka's description of the
// format. They are a promise to files on users' disks.
func TestBatchGolden(t *testing.T) {
	records := "" +
		"26" + "00" + "00" + "00" + "02" + "6b" + "0a" + "68656c6c6f" + "04" + "02" + "68" + "02" + "01" + "02" + "6e" + "01" +
		"0c" + "00" + "03" + "02" + "01" + "01" + "00" +
		"0e" + "00" + "d804" + "04" + "00" + "00" + "00"
	after := "0000" + "00000002" + "00000000000003e8" + "0000000000000514" +
		"ffffffffffffffff" + "ffff" + "ffffffff" + "00000003" + records
	covered, err := hex.DecodeString(after)
	require.NoError(t, err)
	head := binary.BigEndian.AppendUint64(nil, 70000)
	head = binary.BigEndian.AppendUint32(head, uint32(9+len(covered)))
	head = append(head, 0, 0, 0, 3, 2)
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli)))
	require.Equal(t, hex.EncodeToString(append(head, covered...)), hex.EncodeToString(goldenBatch()))
}

func TestBatchSaysWhatItHolds(t *testing.T) {
	b := goldenBatch()
	require.NoError(t, b.Check())
	require.NoError(t, b.CheckRecords())
	require.EqualValues(t, 70000, b.First())
	require.EqualValues(t, 70002, b.Last())
	require.EqualValues(t, 70003, b.Next())
	require.EqualValues(t, 3, b.Epoch())
	require.Equal(t, 3, b.Count())
	require.EqualValues(t, 1000, b.BaseTimestamp())
	require.EqualValues(t, 1300, b.MaxTimestamp())
	require.EqualValues(t, -1, b.ProducerID())
	require.EqualValues(t, -1, b.ProducerEpoch())
	require.EqualValues(t, -1, b.BaseSequence())
	var got []Record
	for r, err := range b.Records() {
		require.NoError(t, err)
		got = append(got, r)
	}
	require.Equal(t, []Record{
		{Offset: 70000, Timestamp: 1000, Key: []byte("k"), Value: []byte("hello"), Headers: []Header{{"h", []byte{1}}, {"n", nil}}},
		{Offset: 70001, Timestamp: 998},
		{Offset: 70002, Timestamp: 1300, Key: []byte{}, Value: []byte{}},
	}, got)
}

// reseal makes the checksum fit again, so that a check behind it is reached.
func reseal(b Batch) Batch {
	binary.BigEndian.PutUint32(b[atCRC:], checksum(b[atAttrs:]))
	return b
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b Batch) Batch
		want   error // of CheckRecords
		check  error // of Check
	}{
		"a flipped bit in a record":  {func(b Batch) Batch { b[70] ^= 1; return b }, ErrCorrupt, ErrCorrupt},
		"a flipped bit in the crc":   {func(b Batch) Batch { b[atCRC] ^= 1; return b }, ErrCorrupt, ErrCorrupt},
		"another magic":              {func(b Batch) Batch { b[atMagic] = 1; return b }, ErrCorrupt, ErrCorrupt},
		"bytes missing":              {func(b Batch) Batch { return b[:len(b)-1] }, ErrCorrupt, ErrCorrupt},
		"less than a header":         {func(b Batch) Batch { return b[:60] }, ErrCorrupt, ErrCorrupt},
		"unknown attributes":         {func(b Batch) Batch { b[atAttrs] = 1; return reseal(b) }, ErrCorrupt, ErrCorrupt},
		"compression by lz4":         {func(b Batch) Batch { b[atAttrs+1] = 3; return reseal(b) }, ErrUnsupported, ErrUnsupported},
		"compression by nobody":      {func(b Batch) Batch { b[atAttrs+1] = 7; return reseal(b) }, ErrUnsupported, ErrUnsupported},
		"a codec that was not used":  {func(b Batch) Batch { b[atAttrs+1] = 4; return reseal(b) }, ErrCorrupt, nil},
		"a transaction":              {func(b Batch) Batch { b[atAttrs+1] = 16; return reseal(b) }, ErrUnsupported, nil},
		"a control batch":            {func(b Batch) Batch { b[atAttrs+1] = 32; return reseal(b) }, ErrCorrupt, nil},
		"fewer records than offsets": {func(b Batch) Batch { b[atCount+3] = 2; return reseal(b) }, ErrCorrupt, nil},
		"more records than offsets":  {func(b Batch) Batch { b[atCount+3] = 4; return reseal(b) }, ErrCorrupt, ErrCorrupt},
		"a negative count":           {func(b Batch) Batch { b[atCount] = 0xff; return reseal(b) }, ErrCorrupt, ErrCorrupt},
		"a record that is too long":  {func(b Batch) Batch { b[BatchOverhead] = 0x7e; return reseal(b) }, ErrCorrupt, nil},
		"a hole in the offsets":      {func(b Batch) Batch { b[BatchOverhead+3] = 2; return reseal(b) }, ErrCorrupt, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.change(goldenBatch())
			require.ErrorIs(t, b.CheckRecords(), c.want)
			if c.check == nil {
				require.NoError(t, b.Check())
			} else {
				require.ErrorIs(t, b.Check(), c.check)
			}
		})
	}
}

func TestSplitBatchAsksForMoreOrRefuses(t *testing.T) {
	g := goldenBatch()
	two := append(append([]byte(nil), g...), g...)
	b, rest, err := SplitBatch(two)
	require.NoError(t, err)
	require.Equal(t, g, b)
	require.Len(t, rest, len(g))
	for n := range len(g) {
		_, _, err := SplitBatch(g[:n])
		require.ErrorIs(t, err, ErrShort, "%d bytes", n)
	}
	_, _, err = SplitBatch(make([]byte, 100))
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestRecordSizeIsAnUpperBound(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 8191, 8192, 1 << 20} {
		v := []byte(strings.Repeat("x", n))
		headers := []Header{{Key: string(v[:n/2]), Value: v}, {}}
		var b Builder
		b.Append(-1<<62, v, v, headers)
		require.LessOrEqual(t, b.Size(), BatchOverhead+RecordSize(v, v, headers))
		before := b.Size()
		b.Append(1<<62, v, nil, headers)
		require.LessOrEqual(t, b.Size()-before, RecordSize(v, nil, headers))
		require.NoError(t, b.Build().CheckRecords())
	}
}

func TestBuilderIsReusedWithoutAllocating(t *testing.T) {
	var b Builder
	value := make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.Reset(nil)
		for range 10 {
			b.Append(1, nil, value, nil)
		}
		b.Build()
	}))
	require.Nil(t, (&Builder{}).Build())
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(goldenBatch()))
	f.Add(append([]byte(goldenBatch()), 0, 0, 0))
	f.Add(make([]byte, 100))
	for _, codec := range codecs {
		var b Builder
		rides(&b, 1<<10)
		f.Add([]byte(b.Compress(codec)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, rest, err := SplitBatch(bytes.Clone(data)) // the fuzzer's own must not change
		if err != nil {
			return
		}
		require.Equal(t, len(data), len(b)+len(rest))
		if len(b) >= BatchOverhead {
			reseal(b) // so that most inputs get past the checksum
		}
		if b.Check() != nil {
			return
		}
		strict := b.CheckRecords()
		n, next := 0, b.First()
		for r, err := range b.Records() {
			if err != nil {
				require.Error(t, strict)
				return
			}
			if strict == nil {
				require.Equal(t, next, r.Offset)
			}
			n, next = n+1, next+1
		}
		require.Equal(t, b.Count(), n)
	})
}
