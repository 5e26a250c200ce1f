package replica

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// unknown stands for an ack that has not been heard in this epoch.
const unknown log.Offset = -1

// A progress is what a leader knows of one follower in its epoch.
type progress struct {
	id     partition.BrokerID
	known  partition.BrokerEpoch // its incarnation, as the metadata shows it; 0: none
	active bool                  // likewise

	heard    bool                  // it has fetched in this epoch
	broker   partition.BrokerEpoch // of its newest fetch, as is sequence
	sequence int64
	ack      log.Offset // what it holds for good, by its newest fetch; or unknown
	start    log.Offset // below which it holds nothing any more, likewise; 0 with unknown
	told     log.Offset // where it was last told that the leader's log starts, and no less than start

	mark   log.Offset // what it must hold to have caught up; it moves only when reached
	caught time.Time  // when it last had; zero: not since it began to follow

	inISR    bool // of the committed ISR
	proposed bool // of the ISR that is proposed
}

// blind lets back in the time before fetches told the incarnation of their sender.
func blind() bool { return mutate.On("KIP-903") || mutate.On("KAFKA-15221") }

// counts reports whether the follower is of the maximal ISR.
func (p *progress) counts() bool { return p.inISR || p.proposed && !mutate.On("KIP-497") }

// newer reports whether a fetch comes after all that were heard.
func (p *progress) newer(broker partition.BrokerEpoch, sequence int64) bool {
	return mutate.On("stale ack") || blind() || !p.heard || broker > p.broker || broker == p.broker && sequence > p.sequence
}

// hear notes which fetch is the newest. What an earlier incarnation held, and when
// it had caught up, proves nothing about this one.
func (p *progress) hear(broker partition.BrokerEpoch, sequence int64) {
	if p.heard && broker != p.broker && !blind() {
		p.forget()
	}
	p.heard, p.broker, p.sequence = true, broker, sequence
}

// forget takes away what the follower has proved.
func (p *progress) forget() {
	p.ack, p.start, p.told = unknown, 0, 0
	if !p.inISR {
		p.caught = time.Time{}
	}
}

// hold notes what the follower holds. The mark stands until it is reached, because
// several fetches go by during one flush: against the newest end a healthy
// follower under load would never have caught up.
func (p *progress) hold(now time.Time, ack, end log.Offset) {
	p.ack = ack
	if ack >= p.mark {
		p.mark, p.caught = end, now
	}
}

// begin starts the follower's allowance, as it joins the ISR.
func (p *progress) begin(now time.Time, end log.Offset) { p.mark, p.caught = end, now }

// fresh reports whether the follower has caught up within lag.
func (p *progress) fresh(now time.Time, lag time.Duration) bool {
	return !p.caught.IsZero() && now.Sub(p.caught) <= lag
}

// eligible reports whether the follower may stand in the ISR: alive, and heard in
// the very incarnation that the metadata shows (KIP-903).
func (p *progress) eligible() bool {
	return p.active && p.heard && p.ack != unknown && (p.broker == p.known || blind())
}

// member is how the follower is named in a proposal. For a member of old that has
// not been heard yet the controller's own knowledge has to do.
func (p *progress) member() partition.Member {
	if !p.heard {
		return partition.Member{ID: p.id, Epoch: partition.UnknownBrokerEpoch}
	}
	if mutate.On("KAFKA-15221") {
		return partition.Member{ID: p.id, Epoch: p.known}
	}
	return partition.Member{ID: p.id, Epoch: p.broker}
}

// followersOf makes the followers that a state names, by id, keeping those that are
// there already.
func followersOf(s *partition.State, self partition.BrokerID, old []progress, end log.Offset) []progress {
	list := make([]progress, 0, len(s.Replicas))
	for _, id := range s.Replicas {
		if id == self {
			continue
		}
		if i := slices.IndexFunc(old, func(p progress) bool { return p.id == id }); i >= 0 {
			list = append(list, old[i])
			continue
		}
		list = append(list, progress{id: id, ack: unknown, mark: end})
	}
	slices.SortFunc(list, func(a, b progress) int { return int(a.id) - int(b.id) })
	return list
}
