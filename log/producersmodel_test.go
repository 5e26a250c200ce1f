package log

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A modelled is a log of batches of producers, and what the table must say of
// them by the rules, found by going through all of it.
type modelled struct {
	table      *producers
	log        []Batch
	appended   map[int64]int64 // of the producers not forgotten
	forgotten  map[int64]int   // batches of the log that do not count any more
	incomplete bool
	now        int64
}

func (m *modelled) end() Offset {
	if len(m.log) == 0 {
		return 0
	}
	return m.log[len(m.log)-1].Next()
}

// of returns the batches of a producer that are remembered: the last five of its
// last epoch.
func (m *modelled) of(id int64) []Batch {
	var own []Batch
	for _, b := range m.log[m.forgotten[id]:] {
		if b.ProducerID() != id {
			continue
		}
		if len(own) > 0 && own[0].ProducerEpoch() != b.ProducerEpoch() {
			own = nil
		}
		own = append(own, b)
	}
	return own[max(0, len(own)-5):]
}

func (m *modelled) judge(b Batch) (first Offset, duplicate bool, err error) {
	own := m.of(b.ProducerID())
	begins := b.BaseSequence() == 0
	switch {
	case len(own) == 0 && !begins && m.incomplete:
		return 0, false, ErrUnknownProducer
	case len(own) == 0 && !begins:
		return 0, false, ErrOutOfSequence
	case len(own) == 0:
		return 0, false, nil
	}
	last := own[len(own)-1]
	switch {
	case b.ProducerEpoch() < last.ProducerEpoch():
		return 0, false, ErrStaleProducer
	case b.ProducerEpoch() > last.ProducerEpoch() && !begins:
		return 0, false, ErrOutOfSequence
	case b.ProducerEpoch() > last.ProducerEpoch():
		return 0, false, nil
	}
	for _, have := range slices.Backward(own) { // one that was forgotten may have begun anew
		if have.BaseSequence() == b.BaseSequence() && have.Count() == b.Count() {
			return have.First(), true, nil
		}
	}
	if (int64(last.BaseSequence())+int64(last.Count()))%(1<<31) != int64(b.BaseSequence()) {
		return 0, false, ErrOutOfSequence
	}
	return 0, false, nil
}

// draw makes a batch that is near to what may be sent.
func (m *modelled) draw(t *rapid.T) Batch {
	id := int64(rapid.IntRange(1, 4).Draw(t, "id"))
	n := rapid.IntRange(1, 3).Draw(t, "records")
	epoch, sequence := int16(0), int32(0)
	if own := m.of(id); len(own) > 0 {
		last := own[len(own)-1]
		epoch, sequence = last.ProducerEpoch(), addSequence(last.BaseSequence(), int32(last.Count()))
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			epoch += int16(rapid.IntRange(-1, 1).Draw(t, "epoch"))
			sequence = 0
		case 1:
			sequence = addSequence(sequence, int32(rapid.IntRange(-4, 2).Draw(t, "hole")))
		case 2, 3:
			again := rapid.SampledFrom(own).Draw(t, "again")
			sequence, n = again.BaseSequence(), again.Count()
		}
	} else if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		sequence = int32(rapid.IntRange(0, 3).Draw(t, "sequence"))
	}
	return sent(id, max(epoch, 0), sequence, n)
}

func (m *modelled) send(t *rapid.T) {
	b := m.draw(t)
	first, duplicate, err := m.judge(b)
	gotFirst, gotDuplicate, gotErr := m.table.check(b)
	require.ErrorIs(t, gotErr, err, "%v", gotErr)
	require.Equal(t, duplicate, gotDuplicate)
	if duplicate {
		require.Equal(t, first, gotFirst)
	}
	if err == nil && !duplicate {
		m.append(b)
	}
}

// append takes a batch, unjudged.
func (m *modelled) append(b Batch) {
	b.Place(m.end(), 1)
	m.log = append(m.log, b)
	m.appended[b.ProducerID()] = m.now
	m.table.update(b, m.now)
}

