package log

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// sent makes a producer's batch of n records, as a client sends it.
func sent(id int64, epoch int16, sequence int32, n int) Batch {
	var b Builder
	for i := range n {
		b.Append(int64(100+i), nil, []byte("v"), nil)
	}
	return withProducer(b.Build(), id, epoch, sequence)
}

// sentAt is sent, placed.
func sentAt(first Offset, id int64, epoch int16, sequence int32, n int) Batch {
	b := sent(id, epoch, sequence, n)
	b.Place(first, 1)
	return b
}

func newProducersOf(batches ...Batch) *producers {
	t := newProducers()
	for _, b := range batches {
		t.update(b, 1000)
	}
	return t
}

func TestWhatAProducerMaySend(t *testing.T) {
	const most = math.MaxInt32
	five := func() *producers {
		return newProducersOf(
			sentAt(0, 7, 3, 0, 1), sentAt(10, 7, 3, 1, 2), sentAt(12, 7, 3, 3, 1),
			sentAt(20, 7, 3, 4, 3), sentAt(30, 7, 3, 7, 1), sentAt(40, 7, 3, 8, 2), // up to 9
		)
	}
	for name, c := range map[string]struct {
		table     *producers
		b         Batch
		duplicate Offset // -1: none
		err       error
	}{
		"no producer":                            {five(), keyed(0, 1, 0, "a=1"), -1, nil},
		"a new producer":                         {five(), sent(8, 0, 0, 5), -1, nil},
		"a new producer in a later epoch":        {five(), sent(8, 9, 0, 5), -1, nil},
		"a new producer whose first is missing":  {five(), sent(8, 0, 5, 5), -1, ErrOutOfSequence},
		"what follows":                           {five(), sent(7, 3, 10, 5), -1, nil},
		"an older epoch":                         {five(), sent(7, 2, 10, 5), -1, ErrStaleProducer},
		"an older epoch, as if it came again":    {five(), sent(7, 2, 8, 2), -1, ErrStaleProducer},
		"a newer epoch":                          {five(), sent(7, 4, 0, 5), -1, nil},
		"a newer epoch that does not begin at 0": {five(), sent(7, 4, 10, 5), -1, ErrOutOfSequence},
		"a hole":                                 {five(), sent(7, 3, 11, 5), -1, ErrOutOfSequence},
		"a step back":                            {five(), sent(7, 3, 9, 5), -1, ErrOutOfSequence},
		"the last again":                         {five(), sent(7, 3, 8, 2), 40, nil},
		"the one before again":                   {five(), sent(7, 3, 7, 1), 30, nil},
		"the third last again":                   {five(), sent(7, 3, 4, 3), 20, nil},
		"the fourth last again":                  {five(), sent(7, 3, 3, 1), 12, nil},
		"the fifth last again":                   {five(), sent(7, 3, 1, 2), 10, nil},
		"the sixth last again":                   {five(), sent(7, 3, 0, 1), -1, ErrOutOfSequence},
		"a part of one again":                    {five(), sent(7, 3, 4, 2), -1, ErrOutOfSequence},
		"two again as one":                       {five(), sent(7, 3, 7, 3), -1, ErrOutOfSequence},
		"0 follows the greatest":                 {newProducersOf(sentAt(5, 7, 0, most, 1)), sent(7, 0, 0, 1), -1, nil},
		"the greatest does not follow itself":    {newProducersOf(sentAt(5, 7, 0, most-1, 1)), sent(7, 0, 0, 1), -1, ErrOutOfSequence},
		"across the greatest":                    {newProducersOf(sentAt(5, 7, 0, most-1, 4)), sent(7, 0, 2, 1), -1, nil},
		"across the greatest, again":             {newProducersOf(sentAt(5, 7, 0, most-1, 4)), sent(7, 0, most-1, 4), 5, nil},
		"a negative epoch":                       {five(), sent(7, -1, 10, 5), -1, ErrCorrupt},
		"a negative sequence":                    {five(), sent(7, 3, -1, 5), -1, ErrCorrupt},
		"a negative id":                          {five(), sent(-2, 3, 0, 5), -1, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			first, duplicate, err := c.table.check(c.b)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.duplicate >= 0, duplicate)
			if duplicate {
				require.Equal(t, c.duplicate, first)
			}
		})
	}
	_, _, err := five().check(sent(7, 3, 12, 1))
	require.EqualError(t, err, "log: out of sequence: producer 7 epoch 3 at sequence 12 where 10 follows")
}

