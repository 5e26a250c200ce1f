package control

import (
	"slices"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
	"github.com/samsalog/samsa/replica"
)

// A request waits until applied state answers it. Judging it changes nothing but
// the plan, so that it can be judged again, after its records have been applied,
// skipped or dropped.
type request interface {
	// judge answers from applied state, or plans what would make that possible, or
	// does neither because the entry already changes something that it depends on.
	judge(p *plan) (Reply, bool)
	// answer refuses.
	answer(code partition.Code) Reply
	// tried says that an entry with the request's records has been applied.
	tried()
	// ofBroker says that the request is about a broker's own standing.
	ofBroker() bool
}

// register gives a broker's new incarnation its epoch (rules C5 and C6).
type register struct{ in Register }

func (r *register) ofBroker() bool { return true }
func (r *register) tried()         {}

func (r *register) answer(code partition.Code) Reply {
	return Reply{r.in.Token, RegisterResponse{Code: code}}
}

func (r *register) judge(p *plan) (Reply, bool) {
	b := r.in.Broker
	if b.ID <= partition.NoBroker || b.Directory == (partition.UUID{}) || b.Incarnation == (partition.UUID{}) {
		return r.answer(partition.Malformed), true
	}
	old, known := p.c.table.Broker(b.ID)
	switch {
	case known && old.Incarnation == b.Incarnation:
		return Reply{r.in.Token, RegisterResponse{Epoch: old.Epoch}}, true
	case known && old.Directory == b.Directory && b.Incarnation.Before(old.Incarnation):
		return r.answer(partition.StaleBroker), true // its process is dead, and this came late
	case p.changing(b.ID) || p.full():
		return Reply{}, false
	case known && !old.Fenced && old.Directory != b.Directory:
		return r.answer(partition.DuplicateBroker), true
	}
	b.Epoch, b.Fenced, b.Stopping, b.Full = 0, true, false, false
	suspect := r.suspect(p, old)
	p.add(partition.RegisterBroker{Broker: b, Suspect: suspect}, 64+len(b.Addr)+len(b.Rack)+idSize*len(suspect))
	p.brokers[b.ID] = standing{fenced: true}
	for _, id := range suspect {
		p.touched[id] = nil
		if s, ok := p.c.table.Partition(id); ok && s.Leader == b.ID {
			p.tell(Event{Kind: PartitionOffline, Partition: id})
		}
	}
	p.dirty = append(p.dirty, suspect...)
	p.c.soil(p.c.table.PartitionsOf(b.ID)...)
	return Reply{}, false
}

// suspect lists the partitions in whose ISR or ELR the broker stands and may not
// stay: those that it names; those that are not Synced, if its stop was not clean,
// for the page cache may be gone; and all, if its directory is another one.
func (r *register) suspect(p *plan, old partition.Broker) []partition.ID {
	wiped := old.Directory != r.in.Broker.Directory
	clean := r.in.PrevEpoch != 0 && r.in.PrevEpoch == old.Epoch
	named := make(map[partition.ID]bool, len(r.in.Suspect))
	for _, id := range r.in.Suspect {
		named[id] = true
	}
	var suspect []partition.ID
	for _, id := range p.c.table.PartitionsOf(old.ID) {
		s, ok := p.c.table.Partition(id)
		if !ok || !slices.Contains(s.ISR, old.ID) && !slices.Contains(s.ELR, old.ID) {
			continue
		}
		topic, _ := p.c.table.TopicByID(id.Topic)
		if wiped || named[id] || !clean && mutate.On("all stop at once") || !clean && topic.Config.Durability != partition.Synced {
			suspect = append(suspect, id)
		}
	}
	return suspect
}

// heartbeat fences and unfences a broker as it wishes (rule C4), lets it stop (rule
// C10), and hears of the room on its disk (rule C13).
type heartbeat struct {
	in  Heartbeat
	did bool // its record has been applied, or skipped
}

func (r *heartbeat) ofBroker() bool { return true }
func (r *heartbeat) tried()         { r.did = !r.in.WantStop }

