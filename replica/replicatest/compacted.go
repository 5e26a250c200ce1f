package replicatest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/replica"
)

// A copy that is compacted lacks records that others hold. So that it can be held against
// them, its mirror keeps each batch as it was written; what is left of it is looked at
// whenever it is read (I33). Below the high watermark alone is anything taken out.

// A recordMark is what the observer keeps of a record of a compacted topic.
type recordMark struct {
	key     string
	sum     uint64
	removes bool // it is a tombstone
}

// A recordAt is a record and its offset.
type recordAt struct {
	recordMark
	at log.Offset
}

// tombstoneAge is how long a tombstone stays: so short that who was away comes too late.
const tombstoneAge = 300 * time.Millisecond

// recordsAt returns what is to be known of the records of a batch, in order.
func recordsAt(b log.Batch) (list []recordAt, err error) {
	for r, err := range b.Records() {
		if err != nil {
			return nil, err
		}
		list = append(list, recordAt{recordMark{string(r.Key), xxhash.Sum64(r.Value), r.Value == nil}, r.Offset})
	}
	return list, nil
}

// marksOf returns what is to be kept of the records of a batch that is sent.
func marksOf(b log.Batch) (list []recordMark) {
	records, _ := recordsAt(b)
	for _, r := range records {
		list = append(list, r.recordMark)
	}
	return list
}

// supersede notes the records of a batch that is committed now. If it is of before the last
// election that may have given records up, it is what a compaction had left of it that came
// back: its keys stay doubtful.
func (p *part) supersede(k batchMark) {
	if p.latest == nil {
		p.latest = make(map[string]log.Offset)
	}
	for i, r := range p.recordsOf(k) {
		p.latest[r.key] = k.first + log.Offset(i)
		if k.epoch >= p.since {
			delete(p.doubtful, r.key)
		}
	}
}

// settles sees a copy begin to lead, which all others go by: of the doubtful keys those
// that it has are sure to be, and of the rest what it has counts until it is superseded,
// also if batches come back of which there is no more than a compaction has left.
func (o *observer) settles(c *copyOf) {
	p := c.mirror.part
	if len(p.doubtful) == 0 || c.mirror.lineage != p.lineage || c.mirror.flipped {
		return
	}
	state, ok := o.contents(c, c.log.End())
	if !ok {
		return
	}
	if p.settled == nil {
		p.settled = make(map[string]recordAt)
		for key := range p.doubtful {
			p.settled[key] = state[key]
		}
	}
	for _, k := range p.committed {
		for i, r := range p.recordsOf(k) {
			if at := k.first + log.Offset(i); p.latest[r.key] == at && state[r.key] == (recordAt{r, at}) {
				delete(p.doubtful, r.key)
			}
		}
	}
}

// doubt sees the copy of who was elected: records that an earlier such election had given
// up come back with it, and the one before of the same key may have been compacted away
// there for their sake.
func (p *part) doubt(m *mirror) {
	for _, k := range m.marks {
		again := func(was []batchMark) bool {
			return slices.ContainsFunc(was, func(w batchMark) bool { return w.first == k.first && w.epoch == k.epoch })
		}
		if k.next <= p.hw || !slices.ContainsFunc(p.former, again) {
			continue
		}
		for _, r := range p.recordsOf(k) {
			p.doubtful[r.key] = true
		}
	}
}

func (p *part) recordsOf(k batchMark) []recordMark {
	if op := p.ops[k.sum]; op != nil {
		return op.records
	}
	return nil
}

// rebuild makes the newest record of each key anew, after those from an offset on were
// given up. Where the newest is among these the one before is not sure to be in the log of
// the one that is elected: a compaction may have removed it for that one's sake, there or
// where that copy comes from. What is there once it leads counts from then on.
func (p *part) rebuild(from log.Offset) {
	doubtful := p.doubtful
	if doubtful == nil {
		doubtful = make(map[string]bool)
	}
	for key, at := range p.latest {
		if at >= from {
			doubtful[key] = true
		}
	}
	p.latest, p.doubtful, p.settled = nil, nil, nil
	for _, k := range p.committed {
		p.supersede(k)
	}
	p.doubtful = doubtful
}