// KAFKA-15591: of a new producer's batches the second arrives first. To take it
// would make the first one a step back, and lose it.
func TestTheFirstBatchOfAProducerMayArriveLate(t *testing.T) {
	table := newProducers()
	arrive := func(b Batch, at Offset) error {
		_, duplicate, err := table.check(b)
		if err == nil && !duplicate {
			b.Place(at, 1)
			table.update(b, 1000)
		}
		return err
	}
	require.ErrorIs(t, arrive(sent(7, 0, 3, 2), 0), ErrOutOfSequence)
	require.NoError(t, arrive(sent(7, 0, 0, 3), 0))
	require.NoError(t, arrive(sent(7, 0, 3, 2), 3))

	// Where producers may have been forgotten, nobody can tell.
	table = newProducers()
	table.setIncomplete()
	require.ErrorIs(t, arrive(sent(7, 0, 3, 2), 0), ErrUnknownProducer)
	require.NoError(t, arrive(sent(7, 0, 0, 3), 0))
	require.ErrorIs(t, arrive(sent(7, 0, 4, 2), 0), ErrOutOfSequence)
}

func TestProducersExpire(t *testing.T) {
	table := newProducers()
	table.update(sentAt(0, 1, 0, 0, 1), 1000)
	table.update(sentAt(1, 2, 0, 0, 1), 2000)
	table.update(withAttrs(sentAt(2, 3, 0, 0, 1), attrTransactional), 1000)
	table.update(sentAt(3, 4, 0, 0, 1), 500)
	table.update(sentAt(4, 4, 0, 1, 1), 1001)
	require.Zero(t, table.expire(1999, 1000))
	require.False(t, table.incomplete)
	require.Equal(t, 1, table.expire(2000, 1000))
	require.True(t, table.incomplete)
	require.Equal(t, 3, table.count())
	_, _, err := table.check(sent(1, 0, 1, 1))
	require.ErrorIs(t, err, ErrUnknownProducer)
	_, _, err = table.check(sent(4, 0, 2, 1))
	require.NoError(t, err)
	require.Equal(t, 2, table.expire(9000, 1000))
	_, _, err = table.check(sent(3, 0, 1, 1))
	require.NoError(t, err, "one with a transaction under way stays")
}

func TestTheProducerSilentTheLongestGoes(t *testing.T) {
	table := newProducers()
	table.update(withAttrs(sentAt(0, 0, 0, 0, 1), attrTransactional), 1000)
	for id := range int64(maxProducers) {
		table.update(sentAt(Offset(id)+1, id, 0, int32(min(1, 1-min(id, 1))), 1), 1000)
	}
	require.Equal(t, maxProducers, table.count())
	require.False(t, table.incomplete)
	table.update(sentAt(20_000, 1, 0, 1, 1), 1000)
	table.update(sentAt(20_001, maxProducers, 0, 0, 1), 1000)
	require.Equal(t, maxProducers, table.count())
	require.True(t, table.incomplete)
	for id, want := range map[int64]error{0: nil, 1: nil, 2: ErrUnknownProducer, 3: nil, maxProducers: nil} {
		sequence := int32(1)
		if id < 2 {
			sequence = 2
		}
		_, _, err := table.check(sent(id, 0, sequence, 1))
		require.ErrorIs(t, err, want, "producer %d", id)
	}
	table.update(withAttrs(sentAt(20_002, 0, 1, -1, 1), attrControl), 1000)
	for id := range int64(maxProducers) {
		table.update(sentAt(30_000+Offset(id), maxProducers+1+id, 0, 0, 1), 1000)
	}
	require.Equal(t, maxProducers, table.count())
	_, known := table.at[0]
	require.False(t, known, "its transaction is over")
}

