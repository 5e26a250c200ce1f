package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
)

// forsake leaves a partition to a replica that has missed what was written last: it is cut
// off until it has left the ISR, and then all the others are. An operator stands by, who
// gives up what it lacks; or the others are back before.
func (w *World) forsake(f Fault) {
	id, st := w.drawn(f, func(st *partition.State) bool { return len(st.ISR) > 1 })
	if st == nil || st.Leader == partition.NoBroker {
		return
	}
	others := slices.Clone(st.Replicas)
	behind := others[f.dice().IntN(len(others))]
	if behind == st.Leader {
		behind = others[(slices.Index(others, behind)+1)%len(others)]
	}
	others = slices.DeleteFunc(others, func(r partition.BrokerID) bool { return r == behind })
	if !w.electsWithout(others) {
		return
	}
	w.cutOff(behind, true)
	w.at(session+f.For/8, nil, always, "joined", func() {
		w.cutOff(behind, false)
		if w.calm {
			return
		}
		for _, r := range others {
			w.cutOff(r, true)
		}
		lasts := 2*session + f.For/4
		w.at(lasts, nil, always, "joined", func() {
			for _, r := range others {
				w.cutOff(r, false)
			}
		})
		w.attend(id, f.size, lasts)
	})
}

// attend has an operator look, for as long as it lasts, whether a partition has no leader.
func (w *World) attend(id partition.ID, draw float64, lasts time.Duration) {
	for i := range looks {
		w.at(lasts*time.Duration(i+1)/looks, nil, always, "look", func() {
			if st, ok := w.watch.table.Partition(id); ok && !w.calm && st.Leader == partition.NoBroker {
				w.elect(id, st, draw)
			}
		})
	}
}

// electsWithout reports whether a majority of voters is left without some brokers.
func (w *World) electsWithout(gone []partition.BrokerID) bool {
	left := 0
	for _, v := range w.setup.voters {
		left += b2i(!slices.Contains(gone, v))
	}
	return left > len(w.setup.voters)/2
}

// cutOff cuts a broker off from all others and from the clients, or joins it to them.
func (w *World) cutOff(b partition.BrokerID, off bool) {
	for other := range partition.BrokerID(len(w.brokers) + 1) {
		if other != b {
			w.links.set(b, other, off)
			w.links.set(other, b, off)
		}
	}
}
