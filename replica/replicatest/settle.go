package replicatest

import (
	"fmt"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
)

// settleTime is how long a cluster may take to come back once all faults have ended.
const settleTime = 30 * time.Second

// settleEvents bounds what may happen meanwhile: a loop that takes no time is none.
const settleEvents = 300_000

// settle ends all faults, and demands that everything comes back by itself (I15). Then
// it looks at everything once, and stops the brokers in order.
func (w *World) settle() {
	w.note("calm", 0, 0, 0)
	w.calm = true
	w.links.heal()
	for _, b := range w.brokers {
		b.calm()
		b.skew = 0
		b.disk.Revive()
	}
	w.faults.skew = 0
	if !w.until(settleTime, w.converged) {
		w.failI15()
		return
	}
	if w.rescue(); w.err != nil {
		return
	}
	if !w.until(settleTime, w.finished) {
		w.failI15()
		return
	}
	w.verify()
	w.stopAll()
}

// rescue has an operator elect somebody for each partition that has no leader, for want
// of a copy that is complete for certain: one that can be opened is enough.
func (w *World) rescue() {
	waiting := 0
	for _, id := range w.watch.ids {
		st, _ := w.watch.table.Partition(id)
		if st.Leader != partition.NoBroker {
			continue
		}
		waiting++
		// The controller may be just being replaced: an operator does not give up for that.
		w.ask(control.ElectUnclean{ElectRequest: partition.ElectRequest{ID: id}}, 10*tries, func(done bool) {
			waiting--
			if !done && !w.watch.parts[id].gone && slices.ContainsFunc(st.Replicas, func(b partition.BrokerID) bool { return w.opens(b, id) }) {
				w.fail("I15", "nobody is elected for %s, which an operator has asked for: %+v", w.watch.parts[id].name, *st)
			}
		})
	}
	w.rescued = true
	if !w.until(settleTime, func() string {
		if waiting > 0 {
			return "an operator waits for an election"
		}
		return w.converged()
	}) {
		w.failI15()
	}
}

// opens reports whether a broker has a copy of a partition that can be opened.
func (w *World) opens(b partition.BrokerID, id partition.ID) bool {
	p := w.broker(b).p
	if p == nil {
		return false
	}
	f := p.found[id]
	return p.copy(id) != nil || f != nil && f.log != nil
}

func (w *World) failI15() {
	if w.err != nil || w.wedged() {
		return
	}
	why := w.converged()
	if why == "" {
		why = w.finished()
	}
	w.fail("I15", "%s", why)
}

// wedged reports whether a voter that its damaged disk keeps from starting has, by now,
// copies that nobody may do without: no more than people could get out of that.
func (w *World) wedged() bool {
	return slices.ContainsFunc(w.brokers, func(b *broker) bool { return b.rotten && b.p == nil && !w.spareable(b) })
}

// until runs until lacks has nothing to say, and for no longer than limit.
func (w *World) until(limit time.Duration, lacks func() string) bool {
	end, most := w.now+limit, w.popped+settleEvents
	for w.err == nil && w.now < end && w.popped < most {
		if lacks() == "" {
			return true
		}
		for range 50 {
			if !w.step() {
				break
			}
		}
	}
	return false
}

// converged says what is not yet as it should be.
func (w *World) converged() string {
	for _, b := range w.brokers {
		if b.p == nil || b.p.epoch == 0 {
			return fmt.Sprintf("broker %d is not registered", b.id)
		}
		if at, ok := w.watch.table.Broker(b.id); !ok || at.Fenced || at.Epoch != b.p.epoch {
			return fmt.Sprintf("broker %d is fenced", b.id)
		}
	}
	for i, id := range w.watch.ids {
		if why := w.partConverged(id, w.watch.order[i]); why != "" {
			return why
		}
	}
	for _, b := range w.brokers {
		for _, id := range sortedKeys(b.mirrors) {
			// One that was never flushed may have gone with the power.
			there := b.p.copy(id) != nil || b.p.found[id] != nil
			if m := b.mirrors[id]; there && !m.damaged && !m.flipped && !m.part.assignedTo(b.id) {
				return fmt.Sprintf("broker %d keeps a copy of %s, which is not its any more", b.id, m.part.name)
			}
		}
	}
	for _, c := range w.clients {
		for _, r := range c.readers {
			if !r.part.gone && r.pos < r.part.hw && !w.stuck(r.id) {
				return fmt.Sprintf("a reader of %s stands at %d of %d", r.part.name, r.pos, r.part.hw)
			}
		}
	}
	return ""
}

func (w *World) partConverged(id partition.ID, p *part) string {
	st, _ := w.watch.table.Partition(id)
	if w.stuck(id) {
		return ""
	}
	if st.Leader == partition.NoBroker {
		return fmt.Sprintf("%s has no leader: %+v", p.name, *st)
	}
	led := w.broker(st.Leader).mirrors[id]
	if led == nil {
		return fmt.Sprintf("broker %d leads %s and has no copy of it", st.Leader, p.name)
	}
	end := led.end()
	for _, r := range st.Replicas {
		m := w.broker(r).mirrors[id]
		switch {
		case m != nil && (m.damaged || m.flipped && m.begins() >= m.start):
			return fmt.Sprintf("broker %d has a copy of %s that is damaged, and does not begin anew", r, p.name)
		case !slices.Contains(st.ISR, r):
			return fmt.Sprintf("broker %d is not in the ISR of %s: %+v", r, p.name, *st)
		case m == nil || m.end() != end || p.synced && m.flushed != end:
			return fmt.Sprintf("broker %d does not hold all of %s, which ends at %d: %+v", r, p.name, end, *st)
		}
	}
	if st.Target != nil {
		return fmt.Sprintf("%s is on its way to %v: %+v", p.name, st.Target, *st)
	}
	if p.hw != end {
		return fmt.Sprintf("%s is committed up to %d of %d", p.name, p.hw, end)
	}
	return ""
}

