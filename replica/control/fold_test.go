package control

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/stretchr/testify/require"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay the random run of this seed alone")
	seedsFlag = flag.Int("seeds", 100, "how many random runs")
)

// A world is a cluster with brokers that live, die, lose records and come back,
// and with logs: a list of epochs for each copy, in which a record is acknowledged
// once all of the maximal ISR have it. What is on its way may be late, lost, or
// arrive twice.
type world struct {
	*cluster
	rng      *rand.Rand
	brokers  []*process // by id - 1
	logs     map[partition.ID][][]log.Epoch
	acked    map[partition.ID][]log.Epoch
	proposed map[partition.ID]replica.AlterISR // by the leader, unanswered
	alters   map[uint64]replica.AlterISR       // all that were sent, by token
	mail     []Input                           // on its way to the controller
	slow     []Input                           // likewise, and much later
	late     []partition.Record                // reported as dropped, and yet to be committed
	history  [][]partition.Record
	spoke    map[copyID]log.Epoch // the newest epoch in which a copy has led or followed in its broker's life
	anew     map[copyID]bool      // it was discarded, and has not been in the ISR since
	calm     bool                 // faults have stopped
}

// A copyID names one broker's copy.
type copyID struct {
	partition.ID
	broker partition.BrokerID
}

// A process is one broker.
type process struct {
	partition.Broker
	epoch   partition.BrokerEpoch // 0: not registered
	up      bool
	clean   partition.BrokerEpoch
	suspect []partition.ID // remembered until a registration has told of them
	lossy   bool           // it has lost records, and the table does not know yet
	stops   bool           // it wants to stop
	full    bool           // its disk has no room
}

// TestRandomLives checks after every entry that nothing acknowledged is lost, and
// at the end that all comes back by itself.
func TestRandomLives(t *testing.T) {
	seeds := *seedsFlag
	if testing.Short() {
		seeds = min(seeds, 20)
	}
	for i := range seeds {
		seed := uint64(i + 1)
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			first, second := live(t, seed), live(t, seed)
			require.Equal(t, first, second, "one seed, two histories")
		})
		if *seedFlag != 0 {
			return
		}
	}
}

