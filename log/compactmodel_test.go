package log

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A compacted is a log as compaction sees it, beside all that was ever written.
type compacted struct {
	*rapid.T
	policy   compactPolicy
	segments [][]Batch // the last one is active
	written  []Record  // by offset
	epochs   []Epoch   // by offset
	last     map[int64]Offset
	sequence map[int64]int32

	now         int64
	upTo        Offset
	cleanTo     Offset
	nextHorizon int64
	removed     Offset           // below it tombstones may be gone
	met         map[Offset]int64 // when a pass first went over a tombstone

	reader slowReader
}

// A slowReader reads from the start to the end, some batches at a time.
type slowReader struct {
	next  Offset
	since int64
	state map[string]string
}

func newCompacted(t *rapid.T) *compacted {
	return &compacted{
		T:           t,
		policy:      compactPolicy{segmentBytes: int64(rapid.IntRange(200, 1500).Draw(t, "segment bytes")), dirtyRatio: 0.3},
		segments:    [][]Batch{nil},
		last:        map[int64]Offset{},
		sequence:    map[int64]int32{},
		now:         1 << 40,
		nextHorizon: noHorizon,
		met:         map[Offset]int64{},
		reader:      slowReader{state: map[string]string{}, since: 1 << 40},
	}
}

func (c *compacted) end() Offset { return Offset(len(c.written)) }

func (c *compacted) batches() []Batch {
	var all []Batch
	for _, s := range c.segments {
		all = append(all, s...)
	}
	return all
}

func (c *compacted) views() []compactSegment {
	var views []compactSegment
	next := Offset(0)
	for _, s := range c.segments {
		v := compactSegment{base: next, end: next}
		for _, b := range s {
			v.size += int64(len(b))
			v.end, next = b.Next(), b.Next()
			v.maxTimestamp = max(v.maxTimestamp, b.MaxTimestamp())
		}
		views = append(views, v)
	}
	return views
}

