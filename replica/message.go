package replica

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// The messages between brokers that keep copies alike. Batches travel as the Data
// of the frame, never inside the message.
type (
	// FetchRequest asks a leader for what follows a follower's logs, and says how far
	// they are flushed. It is parked until MinBytes are there, something else is to be
	// told, or MaxWaitMs is over.
	FetchRequest struct {
		From        partition.BrokerID
		BrokerEpoch partition.BrokerEpoch
		Sequence    int64 // one more at each fetch of From to this leader
		MaxWaitMs   int32
		MinBytes    int32
		MaxBytes    int32
		// Cold says that the leader keeps those Partitions of which there is no news, and
		// tells of them when there is, in this answer or in that of a later cold fetch.
		Cold bool
		// After is the sequence of the cold fetch to whose partitions these are added;
		// 0: there is none, and what the leader kept for From before is forgotten.
		After      int64
		Partitions []FetchPartition
	}

	// FetchPartition is one partition's part of a fetch.
	FetchPartition struct {
		ID        partition.ID
		Epoch     log.Epoch  // the leader epoch that the follower follows
		Fetch     log.Offset // its log end
		LastEpoch log.Epoch  // the newest in the history of its log's epochs; NoEpoch: none
		Ack       log.Offset // its flushed end
		Start     log.Offset // its log start
		MaxBytes  int32      // 0: an ack only, which is never parked
		// Removed is the offset below which tombstones may be missing from its log.
		Removed log.Offset
		// HighWatermark is the one that the follower knows: a leader that knows a
		// higher one answers at once.
		HighWatermark log.Offset
	}

	// FetchResponse answers each partition in the order of the request; to a cold
	// fetch, those alone of which there is news, which are then kept no more. Data[i]
	// of the frame holds the batches of Partitions[i].
	FetchResponse struct {
		Code partition.Code
		// Lost answers a cold fetch that comes after one which is not the newest here: it
		// has changed nothing, and the follower begins anew.
		Lost       bool
		Partitions []FetchAnswer
	}

	// FetchAnswer is one partition's answer. HighWatermark, Start and End are the
	// leader's, taken before the read; they also stand beside OutOfRange.
	FetchAnswer struct {
		ID             partition.ID
		Code           partition.Code
		Diverging      bool // the logs part: cut by the two below
		DivergingEpoch log.Epoch
		DivergingEnd   log.Offset
		HighWatermark  log.Offset
		Start          log.Offset
		End            log.Offset
		Removed        log.Offset // below which tombstones may be missing from the leader's log
	}

	// AlterISR asks the controller to make ISR the in-sync set. It holds only against
	// PartitionEpoch, so that repeating it is harmless.
	AlterISR struct {
		From           partition.BrokerID
		BrokerEpoch    partition.BrokerEpoch
		ID             partition.ID
		Epoch          log.Epoch
		PartitionEpoch partition.PartitionEpoch
		ISR            []partition.Member // by rising ID; UnknownBrokerEpoch only for one that is in it already
		Recovered      bool               // the sender has taken over after an unclean election
	}

	// Discard tells the controller that a copy must begin anew. It holds only while From
	// is registered under BrokerEpoch, and repeating it is harmless.
	Discard struct {
		From        partition.BrokerID
		BrokerEpoch partition.BrokerEpoch
		ID          partition.ID
		Epoch       log.Epoch // the newest in which the copy has led or followed; NoEpoch: none
	}

	// DiscardAnswer: with OK, the copy is in neither ISR nor ELR, in an epoch above that
	// of the question. NotEnoughReplicas: nobody else could lead, so that it stays where
	// it is. With NotController, who is, or NoBroker.
	DiscardAnswer struct {
		Code       partition.Code
		Controller partition.BrokerID
	}

	// AlterISRAnswer: with OK, the partition's state after the change. With
	// NotController, who is, or NoBroker.
	AlterISRAnswer struct {
		Code       partition.Code
		State      partition.State
		Controller partition.BrokerID
	}
)