// whole returns the committed batches that a batch may be what is left of, and whether
// that is so: each record that is there is the one that was written, and each that is not
// has been superseded, or was a tombstone that had been there for long enough.
func (p *part) whole(b log.Batch) ([]batchMark, error) {
	from := p.find(b.First())
	if from < 0 {
		return nil, fmt.Errorf("no batch of offset %d is committed", b.First())
	}
	to := from
	for to < len(p.committed) && p.committed[to].next < b.Next() {
		to++
	}
	if to == len(p.committed) || p.committed[to].next != b.Next() || p.committed[to].epoch != b.Epoch() {
		return nil, fmt.Errorf("no committed batch of epoch %d ends at %d", b.Epoch(), b.Next())
	}
	records, err := recordsAt(b)
	if err != nil {
		return nil, err
	}
	left := make(map[log.Offset]recordMark)
	for _, r := range records {
		left[r.at] = r.recordMark
	}
	list := p.committed[from : to+1]
	for _, k := range list {
		for n, r := range p.recordsOf(k) {
			at := k.first + log.Offset(n)
			is, there := left[at]
			switch {
			case there && is != r:
				return nil, fmt.Errorf("offset %d is another record than is committed", at)
			case there || p.latest[r.key] > at || p.doubtful[r.key]:
			case !r.removes:
				return nil, fmt.Errorf("offset %d, the newest of key %s, is missing", at, r.key)
			case p.w.now < p.ops[k.sum].committed+tombstoneAge-time.Millisecond: // what it is counted in
				return nil, fmt.Errorf("offset %d, the tombstone of key %s, was committed at %v and is missing", at, r.key, p.ops[k.sum].committed)
			}
			delete(left, at)
		}
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("there are records that are not committed: %v", left)
	}
	return list, nil
}

// is reports whether a committed batch is this one, as it was written.
func (k *batchMark) is(b log.Batch) bool {
	return k.first == b.First() && k.next == b.Next() && k.epoch == b.Epoch() && k.sum == sumOf(b)
}

// add takes a batch that the log has got: of a compacted topic it may be what is left of
// several.
func (m *mirror) add(b log.Batch) {
	p := m.part
	if !p.compacts || p.ops[sumOf(b)] != nil {
		m.addWhole(b)
		return
	}
	list, err := p.whole(b)
	if err != nil && (b.Next() > p.hw || m.lineage != p.lineage) && len(p.givenUp(b)) > 0 {
		list, err = p.givenUp(b), nil
	}
	switch front := len(m.marks) == 0 && b.First() < m.start && m.start < b.Next(); {
	case err != nil && (m.lineage != p.lineage || p.gone):
		m.marks = append(m.marks, p.remains(b)) // what it was is given up, or deleted, and so will it be
	case err != nil:
		p.w.fail("I33", "broker %d: %s has [%d, %d): %v", m.b.id, p.name, b.First(), b.Next(), err)
	case b.First() != m.end() && !front:
		p.w.fail("I5", "broker %d: batch of offset %d behind %d in %s", m.b.id, b.First(), m.end(), p.name)
	default:
		for _, k := range list {
			if k.next > m.start {
				m.marks = append(m.marks, k)
			}
		}
	}
}

// givenUp returns the batches that a batch is what is left of, if they were committed
// before an unclean election gave them up. Another such election may bring them back.
func (p *part) givenUp(b log.Batch) []batchMark {
	for _, was := range p.former {
		from := slices.IndexFunc(was, func(k batchMark) bool { return k.first == b.First() })
		to := slices.IndexFunc(was, func(k batchMark) bool { return k.next == b.Next() && k.epoch == b.Epoch() })
		if from >= 0 && to >= from {
			return was[from : to+1]
		}
	}
	return nil
}

