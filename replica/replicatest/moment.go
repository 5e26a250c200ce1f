package replicatest

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
)

// Some faults wait for something to happen, and strike those whom it happens to: what
// breaks a protocol is seldom a fault alone, and more often one in the middle of a step.

// A moment is something that a fault may wait for.
type moment string

const (
	anyMoment  moment = ""           // it waits for nothing
	joining    moment = "joining"    // a follower is proposed for the ISR
	leading    moment = "leading"    // a broker begins to lead
	cutting    moment = "cutting"    // a follower cuts its log
	registered moment = "registered" // a broker has a new incarnation
	acking     moment = "acking"     // a follower tells what it has flushed
)

// patience is how long a fault waits for its moment before it strikes without.
const patience = 2 * time.Second

// moments are all that a fault can wait for.
var moments = []moment{anyMoment, joining, leading, cutting, registered, acking}

// drawFavourite draws the moment that most of a seed's faults wait for, so that several
// meet in it; or none.
func drawFavourite(rng *rand.Rand) moment { return moments[pick(rng, 6, 3, 2, 1, 1, 2)] }

// drawMoment draws none mostly, if there is no favourite.
func (f *faults) drawMoment() moment {
	if f.favourite != anyMoment && f.rng.IntN(3) > 0 {
		return f.favourite
	}
	return moments[pick(f.rng, 8, 5, 2, 2, 1, 1)]
}

// await has a fault wait for its moment, or strike now.
func (f *faults) await(one Fault) {
	if one.When == anyMoment {
		f.strike(one)
		return
	}
	f.waiting = append(f.waiting, one)
	f.w.at(patience, nil, always, "waited", func() {
		if i := slices.IndexFunc(f.waiting, func(o Fault) bool { return o.N == one.N }); i >= 0 {
			f.waiting = slices.Delete(f.waiting, i, i+1)
			f.strike(one)
		}
	})
}

// delay is how long after its moment a fault strikes, some before a message that is sent
// then can have arrived; and whether it strikes the other end.
func (f Fault) delay() (after time.Duration, other bool) {
	dice := rand.New(rand.NewPCG(uint64(f.seed), 2))
	if dice.IntN(3) > 0 {
		late := dice.Float64()
		after = time.Duration(late * late * float64(40*time.Millisecond))
	}
	return after, dice.IntN(4) == 0
}

// happens lets those faults strike, in a moment, that wait for what happens now. Mostly
// they strike the one whom it happens to, and of a link the other end is other.
func (f *faults) happens(what moment, who, other partition.BrokerID) {
	f.w.links.happensTo(f.w.broker(who), what)
	if len(f.waiting) == 0 || f.w.calm {
		return
	}
	f.waiting = slices.DeleteFunc(f.waiting, func(one Fault) bool {
		if one.When != what {
			return false
		}
		one.Broker = who
		if other != who && other != partition.NoBroker {
			one.Other = other
		} else if one.Other == who {
			one.Other = partition.BrokerID(1 + int(who)%len(f.w.brokers))
		}
		after, other := one.delay()
		if other {
			one.Broker, one.Other = one.Other, one.Broker
		}
		f.w.at(after, nil, always, "strike", func() { f.strike(one) })
		return true
	})
}