func TestATruncationThatIsNotExactSaysSo(t *testing.T) {
	full := func() *producers {
		table := newProducers()
		for i := range int32(7) {
			table.update(sentAt(Offset(i)*10, 7, 1, i, 1), 1000)
		}
		table.update(sentAt(25, 8, 0, 0, 1), 1000)
		return table
	}
	table := full()
	require.True(t, table.truncateEnd(61))
	require.Equal(t, full().encode(100), table.encode(100))
	require.True(t, table.truncateEnd(60))
	require.False(t, table.incomplete)
	_, _, err := table.check(sent(7, 1, 6, 1))
	require.NoError(t, err)
	first, duplicate, err := table.check(sent(7, 1, 5, 1))
	require.NoError(t, err)
	require.True(t, duplicate)
	require.EqualValues(t, 50, first)

	require.True(t, table.truncateEnd(26))
	require.False(t, table.truncateEnd(25), "8 has nothing left")
	require.True(t, table.incomplete)
	require.Equal(t, 1, table.count())
	table = full()
	require.False(t, table.truncateEnd(20), "7 had two more, which nobody knows here")
	require.Zero(t, table.count())
	_, _, err = table.check(sent(7, 1, 2, 1))
	require.ErrorIs(t, err, ErrUnknownProducer)

	table = newProducersOf(withAttrs(sentAt(0, 7, 0, 0, 1), attrTransactional), sentAt(1, 7, 0, 1, 1))
	require.EqualValues(t, 0, table.all[0].transaction)
	table.update(withAttrs(sentAt(2, 7, 0, 2, 1), attrTransactional), 1)
	require.EqualValues(t, 0, table.all[0].transaction)
	table = newProducersOf(sentAt(0, 7, 0, 0, 1), withAttrs(sentAt(1, 7, 0, 1, 1), attrTransactional))
	require.EqualValues(t, 1, table.all[0].transaction)
	require.True(t, table.truncateEnd(1))
	require.EqualValues(t, -1, table.all[0].transaction)
}

func TestTheEndOfATransaction(t *testing.T) {
	var b Builder
	b.Append(1, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 9}, nil) // commit, coordinator epoch 9
	end := withAttrs(withProducer(b.Build(), 7, 2, -1), attrControl|attrTransactional)
	end.Place(11, 1)
	table := newProducersOf(withAttrs(sentAt(10, 7, 1, 0, 1), attrTransactional), end)
	p := table.all[0]
	require.Equal(t, []int64{2, 0, 9, -1}, []int64{int64(p.epoch), int64(p.count), int64(p.coordinatorEpoch), int64(p.transaction)})
	_, _, err := table.check(sent(7, 2, 0, 1))
	require.NoError(t, err)
	_, _, err = table.check(sent(7, 2, 1, 1))
	require.ErrorIs(t, err, ErrOutOfSequence)
	_, _, err = table.check(sent(7, 1, 1, 1))
	require.ErrorIs(t, err, ErrStaleProducer)
	require.False(t, table.holdsLast(end))
	same := newProducersOf(sentAt(10, 7, 2, 0, 1), end)
	_, _, err = same.check(sent(7, 2, 1, 1))
	require.ErrorIs(t, err, ErrOutOfSequence, "sequences begin anew")
	require.False(t, table.truncateEnd(11), "what the end has made void is not known")
}

func TestABatchIsRememberedOnce(t *testing.T) {
	b := sentAt(5, 7, 1, 0, 2)
	require.Equal(t, newProducersOf(b).encode(9), newProducersOf(b, b).encode(9))
}

func TestABatchWithoutASequenceIsNotRemembered(t *testing.T) {
	table := newProducersOf(sentAt(0, 7, 1, -1, 1))
	require.Nil(t, table.all[0].newest())
	_, err := decodeProducers(table.encode(1), 1)
	require.NoError(t, err)
}

func TestProducersKnowTheLastBatchOfEach(t *testing.T) {
	old, last := sentAt(0, 7, 0, 0, 2), sentAt(2, 7, 0, 2, 2)
	table := newProducersOf(old, last)
	require.False(t, table.holdsLast(old))
	require.True(t, table.holdsLast(last))
	require.False(t, table.holdsLast(sentAt(2, 8, 0, 2, 2)))
	require.False(t, table.holdsLast(keyed(2, 0, 0, "a", "b")))
	table.expire(5000, 1)
	require.False(t, table.holdsLast(last))
}

func TestAProducerThatIsKnownCostsNoMemory(t *testing.T) {
	table := newProducersOf(sentAt(0, 7, 0, 0, 1), sentAt(1, 8, 0, 0, 1))
	b, none := sentAt(2, 7, 0, 1, 1), keyed(0, 1, 0, "a")
	sequence := int32(1)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		b = withProducerInPlace(b, sequence)
		b.Place(Offset(sequence)+1, 1)
		_, duplicate, err := table.check(b)
		if err != nil || duplicate {
			t.Fatal(duplicate, err)
		}
		table.update(b, 1000)
		table.update(none, 1000)
		_, _, _ = table.check(none)
		sequence++
	}))
	require.Equal(t, 2, table.count())
}

func withProducerInPlace(b Batch, sequence int32) Batch {
	for i := range 4 {
		b[atSequence+i] = byte(sequence >> (24 - 8*i))
	}
	return b
}
