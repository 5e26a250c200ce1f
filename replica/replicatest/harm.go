package replicatest

import (
	oldrand "math/rand"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// wipe puts an empty disk in the place of a broker's, if others have all that counts. The
// machine may stay up: then others hear at once that the process has gone.
func (w *World) wipe(b *broker, power bool) bool {
	if !w.spareable(b) || b.voter && !w.votersSuffice() {
		return false
	}
	b.end(power, nil)
	b.renew()
	b.voter = b.voter && mutate.On("wiped voter keeps its name")
	return true
}

// spareable reports whether a broker's disk may be lost: every copy on it.
func (w *World) spareable(b *broker) bool {
	for i, id := range w.watch.ids {
		if !w.spare(b, id, w.watch.order[i]) {
			return false
		}
	}
	return true
}

// spare reports whether another broker, who may be elected, has all that is committed of a
// partition: then to lose this one's copy must lose nothing.
func (w *World) spare(b *broker, id partition.ID, p *part) bool {
	st, ok := w.watch.table.Partition(id)
	if !ok || p.hw == 0 || b.mirrors[id] == nil {
		return true
	}
	if w.watch.table.MinISR(id) < 2 || w.watch.lowered[id.Topic] {
		return false // it may soon be the only one that counts
	}
	for _, set := range [][]partition.BrokerID{st.ISR, st.ELR} {
		for _, other := range set {
			o := w.broker(other)
			m := o.mirrors[id]
			if o != b && m != nil && !m.lost && !m.harmed() && (p.synced || o.p != nil) && w.watch.incomplete(o, id, p) == "" {
				return true
			}
		}
	}
	return false
}

// mayHarm reports whether a copy of a broker may be harmed: on one broker at a time, and
// where others have all that counts, so that what is lost can be had from them again.
func (w *World) mayHarm(b *broker) bool {
	for _, o := range w.brokers {
		if (o.harmed() || o.lacks() || o.rotten) && o != b {
			return false
		}
	}
	for _, id := range w.watch.ids {
		if b.mirrors[id] != nil && w.watch.table.MinISR(id) < 2 {
			return false // it may soon be the only one that counts, before the harm is seen
		}
	}
	return w.spareable(b) && (!b.voter || w.votersSuffice()) && len(w.watch.ids) > 0
}

// lacks reports whether a copy of a broker has lost some of what it had, and nobody has
// been told so yet: until then it may count.
func (b *broker) lacks() bool {
	for _, m := range b.mirrors {
		if m.lost {
			return true
		}
	}
	return false
}

// flip changes a bit of a segment, mostly, or of what stands beside them.
func (w *World) flip(b *broker, f Fault) {
	if !w.mayHarm(b) {
		return
	}
	rng := oldrand.New(oldrand.NewSource(f.seed))
	m := b.mirrors[w.watch.ids[rng.Intn(len(w.watch.ids))]]
	if m == nil || len(m.marks) == 0 {
		return
	}
	names, err := b.disk.ReadDir(m.dir)
	if err != nil {
		return
	}
	segment := rng.Intn(3) > 0
	names = slices.DeleteFunc(names, func(n string) bool { return segment != isSegment(n) })
	if len(names) == 0 {
		return
	}
	file, within := names[rng.Intn(len(names))], 1024
	if !segment {
		within = 1 << (4 + rng.Intn(7)) // they are short
	}
	if b.disk.FlipBit(filepath.Join(m.dir, file), int64(rng.Intn(within)), uint(rng.Intn(8))) == nil {
		w.tell("a bit of %s of broker %d is another", filepath.Join(m.dir, file), b.id)
		m.flipped, m.spoilt = m.flipped || segment, m.spoilt || !segment
	}
}

// isSegment reports whether a file of a log holds records, or will: what a compaction has
// left takes the place of segments when the log is opened, at the latest.
func isSegment(name string) bool {
	return strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".swap")
}

// mislayOne takes the directory of a copy away, and the process that had it open.
func (w *World) mislayOne(b *broker, f Fault) {
	n := len(w.watch.ids)
	if n == 0 || b.p == nil {
		return
	}
	id := w.watch.ids[f.dice().IntN(n)]
	if m := b.mirrors[id]; w.mayMislay(b, id) {
		b.end(false, nil)
		b.mislay(id, m)
	}
}

// mayMislay reports whether a copy of a broker can be lost, and may: others have all that
// counts, and it is not the one that another has lost.
func (w *World) mayMislay(b *broker, id partition.ID) bool {
	m := b.mirrors[id]
	if m == nil || len(m.marks) == 0 || m.removes || w.watch.table.MinISR(id) < 2 {
		return false // MinISR below 2: it may soon be the only one that counts
	}
	for _, o := range w.brokers {
		if other := o.mirrors[id]; o != b && (o.rotten || other != nil && (other.harmed() || other.lost)) {
			return false
		}
	}
	return w.spare(b, id, w.watch.parts[id])
}

// mislay takes the directory of a copy away from a broker that is down.
func (b *broker) mislay(id partition.ID, m *mirror) {
	if b.mirrors[id] != m {
		return // the whole disk has gone
	}
	if _, err := b.disk.ReadDir(m.dir); err != nil {
		return // it is gone already
	}
	if err := b.removeAll(m.dir); err != nil {
		b.w.fail("disk", "broker %d: %s cannot be removed: %v", b.id, m.dir, err)
	}
	m.flipped = true
}

// volatile reports whether a broker keeps all that it has in memory.
func (b *broker) volatile() bool {
	return b.w.setup.volatile && !slices.Contains(b.w.setup.voters, b.id)
}

// forgets returns what becomes of a broker's disk when its process ends, if it keeps what
// it has in memory: all is lost, or copies of partitions are, and only what others have.
func (b *broker) forgets() func() {
	w := b.w
	switch {
	case w.calm:
	case b.volatile():
		if w.spareable(b) {
			return b.renew
		}
	case w.setup.forgetful && w.disks.IntN(2) == 0:
		var lost []partition.ID
		for _, id := range w.watch.ids {
			if w.mayMislay(b, id) {
				lost = append(lost, id)
			}
		}
		return func() {
			for _, id := range lost {
				b.mislay(id, b.mirrors[id])
			}
		}
	}
	return func() {}
}
