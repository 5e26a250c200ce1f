package replica

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// A copy that has to begin anew, because its disk has lost some of it, because it does
// not fit its leader's at all, or because it is outdated, may have told its leader of what
// it is about to discard: an ack of it may be on its way, or a proposal that counts on it.
// So this comes first, in this order:
//
//  1. It leaves ISR and ELR by a committed record, in which the leader epoch rises. If
//     it leads, another leads from then on; where nobody else could, nothing is done,
//     for it may be all that is left.
//  2. It says no more in the new epoch: what it said before counts for nothing there,
//     as every leader begins its epoch knowing nothing of its followers, and every
//     proposal is of one epoch. A new incarnation of the broker does the same for all
//     of its copies; those that are suspect leave in the entry that registers it.
//  3. It is discarded, and an empty one takes its place, which follows the leader from
//     the leader's start and joins the ISR like any other.
//
// A crash in between finds the copy in neither set, and whole or gone.

// A Remedy is what a copy that must begin anew does next.
type Remedy uint8

// The remedies.
const (
	Stand    Remedy = iota // as it is: only newer metadata can help
	Announce               // tell the controller, by a [Discard]
	Begin                  // discard it: nobody counts on it
)

// Remedy decides what broker self does with a copy that must begin anew. spoke is the
// newest leader epoch in which the copy has led or followed since the broker was
// registered; log.NoEpoch: none.
func (a *Assignment) Remedy(self partition.BrokerID, spoke log.Epoch) Remedy {
	st, counted := a.State, a.Counts(self)
	if mutate.On("discard first") {
		counted, spoke = false, log.NoEpoch
	}
	if mutate.On("discard within the epoch") {
		spoke = log.NoEpoch
	}
	switch {
	case !a.Registered || st.Leader == partition.NoBroker:
		return Stand
	case counted || st.Leader == self || st.Epoch <= spoke:
		return Announce
	}
	return Begin
}

// Outdated reports whether the copy of broker self, of a compacted topic, is of before
// the last election that may have given records up. Compaction, here or where it was
// fetched from, may have taken records out of it for the sake of some that are among
// these, and then no cut makes it the front of the leader's log: keys that the leader has
// would be gone once it leads. So it begins anew. since is the leader epoch in which it
// was made, or of the newest such election after which the controller counted on it.
func (a *Assignment) Outdated(self partition.BrokerID, since log.Epoch) bool {
	return a.Registered && since < a.State.LossyEpoch && !a.Counts(self) && !mutate.On("old copies stay")
}

// Since is the epoch that a copy counts from which is made now, or which the controller
// counts on.
func (a *Assignment) Since() log.Epoch { return max(a.State.Epoch, a.State.LossyEpoch) }

// Counted returns what the label of a copy says from now on that the controller counts on:
// whether it is behind, and which epoch it counts from. One that was made anew is complete
// once it is in the ISR; and one that has been chosen by a lossy election is what all go by.
func (a *Assignment) Counted(self partition.BrokerID, behind bool, since log.Epoch, compacted bool) (bool, log.Epoch) {
	if compacted {
		since = max(since, a.State.LossyEpoch)
	}
	return behind && !slices.Contains(a.State.ISR, self), since
}

// Counts reports whether the controller counts on the copy of broker self.
func (a *Assignment) Counts(self partition.BrokerID) bool {
	return slices.Contains(a.State.ISR, self) || slices.Contains(a.State.ELR, self)
}
