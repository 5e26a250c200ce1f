package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
)

// A world is one partition with the logs of its replicas, of which only the
// ends count, and a controller and a leader that know everything at once. What it
// tests is the rule of ISR and ELR: whoever is in either has all that has been
// committed, and an election loses nothing.
type world struct {
	t         *testing.T
	rng       *rand.Rand
	table     *Table
	id        ID
	ends      map[BrokerID]int // of each replica's log
	committed int
	lost      map[BrokerID]bool // a crash took committed records of that replica
	seed      uint64
	trail     []string   // what happened last
	records   [][]Record // of each entry
}

const worldBrokers = 4

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), table: NewTable(), id: ID{rides, 0},
		ends: make(map[BrokerID]int), lost: make(map[BrokerID]bool),
	}
	var members []Member
	for id := BrokerID(1); id <= worldBrokers; id++ {
		w.apply(RegisterBroker{Broker: Broker{ID: id}})
		b, _ := w.table.Broker(id)
		w.apply(ChangeBroker{ID: id, Epoch: b.Epoch})
		members = append(members, Member{id, b.Epoch})
	}
	w.apply(CreateTopic{
		Topic: Topic{
			ID: rides, Config: TopicConfig{Name: "rides", MinISR: 1 + w.rng.IntN(3)},
			Partitions: []*State{{Replicas: ids(3, 1, 4, 2), ISR: ids(1, 2, 3, 4), Leader: 3}},
		},
		Members: members,
	})
	return w
}

func (w *world) note(format string, args ...any) {
	w.trail = append(w.trail[max(0, len(w.trail)-20):], fmt.Sprintf(format, args...))
}

// String says what led to a failure, and how to have it again.
func (w *world) String() string {
	return fmt.Sprintf("seed %d, ends %v, committed %d\n%s", w.seed, w.ends, w.committed, strings.Join(w.trail, "\n"))
}

func (w *world) state() *State {
	s, ok := w.table.Partition(w.id)
	require.True(w.t, ok)
	return s
}

func (w *world) apply(recs ...Record) []bool {
	w.records = append(w.records, recs)
	return w.table.Apply(w.table.Offset()+1, recs).Applied
}

func (w *world) active(id BrokerID) bool {
	b, ok := w.table.Broker(id)
	return ok && !b.Fenced && !b.Stopping
}

// change carries out what a controller would of c.
func (w *world) change(c Change) {
	c.MinISR, c.Active = w.table.MinISR(w.id), w.active
	next, added := w.state().Change(c)
	var members []Member
	for _, id := range added {
		b, _ := w.table.Broker(id)
		members = append(members, Member{id, b.Epoch})
	}
	require.Equal(w.t, []bool{true}, w.apply(ChangePartition{ID: w.id, State: next, Members: members}), "%v", w)
}

// settle does what a controller does after each entry, until there is no more.
func (w *world) settle() {
	for {
		s := w.state()
		fenced := keep(s.ISR, func(id BrokerID) bool { b, _ := w.table.Broker(id); return b.Fenced })
		candidates := s.ISR
		if len(candidates) == 0 {
			candidates = s.ELR
		}
		switch {
		case len(fenced) > 0:
			w.change(Change{ISR: minus(s.ISR, fenced)})
		case s.Leader == NoBroker && slices.ContainsFunc(candidates, w.active):
			w.change(Change{ISR: s.ISR})
		case len(s.ISR)+len(s.ELR) == 0 && !slices.ContainsFunc(s.LastKnownELR, func(id BrokerID) bool { return !w.active(id) }):
			w.balance(s)
		case s.Target != nil && s.complete(s.ISR, w.table.MinISR(w.id)).Target == nil:
			w.change(Change{ISR: s.ISR})
		default:
			return
		}
	}
}

func (w *world) balance(s *State) {
	chosen := slices.MaxFunc(s.LastKnownELR, func(a, b BrokerID) int { return w.ends[a] - w.ends[b] })
	w.note("balanced election of %d", chosen)
	if w.ends[chosen] < w.committed {
		for _, id := range s.LastKnownELR {
			require.True(w.t, w.lost[id], "%d of %v lost nothing, yet the records are gone: %v", id, s.LastKnownELR, w)
		}
		w.committed = w.ends[chosen]
	}
	w.change(Change{ISR: []BrokerID{chosen}, Balanced: true})
}

