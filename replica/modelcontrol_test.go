package replica

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// change makes a new image: isr without suspects shall be the ISR, unless it is as
// before, and brokers stand as peers says.
func (m *model) change(isr brokers, peers []Peer, suspect ...partition.BrokerID) {
	v := modelVersion{state: m.newest().state, peers: peers}
	old := v.state
	active := func(id partition.BrokerID) bool { return peers[id-1].Active }
	stuck := len(suspect) > 0 || old.Leader == partition.NoBroker || !active(old.Leader)
	if next, _ := old.Change(partition.Change{ISR: isr, MinISR: modelMinISR, Active: active, Suspect: suspect}); stuck ||
		!slices.Equal(next.ISR, old.ISR) {
		v.state = next
	}
	m.push(v)
}

func (m *model) push(v modelVersion) {
	old := m.newest().state
	m.versions = append(m.versions, v)
	m.story("state %+v peers %+v", v.state, v.peers)
	if v.state.Leader != old.Leader && v.state.Leader != partition.NoBroker {
		m.watch.epochs++
		if l := &m.broker(v.state.Leader).log; l.flushed < m.watch.high {
			m.watch.fail("I2: %d is elected with a flushed end of %d, below %d", v.state.Leader, l.flushed, m.watch.high)
		}
	}
}

func (m *model) peersWith(p Peer) []Peer {
	peers := slices.Clone(m.newest().peers)
	peers[p.ID-1] = p
	return peers
}

func without(ids brokers, id partition.BrokerID) brokers {
	return slices.DeleteFunc(slices.Clone(ids), func(other partition.BrokerID) bool { return other == id })
}

// fence takes a broker for dead, rightly or not.
func (m *model) fence(b *modelBroker) {
	if p := m.newest().peers[b.id-1]; p.Active {
		m.change(without(m.newest().state.ISR, b.id), m.peersWith(Peer{b.id, p.Epoch, false}))
	}
}

func (m *model) unfence(b *modelBroker) {
	if p := m.newest().peers[b.id-1]; b.up && !p.Active && p.Epoch == b.epoch {
		m.change(m.newest().state.ISR, m.peersWith(Peer{b.id, p.Epoch, true}))
	}
}

// transfer moves the leadership to b, whatever the reason.
func (m *model) transfer(b *modelBroker) {
	v := m.newest()
	if v.state.Leader != b.id && m.active(b.id) && slices.Contains(v.state.ISR, b.id) {
		v.state.Leader = b.id
		v.state.Epoch++
		v.state.PartitionEpoch++
		m.push(v)
	}
}

func (m *model) crash(b *modelBroker) {
	if b.up {
		b.up, b.leader, b.follower, b.waiters, b.altering = false, nil, nil, nil, false
		b.log.powerFail(m.rng)
		b.high = min(b.high, b.log.end()) * log.Offset(m.rng.IntN(2)) // its checkpoint may be old
		m.story("broker %d crashes: end %d", b.id, b.log.end())
	}
}

// restart registers a broker anew, perhaps with an empty disk if others have all.
func (m *model) restart(b *modelBroker, wipe bool) {
	if b.up {
		return
	}
	m.fence(b)
	var suspect brokers
	s := m.newest().state
	if others := without(slices.Concat(s.ISR, s.ELR), b.id); wipe && len(others) > 0 {
		m.story("broker %d loses its disk", b.id)
		b.former = append(b.former, b.log)
		b.log, b.high, suspect = modelLog{}, 0, brokers{b.id}
	}
	m.last++
	b.epoch, b.up, b.sequence, b.state = m.last, true, 0, partition.State{}
	m.change(without(s.ISR, b.id), m.peersWith(Peer{b.id, b.epoch, false}), suspect...)
	b.view = -1
	m.learn(b, len(m.versions)-1)
}

// decide is the controller's answer to a proposal.
func (m *model) decide(req *AlterISR) *Altered {
	v := m.newest()
	answer := &Altered{PartitionEpoch: req.PartitionEpoch}
	isr := brokers{}
	for _, member := range req.ISR {
		p := v.peers[member.ID-1]
		known := member.Epoch == p.Epoch || member.Epoch == partition.UnknownBrokerEpoch && slices.Contains(v.state.ISR, member.ID)
		if !p.Active || !known {
			answer.Code = partition.IneligibleReplica
		}
		isr = append(isr, member.ID)
	}
	switch {
	case v.peers[req.From-1].Epoch != req.BrokerEpoch:
		answer.Code = partition.StaleBroker
	case req.Epoch != v.state.Epoch || req.From != v.state.Leader:
		answer.Code = partition.FencedEpoch
	case req.PartitionEpoch != v.state.PartitionEpoch:
		answer.Code = partition.StalePartitionEpoch
	case answer.Code == partition.OK:
		m.change(isr, v.peers)
		answer.State = m.newest().state
	}
	return answer
}