func live(t *testing.T, seed uint64) uint64 {
	w := &world{
		cluster:  newCluster(t),
		rng:      rand.New(rand.NewPCG(seed, 1)),
		logs:     map[partition.ID][][]log.Epoch{},
		acked:    map[partition.ID][]log.Epoch{},
		proposed: map[partition.ID]replica.AlterISR{},
		alters:   map[uint64]replica.AlterISR{},
		spoke:    map[copyID]log.Epoch{},
		anew:     map[copyID]bool{},
	}
	w.hold = true
	for id := 1; id <= 4; id++ {
		p := &process{Broker: broker(partition.BrokerID(id), 0)}
		w.brokers = append(w.brokers, p)
		w.boot(p)
	}
	for range 1500 {
		w.turn()
	}
	w.recover()
	replayed := partition.NewTable()
	for i, records := range w.history {
		replayed.Apply(log.Offset(i+1), records)
	}
	require.Equal(t, w.table.Hash(), replayed.Hash(), "I31")
	return w.table.Hash()
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// turn lets one thing happen.
func (w *world) turn() {
	w.now = w.now.Add(time.Duration(w.rng.IntN(100)) * time.Millisecond)
	p := w.brokers[w.rng.IntN(len(w.brokers))]
	switch n := w.rng.IntN(100); {
	case n < 3:
		w.stop(p)
	case n < 14:
		w.boot(p)
	case n < 35:
		w.live(p)
	case n < 38:
		w.send(CreateTopic{w.next(), w.config(), uuid(w.rng.IntN(1 << 30))})
	case n < 60:
		w.lead(p)
		w.discardSome()
	case n < 80:
		w.deliver()
	case n < 82:
		w.send(Broken{p.ID, w.epoch(p.ID) - partition.BrokerEpoch(w.rng.IntN(2))})
	case n < 84:
		w.send(Tick{})
	case n < 86:
		w.crash()
	case n < 90:
		w.haunt()
	case n < 93:
		w.administer()
	case n < 94:
		p.stops = p.up
	case n < 95:
		p.full = !p.full
	default:
		w.decide()
	}
}

func (w *world) next() uint64 {
	w.token++
	return w.token
}

func (w *world) config() partition.TopicConfig {
	names := []string{"a", "b", "B", "c", OffsetsTopic}
	cfg := partition.TopicConfig{Name: names[w.rng.IntN(len(names))], Partitions: w.rng.IntN(3)}
	if cfg.Name == "c" {
		cfg.Durability, cfg.Replicas = partition.Unsynced, 1+w.rng.IntN(3)
	}
	return cfg
}

// send puts something on its way; it may be lost, or repeated.
func (w *world) send(in Input) {
	if w.calm || w.chance(75) {
		w.mail = append(w.mail, in)
	}
	if !w.calm && w.chance(30) {
		w.slow = append(w.slow, fresh(w, in))
	}
}

// fresh gives a repeated request a token of its own, as the shell does, and a topic an
// id of its own: one that has been deleted meanwhile does not come back.
func fresh(w *world, in Input) Input {
	switch in := in.(type) {
	case Register:
		in.Token = w.next()
		return in
	case Heartbeat:
		in.Token = w.next()
		return in
	case Alter:
		return w.alter(in.AlterISR)
	case Discard:
		in.Token = w.next()
		return in
	case CreateTopic:
		in.Token, in.Topic = w.next(), uuid(w.rng.IntN(1<<30)) // the shell draws one for each
		return in
	}
	return freshWish(w, in)
}

// deliver hands over one of the oldest few things on their way.
func (w *world) deliver() {
	if len(w.mail) == 0 {
		return
	}
	i := 0
	if n := len(w.slow); !w.calm && n > 0 && w.chance(25) {
		j := w.rng.IntN(n)
		w.mail = append(w.mail, w.slow[j])
		w.slow = slices.Delete(w.slow, j, j+1)
	}
	if !w.calm {
		i = w.rng.IntN(min(len(w.mail), 12))
	}
	in := w.mail[i]
	w.mail = slices.Delete(w.mail, i, i+1)
	w.step(in)
	w.answer()
}

func (w *world) alter(req replica.AlterISR) Alter {
	in := Alter{w.next(), req}
	w.alters[in.Token] = req
	return in
}

// haunt picks a proposal that is on its way, restarts or fences the member that it
// adds, and delivers it only then, as chance alone would hardly ever do.
func (w *world) haunt() {
	i := slices.IndexFunc(w.slow, func(in Input) bool {
		a, ok := in.(Alter)
		if !ok {
			return false
		}
		s, there := w.table.Partition(a.ID)
		return there && s.PartitionEpoch == a.PartitionEpoch && s.Leader == a.From && w.added(a) != nil
	})
	if i < 0 {
		return
	}
	in := w.slow[i].(Alter)
	member, leader := w.added(in), w.brokers[in.From-1]
	mail := w.mail
	w.mail = []Input{Broken{member.ID, w.epoch(member.ID)}}
	if w.chance(50) {
		w.stop(member)
		w.boot(member)
	} else {
		w.mail = append(w.mail, w.alter(in.AlterISR))
	}
	for range 12 {
		if _, there := w.table.Partition(in.ID); !there {
			break // an operator has deleted the topic
		}
		w.deliver()
		w.decide()
		w.live(member)
		if w.chance(30) {
			w.lead(leader)
			w.mail = slices.DeleteFunc(w.mail, func(in Input) bool { _, ok := in.(Alter); return ok })
		}
	}
	w.step(w.alter(in.AlterISR))
	w.answer()
	w.mail = append(mail, w.mail...)
}

// added returns the broker that a proposal adds to the ISR, or nil.
func (w *world) added(a Alter) *process {
	s := w.state(a.ID)
	for _, m := range a.ISR {
		if !slices.Contains(s.ISR, m.ID) {
			return w.brokers[m.ID-1]
		}
	}
	return nil
}

// answer has the brokers take the controller's answers, and give theirs.
func (w *world) answer() {
	for token, req := range w.alters {
		answer, ok := w.replies[token].(replica.AlterISRAnswer)
		if !ok {
			continue
		}
		delete(w.alters, token)
		lost := !w.calm && token%5 == 0
		pending := w.proposed[req.ID]
		definite := answer.Code == partition.OK || answer.Code == partition.IneligibleReplica || answer.Code == partition.NotAttempted
		if !lost && definite && pending.Epoch == req.Epoch && pending.PartitionEpoch == req.PartitionEpoch {
			delete(w.proposed, req.ID)
		}
	}
	for _, ask := range w.asks {
		p := w.brokers[ask.Broker-1]
		if !p.up || p.epoch != ask.Epoch {
			continue
		}
		resp := LogEndsResponse{Broker: p.ID, Epoch: p.epoch}
		for _, id := range ask.IDs {
			held := w.copies(id)[p.ID-1]
			end := LogEnd{ID: id, LastEpoch: log.NoEpoch, End: log.Offset(len(held)), Damaged: !w.calm && (w.chance(20) || w.anew[copyID{id, p.ID}])}
			if len(held) > 0 {
				end.LastEpoch = held[len(held)-1]
			}
			resp.Ends = append(resp.Ends, end)
		}
		w.send(LogEnds{resp})
	}
	w.asks = nil
}

func (w *world) copies(id partition.ID) [][]log.Epoch {
	if w.logs[id] == nil {
		w.logs[id] = make([][]log.Epoch, len(w.brokers))
	}
	return w.logs[id]
}