// remains is the mark of what is left of batches that are not known any more but for
// where they ended.
func (p *part) remains(b log.Batch) batchMark {
	k := batchMark{first: b.First(), next: b.Next(), epoch: b.Epoch(), sum: sumOf(b)}
	for _, seen := range p.chains {
		if seen.next == k.next && seen.epoch == k.epoch {
			k.chain = seen.chain
		}
	}
	return k
}

// compact leaves of each key of a copy the newest record.
func (c *copyOf) compact() {
	cfg := log.CompactConfig{
		UpTo: c.high, TombstoneAge: tombstoneAge, MinDirty: 0.1,
		Throttle: func(context.Context, int) error { return nil },
	}
	done, err := c.log.Compact(context.Background(), c.now(), cfg)
	if c.report(err); c.p.dead {
		return
	}
	if done.Ran {
		c.p.w.note("compacted", c.p.id, done.RecordsIn, done.RecordsOut)
		c.p.w.watch.counts.Compacted += int(done.RecordsIn - done.RecordsOut)
		c.step(replica.Started{Start: c.log.Start(), Removed: c.log.RemovedBelow()})
		c.p.w.watch.compacted(c)
		c.settle()
	}
}

// compacted reads a copy whole: of each key the newest committed record below its high
// watermark is there, or its absence (I33).
func (o *observer) compacted(c *copyOf) {
	o.lookAt(c) // what it has committed since the last event counts
	m := c.mirror
	p := m.part
	if o.w.err != nil || m.flipped || p.gone || m.lineage != p.lineage || !p.compacts {
		return
	}
	state, ok := o.contents(c, c.high)
	if !ok {
		return
	}
	want := make(map[string]recordAt)
	for _, k := range p.committed {
		if k.next <= c.high && k.first >= c.log.Start() {
			for i, r := range p.recordsOf(k) {
				want[r.key] = recordAt{r, k.first + log.Offset(i)}
			}
		}
	}
	for _, key := range keysOf(want, state) {
		should := want[key]
		if p.doubtful[key] {
			if p.settled == nil || c.leader == nil && c.since < p.since {
				continue // the copy is of before, and not made anew yet
			}
			if should = p.settled[key]; should.at >= c.high || should.key != "" && should.at < c.log.Start() {
				continue // it is not there yet, or not any more
			}
			o.counts.Settled++
		}
		if p.latest[key] >= c.high {
			continue // it has been superseded by what the copy does not hold yet
		}
		if is := state[key]; is != should && !(should.removes && is == recordAt{}) {
			o.w.fail("I33", "broker %d: %s up to %d has key %s as %+v; committed is %+v", c.p.id, p.name, c.high, key, is, should)
			return
		}
	}
}

// contents reads of each key the newest record in the batches of a copy that end below an
// offset. It is false if not all can be read, which is reported if it is a fault.
func (o *observer) contents(c *copyOf, below log.Offset) (map[string]recordAt, bool) {
	state := make(map[string]recordAt)
	for at := c.log.Start(); at < c.log.End(); {
		data, err := c.log.Read(at, c.log.End(), 64<<10)
		if err != nil || len(data) == 0 {
			if err != nil && !injected(err) {
				o.w.fail("I33", "broker %d: %s cannot be read at %d: %v", c.p.id, c.mirror.part.name, at, err)
			}
			return nil, false
		}
		for len(data) > 0 {
			var b log.Batch
			if b, data, err = log.SplitBatch(data); err != nil {
				o.w.fail("I33", "broker %d: %s at %d: %v", c.p.id, c.mirror.part.name, at, err)
				return nil, false
			}
			if at = b.Next(); at > below {
				continue
			}
			records, _ := recordsAt(b)
			for _, r := range records {
				state[r.key] = r
			}
		}
	}
	return state, true
}

func keysOf(maps ...map[string]recordAt) (keys []string) {
	for _, m := range maps {
		for key := range m {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