// step lets one thing happen.
func (w *world) step() {
	s, who := w.state(), BrokerID(1+w.rng.IntN(worldBrokers))
	b, _ := w.table.Broker(who)
	leads := s.Leader != NoBroker
	var did string
	switch w.rng.IntN(11) {
	case 0: // the leader appends, and the ISR follows: committed if it is large enough
		if !leads {
			return
		}
		w.ends[s.Leader] += 1 + w.rng.IntN(3)
		for _, id := range s.ISR {
			w.ends[id] = w.ends[s.Leader]
		}
		if len(s.ISR) >= w.table.MinISR(w.id) {
			w.committed = w.ends[s.Leader]
		}
		did = "append"
	case 1, 2: // a replica catches up and joins
		if !leads || slices.Contains(s.ISR, who) || !w.active(who) {
			return
		}
		w.ends[who], w.lost[who] = w.ends[s.Leader], false
		w.change(Change{ISR: append(ids(who), s.ISR...)})
		did = "join"
	case 3: // the leader drops a follower
		if !slices.Contains(s.ISR, who) || who == s.Leader || !leads {
			return
		}
		w.change(Change{ISR: minus(s.ISR, ids(who))})
		did = "shrink"
	case 4:
		w.apply(ChangeBroker{ID: who, Epoch: b.Epoch, Fenced: true})
		did = "fence"
	case 5:
		w.apply(ChangeBroker{ID: who, Epoch: b.Epoch})
		did = "unfence"
	case 6: // it comes back, perhaps with less than it had
		register := RegisterBroker{Broker: b}
		if w.rng.IntN(2) == 0 {
			register.Suspect = []ID{w.id}
			w.ends[who] = w.rng.IntN(w.ends[who] + 1)
			w.lost[who] = w.ends[who] < w.committed
		}
		w.apply(register)
		did = fmt.Sprintf("register, suspect %v", register.Suspect)
	case 7:
		topic, _ := w.table.TopicByID(rides)
		other := topic.Config
		other.MinISR = 1 + w.rng.IntN(3)
		w.apply(ChangeTopic{Topic: rides, Expect: topic.Config, Config: other})
		did = "MinISR"
	case 8: // an operator moves it, or takes that back
		target := brokerIDs(w.rng.Perm(worldBrokers))[:1+w.rng.IntN(worldBrokers)]
		if s.Target != nil && w.rng.IntN(3) == 0 && s.CanCancel(w.table.MinISR(w.id)) {
			target = s.Origin
		}
		w.change(Change{ISR: s.ISR, Target: target})
		did = fmt.Sprintf("reassign to %v", target)
	case 9:
		w.change(Change{ISR: s.ISR, Prefer: who})
		did = "transfer"
	case 10: // an operator who gives up what the others may have
		if leads || !w.active(who) || !slices.Contains(s.Replicas, who) || len(s.ISR) > 0 || slices.ContainsFunc(s.ELR, w.active) {
			return
		}
		w.committed = min(w.committed, w.ends[who])
		w.change(Change{ISR: ids(who), Unclean: true})
		require.True(w.t, w.state().Recovering)
		w.change(Change{ISR: ids(who), Recovered: true})
		did = "unclean election"
	}
	w.note("%s %d -> %+v", did, who, *w.state())
}

// brokerIDs makes ids of what counts from 0.
func brokerIDs(list []int) []BrokerID {
	ids := make([]BrokerID, len(list))
	for i, n := range list {
		ids[i] = BrokerID(n + 1)
	}
	return ids
}

func (w *world) check(before State) {
	s := w.state()
	require.NoError(w.t, s.Validate(), "%v", w)
	require.GreaterOrEqual(w.t, s.PartitionEpoch, before.PartitionEpoch, "%v", w)
	require.GreaterOrEqual(w.t, s.Epoch, before.Epoch, "%v", w)
	if gone := minus(before.Replicas, s.Replicas); len(gone) > 0 {
		require.Greater(w.t, s.Epoch, before.Epoch, "%v have gone: %v", gone, w)
	}
	if s.Epoch == before.Epoch {
		require.Equal(w.t, before.Leader, s.Leader, "one leader an epoch: %v", w)
	}
	if len(s.ISR) >= w.table.MinISR(w.id) {
		require.Empty(w.t, s.ELR, "a leader that commits has every candidate in its ISR: %v", w)
	}
	for _, id := range union(s.ISR, s.ELR) {
		require.GreaterOrEqual(w.t, w.ends[id], w.committed, "candidate %d lacks committed records: %v", id, w)
	}
}

func TestCandidatesHaveAllThatIsCommitted(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, seed)
		for range 300 {
			before := *w.state()
			w.step()
			w.check(before)
			w.settle()
			w.check(before)
			for _, id := range w.state().ISR {
				require.True(t, w.active(id), "%d is fenced and in the ISR: %v", id, w)
			}
		}
		w.replay()
	}
}

// replay folds the same entries again: from the first, and from an image.
func (w *world) replay() {
	again := NewTable()
	cut := w.rng.IntN(len(w.records))
	for i, recs := range w.records {
		decoded, err := DecodeRecords(EncodeRecords(recs))
		require.NoError(w.t, err)
		again.Apply(log.Offset(i+1), decoded)
		if i == cut {
			im := again.Image(UUID{}, NoBroker, nil)
			again, err = Restore(im)
			require.NoError(w.t, err)
		}
	}
	require.Equal(w.t, w.table.Hash(), again.Hash(), "cut after %d", cut)
	require.Equal(w.t, w.table.Topics(), again.Topics())
}