func (c *compacted) append() {
	epoch := Epoch(1)
	if n := len(c.epochs); n > 0 {
		epoch = c.epochs[n-1]
	}
	if rapid.IntRange(0, 9).Draw(c.T, "new epoch") == 0 {
		epoch += 2
	}
	var b Builder
	for range rapid.IntRange(1, 5).Draw(c.T, "records") {
		key := []byte(rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f"}).Draw(c.T, "key"))
		value := fmt.Append(nil, "v", len(c.written)+b.Count())
		switch rapid.IntRange(0, 5).Draw(c.T, "kind") {
		case 0:
			key = nil
		case 1, 2:
			value = nil
		}
		var headers []Header
		if rapid.Bool().Draw(c.T, "header") {
			headers = []Header{{Key: "h", Value: value}}
		}
		b.Append(c.now-int64(rapid.IntRange(0, 100).Draw(c.T, "late")), key, value, headers)
	}
	batch := b.Build()
	batch.Place(c.end(), epoch)
	if id := int64(rapid.IntRange(0, 5).Draw(c.T, "producer")); id > 0 {
		batch = withProducer(batch, id, 0, c.sequence[id])
		c.sequence[id] = addSequence(c.sequence[id], int32(batch.Count()))
		c.last[id] = batch.Last()
	}
	if rapid.IntRange(0, 3).Draw(c.T, "append time") == 0 {
		batch = withAttrs(batch, attrAppendTime)
	}
	for _, r := range records(c.T, batch) {
		c.written = append(c.written, r)
		c.epochs = append(c.epochs, epoch)
	}
	active := len(c.segments) - 1
	c.segments[active] = append(c.segments[active], batch)
	if c.views()[active].size > c.policy.segmentBytes/2 {
		c.segments = append(c.segments, nil)
	}
}

// compact runs a pass, or as many of its groups as come before a crash.
func (c *compacted) compact() {
	views := c.policy.compactable(c.views(), c.upTo, c.now)
	if len(views) == 0 {
		return
	}
	upTo := views[len(views)-1].end
	pass := compaction{
		keys: newKeyMap(rapid.IntRange(2, 20).Draw(c.T, "keys")*keyEntrySize, c.cleanTo, upTo),
		now:  c.now, tombstoneAge: testAge, limit: 1 << 20,
		isLast: func(b Batch) bool {
			last, ok := c.last[b.ProducerID()]
			return ok && last == b.Last()
		},
	}
	for _, b := range c.batches() {
		if b.Next() <= c.cleanTo || b.First() >= upTo {
			continue
		}
		full, err := pass.keys.cover(b, 1<<20)
		require.NoError(c, err)
		if full {
			break
		}
	}
	groups := c.policy.groups(views, pass.keys.end)
	whole := true
	stats := compactStats{nextHorizon: noHorizon}
	for i, g := range groups { // those before are one segment each by now
		if rapid.IntRange(0, 9).Draw(c.T, "crash") == 0 {
			whole = false
			break
		}
		stats.add(c.rewrite(pass, i, g))
	}
	c.removed = max(c.removed, stats.removedBelow)
	if whole {
		c.cleanTo, c.nextHorizon = max(c.cleanTo, pass.keys.end), stats.nextHorizon
		c.checkClean(pass)
	}
	c.check()
}

// rewrite puts one segment in the place of those from at on.
func (c *compacted) rewrite(pass compaction, at int, group []compactSegment) compactStats {
	size := int64(0)
	for _, g := range group {
		size += g.size
	}
	r := newRewriter(pass, group[0].base, size)
	var out, buf []byte
	for _, s := range c.segments[at : at+len(group)] {
		for _, b := range s {
			var err error
			buf, err = r.rewrite(buf[:0], b)
			require.NoError(c, err)
			out = append(out, buf...)
			for _, rec := range records(c.T, b) {
				if _, ok := c.met[rec.Offset]; !ok && rec.Value == nil && b.First() < pass.keys.end {
					c.met[rec.Offset] = c.now
				}
			}
		}
	}
	out = append(out, r.finish(nil)...)
	require.EqualValues(c, len(out), r.stats.bytesOut)
	require.LessOrEqual(c, len(out), int(size)+9*int(r.stats.recordsIn))
	c.segments = append(c.segments[:at:at], append([][]Batch{splitAll(c.T, out)}, c.segments[at+len(group):]...)...)
	return r.stats
}

// check tells whether the log still says all that it has to.
func (c *compacted) check() {
	next := Offset(0)
	state := map[string]string{}
	kept := map[Offset]bool{}
	lasts := map[int64]Offset{}
	for _, b := range c.batches() {
		require.NoError(c, b.Check())
		require.Equal(c, next, b.First(), "no hole")
		next = b.Next()
		for off := b.First(); off < b.Next(); off++ {
			require.Equal(c, c.epochs[off], b.Epoch(), "the epoch of %d", off)
		}
		if b.ProducerID() >= 0 {
			lasts[b.ProducerID()] = b.Last()
		}
		for _, r := range records(c.T, b) {
			require.Equal(c, c.written[r.Offset], r)
			kept[r.Offset] = true
			apply(state, r)
		}
	}
	require.Equal(c, c.end(), next)
	require.Equal(c, c.model(), state, "what a reader from the start learns")
	for id, last := range c.last {
		require.Equal(c, last, lasts[id], "the last batch of producer %d", id)
	}
	newest := map[string]Offset{}
	for _, r := range c.written {
		if r.Key == nil {
			require.True(c, kept[r.Offset], "%d has no key", r.Offset)
		} else {
			newest[string(r.Key)] = r.Offset
		}
	}
	for key, off := range newest {
		if kept[off] {
			continue
		}
		require.Nil(c, c.written[off].Value, "the last value of %q", key)
		require.LessOrEqual(c, c.met[off]+testAge, c.now, "tombstone %d went too soon", off)
		require.Less(c, off, c.removed, "who has to begin anew is told of tombstone %d", off)
	}
}

// checkClean looks at what must be gone below the end of a pass.
func (c *compacted) checkClean(pass compaction) {
	newest := map[string]Offset{}
	for _, r := range c.written[:pass.keys.end] {
		if r.Key != nil {
			newest[string(r.Key)] = r.Offset
		}
	}
	pending := noHorizon
	for i, b := range c.batches() {
		for _, r := range records(c.T, b) {
			if r.Key == nil || r.Offset >= pass.keys.end {
				continue
			}
			require.Equal(c, newest[string(r.Key)], r.Offset, "%q comes again", r.Key)
			if r.Value == nil {
				require.NotZero(c, b.Attributes()&attrHorizon)
				require.Greater(c, b.BaseTimestamp(), c.now, "tombstone %d is due", r.Offset)
				pending = min(pending, b.BaseTimestamp())
			}
		}
		if i > 0 && isFiller(b) && b.Last() < pass.keys.end {
			before := c.batches()[i-1]
			joined := isFiller(before) && before.Epoch() == b.Epoch() && !c.starts(b.First())
			require.False(c, joined, "fillers at %d are not merged", b.First())
		}
	}
	require.LessOrEqual(c, c.nextHorizon, pending)
}

func isFiller(b Batch) bool { return b.Count() == 0 && b.ProducerID() < 0 }

func (c *compacted) starts(off Offset) bool {
	for _, v := range c.views() {
		if v.base == off {
			return true
		}
	}
	return false
}

func apply(state map[string]string, r Record) {
	switch {
	case r.Key == nil:
	case r.Value == nil:
		delete(state, string(r.Key))
	default:
		state[string(r.Key)] = string(r.Value)
	}
}

func (c *compacted) model() map[string]string {
	state := map[string]string{}
	for _, r := range c.written {
		apply(state, r)
	}
	return state
}

// read lets the reader go on. Once it is at the end it knows what is there, unless
// it took longer than tombstones stay.
func (c *compacted) read() {
	left := rapid.IntRange(1, 6).Draw(c.T, "batches")
	for _, b := range c.batches() {
		if b.Last() < c.reader.next || left == 0 {
			continue
		}
		left--
		for _, r := range records(c.T, b) {
			if r.Offset >= c.reader.next {
				apply(c.reader.state, r)
			}
		}
		c.reader.next = b.Next()
	}
	slow := c.now >= c.reader.since+testAge
	if c.reader.next == c.end() && !slow {
		require.Equal(c, c.model(), c.reader.state, "what a slow reader learns")
	}
	if c.reader.next == c.end() || slow {
		c.reader = slowReader{state: map[string]string{}, since: c.now}
	}
}

func TestCompactionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCompacted(t)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(*rapid.T) { c.append() },
			"append more": func(*rapid.T) {
				for range 3 {
					c.append()
				}
			},
			"commit":                    func(t *rapid.T) { c.upTo = Offset(rapid.IntRange(int(c.upTo), int(c.end())).Draw(t, "up to")) },
			"compact":                   func(*rapid.T) { c.upTo = c.end(); c.compact() },
			"compact what is committed": func(*rapid.T) { c.compact() },
			"wait":                      func(t *rapid.T) { c.now += int64(rapid.IntRange(1, testAge).Draw(t, "milliseconds")) },
			"read":                      func(*rapid.T) { c.read() },
			"a producer goes": func(t *rapid.T) {
				delete(c.last, int64(rapid.IntRange(1, 5).Draw(t, "producer")))
			},
		})
	})
}
