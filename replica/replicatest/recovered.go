package replicatest

import (
	"errors"
	"strconv"
	"strings"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// opened holds what a log's recovery found against what its disk had been given (I32),
// and takes it for what is there.
func (o *observer) opened(b *broker, id partition.ID, dir string, l *log.Log, damage error, r log.Recovery) {
	m := b.mirrors[id]
	if m == nil {
		p := o.part(id)
		m = &mirror{b: b, part: p, lineage: p.lineage, silent: log.NoEpoch}
		b.mirrors[id] = m
	}
	if m.discards && damage == nil && l.End() == 0 {
		m = o.discarded(b, id) // that was finished, and the process died before it could be seen
	}
	m.dir, m.removes, m.discards = dir, false, false
	m.part.dirty = true
	if damage != nil {
		if !m.flipped && !m.spoilt {
			o.w.fail("I32", "broker %d: %s is damaged: %v", b.id, m.part.name, damage)
		}
		m.damaged, m.lost = true, true
		return
	}
	old := *m
	needed := old.kept()
	if old.cutting != nil {
		needed = min(needed, *old.cutting)
	}
	if l.End() < needed && !(old.resets && l.Start() == l.End()) && (!old.flipped || !r.Lost) {
		o.w.fail("I32", "broker %d: %s ends at %d after recovery; it reached %d, flushed %d (lost: %t)", b.id, m.part.name, l.End(), needed, old.flushed, r.Lost)
		return
	}
	if l.End() < old.end() && (!m.part.synced || old.flipped) {
		m.lost = true
		b.retire(id, &old) // it has held it, whatever was said of that is true
	}
	m.marks, m.matched, m.start, m.damaged = nil, 0, l.Start(), false
	m.spoilt = old.spoilt && l.End() < old.end() // the power may bring back what was not synced, and tells of more
	if at, err := o.readBack(m, &old, l, l.Start()); err != nil {
		if !old.flipped {
			o.w.fail("I32", "broker %d: %s cannot be read at %d after recovery: %v", b.id, m.part.name, at, err)
		}
		lost := m.lost
		*m = old // the flipped bit hides the rest, which is there
		m.lost = lost
		m.truncate(l.End())
		m.trim(l.Start())
		if at, err = o.readBack(m, &old, l, m.end()); err != nil { // what was on its way
			o.w.fail("I32", "broker %d: %s cannot be read at %d, behind a flipped bit, after recovery: %v", b.id, m.part.name, at, err)
		}
		return
	}
	o.epochsFit(b, m, l)
	m.flushed = l.Flushed()
	m.cutting, m.resets = nil, false
	// All of it can be read: the bit was where nothing is, or is cut. Or it lies in front
	// of the log's start, in a segment that holds that too, and shows when that is cut.
	m.flipped = old.flipped && m.begins() < m.start
}

// readBack takes what a log has from an offset on for what is in its mirror. It returns
// where it ended.
func (o *observer) readBack(m, old *mirror, l *log.Log, at log.Offset) (log.Offset, error) {
	for at < l.End() {
		data, err := l.Read(at, l.End(), 64<<10)
		if err == nil && len(data) == 0 {
			err = errors.New("there is nothing")
		}
		for len(data) > 0 && err == nil {
			var batch log.Batch
			if batch, data, err = log.SplitBatch(data); err == nil {
				o.returns(m.b, old, batch)
				m.add(batch)
				at = batch.Next()
			}
		}
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

// discards sees that a copy is about to be discarded: nobody may count on it (I2, I3).
func (o *observer) discards(b *broker, id partition.ID) {
	if m := b.mirrors[id]; m != nil {
		m.discards = true
		if st, ok := b.p.table.Partition(id); ok {
			m.silent = st.Epoch
		}
	}
}

// discarded sees that it has been: from now on this broker holds nothing.
func (o *observer) discarded(b *broker, id partition.ID) *mirror {
	b.retire(id, b.mirrors[id])
	p := o.part(id)
	m := &mirror{b: b, part: p, lineage: p.lineage, silent: log.NoEpoch}
	b.mirrors[id] = m
	o.counts.Anew++
	return m
}

// deletes sees an operator be told that all below start is gone for good.
func (o *observer) deletes(c *copyOf, start log.Offset) {
	if p := c.mirror.part; c.mirror.lineage == p.lineage && !c.outdated(p) {
		if start > p.deleted {
			p.deleted, p.deletedIn = start, c.leader.Epoch()
		}
		o.counts.Deleted++
	}
}

// begins sees where the log of a new leader starts: not with what was deleted (I14), but for
// what is in one batch with records that stay. One who hears late that it was elected, and
// not yet that others were after it, may have missed that.
func (o *observer) begins(c *copyOf) {
	p := c.mirror.part
	if c.log.Start() >= p.deleted || c.leader.Epoch() < p.deletedIn || c.mirror.lineage != p.lineage || c.mirror.flipped || p.gone {
		return
	}
	data, err := c.log.Read(c.log.Start(), c.log.End(), 1)
	if err != nil {
		return
	}
	if b, _, err := log.SplitBatch(data); err == nil && b.Next() <= p.deleted {
		o.w.fail("I14", "broker %d leads %s from %d on, and it was deleted below %d", c.p.id, p.name, c.log.Start(), p.deleted)
	}
}

// retire keeps what a mirror was before its copy lost some of it: an acknowledgement may be
// on its way that rests on it.
func (b *broker) retire(id partition.ID, m *mirror) {
	if m != nil {
		m.life = b.w.watch.epochs[b.id]
		b.former[id] = append(b.former[id], m)
	}
}

// counts reports whether a leader may count on what a copy held that is not there any more:
// it knows of no later life of the broker than the copy's last, and in that one the copy
// spoke in its epoch.
func (m *mirror) counts(c *copyOf) bool {
	at, _ := c.p.table.Broker(m.b.id)
	return at.Epoch < m.life || at.Epoch == m.life && (m.silent == log.NoEpoch || c.state.Epoch < m.silent)
}

// kept is up to where a copy must be there when a process comes up: the death of the one
// before takes nothing that was written, and the power nothing that was flushed.
func (m *mirror) kept() log.Offset {
	if m.b.torn {
		return m.flushed
	}
	return m.end()
}

// missing sees a process miss the directory of a copy. One that was never flushed may
// have gone with the power.
func (o *observer) missing(b *broker, id partition.ID) {
	switch m := b.mirrors[id]; {
	case m == nil, m.removes:
	case !m.flipped && m.kept() > m.start:
		o.w.fail("I32", "broker %d has no copy of %s any more", b.id, m.part.name)
	default:
		m.damaged, m.lost = true, true
	}
}

// ails sees a process take a copy for damaged: it may only for what was done to its disk.
func (o *observer) ails(c *copyOf, err error) {
	if m := c.mirror; !m.flipped && !m.damaged {
		o.w.fail("I32", "broker %d takes %s for damaged, and it is not: %v", c.p.id, m.part.name, err)
	}
}

// scrubbed sees that all that a copy has flushed was read, and is sound.
func (o *observer) scrubbed(c *copyOf) {
	if m := c.mirror; m.flipped && c.log.Flushed() == c.log.End() {
		m.flipped = m.begins() < m.start
	}
}

// begins is the offset at which the files of the mirror's log begin.
func (m *mirror) begins() log.Offset {
	names, _ := m.b.disk.ReadDir(m.dir)
	for _, name := range names { // in order
		if base, ok := strings.CutSuffix(name, ".log"); ok {
			at, _ := strconv.ParseInt(base, 10, 64)
			return log.Offset(at)
		}
	}
	return m.start
}

// openedAll holds the copies that a directory has against those that it was given.
func (o *observer) openedAll(p *process) {
	for _, id := range sortedKeys(p.b.mirrors) {
		m := p.b.mirrors[id]
		switch {
		case p.found[id] != nil:
		case m.removes:
			delete(p.b.mirrors, id)
		case m.kept() > m.start:
			o.w.fail("I32", "broker %d has no copy of %s any more, which reached %d, flushed %d", p.id, m.part.name, m.end(), m.flushed)
		}
	}
}

// returns checks that a batch found by recovery is what was last written there. What
// was on its way when the process died may be there, behind the rest.
func (o *observer) returns(b *broker, old *mirror, batch log.Batch) {
	if batch.First() >= old.end() {
		return
	}
	for i := len(old.marks) - 1; i >= 0; i-- {
		k := &old.marks[i]
		if k.first > batch.First() {
			continue
		}
		if old.part.compacts && k.first == batch.First() && !k.is(batch) {
			return // it may be what compaction has left
		}
		if !k.is(batch) {
			o.w.fail("I32", "broker %d: recovery of %s finds at %d another batch than was written last", b.id, old.part.name, batch.First())
		}
		return
	}
}

// epochsFit holds a log's history of epochs against its batches (I6).
func (o *observer) epochsFit(b *broker, m *mirror, l *log.Log) {
	for i := range m.marks {
		k := &m.marks[i]
		if e, ok := l.EpochAt(max(k.first, m.start)); !ok || e != k.epoch {
			o.w.fail("I6", "broker %d: offset %d of %s is of epoch %d, and its history says %d", b.id, k.first, m.part.name, k.epoch, e)
			return
		}
	}
}
