package main

import (
	"testing"
	"time"

	"github.com/samsalog/samsa"
	"github.com/stretchr/testify/require"
)

// A delivery is a record that some group is given.
func delivery(line, repeat int, key string) samsa.Record {
	rec := samsa.Record{Topic: requested, Headers: []samsa.Header{{Key: identityHeader, Value: identity{line, repeat}.append(nil)}}}
	if key != "" {
		rec.Key = []byte(key)
	}
	return rec
}

// threeLines is a run of the lines 2, 3 and 5, sent twice.
func threeLines() *order { return newOrder([]Ride{{Line: 2}, {Line: 3}, {Line: 5}}, 2) }

func TestOrderOfIdentities(t *testing.T) {
	o := threeLines()
	require.Equal(t, 6, o.len())
	for n, id := range []identity{{2, 0}, {3, 0}, {5, 0}, {2, 1}, {3, 1}, {5, 1}} {
		require.Equal(t, id, o.identity(n))
		got, ok := o.of(id)
		require.True(t, ok)
		require.Equal(t, n, got)
	}
	for _, id := range []identity{{4, 0}, {2, 2}, {2, -1}, {}} {
		_, ok := o.of(id)
		require.False(t, ok, "%v", id)
	}
}

func TestLedgerCounts(t *testing.T) {
	tests := []struct {
		name  string
		given []samsa.Record
		want  tally
	}{
		{"nothing", nil, tally{}},
		{
			"everything in order",
			[]samsa.Record{delivery(2, 0, "a"), delivery(3, 0, "b"), delivery(5, 0, "a"), delivery(2, 1, "a"), delivery(3, 1, "b"), delivery(5, 1, "a")},
			tally{consumed: 6},
		},
		{
			"keys that overtake one another are in order",
			[]samsa.Record{delivery(5, 1, "b"), delivery(2, 0, "a"), delivery(3, 1, "a")},
			tally{consumed: 3},
		},
		{
			"a ride of a key that comes before an earlier one",
			[]samsa.Record{delivery(2, 0, "a"), delivery(2, 1, "a"), delivery(5, 0, "a"), delivery(3, 0, "a"), delivery(3, 1, "a")},
			tally{consumed: 5, outOfOrder: 2},
		},
		{
			"a repeated batch is not out of order",
			[]samsa.Record{delivery(2, 0, "a"), delivery(3, 0, "a"), delivery(2, 0, "a"), delivery(3, 0, "a"), delivery(5, 0, "a")},
			tally{consumed: 5, repeated: 2},
		},
		{
			"rides without a key have no order",
			[]samsa.Record{delivery(5, 1, ""), delivery(3, 0, ""), delivery(3, 0, "")},
			tally{consumed: 3, repeated: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger("payment", threeLines())
			firsts := 0
			for _, rec := range tt.given {
				first, err := l.deliver(rec)
				require.NoError(t, err)
				if first {
					firsts++
				}
			}
			require.Equal(t, tt.want, l.counts())
			require.Equal(t, tt.want.consumed-tt.want.repeated, firsts)
		})
	}
}

func TestLedgerRefusesForeignRecords(t *testing.T) {
	l := newLedger("payment", threeLines())
	nameless := samsa.Record{Topic: requested, Partition: 4, Offset: 9}
	spoiled := delivery(2, 0, "a")
	spoiled.Headers[0].Value = []byte("2")
	for _, rec := range []samsa.Record{nameless, spoiled, delivery(4, 0, "a"), delivery(2, 2, "a")} {
		_, err := l.deliver(rec)
		require.Error(t, err)
	}
	require.Zero(t, l.counts())
	_, err := l.deliver(nameless)
	require.EqualError(t, err, `ride_requested/4, offset 9: no header "ride"`)
}

func TestLedgerMissesWhatWasAcknowledgedAlone(t *testing.T) {
	rides := make([]Ride, 150)
	for i := range rides {
		rides[i].Line = i + 2
	}
	o := newOrder(rides, 1)
	b, l := newBook(o), newLedger("payment", o)
	for n := range 150 {
		if n != 100 { // this one failed
			b.ack(n, samsa.Record{Partition: samsa.PartitionID(n % 6), Offset: samsa.Offset(n / 6)})
		}
	}
	require.EqualValues(t, 149, b.acked.Load())
	count, first := l.missing(b)
	require.Equal(t, 149, count)
	require.Equal(t, 0, first)

	for n := range 150 {
		if n != 70 && n != 149 { // that which failed may come all the same
			_, err := l.deliver(delivery(n+2, 0, "a"))
			require.NoError(t, err)
		}
	}
	require.Equal(t, "payment misses 2 acknowledged rides; the first is that of line 72, repeat 0, acknowledged at ride_requested/4, offset 11", l.complaint(b))
	for _, n := range []int{149, 70} {
		_, err := l.deliver(delivery(n+2, 0, "a"))
		require.NoError(t, err)
	}
	require.Empty(t, l.complaint(b))
	require.Equal(t, 1, l.counts().outOfOrder)
}

func TestWatchMeasuresAcrossTheKill(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	t.Run("from the last of the old epoch to the first of the new", func(t *testing.T) {
		var w watch
		w.acked(at(0), 3)
		w.acked(at(900), 3) // a gap before the kill is none of its business
		w.kill(3)
		w.acked(at(910), 3) // was on its way
		w.acked(at(1110), 4)
		w.acked(at(5000), 4) // nor is one after the failover
		gap, ok := w.failover()
		require.True(t, ok)
		require.Equal(t, 200*time.Millisecond, gap)
	})
	t.Run("nothing was acknowledged before", func(t *testing.T) {
		var w watch
		w.kill(0)
		w.acked(at(10), 1)
		_, ok := w.failover()
		require.False(t, ok)
	})
	t.Run("nothing is acknowledged after", func(t *testing.T) {
		var w watch
		w.acked(at(0), 0)
		w.kill(0)
		w.acked(at(10), 0)
		_, ok := w.failover()
		require.False(t, ok)
	})
}
