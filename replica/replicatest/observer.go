package replicatest

import (
	"bytes"
	"errors"
	"slices"
	"syscall"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/node"
	"github.com/samsalog/samsa/replica/quorum"
)

// An observer sees all, from outside, and takes no part.
type observer struct {
	w       *World
	counts  Counts
	entries [][]byte // of the quorum, from index 1
	hashes  []uint64 // of the table after each; 0: not taken
	table   *partition.Table
	parts   map[partition.ID]*part
	order   []*part
	ids     []partition.ID // of order
	touched []*copyOf
	asked   map[partition.ID][]*ask // for unclean elections, of which none has come yet
	lowered map[partition.UUID]bool // an operator has asked for a MinISR of 1
	terms   map[log.Epoch]partition.BrokerID
	epochs  map[partition.BrokerID]partition.BrokerEpoch
	disks   map[partition.BrokerID]registration // of the newest, when it was another's than the one before
}

// A registration is of a directory, in an entry.
type registration struct {
	directory partition.UUID
	epoch     partition.BrokerEpoch
}

func newObserver(w *World) *observer {
	return &observer{
		w: w, table: partition.NewTable(), parts: make(map[partition.ID]*part), asked: make(map[partition.ID][]*ask), lowered: make(map[partition.UUID]bool),
		terms: make(map[log.Epoch]partition.BrokerID), epochs: make(map[partition.BrokerID]partition.BrokerEpoch),
		disks: make(map[partition.BrokerID]registration),
	}
}

// committedEntry sees an entry of the quorum that a process applies.
func (o *observer) committedEntry(p *process, index log.Offset, data []byte) {
	switch n := log.Offset(len(o.entries)); {
	case index > n+1:
		o.w.fail("I30", "broker %d applies entry %d, and nobody has applied %d", p.id, index, n+1)
	case index <= n:
		if !bytes.Equal(o.entries[index-1], data) {
			o.w.fail("I30", "broker %d applies another entry %d than others have", p.id, index)
		}
	default:
		o.entries = append(o.entries, slices.Clone(data))
		o.hashes = append(o.hashes, 0)
		if len(data) > 0 {
			o.fold(index, data)
		}
	}
}

// restored sees a process go on from a snapshot: of entries that are committed, and what
// these make of a table (I31).
func (o *observer) restored(p *process, index log.Offset, table *partition.Table) {
	if index > log.Offset(len(o.entries)) {
		o.w.fail("I30", "broker %d goes on from a snapshot of entry %d, and nobody has applied that", p.id, index)
		return
	}
	want := partition.NewTable()
	for i, data := range o.entries[:index] {
		if records, err := partition.DecodeRecords(data); err == nil && len(data) > 0 {
			want.Apply(log.Offset(i+1), records)
		}
	}
	if want.Hash() != table.Hash() || want.Offset() != table.Offset() {
		o.w.fail("I31", "broker %d goes on from a snapshot of entry %d that is not what the entries make", p.id, index)
	}
}

// fold applies an entry at the moment at which it is first applied anywhere.
func (o *observer) fold(index log.Offset, data []byte) {
	records, err := partition.DecodeRecords(data)
	if err != nil {
		o.w.fail("I31", "entry %d: %v", index, err)
		return
	}
	before := make(map[partition.ID]*partition.State)
	for _, id := range o.ids {
		before[id], _ = o.table.Partition(id)
	}
	active := o.active() // before the entry
	changes := o.table.Apply(index, records)
	for i, r := range records {
		if r, ok := r.(partition.RegisterBroker); ok && changes.Applied[i] {
			o.registered(r.Broker, partition.BrokerEpoch(index))
		}
	}
	for _, id := range changes.Partitions {
		st, there := o.table.Partition(id)
		if !there {
			o.deleted(id, index)
			continue
		}
		o.w.note("state", st.Leader, int64(st.Epoch), int64(st.PartitionEpoch))
		o.w.tell("%v %v: leader %d epoch %d isr %v elr %v last %v", o.named(id), o.table.MinISR(id), st.Leader, st.Epoch, st.ISR, st.ELR, st.LastKnownELR)
		p := o.part(id)
		p.assigned(index, st.Replicas)
		old := before[id]
		if old == nil {
			continue
		}
		o.reassigned(id, p, old, st)
		if st.PartitionEpoch <= old.PartitionEpoch || st.Epoch < old.Epoch {
			o.w.fail("I12", "%s goes from epoch %d, %d to %d, %d", p.name, old.Epoch, old.PartitionEpoch, st.Epoch, st.PartitionEpoch)
		}
		if st.Leader != old.Leader && st.Leader != partition.NoBroker {
			o.counts.Epochs++
			if b, ok := o.table.Broker(st.Leader); !ok || b.Fenced {
				o.w.fail("I2", "broker %d is elected for %s, and is fenced", st.Leader, p.name)
			}
			o.elected(id, p, old, st, active)
		}
	}
}

