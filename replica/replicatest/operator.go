package replicatest

import (
	"math/rand/v2"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
)

// wishes are what operators ask for, drawn as faults are, and told with them.
var wishes = []kind{
	{"reassign", 4, func(w *World, f Fault, _ *broker) { w.reassign(f) }},
	{"cancel", 2, func(w *World, f Fault, _ *broker) {
		if id, st := w.drawn(f, func(st *partition.State) bool { return st.Target != nil }); st != nil {
			w.wish(control.Reassign{ReassignRequest: partition.ReassignRequest{ID: id}})
		}
	}},
	{"transfer", 4, func(w *World, f Fault, _ *broker) {
		if id, st := w.drawn(f, nil); st != nil {
			to := st.Replicas[f.dice().IntN(len(st.Replicas))]
			w.wish(control.Transfer{TransferRequest: partition.TransferRequest{ID: id, To: to}})
		}
	}},
	{"grow", 1, func(w *World, f Fault, _ *broker) {
		if topic, ok := w.topic(f); ok && topic.Config.Partitions < mostPartitions {
			w.wish(control.AddPartitions{AddPartitionsRequest: partition.AddPartitionsRequest{Topic: topic.ID, Total: topic.Config.Partitions + 1}})
		}
	}},
	{"delete", 1, func(w *World, f Fault, _ *broker) {
		if topic, ok := w.topic(f); ok {
			w.recreate(topic, f)
		}
	}},
	{"alter", 4, func(w *World, f Fault, _ *broker) {
		if topic, ok := w.topic(f); ok {
			w.alter(topic, 1+f.dice().IntN(topic.Config.Replicas))
		}
	}},
	{"delete before", 2, func(w *World, f Fault, _ *broker) {
		if id, st := w.drawn(f, nil); st != nil && st.Leader != partition.NoBroker {
			w.deleteBefore(id, st.Leader, f.size)
		}
	}},
	{"elect", 5, func(w *World, f Fault, _ *broker) { w.watchful(f, looks) }},
}

// mostPartitions is where a topic grows no further.
const mostPartitions = 3

// dice are a fault's own.
func (f Fault) dice() *rand.Rand { return rand.New(rand.NewPCG(uint64(f.seed), 1)) }

// drawn is a partition that a fault draws: one of which it is so, if there is any.
func (w *World) drawn(f Fault, so func(*partition.State) bool) (partition.ID, *partition.State) {
	n := len(w.watch.ids)
	if n == 0 {
		return partition.ID{}, nil
	}
	at := int(f.size * float64(n))
	for i := range w.watch.ids {
		id := w.watch.ids[(at+i)%n]
		if st, ok := w.watch.table.Partition(id); ok && so != nil && so(st) {
			return id, st
		}
	}
	st, _ := w.watch.table.Partition(w.watch.ids[at])
	return w.watch.ids[at], st
}

// topic is the topic of a drawn partition, but for the product's own.
func (w *World) topic(f Fault) (partition.Topic, bool) {
	id, _ := w.drawn(f, nil)
	topic, ok := w.watch.table.TopicByID(id.Topic)
	return topic, ok && topic.Config.Name != control.OffsetsTopic
}

// reassign moves a partition to as many replicas as it has, mostly.
func (w *World) reassign(f Fault) {
	id, st := w.drawn(f, nil)
	if st == nil {
		return
	}
	dice := f.dice()
	count := len(st.Replicas)
	if st.Origin != nil {
		count = len(st.Origin)
	}
	count = min(max(count+pick(dice, 1, 6, 1)-1, 1), len(w.brokers))
	var target []partition.BrokerID
	for _, i := range dice.Perm(len(w.brokers))[:count] {
		target = append(target, partition.BrokerID(i+1))
	}
	w.wish(control.Reassign{ReassignRequest: partition.ReassignRequest{ID: id, Replicas: target}})
	if dice.IntN(4) == 0 { // and thinks better of it
		w.at(f.For/4, nil, always, "regret", func() {
			w.wish(control.Reassign{ReassignRequest: partition.ReassignRequest{ID: id}})
		})
	}
}

// recreate deletes a topic, and mostly makes another of its name at once.
func (w *World) recreate(topic partition.Topic, f Fault) {
	again := f.size < 0.7
	w.ask(control.DeleteTopic{DeleteTopicRequest: partition.DeleteTopicRequest{Topic: topic.ID}}, tries, func(done bool) {
		if done && again && !w.calm {
			w.wish(control.CreateTopic{Config: topic.Config})
		}
	})
}

// alter gives a topic another MinISR; 1 only if no disk has broken that may soon be the
// only one that counts.
func (w *World) alter(topic partition.Topic, least int) {
	if least < 2 {
		for n := range topic.Partitions {
			if !w.sound(partition.ID{Topic: topic.ID, Partition: partition.PartitionID(n)}) {
				return
			}
		}
		w.watch.lowered[topic.ID] = true
	}
	change := partition.TopicConfig{MinISR: least}
	w.wish(control.AlterTopic{AlterTopicRequest: partition.AlterTopicRequest{Topic: topic.ID, Config: change}})
}

// sound reports whether nothing has happened to the disks of a partition's replicas that
// is not mended.
func (w *World) sound(id partition.ID) bool {
	st, ok := w.watch.table.Partition(id)
	if !ok {
		return true
	}
	for _, r := range st.Replicas {
		b := w.broker(r)
		m := b.mirrors[id]
		at, _ := w.watch.table.Broker(r)
		if m == nil || m.lost || m.harmed() || b.rotten || b.p == nil || at.Epoch != b.p.epoch {
			return false
		}
	}
	return true
}

