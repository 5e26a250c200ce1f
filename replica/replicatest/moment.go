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

// drawMoment draws none mostly.
func drawMoment(rng *rand.Rand) moment {
	return []moment{anyMoment, joining, leading, cutting, registered, acking}[pick(rng, 8, 5, 2, 2, 1, 1)]
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

// happens lets those faults strike, in a moment, that wait for what happens now. The one
// whom they strike is the one whom it happens to, and of a link the other end is other.
func (f *faults) happens(what moment, who, other partition.BrokerID) {
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
		f.w.at(time.Duration(one.size*one.size*float64(20*time.Millisecond)), nil, always, "strike", func() { f.strike(one) })
		return true
	})
}