// An observer stands outside and knows what has ever been committed.
type observer struct {
	high      log.Offset            // the highest that any leader ever reached
	committed map[log.Offset]uint64 // the sum of all below each batch that is
	reigns    map[log.Epoch]Peer
	highs     map[log.Epoch]log.Offset
	acks      int
	epochs    int
	broken    error
}

func (o *observer) fail(format string, args ...any) {
	if o.broken == nil {
		o.broken = fmt.Errorf(format, args...)
	}
}

// leads looks at a leader after each of its steps.
func (o *observer) leads(m *model, b *modelBroker) {
	if o.reigns == nil {
		o.reigns, o.highs, o.committed = map[log.Epoch]Peer{}, map[log.Epoch]log.Offset{}, map[log.Offset]uint64{}
	}
	epoch, me := b.leader.Epoch(), Peer{ID: b.id, Epoch: b.epoch}
	if other, ok := o.reigns[epoch]; ok && other != me {
		o.fail("I7: %+v and %+v lead in epoch %d", other, me, epoch)
	}
	if o.reigns[epoch] = me; b.high < o.highs[epoch] {
		o.fail("I8: high watermark of epoch %d goes down from %d to %d", epoch, o.highs[epoch], b.high)
	}
	o.highs[epoch] = b.high
	if b.high > o.high {
		if b.log.sum(o.high) != o.committed[o.high] {
			o.fail("I1: leader %d of epoch %d commits another past", b.id, epoch)
		}
		for _, batch := range b.log.batches {
			if end := batch.Next(); end > o.high && end <= b.high {
				o.committed[end] = batch.sum
			}
		}
		o.high = b.high
		m.story("broker %d commits up to %d in epoch %d", b.id, b.high, epoch)
	}
}

// acked looks at a write that is acknowledged.
func (o *observer) acked(m *model, end log.Offset) {
	o.acks++
	holders := 0
	for _, b := range m.brokers {
		// An ack may be under way when its disk goes up in smoke.
		if slices.ContainsFunc(append(b.former[:len(b.former):len(b.former)], b.log), func(l modelLog) bool {
			return l.flushed >= end && l.sum(end) == o.committed[end]
		}) {
			holders++
		}
	}
	if end > o.high || holders < modelMinISR {
		o.fail("I9: %d is acknowledged, %d replicas hold it, %d is committed", end, holders, o.high)
	}
}

// check looks at everything.
func (o *observer) check(m *model) {
	s := m.newest().state
	for _, id := range slices.Concat(s.ISR, s.ELR) {
		if b := m.broker(id); b.log.flushed < o.high || b.log.sum(o.high) != o.committed[o.high] {
			o.fail("I3: %d of ISR %v, ELR %v holds %d of what is committed below %d", id, s.ISR, s.ELR, b.log.flushed, o.high)
		}
	}
	for _, b := range m.brokers {
		if err := m.checkMachine(b, s); err != nil {
			o.fail("%w", err)
		}
		for _, c := range m.brokers[b.id:] {
			if err := b.log.agree(&c.log, min(b.high, c.high)); err != nil {
				o.fail("I5: brokers %d and %d: %w", b.id, c.id, err)
			}
		}
		if !slices.IsSortedFunc(b.log.batches, func(x, y modelBatch) int { return int(x.Epoch()) - int(y.Epoch()) }) {
			o.fail("I6: epochs of broker %d fall", b.id)
		}
	}
}

func (m *model) checkMachine(b *modelBroker, s partition.State) error {
	switch {
	case !b.up:
		return nil
	case b.follower != nil:
		return b.follower.Check()
	case b.leader == nil:
		return nil
	}
	if err := b.leader.Check(); err != nil || b.leader.Epoch() != s.Epoch || !b.leader.enough() {
		return err
	}
	if b.log.sum(m.watch.high) != m.watch.committed[m.watch.high] {
		return fmt.Errorf("I1: leader %d of epoch %d lacks what is committed below %d", b.id, s.Epoch, m.watch.high)
	}
	for _, id := range slices.Concat(s.ISR, s.ELR) {
		if !slices.Contains(b.leader.MaximalISR(), id) {
			return fmt.Errorf("I4: %d is in ISR %v or ELR %v, and does not count for leader %d: %v", id, s.ISR, s.ELR, b.id, b.leader.MaximalISR())
		}
	}
	return nil
}

// settled reports what has not become alike.
func (m *model) settled() error {
	s := m.newest().state
	if s.Leader == partition.NoBroker || !slices.Equal(s.ISR, brokers{1, 2, 3}) {
		return fmt.Errorf("leader %d, ISR %v, ELR %v", s.Leader, s.ISR, s.ELR)
	}
	end := m.broker(s.Leader).log.end()
	for _, b := range m.brokers {
		if b.log.end() != end || b.high != end || b.log.flushed != end {
			return fmt.Errorf("broker %d ends at %d, flushed %d, high watermark %d; leader %d ends at %d",
				b.id, b.log.end(), b.log.flushed, b.high, s.Leader, end)
		}
	}
	return nil
}