// looks is how often an operator looks whether a partition has no leader.
const looks = 8

// watchful is an operator who stands by for as long as a fault lasts, and gives records up
// as soon as a partition has no leader.
func (w *World) watchful(f Fault, left int) {
	id, st := w.drawn(f, func(st *partition.State) bool { return st.Leader == partition.NoBroker })
	switch {
	case w.calm || st == nil || left == 0:
	case st.Leader == partition.NoBroker:
		w.elect(id, st, f.size)
	default:
		w.at(f.For/looks, nil, always, "look", func() { w.watchful(f, left-1) })
	}
}

// elect has a replica elected that may have lost what was acknowledged.
func (w *World) elect(id partition.ID, st *partition.State, draw float64) {
	to := partition.NoBroker // the most complete of those that are there
	if draw < 0.3 {
		to = st.Replicas[int(draw*100)%len(st.Replicas)]
	}
	w.wish(control.ElectUnclean{ElectRequest: partition.ElectRequest{ID: id, To: to}})
}

// deleteBefore has a leader remove a share of what is committed.
func (w *World) deleteBefore(id partition.ID, leader partition.BrokerID, share float64) {
	p := w.watch.parts[id]
	before := p.start + log.Offset(share*float64(p.hw-p.start))
	w.call(nil, leader, "wish", disk, callTime, func(q *process, answer func(any)) {
		q.leading(id, log.NoEpoch, func(c *copyOf, r role, code partition.Code) {
			if code != partition.OK || r.begin > c.high || before > c.high {
				answer(code)
				return
			}
			c.trim(before)
			c.settle()
			c.removedByAll(c.log.Start(), deletePatience, answer)
		})
	}, func(any, error) {})
}

// deletePatience is how often a leader looks whether all who may lead have removed records
// of which an operator has asked that.
const deletePatience = 30

// removedByAll answers when nobody who may lead has what lies below start, or when it has
// been looked at for long enough.
func (c *copyOf) removedByAll(start log.Offset, left int, answer func(any)) {
	code := partition.NotLeader
	if c.leader != nil && !c.p.dead {
		code = c.leader.RemovedCode(start)
	}
	if code == partition.NotAvailable && left > 0 {
		c.p.w.at(10*time.Millisecond, c.p.b, disk, "removed", func() { c.removedByAll(start, left-1, answer) })
		return
	}
	if code == partition.OK {
		c.p.w.watch.deletes(c, start)
	}
	answer(code)
}

// tries is how often an operator asks the same before giving up.
const tries = 6

// wish has an operator ask the controller for something. It may come to nothing.
func (w *World) wish(in control.Input) { w.ask(in, tries, func(bool) {}) }

// ask asks the controller until it has answered; done is told whether it is so. An answer
// may be lost, so that it is asked for what it has done already.
func (w *World) ask(in control.Input, left int, done func(bool)) {
	again := func() {
		w.at(span(w.rng, 20*time.Millisecond, 200*time.Millisecond), nil, always, "ask", func() { w.ask(in, left-1, done) })
	}
	to := w.controller()
	switch {
	case left == 0:
		done(false)
		return
	case to == nil:
		again()
		return
	}
	seen := to.p.table.Offset()
	if c, ok := in.(control.CreateTopic); ok {
		c.Topic = uuid(w.rng) // each time another, as a broker does
		in = c
	}
	w.call(nil, to.id, "wish", awake, 5*callTime, func(q *process, answer func(any)) {
		if e, ok := in.(control.ElectUnclean); ok {
			answer = w.watch.asks(e.ID, answer)
		}
		q.ask(func(token uint64) control.Input { return addressed(in, token, seen) }, answer)
	}, func(v any, err error) {
		var code partition.Code
		switch v := v.(type) {
		case partition.ChangeResponse:
			code = v.Code
		case partition.CreateTopicResponse:
			code = v.Code
		default:
			code = partition.NotController
		}
		switch {
		case err != nil, code == partition.NotController, code == partition.NotAttempted:
			again()
		default:
			w.watch.counts.Wishes += b2i(code == partition.OK)
			w.tell("%T is answered: %v", in, v)
			done(code == partition.OK)
		}
	})
}

// controller is a broker that takes itself for the controller, or nil.
func (w *World) controller() *broker {
	n := len(w.brokers)
	from := w.rng.IntN(n)
	for i := range n {
		if b := w.brokers[(from+i)%n]; b.p != nil && b.p.leads {
			return b
		}
	}
	return nil
}

// addressed is a request with its token, and how new the metadata is that the asker has.
func addressed(in control.Input, token uint64, seen log.Offset) control.Input {
	switch in := in.(type) {
	case control.CreateTopic:
		in.Token = token
		return in
	case control.DeleteTopic:
		in.Token, in.Seen = token, seen
		return in
	case control.AddPartitions:
		in.Token, in.Seen = token, seen
		return in
	case control.AlterTopic:
		in.Token, in.Seen = token, seen
		return in
	case control.Reassign:
		in.Token, in.Seen = token, seen
		return in
	case control.Transfer:
		in.Token, in.Seen = token, seen
		return in
	case control.ElectUnclean:
		in.Token, in.Seen = token, seen
		return in
	}
	return in
}