// registered notes that a broker has a new incarnation: all know what it may have lost.
func (o *observer) registered(b partition.Broker, epoch partition.BrokerEpoch) {
	if epoch <= o.epochs[b.ID] {
		o.w.fail("I11", "broker %d is registered as %d after %d", b.ID, epoch, o.epochs[b.ID])
	}
	o.epochs[b.ID] = epoch
	if o.disks[b.ID].directory != b.Directory {
		o.disks[b.ID] = registration{b.Directory, epoch}
	}
	at := o.w.broker(b.ID)
	if at.p == nil || at.p.incarnation != b.Incarnation {
		return // it is dead by now: what the disk has lost since stays a secret
	}
	for _, m := range at.mirrors {
		m.lost = false
	}
	for _, p := range o.order {
		p.dirty = true
	}
}

// compared sees a leader find the log of a follower to be the front of its own.
func (o *observer) compared(c *copyOf, follower partition.BrokerID) {
	p := c.mirror.part
	if m := o.w.broker(follower).mirrors[c.id]; m != nil && m.lineage != p.lineage && c.leader != nil && c.leader.Epoch() >= p.since {
		m.lineage = p.lineage
		if q := o.w.broker(follower).p; q != nil && q.copy(c.id) != nil {
			o.touch(q.copy(c.id))
		}
	}
}

// deleted forgets a partition whose topic has been deleted, but for what its copies still
// do until they know.
func (o *observer) deleted(id partition.ID, index log.Offset) {
	o.w.note("deleted", 0, int64(id.Partition), int64(index))
	p := o.part(id)
	p.gone, p.dirty = true, false
	p.assigned(index, nil)
	i := slices.Index(o.ids, id)
	o.ids, o.order = slices.Delete(o.ids, i, i+1), slices.Delete(o.order, i, i+1)
}

// part returns what is known of a partition.
func (o *observer) part(id partition.ID) *part {
	p := o.parts[id]
	if p == nil {
		topic, _ := o.table.TopicByID(id.Topic)
		p = &part{
			w: o.w, name: topic.Config.Name + "/" + string(rune('0'+id.Partition)), synced: topic.Config.Durability == partition.Synced,
			compacts: topic.Config.Compact,
			chains:   make(map[chainKey]batchMark), leaders: make(map[log.Epoch]reign),
			sums: make(map[uint64]log.Offset), ops: make(map[uint64]*op),
		}
		o.parts[id] = p
		o.w.met(id, p)
		o.order, o.ids = append(o.order, p), append(o.ids, id)
	}
	p.dirty = true
	return p
}

// applied sees a process's table after an entry.
func (o *observer) applied(p *process, changes partition.Changes) {
	i := int(p.table.Offset()) - 1
	if i%8 != 0 {
		return
	}
	h := p.table.Hash()
	if o.hashes[i] == 0 {
		o.hashes[i] = h
	} else if o.hashes[i] != h {
		o.w.fail("I31", "broker %d has another table at %d than others had", p.id, i+1)
	}
}

