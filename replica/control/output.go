package control

import (
	"time"

	"github.com/samsalog/samsa/partition"
)

// An Output is what the shell must do now. Its fields may be carried out in any
// order, for all answers are about applied state.
type Output struct {
	// Propose is one entry for the quorum. No other comes before it has been
	// answered by Applied or Dropped, or this controller has resigned.
	Propose []partition.Record

	// Replies answer requests. One whose caller has gone may be thrown away.
	Replies []Reply

	// Ask these brokers how far their logs go. An answer comes as [LogEnds]; one that
	// does not come is asked for again.
	Ask []LogEndsRequest

	// Events are for the operator's eyes.
	Events []Event

	// NextTick is when a Tick will have something to do; zero: not before the next
	// input. A Tick too many is harmless.
	NextTick time.Time
}

// A Reply answers the request with the same Token. Value is a RegisterResponse, a
// HeartbeatResponse, a replica.AlterISRAnswer, a replica.DiscardAnswer, a
// partition.CreateTopicResponse or a partition.ChangeResponse, as the request was. The Controller in it is left for the shell to fill in.
type Reply struct {
	Token uint64
	Value any
}

// An Event is something that the controller has decided and an operator should
// be able to find in a log. It is told when the decision has been applied.
type Event struct {
	Kind      EventKind
	Broker    partition.BrokerID
	Epoch     partition.BrokerEpoch
	Partition partition.ID // of the kinds from BalancedElection on
}

// An EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	// FencedSilent: a broker was silent for the whole session.
	FencedSilent EventKind = iota + 1
	// FencedBroken: a broker's link broke and a probe was refused.
	FencedBroken
	// FencedItself: a broker asked to be fenced.
	FencedItself
	// Unfenced: a broker has caught up with the metadata and may lead.
	Unfenced
	// Stopping: a broker wants to stop, and what it leads goes to others.
	Stopping
	// FencedStopped: that is done, and the broker may go.
	FencedStopped
	// Filled: a broker's disk has no room for records, and what it leads goes to others.
	Filled
	// Roomy: it has room again.
	Roomy
	// BalancedElection: all replicas of a partition had left its ISR and ELR, and the
	// most complete of them was elected. Unless the topic is Synced, records that a
	// power cut took from all of them are gone.
	BalancedElection
	// UncleanElection: an operator had Broker elected, whose copy may be incomplete.
	// What others alone held is lost.
	UncleanElection
	// LeaderChanged: Broker leads the partition now.
	LeaderChanged
	// PartitionOffline: the partition has lost its leader, and there is no other.
	PartitionOffline
	// ISRShrunk: replicas have left the ISR.
	ISRShrunk
	// ISRExpanded: replicas have joined the ISR.
	ISRExpanded
	// ReassignBegun: the partition is on its way to other replicas.
	ReassignBegun
	// ReassignEnded: the partition has arrived, or gone back.
	ReassignEnded
	// CopyDiscarded: Broker's copy of the partition must begin anew, and counts no more.
	CopyDiscarded
)

func (k EventKind) String() string {
	switch k {
	case FencedSilent:
		return "fenced: silent"
	case FencedBroken:
		return "fenced: link broken"
	case FencedItself:
		return "fenced: asked for it"
	case Unfenced:
		return "unfenced"
	case BalancedElection:
		return "balanced election"
	case UncleanElection:
		return "unclean election"
	case LeaderChanged:
		return "leader changed"
	case PartitionOffline:
		return "partition offline"
	case ISRShrunk:
		return "ISR shrunk"
	case ISRExpanded:
		return "ISR expanded"
	case ReassignBegun:
		return "reassignment begun"
	case ReassignEnded:
		return "reassignment ended"
	case Filled:
		return "disk full"
	case Roomy:
		return "disk has room again"
	case CopyDiscarded:
		return "copy to begin anew"
	case Stopping:
		return "stopping"
	case FencedStopped:
		return "fenced: stopped"
	}
	return "unknown event"
}
