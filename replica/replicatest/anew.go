package replicatest

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/node"
)

// A copy whose disk has lost some of it begins anew, in the steps of a node: it leaves
// ISR and ELR by a committed record, says no more in the new epoch, and is discarded.

// scrubPace is how often a process reads all that it holds.
const scrubPace = 2 * time.Second

// treat brings a copy that must begin anew a step further.
func (p *process) treat(id partition.ID, a *replica.Assignment, topic partition.TopicConfig) {
	c, f := p.copy(id), p.found[id]
	var why error
	spoke := log.NoEpoch
	switch {
	case c != nil:
		why, spoke = c.ailment(), c.spoke
	case f != nil:
		why = f.damage
	}
	if p.dead {
		return
	}
	if why == nil && topic.Compact && p.outdated(a, c, f) {
		why = errOutdated
		p.w.note("outdated", p.id, int64(id.Partition), int64(a.State.LossyEpoch))
	}
	if why == nil {
		if c != nil && c.stuck && a.Counts(p.id) {
			p.announce(id, spoke)
		}
		return
	}
	if c != nil && !c.noted && c.damage != nil {
		err := node.NoteDamage(p.fs, c.dir, why, false)
		if err != nil && !node.IsFull(err) {
			p.trouble(err)
			return
		}
		c.noted = err == nil
		p.late = p.late || !c.noted
	}
	switch a.Remedy(p.id, spoke) {
	case replica.Stand:
	case replica.Announce:
		p.announce(id, spoke)
	case replica.Begin:
		if err := p.discard(id, a, topic, why); err != nil {
			p.refuse(id, topic, err)
		}
	}
}

// ailment returns why the copy must begin anew, if it must.
func (c *copyOf) ailment() error {
	if c.sound {
		c.sound, c.noted, c.damage = false, false, nil
		if err := node.ForgetDamage(c.p.fs, c.dir); err != nil {
			c.p.trouble(err)
		}
	}
	return c.damage
}

// ail notes that the disk has lost some of what the log holds.
func (c *copyOf) ail(err error) {
	if c.damage != nil || c.lost {
		return
	}
	c.p.w.note("damaged", c.p.id, int64(c.id.Partition), 0)
	c.p.w.tell("broker %d: %s: %v", c.p.id, c.mirror.part.name, err)
	c.damage = err
	c.p.w.watch.ails(c, err)
	c.p.lookAgain(c.id)
}

// report deals with an error of the disk that keeps records from being removed.
func (c *copyOf) report(err error) {
	switch {
	case errors.Is(err, log.ErrFailed), err != nil && c.p.down(err):
		c.p.trouble(err)
	case errors.Is(err, log.ErrCorrupt):
		c.ail(err)
	}
}

// readFault notes what an error of a read says of the disk, and returns what a reader or
// follower is told.
func (c *copyOf) readFault(err error) partition.Code {
	code := node.ReadCode(err)
	if !node.Loses(err) {
		return code
	}
	c.ail(err)
	if st, ok := c.p.table.Partition(c.id); ok && len(st.ISR) > 1 {
		return partition.NotLeader
	}
	return code
}

// scrub reads all that is flushed, past what is in memory.
func (p *process) scrub() {
	buf := make([]byte, 4<<10)
	for _, c := range slices.Clone(p.copies) {
		if c.scrub(buf); p.dead {
			return
		}
	}
	p.w.at(scrubPace, p.b, disk, "scrub", p.scrub)
}

func (c *copyOf) scrub(buf []byte) {
	if c.lost {
		return
	}
	for at := c.log.Start(); ; {
		next, err := c.log.Scrub(at, buf)
		switch {
		case node.Loses(err):
			c.ail(err)
			return
		case err != nil:
			if c.p.down(err) {
				c.p.trouble(err)
			}
			return
		case next == at:
			if c.p.w.watch.scrubbed(c); c.damage != nil {
				c.sound = true
				c.p.lookAgain(c.id)
			}
			return
		}
		at = next
	}
}

// announce tells the controller that a copy must begin anew, unless that is under way.
func (p *process) announce(id partition.ID, spoke log.Epoch) {
	if p.asking[id] {
		return
	}
	p.asking[id] = true
	p.w.note("announce", p.id, int64(id.Partition), int64(spoke))
	m := replica.Discard{From: p.id, BrokerEpoch: p.epoch, ID: id, Epoch: spoke}
	p.askController("discard", 2*callTime, func(q *process, answer func(any)) {
		q.ask(func(token uint64) control.Input { return control.Discard{Token: token, Discard: m} }, answer)
	}, func(v any, err error) {
		delete(p.asking, id)
		if got, ok := v.(replica.DiscardAnswer); err == nil && ok && got.Code == partition.OK {
			return // what comes of it comes as metadata
		}
		p.w.at(lag/2, p.b, disk, "again", func() { p.lookAgain(id) })
	})
}

// lookAgain has the role of one copy looked at again.
func (p *process) lookAgain(id partition.ID) {
	p.pending[id] = true
	p.moved()
}