func (r *heartbeat) answer(code partition.Code) Reply {
	return Reply{r.in.Token, HeartbeatResponse{Code: code}}
}

func (r *heartbeat) judge(p *plan) (Reply, bool) {
	reply, done := r.answerNow(p.c)
	if done || p.changing(r.in.Broker) || p.full() {
		return reply, done
	}
	b, _ := p.c.table.Broker(r.in.Broker)
	switch {
	case r.in.WantStop && !b.Stopping:
		p.changeBroker(b, standing{stopping: true}, Stopping)
	case r.in.WantStop && p.c.mayGo(b.ID):
		p.changeBroker(b, standing{fenced: true, stopping: true}, FencedStopped)
	case r.in.WantStop:
		// It is judged again when something has been applied, here or elsewhere.
	case r.in.WantFence:
		p.changeBroker(b, standing{fenced: true, stopping: b.Stopping}, FencedItself)
	case !b.Fenced && r.in.Full:
		p.changeBroker(b, standing{full: true}, Filled)
	case !b.Fenced:
		p.changeBroker(b, standing{}, Roomy)
	case p.c.stands(b.ID):
		// What it leads it leads by the word of an earlier incarnation, whose epoch it
		// must not take up again. The entry that settles this comes first.
	default:
		p.changeBroker(b, standing{full: r.in.Full}, Unfenced)
	}
	return Reply{}, false
}

// mayGo reports whether a stopping broker stands in no ISR in which there is another, so
// that it leads nothing that another could lead, and every active broker has applied that:
// nobody asks it for anything any more. What others take over last they have to apply too.
func (c *Controller) mayGo(id partition.BrokerID) bool {
	leads := 0
	for _, s := range c.table.All() {
		if slices.Contains(s.ISR, id) && slices.ContainsFunc(s.ISR, c.active) {
			return false
		}
		if s.Leader == id {
			leads++
		}
	}
	p, known := c.stops[id]
	if !known || p.leads != leads { // as long as it stops, it gets nothing to lead
		p = parting{leads, c.table.Offset()}
		c.stops[id] = p
	}
	for _, b := range c.table.Brokers() {
		if b.ID != id && c.active(b.ID) && c.heard[b.ID] < p.since {
			return false
		}
	}
	return true
}

func (c *Controller) active(id partition.BrokerID) bool {
	b, ok := c.table.Broker(id)
	return ok && !b.Fenced && !b.Stopping
}

// answerNow answers a heartbeat that changes nothing: nearly all are such, and
// they need not wait for an entry that is under way.
func (r *heartbeat) answerNow(c *Controller) (Reply, bool) {
	b, ok := c.table.Broker(r.in.Broker)
	switch {
	case offsetOf(r.in.Epoch) > c.table.Offset():
		return r.answer(partition.NotController), true // the sender has seen more than this controller
	case !ok:
		return r.answer(partition.UnknownBroker), true
	case b.Epoch != r.in.Epoch:
		return r.answer(partition.StaleBroker), true
	}
	behind := r.in.Applied < offsetOf(b.Epoch)
	leaves := r.in.WantFence || r.in.WantStop
	same := b.Fenced == leaves && (b.Fenced || b.Stopping || b.Full == r.in.Full)
	if r.did || same || b.Fenced && (behind || b.Stopping) {
		return Reply{r.in.Token, HeartbeatResponse{Fenced: b.Fenced, Offset: c.table.Offset()}}, true
	}
	return Reply{}, false
}

// alter is a leader's proposal of another ISR (rule C7).
type alter struct {
	in         Alter
	tries      int
	ineligible bool             // a member was, and the entry that settles it is under way
	ends       *partition.State // what it would make of the partition, in a new leader epoch
}

func (r *alter) ofBroker() bool { return false }
func (r *alter) tried()         { r.tries++ }

func (r *alter) answer(code partition.Code) Reply {
	return Reply{r.in.Token, replica.AlterISRAnswer{Code: code}}
}