// voted sees the quorum from one voter.
func (o *observer) voted(p *process) {
	st := p.engine.Status()
	if st.Role != quorum.Leader {
		return
	}
	if other, ok := o.terms[st.Term]; ok && other != p.id {
		o.w.fail("I30", "voters %d and %d both lead in term %d", other, p.id, st.Term)
	}
	o.terms[st.Term] = p.id
}

// leads sees a copy begin to lead: one life of one broker an epoch (I7).
func (o *observer) leads(c *copyOf) {
	p := c.mirror.part
	r := reign{int(c.p.id), c.p.b.life}
	if other, ok := p.leaders[c.state.Epoch]; ok && other != r {
		o.w.fail("I7", "broker %d in its life %d leads %s in epoch %d, as broker %d did in its life %d",
			r.who, r.life, p.name, c.state.Epoch, other.who, other.life)
	}
	p.leaders[c.state.Epoch] = r
	o.begins(c)
	o.settles(c)
	o.compacted(c)
	o.touch(c)
}

// appends sees a leader write.
func (o *observer) appends(c *copyOf, epoch log.Epoch) {
	if r := (reign{int(c.p.id), c.p.b.life}); c.mirror.part.leaders[epoch] != r {
		o.w.fail("I7", "broker %d appends to %s in epoch %d, which it does not lead", c.p.id, c.mirror.part.name, epoch)
	}
	o.touch(c)
}

func (o *observer) touch(c *copyOf) {
	if !c.touched {
		c.touched = true
		o.touched = append(o.touched, c)
	}
}

// failed sees a process go offline: it may only for what was done to its disk as a whole.
// What is wrong with one copy keeps that copy out, and a full disk refuses records.
func (o *observer) failed(b *broker, err error) {
	if (!injected(err) || errors.Is(err, syscall.ENOSPC)) && !(b.rotten && errors.Is(err, quorum.ErrCorrupt)) {
		o.w.fail("disk", "broker %d goes offline for no fault of its disk: %v", b.id, err)
	}
}

// bootFailed sees a process not come up.
func (o *observer) bootFailed(b *broker, err error) {
	if !injected(err) && !(b.rotten && errors.Is(err, quorum.ErrCorrupt)) {
		o.w.fail("I32", "broker %d does not start: %v", b.id, err)
	}
}

func injected(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, logtest.ErrCrashed) || errors.Is(err, errKilled) ||
		errors.Is(err, node.ErrSuperseded)
}

// cannotLead sees a log whose epochs are newer than the metadata's.
func (o *observer) cannotLead(c *copyOf, err error) {
	o.w.fail("I6", "broker %d cannot lead %s: %v", c.p.id, c.mirror.part.name, err)
}

// alarm sees a machine say that committed records are cut, or that a complete replica
// would have to start again. A bit that is another is no reason to.
func (o *observer) alarm(c *copyOf, out replica.Output) {
	p := c.mirror.part
	switch {
	case p.gone || c.mirror.lineage != p.lineage:
	case out.Fail != nil:
		// One whose metadata is late may take itself for complete, and waits.
		if st, _ := o.table.Partition(c.id); slices.Contains(st.ISR, c.p.id) || slices.Contains(st.ELR, c.p.id) {
			o.w.fail("I3", "broker %d: %v", c.p.id, out.Fail)
		}
	default:
		o.w.fail("I1", "broker %d cuts %s to %d, below its high watermark", c.p.id, p.name, *out.Truncate)
	}
}

// unreadable sees a read that failed.
func (o *observer) unreadable(c *copyOf, from log.Offset, err error) {
	outside := from < c.log.Start() || from > c.log.End() // it has been trimmed, or cut, since it was asked
	switch {
	case outside && errors.Is(err, log.ErrOutOfRange), (c.lost || c.p.dead) && errors.Is(err, log.ErrClosed):
		return
	case c.mirror.flipped, injected(err):
		return
	}
	o.w.fail("I19", "broker %d cannot read %s at %d: %v", c.p.id, c.mirror.part.name, from, err)
}

// named is a partition's name, for people.
func (o *observer) named(id partition.ID) string {
	if p := o.parts[id]; p != nil {
		return p.name
	}
	return "a new partition"
}
