package replica

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/mutate"
)

// An Assignment is what the newest metadata says of one partition to a broker that
// holds, or shall hold, a copy of it.
type Assignment struct {
	State  *partition.State
	MinISR int
	Peers  []Peer // the other replicas

	// Registered says that the registration of the broker's present incarnation is
	// applied. Before that it may not even follow: the table may name a leader of before
	// what this log holds, which would have it cut.
	Registered bool
	// Self is the broker's own epoch; 0 while it may not lead: what the table says of an
	// earlier incarnation gives this one no right to.
	Self partition.BrokerEpoch
}

// Assign reads an assignment of broker self, which was given epoch, or 0, for this
// life. It is false if the table does not assign the partition to it.
func Assign(t *partition.Table, id partition.ID, self partition.BrokerID, epoch partition.BrokerEpoch) (Assignment, bool) {
	st, known := t.Partition(id)
	if !known || !slices.Contains(st.Replicas, self) {
		return Assignment{}, false
	}
	a := Assignment{State: st, MinISR: t.MinISR(id)}
	for _, p := range st.Replicas {
		if p == self {
			continue
		}
		b, ok := t.Broker(p)
		a.Peers = append(a.Peers, Peer{ID: p, Epoch: b.Epoch, Active: ok && !b.Fenced && !b.Stopping && !b.Full})
	}
	b, _ := t.Broker(self)
	if a.Registered = epoch != 0 && b.Epoch == epoch; a.Registered && !b.Fenced {
		a.Self = b.Epoch
	}
	return a, true
}

// Gone reports whether the copy that broker self has of a partition is to be removed,
// once a committed record has taken it away: the newest table gives it to this broker no
// more. While its present incarnation, of that epoch or 0, is not registered the metadata
// may be about to say that the copy is to stay.
func Gone(t *partition.Table, id partition.ID, self partition.BrokerID, epoch partition.BrokerEpoch) bool {
	b, _ := t.Broker(self)
	st, known := t.Partition(id)
	return epoch != 0 && b.Epoch == epoch && !(known && slices.Contains(st.Replicas, self))
}

// A Turn is what becomes of a replica when it is told of newer metadata.
type Turn uint8

// The turns.
const (
	Stay   Turn = iota // as it was; the state is newer at most
	Ignore             // the image is older than what the replica knows
	Update             // the same role in the same leader epoch: the machine steps Changed
	Rest               // the role ends, and none begins
	Lead               // the role ends, and the replica leads
	Follow             // the role ends, and the replica follows
)

// Turn decides what an assignment makes of a replica of broker self, which was told
// of state was before, nil for none, and leads or follows now. Several changes may have
// been merged into one, so it compares ends and never steps.
func (a *Assignment) Turn(self partition.BrokerID, was *partition.State, leading, following bool) Turn {
	if was != nil && a.State.PartitionEpoch < was.PartitionEpoch {
		return Ignore
	}
	leads := a.State.Leader == self && a.Self != 0
	follows := a.Registered && a.State.Leader != partition.NoBroker && a.State.Leader != self
	same := was != nil && was.Epoch == a.State.Epoch && was.Leader == a.State.Leader
	switch {
	case same && leads && leading, same && follows && following:
		return Update
	case same && !leads && !follows && !leading && !following:
		return Stay
	case leads:
		return Lead
	case follows:
		return Follow
	}
	return Rest
}

// Admit returns OK, or why a write must be refused unwritten by a leader. epoch is the
// leader epoch that its sender knows, or log.NoEpoch.
func (l *Leader) Admit(epoch log.Epoch, acks partition.Acks) partition.Code {
	switch {
	case epoch != log.NoEpoch && epoch < l.state.Epoch:
		return partition.FencedEpoch
	case epoch > l.state.Epoch:
		return partition.UnknownEpoch
	}
	return l.CanAppend(acks)
}

// NotLeading is the answer to a fetch from a replica that leads nothing and knows the
// leader epoch known: the asker may know more than it does, or less.
func NotLeading(known log.Epoch, asked FetchPartition) FetchAnswer {
	a := FetchAnswer{ID: asked.ID, Code: partition.NotLeader}
	switch {
	case asked.Epoch > known:
		a.Code = partition.UnknownEpoch
	case asked.Epoch < known:
		a.Code = partition.FencedEpoch
	}
	return a
}

// Answer puts a verdict into the form in which it travels.
func (v *FetchVerdict) Answer(id partition.ID) FetchAnswer {
	return FetchAnswer{
		ID: id, Code: v.Code,
		Diverging: v.Diverging, DivergingEpoch: v.DivergingEpoch, DivergingEnd: v.DivergingEnd,
		HighWatermark: v.HighWatermark, Start: v.Start, End: v.End, Removed: v.Removed,
	}
}

// TombstonesGone reports whether records from an offset on, read for a follower, may
// lack tombstones that it has not seen: those below removed may be missing from the log
// that was read, and those below seen from its own.
func TombstonesGone(from, seen, removed log.Offset) bool {
	return from < removed && seen < removed && !mutate.On("Redpanda 2026-06")
}

// Readable returns OK, or why a reader of committed records may not read from an
// offset of a leader's log, which ended at begin when its epoch began.
func Readable(from, start, high, end, begin log.Offset) partition.Code {
	switch {
	case from < start, from > end:
		return partition.OutOfRange
	case from > high && high >= begin:
		// Once the leader knows its high watermark nothing above it was ever read, so the
		// asker comes from a history that is gone.
		return partition.OutOfRange
	}
	return partition.OK
}

// Suspect reports whether a copy may have lost what it acknowledged: lost is what its
// recovery says, clean that its broker had stopped in order.
func Suspect(d partition.Durability, lost, clean bool) bool {
	return lost && !mutate.On("flushed end unknown") || !clean && d != partition.Synced
}