func (m *modelled) truncate(t *rapid.T) {
	n := rapid.IntRange(max(0, len(m.log)-4), len(m.log)).Draw(t, "batches kept")
	end := m.end()
	if n < len(m.log) {
		end = m.log[n].First()
	}
	before := map[int64][]Batch{}
	for id := range m.appended {
		before[id] = m.of(id)
	}
	gone := m.log[n:]
	exact := true
	for _, own := range before {
		exact = exact && len(own) > 0 && own[0].First() < end
	}
	require.Equal(t, exact, m.table.truncateEnd(end))
	m.log = slices.Clone(m.log[:n])
	for id := range m.forgotten {
		m.forgotten[id] = min(m.forgotten[id], n)
	}
	if exact {
		// The window may be shorter than that of the log: cut the model down to it.
		for _, b := range gone {
			id := b.ProducerID()
			own := before[id]
			for i, have := range m.log {
				if len(own) > 0 && have.ProducerID() == id && have.First() >= own[0].First() {
					m.forgotten[id] = max(m.forgotten[id], i)
					break
				}
			}
		}
		return
	}
	// Made anew from the batches, as after a start without a snapshot.
	m.table = newProducers()
	for id := range m.appended {
		delete(m.appended, id)
	}
	m.forgotten = map[int64]int{}
	m.incomplete = false
	for _, b := range m.log {
		m.table.update(b, m.now)
		m.appended[b.ProducerID()] = m.now
	}
}

func (m *modelled) expire(t *rapid.T) {
	age := int64(rapid.IntRange(0, 500).Draw(t, "age"))
	want := 0
	for id, at := range m.appended {
		if at <= m.now-age {
			delete(m.appended, id)
			m.forgotten[id] = len(m.log)
			m.incomplete = true
			want++
		}
	}
	require.Equal(t, want, m.table.expire(m.now, age))
}

// restart goes on from a snapshot, which may be older than the log's end.
func (m *modelled) restart(t *rapid.T) {
	table, err := decodeProducers(m.table.encode(m.end()), m.end())
	require.NoError(t, err)
	require.Equal(t, m.table.encode(m.end()), table.encode(m.end()))
	m.table = table
}

func TestProducersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &modelled{table: newProducers(), appended: map[int64]int64{}, forgotten: map[int64]int{}, now: 1000}
		if rapid.Bool().Draw(t, "near the greatest sequence") {
			for id := range int64(4) {
				m.append(sent(id+1, 0, math.MaxInt32-int32(rapid.IntRange(0, 6).Draw(t, "below")), 1))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":         func(t *rapid.T) { m.checkLinks(t) },
			"send":     m.send,
			"send on":  func(t *rapid.T) { m.send(t); m.send(t); m.send(t) },
			"truncate": m.truncate,
			"wait":     func(t *rapid.T) { m.now += int64(rapid.IntRange(1, 300).Draw(t, "milliseconds")) },
			"expire":   m.expire,
			"restart":  m.restart,
			"compact":  m.checkLasts,
		})
	})
}

// checkLasts asks for each batch of the log whether compaction must keep it.
func (m *modelled) checkLasts(t *rapid.T) {
	for i, b := range m.log {
		own := m.of(b.ProducerID())
		want := len(own) > 0 && own[len(own)-1].First() == b.First()
		require.Equal(t, want, m.table.holdsLast(b), "batch %d", i)
	}
}

func (m *modelled) checkLinks(t *rapid.T) {
	require.Equal(t, len(m.appended), m.table.count())
	require.Equal(t, m.incomplete, m.table.incomplete)
	n, before := 0, int32(-1)
	for i := m.table.oldest; i >= 0; i = m.table.all[i].newer {
		p := m.table.all[i]
		require.Equal(t, before, p.older)
		require.Equal(t, m.table.at[p.id], i)
		require.Equal(t, m.appended[p.id], p.appended)
		n, before = n+1, i
	}
	require.Equal(t, before, m.table.latest)
	require.Equal(t, len(m.table.all), n, fmt.Sprint(m.table.at))
}
