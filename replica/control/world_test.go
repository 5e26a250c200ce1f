package control

import (
	"maps"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

// stop ends a broker: cleanly, or with what its page cache and disk lose.
func (w *world) stop(p *process) {
	if !p.up {
		return
	}
	p.up, p.clean = false, 0
	if w.chance(25) {
		p.clean = p.epoch
		return
	}
	wiped := w.chance(20)
	for id := range w.table.All() {
		topic, _ := w.table.TopicByID(id.Topic)
		held := w.copies(id)[p.ID-1]
		cut := w.rng.IntN(len(held) + 1)
		switch {
		case wiped:
			cut = 0
		case topic.Config.Durability != partition.Synced:
		case w.chance(30):
			p.suspect = append(p.suspect, id)
		default:
			continue
		}
		w.copies(id)[p.ID-1] = held[:cut:cut]
		p.lossy = true
	}
	if wiped {
		p.Directory, p.lossy = uuid(w.rng.IntN(1<<30)), true
	}
}

// boot starts a broker, as a new incarnation.
func (w *world) boot(p *process) {
	if !p.up {
		p.up, p.epoch, p.Incarnation, p.stops = true, 0, uuid(w.rng.IntN(1<<30)), false
	}
}

// live sends what a broker has to say: it registers, or it lives.
func (w *world) live(p *process) {
	switch {
	case !p.up:
	case p.epoch == 0:
		w.send(Register{w.next(), RegisterRequest{Broker: p.Broker, PrevEpoch: p.clean, Suspect: p.suspect}})
	default:
		applied := w.table.Offset() - log.Offset(w.rng.IntN(2))
		w.send(Heartbeat{w.next(), HeartbeatRequest{Broker: p.ID, Epoch: p.epoch, Applied: applied, WantFence: !w.calm && w.chance(2), WantStop: p.stops, Full: p.full}})
	}
}

// speaks notes that a copy has led or followed in an epoch: what it holds may count.
func (w *world) speaks(id partition.ID, b partition.BrokerID, epoch log.Epoch) {
	w.spoke[copyID{id, b}] = epoch
}

// discardSome has brokers begin copies anew, as far as they may by now.
func (w *world) discardSome() {
	for id, s := range w.table.All() {
		for _, b := range s.Replicas {
			if !w.serving(b) || w.chance(70) {
				continue
			}
			spoke, ok := w.spoke[copyID{id, b}]
			if !ok {
				spoke = log.NoEpoch
			}
			switch a := (&replica.Assignment{State: s, Registered: true}); a.Remedy(b, spoke) {
			case replica.Announce:
				w.send(Discard{w.next(), replica.Discard{From: b, BrokerEpoch: w.epoch(b), ID: id, Epoch: spoke}})
			case replica.Begin:
				w.copies(id)[b-1] = nil
				w.anew[copyID{id, b}] = true
			case replica.Stand:
			}
		}
	}
}

// serving says that a broker is up, and is what the table takes it for.
func (w *world) serving(id partition.BrokerID) bool {
	p := w.brokers[id-1]
	return p.up && p.epoch != 0 && p.epoch == w.epoch(id)
}

// lead lets a broker do what it may in the partitions that it leads: write a
// record, have followers catch up, and propose another ISR.
func (w *world) lead(p *process) {
	for id, s := range w.table.All() {
		if s.Leader != p.ID || !w.serving(p.ID) {
			continue
		}
		w.speaks(id, p.ID, s.Epoch)
		isr := s.ISR
		pending, waits := w.proposed[id]
		if waits && (pending.Epoch != s.Epoch || pending.PartitionEpoch < s.PartitionEpoch) {
			delete(w.proposed, id)
			waits = false
		}
		known := true
		for _, m := range pending.ISR {
			if waits && !slices.Contains(isr, m.ID) {
				isr = append(slices.Clone(isr), m.ID)
				known = known && w.epoch(m.ID) == m.Epoch // another incarnation's fetches do not count
			}
		}
		if known {
			w.write(id, s, isr)
		}
		copies := w.copies(id)
		for _, f := range s.Replicas {
			if w.serving(f) && (w.calm || w.chance(25)) {
				copies[f-1] = slices.Clone(copies[p.ID-1])
				w.speaks(id, f, s.Epoch)
			}
		}
		switch {
		case waits:
			if w.calm || w.chance(15) {
				w.send(w.alter(pending))
			}
		case w.calm || w.chance(60):
			w.suggest(id, s)
		}
	}
}

// write appends a record; it is acknowledged if all of the maximal ISR take it.
func (w *world) write(id partition.ID, s *partition.State, maximal []partition.BrokerID) {
	copies := w.copies(id)
	own := append(slices.Clone(copies[s.Leader-1]), s.Epoch)
	copies[s.Leader-1] = own
	if len(s.ISR) < w.table.MinISR(id) || slices.ContainsFunc(maximal, func(b partition.BrokerID) bool { return !w.serving(b) }) {
		return
	}
	for _, b := range maximal {
		copies[b-1] = slices.Clone(own)
		w.speaks(id, b, s.Epoch)
	}
	w.acked[id] = slices.Clone(own)
}

// suggest proposes an ISR of replicas that have all that the leader has.
func (w *world) suggest(id partition.ID, s *partition.State) {
	req := replica.AlterISR{
		From: s.Leader, BrokerEpoch: w.epoch(s.Leader), ID: id, Epoch: s.Epoch, PartitionEpoch: s.PartitionEpoch, Recovered: s.Recovering,
	}
	copies := w.copies(id)
	var isr []partition.BrokerID
	for _, b := range slices.Sorted(slices.Values(s.Replicas)) {
		switch {
		case b == s.Leader:
		case !w.serving(b) || !slices.Equal(copies[b-1], copies[s.Leader-1]) || !w.calm && w.chance(20):
			continue
		}
		w.speaks(id, b, s.Epoch)
		req.ISR = append(req.ISR, partition.Member{ID: b, Epoch: w.epoch(b)})
		isr = append(isr, b)
	}
	if slices.Equal(isr, s.ISR) && !s.Recovering {
		return
	}
	w.proposed[id] = req
	w.send(w.alter(req))
}

// decide is the quorum: it commits what is proposed, or drops it.
func (w *world) decide() {
	switch {
	case len(w.late) > 0 && len(w.pending) == 0 && (w.calm || w.chance(50)):
		records := w.late
		w.late = nil
		w.commit(records)
	case len(w.pending) == 0:
	case w.calm || w.chance(80):
		records := w.pending
		w.pending = nil
		w.commit(records)
	default:
		if len(w.late) == 0 && w.chance(50) && !slices.ContainsFunc(w.pending, creates) {
			w.late = w.pending // conditions on records make even this harmless
		}
		w.pending = nil
		w.step(Dropped{})
	}
	w.answer()
}

// creates: a topic has no condition on whether it was there before, and has been deleted
// since. That it does not come late is the quorum's word: it commits a proposal in the term
// that it was made in, or never.
func creates(r partition.Record) bool {
	_, creates := r.(partition.CreateTopic)
	return creates
}

// crash puts another controller in the place of this one. What was under way has
// been committed before the new one leads, or never will be.
func (w *world) crash() {
	if w.chance(50) {
		w.step(Resign{})
	}
	records := w.pending
	w.pending, w.asks = nil, nil
	w.c = New(Config{}, w.table)
	if len(records) > 0 && w.chance(50) {
		w.commit(records)
	}
	w.step(Lead{})
	w.answer()
}

// commit applies an entry and holds what has become of the partitions against
// what the logs hold.
func (w *world) commit(records []partition.Record) {
	before := map[partition.ID]*partition.State{}
	for id, s := range w.table.All() {
		before[id] = s
	}
	epochs := map[partition.BrokerID]partition.BrokerEpoch{}
	for _, b := range w.table.Brokers() {
		epochs[b.ID] = b.Epoch
	}
	w.history = append(w.history, records)

	w.cluster.commit(records)
	for _, b := range w.table.Brokers() {
		require.GreaterOrEqual(w.t, b.Epoch, epochs[b.ID], "broker epoch (I11)")
		if p := w.brokers[b.ID-1]; b.Epoch != epochs[b.ID] {
			p.epoch = 0 // to be registered again, unless this is its own
			maps.DeleteFunc(w.spoke, func(c copyID, _ log.Epoch) bool { return c.broker == b.ID })
			if p.up && p.Incarnation == b.Incarnation {
				p.epoch, p.lossy, p.suspect = b.Epoch, false, nil
			}
		}
	}
	for id, s := range w.table.All() {
		for _, b := range s.ISR {
			delete(w.anew, copyID{id, b})
		}
		w.complete(id, before[id], s)
	}
}

// complete checks I2 and I3, and that an election without ISR and ELR is won by
// the most complete.
func (w *world) complete(id partition.ID, old, s *partition.State) {
	copies := w.copies(id)
	if s.Recovering && (old == nil || !old.Recovering) {
		// An operator has given up what the others had.
		won := copies[s.Leader-1]
		n := 0
		for n < len(won) && n < len(w.acked[id]) && won[n] == w.acked[id][n] {
			n++
		}
		w.acked[id] = w.acked[id][:n]
	}
	if old != nil && old.Leader != s.Leader && s.Leader != partition.NoBroker && len(old.ISR)+len(old.ELR) == 0 {
		won := copies[s.Leader-1]
		for _, b := range old.LastKnownELR {
			if w.brokers[s.Leader-1].lossy {
				break // it has died since it answered; its next registration will say so
			}
			require.GreaterOrEqual(w.t, slices.Compare(won, copies[b-1]), 0, "%v: %d was elected, %d has more", id, s.Leader, b)
		}
		w.acked[id] = w.acked[id][:min(len(w.acked[id]), len(won))]
	}
	for _, b := range slices.Concat(s.ISR, s.ELR) {
		if p := w.brokers[b-1]; !p.lossy {
			n := len(w.acked[id])
			require.GreaterOrEqual(w.t, len(copies[b-1]), n, "%v: %d of %+v has less than was acknowledged (I3)", id, b, *s)
			require.True(w.t, slices.Equal(w.acked[id], copies[b-1][:n]), "%v: %d of %+v has other than was acknowledged (I1)", id, b, *s)
		}
	}
}

// recover ends all faults, and demands that everything comes back by itself.
func (w *world) recover() {
	w.calm = true
	for _, p := range w.brokers {
		p.full = false
		w.stop(p) // what has answered that it is damaged may answer again
		w.boot(p)
	}
	w.mail = nil
	for range 60 {
		for _, p := range w.brokers {
			w.now = w.now.Add(25 * time.Millisecond)
			w.live(p)
			w.lead(p)
			w.send(Tick{})
			for n := 0; len(w.mail)+len(w.pending)+len(w.late) > 0; n++ {
				require.Less(w.t, n, 10_000, "the controller does not come to rest")
				w.deliver()
				w.decide()
			}
		}
	}
	w.settled()
	require.Empty(w.t, w.fenced())
	for id, s := range w.table.All() {
		require.NotEqual(w.t, partition.NoBroker, s.Leader, "%v %+v has no leader (I15)", id, *s)
		require.ElementsMatch(w.t, s.Replicas, s.ISR, "%v %+v (I15)", id, *s)
		require.Empty(w.t, s.Target, "%v: a reassignment does not come to an end", id)
		require.False(w.t, s.Recovering, "%v is recovering for ever", id)
	}
	if topic, ok := w.table.Topic(OffsetsTopic); ok {
		require.Equal(w.t, 2, topic.Config.MinISR)
		for _, s := range topic.Partitions {
			require.Len(w.t, s.Replicas, 3)
		}
	}
}