func (r *alter) judge(p *plan) (Reply, bool) {
	s, code := r.check(p.c.table)
	isr := r.isr()
	switch {
	case r.done(p.c.table):
		return r.answer(partition.NewLeaderElected), true
	case code != partition.OK:
		return r.answer(code), true
	// Nothing to do, or done already: the answer of another sending was lost.
	case slices.Equal(isr, s.ISR) && !(s.Recovering && r.in.Recovered):
		return Reply{r.in.Token, replica.AlterISRAnswer{State: *s}}, true
	case s.PartitionEpoch != r.in.PartitionEpoch && r.ineligible:
		return r.answer(partition.IneligibleReplica), true
	case s.PartitionEpoch != r.in.PartitionEpoch:
		return r.answer(partition.StalePartitionEpoch), true
	case r.tries >= maxTries:
		return r.answer(partition.NotAttempted), true
	case p.isTouched(r.in.ID) || p.full() || slices.ContainsFunc(isr, p.changing):
		return Reply{}, false
	}
	r.ineligible = slices.ContainsFunc(r.in.ISR, func(m partition.Member) bool { return !eligible(p.c.table, s, m) })
	if r.ineligible {
		p.outdate(r.in.ID, s)
		return Reply{}, false
	}
	p.change(r.in.ID, s, partition.Change{ISR: isr, Recovered: r.in.Recovered})
	if next := p.touched[r.in.ID]; next != nil && next.Epoch != s.Epoch {
		r.ends = next
	}
	return Reply{}, false
}

// done reports that the proposal has been applied, and was the end of the sender's
// epoch: it completed a reassignment.
func (r *alter) done(t *partition.Table) bool {
	s, ok := t.Partition(r.in.ID)
	return ok && r.ends != nil && r.tries > 0 && s.PartitionEpoch == r.ends.PartitionEpoch && sameButEpoch(*s, *r.ends)
}

// isr returns the proposed members in rising order.
func (r *alter) isr() []partition.BrokerID {
	var ids []partition.BrokerID
	for _, m := range r.in.ISR {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

// check finds whatever is wrong with the proposal whoever its members are.
func (r *alter) check(t *partition.Table) (*partition.State, partition.Code) {
	s, ok := t.Partition(r.in.ID)
	sender, known := t.Broker(r.in.From)
	switch {
	// The first three senders have seen more than this controller, which must have
	// been deposed; or the topic has been deleted, and the sender will know soon.
	case offsetOf(r.in.BrokerEpoch) > t.Offset():
		return nil, partition.NotController
	case !ok:
		return nil, partition.NotController
	case r.in.Epoch > s.Epoch || r.in.PartitionEpoch > s.PartitionEpoch:
		return nil, partition.NotController
	case !known || sender.Epoch != r.in.BrokerEpoch:
		return nil, partition.StaleBroker
	case r.in.Epoch < s.Epoch:
		return nil, partition.FencedEpoch
	case s.Leader != r.in.From:
		return nil, partition.NotLeader
	}
	isr := r.isr()
	if !slices.Contains(isr, s.Leader) || len(slices.Compact(slices.Clone(isr))) != len(isr) {
		return nil, partition.Malformed
	}
	for _, m := range r.in.ISR {
		if !slices.Contains(s.Replicas, m.ID) {
			return nil, partition.Malformed
		}
	}
	if s.Recovering && !r.in.Recovered && len(isr) > 1 {
		return nil, partition.Malformed
	}
	return s, partition.OK
}

// eligible says that a member may stand in the ISR. Only an existing one may be
// named without its epoch: the leader may not have heard of it yet.
func eligible(t *partition.Table, s *partition.State, m partition.Member) bool {
	b, ok := t.Broker(m.ID)
	if !ok || b.Fenced || (b.Stopping || b.Full) && !slices.Contains(s.ISR, m.ID) {
		return false // one that stops or is full stays where it is needed, and joins nothing
	}
	if mutate.On("KIP-903") || mutate.On("fence races ISR") {
		return true
	}
	return b.Epoch == m.Epoch || m.Epoch == partition.UnknownBrokerEpoch && slices.Contains(s.ISR, m.ID)
}
