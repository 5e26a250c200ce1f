package replicatest

import (
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A batchMark is what the observer keeps of one batch.
type batchMark struct {
	first, next log.Offset
	epoch       log.Epoch
	sum         uint64 // of all that its sender has made
	chain       uint64 // of it and all before it
}

func sumOf(b log.Batch) uint64 { return xxhash.Sum64(b[17:]) }

// A mirror is what one broker's disk holds of a partition, as the observer knows it
// from what the log was told to do. It outlives the processes.
type mirror struct {
	b       *broker
	part    *part
	dir     string
	start   log.Offset
	marks   []batchMark
	flushed log.Offset
	matched int // marks at the front that are those that are committed

	cutting  *log.Offset // a cut to there has begun
	resets   bool        // a reset has begun
	lost     bool        // it has lost what it may have acknowledged, and is not registered since
	flipped  bool        // a bit of it has been changed
	spoilt   bool        // a bit of what stands beside its segments has been, which shows when it is opened
	damaged  bool        // it did not open
	removes  bool        // its removal has begun
	discards bool        // its being discarded has begun
	silent   log.Epoch   // from which on it has said no more, for that reason; NoEpoch: none
	lineage  int         // of the part, with which its log has been compared

	life partition.BrokerEpoch // the broker's last one in which the copy was this, if it is not any more
}

// harmed reports whether something has been done to the copy that is not known to be
// mended.
func (m *mirror) harmed() bool { return m.flipped || m.spoilt || m.damaged }

func (m *mirror) end() log.Offset {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1].next
	}
	return m.start
}

// matchedTo is the end up to which the mirror holds what is committed.
func (m *mirror) matchedTo() log.Offset {
	m.advance()
	if m.matched == 0 {
		return m.start
	}
	return m.marks[m.matched-1].next
}

func (m *mirror) advance() {
	if m.matched == len(m.marks) {
		return
	}
	i := m.part.find(m.marks[m.matched].first)
	for m.matched < len(m.marks) && i >= 0 && i < len(m.part.committed) {
		if c, own := &m.part.committed[i], &m.marks[m.matched]; *c != *own {
			return
		}
		m.matched++
		i++
	}
}

// parts names the first place where the mirror parts from what is committed.
func (m *mirror) parts() string {
	m.advance()
	if m.matched == len(m.marks) {
		return fmt.Sprintf("it ends at %d", m.end())
	}
	own := m.marks[m.matched]
	i := m.part.find(own.first)
	if i < 0 || i >= len(m.part.committed) {
		return fmt.Sprintf("offset %d is not committed", own.first)
	}
	c := m.part.committed[i]
	return fmt.Sprintf("offset %d is %x of epoch %d, and %x of epoch %d is committed", own.first, own.sum, own.epoch, c.sum, c.epoch)
}

// append takes batches that the log has got, up to its end.
func (m *mirror) append(data []byte, end log.Offset) {
	for len(data) > 0 {
		b, rest, err := log.SplitBatch(data)
		if err != nil || b.Next() > end {
			return
		}
		m.add(b)
		data = rest
	}
}

// addWhole takes a batch as it was written.
func (m *mirror) addWhole(b log.Batch) {
	w := m.b.w
	k := batchMark{first: b.First(), next: b.Next(), epoch: b.Epoch(), sum: sumOf(b)}
	n := len(m.marks)
	if k.first != m.end() {
		w.fail("I5", "broker %d: batch of offset %d behind %d in %s", m.b.id, k.first, m.end(), m.part.name)
	}
	before, known := m.part.chainTo(k.first)
	known = m.start == 0 || known && m.lineage == m.part.lineage
	if n > 0 {
		before, known = m.marks[n-1].chain, true
		if m.marks[n-1].epoch > k.epoch {
			w.fail("I6", "broker %d: epoch %d behind %d at offset %d of %s", m.b.id, k.epoch, m.marks[n-1].epoch, k.first, m.part.name)
		}
	}
	k.chain = m.part.link(m, before, known, k)
	m.marks = append(m.marks, k)
}

