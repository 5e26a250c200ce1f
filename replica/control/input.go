package control

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// An Input is one thing that has happened. The set is closed.
type Input interface{ input() }

// What comes from the quorum and the clock.
type (
	// Lead: this voter leads the quorum, and has applied an entry of its own term.
	// All sessions begin anew: who was silent before has been silent to somebody else.
	Lead struct{}

	// Resign: this voter leads no more. Whoever waits is answered NotController.
	Resign struct{}

	// Applied: the entry at Offset has been applied to the table. It follows each
	// entry that holds records, also one that this controller did not propose.
	Applied struct {
		Offset  log.Offset
		Changes partition.Changes
	}

	// Dropped: the proposal in flight certainly will never be applied. A proposal
	// whose fate is unknown is not dropped: it ends with Applied or Resign.
	Dropped struct{}

	// Tick: look at the time.
	Tick struct{}
)

// What comes from brokers and clients. Each Token is the shell's, and comes back
// in exactly one [Reply].
type (
	// Register asks for a broker epoch. It is answered with a [RegisterResponse].
	Register struct {
		Token uint64
		RegisterRequest
	}

	// Heartbeat keeps a session, and asks to be unfenced or fenced. It is answered
	// with a [HeartbeatResponse].
	Heartbeat struct {
		Token uint64
		HeartbeatRequest
	}

	// Broken: the link to a broker broke and a probe was refused. Fencing is always
	// safe, so it happens at once.
	Broken struct {
		Broker partition.BrokerID
		Epoch  partition.BrokerEpoch
	}

	// Alter is a leader's proposal of another ISR. It is answered with a
	// [replica.AlterISRAnswer].
	Alter struct {
		Token uint64
		replica.AlterISR
	}

	// Discard is a broker's word that a copy of its must begin anew. It is answered with
	// a [replica.DiscardAnswer].
	Discard struct {
		Token uint64
		replica.Discard
	}

	// CreateTopic makes a topic. It is answered with a [partition.CreateTopicResponse].
	CreateTopic struct {
		Token  uint64
		Config partition.TopicConfig
		Topic  partition.UUID // the id it gets: random, from the shell
	}

	// What an operator asks for. Each is answered with a [partition.ChangeResponse].

	// DeleteTopic removes a topic.
	DeleteTopic struct {
		Token uint64
		partition.DeleteTopicRequest
	}

	// AddPartitions gives a topic more partitions.
	AddPartitions struct {
		Token uint64
		partition.AddPartitionsRequest
	}

	// AlterTopic changes a topic's configuration.
	AlterTopic struct {
		Token uint64
		partition.AlterTopicRequest
	}

	// Reassign moves a partition to other replicas. It is answered when the move has
	// begun, not when it is done.
	Reassign struct {
		Token uint64
		partition.ReassignRequest
	}

	// Transfer makes another replica the leader.
	Transfer struct {
		Token uint64
		partition.TransferRequest
	}

	// ElectUnclean has a replica elected that may be incomplete.
	ElectUnclean struct {
		Token uint64
		partition.ElectRequest
	}

	// LogEnds answers one of [Output.Ask].
	LogEnds struct{ LogEndsResponse }
)

func (Lead) input()          {}
func (Resign) input()        {}
func (Applied) input()       {}
func (Dropped) input()       {}
func (Tick) input()          {}
func (Register) input()      {}
func (Heartbeat) input()     {}
func (Broken) input()        {}
func (Alter) input()         {}
func (Discard) input()       {}
func (CreateTopic) input()   {}
func (DeleteTopic) input()   {}
func (AddPartitions) input() {}
func (AlterTopic) input()    {}
func (Reassign) input()      {}
func (Transfer) input()      {}
func (ElectUnclean) input()  {}
func (LogEnds) input()       {}