// discard sets a copy aside on which nobody counts. An empty one is found in its place.
func (p *process) discard(id partition.ID, a *replica.Assignment, topic partition.TopicConfig, why error) error {
	f, err := p.vacate(id, why)
	if err != nil {
		return err
	}
	p.w.note("discard", p.id, int64(id.Partition), 0)
	p.w.watch.discards(p.b, id)
	if err := log.MakeDir(p.fs, f.dir); err != nil {
		return err
	}
	since := a.Since()
	f.label = node.Label{ID: id, Topic: topic, Behind: true, Since: f.label.Since}
	if f.label.Since >= a.State.LossyEpoch {
		f.label.Since = since
	}
	if err := node.WriteLabel(p.fs, f.dir, f.label); err != nil {
		return err
	}
	if err := node.NoteDamage(p.fs, f.dir, why, true); err != nil {
		return err
	}
	if err := node.FinishDiscard(p.fs, f.dir); err != nil {
		return err
	}
	p.w.watch.discarded(p.b, id)
	if f.label.Since != since {
		f.label.Since = since
		if err := node.WriteLabel(p.fs, f.dir, f.label); err != nil {
			return err
		}
	}
	l, recovery, err := log.Open(p.fs, f.dir, p.logConfig(topic))
	if err != nil {
		return err
	}
	p.w.watch.opened(p.b, id, f.dir, l, nil, recovery)
	f.log, f.damage, f.suspect, f.missing = l, nil, false, false
	return nil
}

// vacate has nobody use the directory of a copy any more. What is found there is damaged
// until the discard is done.
func (p *process) vacate(id partition.ID, why error) (*found, error) {
	c, f := p.copy(id), p.found[id]
	var opened *log.Log
	if c != nil {
		p.quit(c)
		f, opened = &found{label: c.label(), dir: c.dir}, c.log
		p.found[id] = f
	} else {
		opened = f.log
	}
	f.log, f.damage = nil, why
	if opened != nil {
		if err := opened.Close(); err != nil && (p.down(err) || errors.Is(err, log.ErrFailed)) {
			return f, err
		}
	}
	return f, nil
}

// quit ends a copy for good.
func (p *process) quit(c *copyOf) {
	c.leave(partition.Resigned)
	c.role, c.lost = role{epoch: log.NoEpoch}, true
	c.wakeParked()
	p.copies = slices.DeleteFunc(p.copies, func(o *copyOf) bool { return o == c })
}

// list makes durable which copies there are, and that these are all, once they are.
func (p *process) list() error {
	if !maps.Equal(p.dirs, p.listed) {
		if err := node.WriteCopies(p.fs, dataDir, p.dirs); err != nil {
			return err
		}
		p.listed = maps.Clone(p.dirs)
	}
	if p.whole || !p.allListed() {
		return nil
	}
	if err := node.WriteWhole(p.fs, dataDir); err != nil {
		return err
	}
	p.whole = true
	return nil
}

// allListed reports whether the broker is registered and all that it is assigned is
// listed.
func (p *process) allListed() bool {
	b, ok := p.table.Broker(p.id)
	if !ok || p.epoch == 0 || b.Epoch != p.epoch {
		return false
	}
	listed := make(map[partition.ID]bool, len(p.listed))
	for _, id := range p.listed {
		listed[id] = true
	}
	return !slices.ContainsFunc(p.table.PartitionsOf(p.id), func(id partition.ID) bool { return !listed[id] })
}

// lacksNothing reports whether a copy that is made now is as complete as any.
func (p *process) lacksNothing(s *partition.State) bool {
	last := slices.Contains(s.ELR, p.id) || slices.Contains(s.LastKnownELR, p.id)
	return slices.Contains(s.ISR, p.id) || p.whole && last
}

// unlisted deals with an error of the list: new copies do nothing before they stand there.
func (p *process) unlisted(err error) {
	if node.IsFull(err) {
		p.late = true
		return
	}
	p.trouble(err)
}

// counted notes that the controller counts on a copy.
func (c *copyOf) counted(a *replica.Assignment, compacts bool) error {
	old := c.label()
	l := old
	l.Behind, l.Since = a.Counted(c.p.id, old.Behind, old.Since, compacts)
	if l == old {
		return nil
	}
	if !l.Behind {
		if _, err := log.DropAside(c.p.fs, c.dir); err != nil {
			return err
		}
	}
	return c.relabel(l)
}

// anew notes that this copy is about to be made anew.
func (c *copyOf) anew() error {
	l := c.label()
	l.Behind, l.Since = true, max(l.Since, c.state.Epoch)
	return c.relabel(l)
}

func (c *copyOf) label() node.Label {
	return node.Label{ID: c.id, Topic: c.topic, Behind: c.behind, Since: c.since}
}

func (c *copyOf) relabel(l node.Label) error {
	if err := node.WriteLabel(c.p.fs, c.dir, l); err != nil {
		return err
	}
	c.behind, c.since = l.Behind, l.Since
	return nil
}

var errOutdated = errors.New("replicatest: the copy is of before a lossy election")

// outdated reports whether there is a copy, and it is one from before a lossy election.
func (p *process) outdated(a *replica.Assignment, c *copyOf, f *found) bool {
	switch {
	case c != nil:
		return a.Outdated(p.id, c.since)
	case f != nil:
		return a.Outdated(p.id, f.label.Since)
	}
	return false
}