// truncate follows a cut of the log.
func (m *mirror) truncate(end log.Offset) {
	n := len(m.marks)
	for n > 0 && m.marks[n-1].next > end {
		n--
	}
	m.marks = m.marks[:n]
	m.matched = min(m.matched, n)
	m.flushed = min(m.flushed, end)
	m.cutting = nil
}

// reset follows a reset.
func (m *mirror) reset(start log.Offset) {
	m.start, m.marks, m.matched, m.flushed, m.resets = start, nil, 0, start, false
}

// trim follows a new start.
func (m *mirror) trim(start log.Offset) {
	n := 0
	for n < len(m.marks) && m.marks[n].next <= start {
		n++
	}
	m.marks = m.marks[n:]
	m.matched = max(m.matched-n, 0)
	m.start = start
}

// A part is what the observer knows of one partition.
type part struct {
	w         *World
	name      string
	synced    bool
	hw        log.Offset // the end of what is committed: the true high watermark
	committed []batchMark
	former    [][]batchMark // of a compacted topic: what committed was before some of it was given up
	acked     log.Offset    // behind the newest acknowledged record
	start     log.Offset    // the highest log start of a leader
	deleted   log.Offset    // below which an operator was told that all is gone for good
	deletedIn log.Epoch     // of the leader who said so
	lineage   int           // rises when an election may have given records up
	since     log.Epoch     // in which it did: what is of before knows of another history
	chains    map[chainKey]batchMark
	leaders   map[log.Epoch]reign
	sums      map[uint64]log.Offset // of committed batches
	ops       map[uint64]*op
	restsTo   time.Duration // clients do not write until then
	busyTo    time.Duration // and do, from there until then
	compacts  bool          // its topic leaves of each key the newest record
	latest    map[string]log.Offset
	doubtful  map[string]bool     // keys whose newest record was given up
	settled   map[string]recordAt // what who was elected then has of these; nil: it has not begun to lead
	dirty     bool
	gone      bool // its topic has been deleted
	replicas  []assignment
	read      log.Offset
}

type chainKey struct {
	first log.Offset
	epoch log.Epoch
}

// An assignment is who keeps a part's copies, from one entry of the quorum on.
type assignment struct {
	from     log.Offset
	replicas []partition.BrokerID
}

// A reign is who leads in an epoch: one life of one broker.
type reign struct{ who, life int }

// find returns the index of the committed batch that begins at an offset, or where it
// would be; -1 if none can.
func (p *part) find(first log.Offset) int {
	lo, hi := 0, len(p.committed)
	for lo < hi {
		mid := (lo + hi) / 2
		if p.committed[mid].first < first {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(p.committed) && p.committed[lo].first != first {
		return -1
	}
	return lo
}

// chainTo returns the digest of all that is committed up to an offset, where a batch ends:
// a log that begins there, and has nothing yet, holds on to that.
func (p *part) chainTo(end log.Offset) (chain uint64, ok bool) {
	if i := p.find(end) - 1; i >= 0 && p.committed[i].next == end {
		return p.committed[i].chain, true
	}
	return 0, false
}

// link returns the digest of a batch and all before it, and holds it against that of
// any other log that has a batch of that epoch at that offset (I5).
func (p *part) link(m *mirror, before uint64, known bool, k batchMark) uint64 {
	key := chainKey{k.first, k.epoch}
	seen, there := p.chains[key]
	if !known {
		if there {
			before = seen.chain // not to be told: what came before is not here any more
		}
		if there && (seen.sum != k.sum || seen.next != k.next) {
			p.w.fail("I5", "broker %d: offset %d of epoch %d of %s is another batch than elsewhere", m.b.id, k.first, k.epoch, p.name)
		}
		return before
	}
	const prime = 0x9E3779B97F4A7C15
	k.chain = (before ^ k.sum ^ uint64(k.first)*prime ^ uint64(k.epoch)<<40) * prime
	k.chain ^= k.chain >> 32
	switch {
	case !there:
		p.chains[key] = k
	case seen != k:
		p.w.fail("I5", "broker %d: offset %d of epoch %d of %s, or what lies before, is another than elsewhere", m.b.id, k.first, k.epoch, p.name)
	}
	return k.chain
}