// stuck reports whether a partition waits for its operator, as it should: all who may
// lead are damaged; or nobody is complete for certain, one of those who may be has lost its
// copy, and no operator has looked yet.
func (w *World) stuck(id partition.ID) bool {
	st, _ := w.watch.table.Partition(id)
	if may := slices.Concat(st.ISR, st.ELR); len(may) > 0 {
		return !slices.ContainsFunc(may, func(r partition.BrokerID) bool {
			m := w.broker(r).mirrors[id]
			return m == nil || !m.harmed()
		})
	}
	opens := func(b partition.BrokerID) bool { return w.opens(b, id) }
	if st.Leader != partition.NoBroker || w.rescued && slices.ContainsFunc(st.Replicas, opens) {
		return false
	}
	for _, r := range st.LastKnownELR {
		b := w.broker(r)
		if b.p == nil {
			return false
		}
		if f := b.p.found[id]; f != nil && (f.damage != nil || f.label.Behind) {
			return true
		}
		if c := b.p.copy(id); c != nil && (c.behind || c.damage != nil) {
			return true
		}
	}
	return false
}

// finish sends a last batch to a partition, until one is acknowledged, and reports whether
// that is so.
func (c *client) finish(id partition.ID) bool {
	last := c.last[id]
	if last != nil && last.outcome == acked && last.acks == partition.AcksAll {
		return true
	}
	if st, ok := c.w.watch.table.Partition(id); ok && !c.busy[id] && st.Leader != partition.NoBroker {
		c.last[id] = c.send(id, st.Leader, st.Epoch)
	}
	return false
}

// finished has each partition take one more batch, and says which does not yet.
func (w *World) finished() string {
	for i, id := range w.watch.ids {
		p := w.watch.order[i]
		for _, c := range w.clients {
			if c.busy[id] {
				return p.name + " has a producer that waits"
			}
		}
		if len(w.clients) > 0 && !w.stuck(id) && !w.clients[0].finish(id) {
			return p.name + " takes no batch"
		}
	}
	return w.converged()
}

// verify reads every log whole, and applies every entry again (I31).
func (w *World) verify() {
	for _, b := range w.brokers {
		for _, c := range b.p.copies {
			w.watch.epochsFit(b, c.mirror, c.log)
			switch {
			case c.mirror.flipped:
			case c.mirror.part.compacts:
				w.watch.compacted(c)
			default:
				w.verifyLog(c)
			}
		}
	}
	table := partition.NewTable()
	restored := table
	for i, data := range w.watch.entries {
		if len(data) == 0 {
			continue
		}
		records, _ := partition.DecodeRecords(data)
		table.Apply(log.Offset(i+1), records)
		if restored != table {
			restored.Apply(log.Offset(i+1), records)
		}
		if w.rng.IntN(len(w.watch.entries)) == 0 {
			var err error
			if restored, err = partition.Restore(table.Image(partition.UUID{}, 0, nil)); err != nil {
				w.fail("I31", "an image at entry %d does not restore: %v", i+1, err)
				return
			}
		}
	}
	if h := table.Hash(); h != w.watch.table.Hash() || h != restored.Hash() {
		w.fail("I31", "the table depends on how its entries are applied")
	}
}

func (w *World) verifyLog(c *copyOf) {
	m := c.mirror
	i := 0
	for at := c.log.Start(); at < c.log.End(); {
		data, err := c.log.Read(at, c.log.End(), 8<<10)
		if err != nil || len(data) == 0 {
			w.fail("I5", "broker %d: %s cannot be read at %d: %v", c.p.id, m.part.name, at, err)
			return
		}
		for len(data) > 0 {
			var b log.Batch
			if b, data, err = log.SplitBatch(data); err != nil {
				w.fail("I5", "broker %d: %s at %d: %v", c.p.id, m.part.name, at, err)
				return
			}
			if k := m.marks[i]; k.first != b.First() || k.next != b.Next() || k.epoch != b.Epoch() || k.sum != sumOf(b) {
				w.fail("I5", "broker %d: %s has at %d another batch than was written", c.p.id, m.part.name, at)
				return
			}
			at = b.Next()
			i++
		}
	}
}

// stopAll stops the brokers in order, and looks for what they leave (I34).
func (w *World) stopAll() {
	for _, b := range w.brokers {
		if p := b.p; p != nil && w.err == nil {
			clean := p.close(true)
			if !clean && w.err == nil {
				w.fail("I34", "broker %d does not stop cleanly", b.id)
			}
			for _, c := range p.copies {
				// Those who wait are woken by events that come no more: they are told
				// apart from those that nobody would wake.
				for _, e := range c.parked.All() {
					if e.set == nil && !e.s.ringing {
						w.fail("I34", "broker %d leaves a request parked", b.id)
					}
				}
			}
			b.p = nil
			b.life++
		}
	}
}
