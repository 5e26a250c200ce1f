package partition

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/log"
)

// The messages between a client and brokers that concern partitions. A batch
// travels as the Data of the frame, never inside the message.
type (
	// ProduceRequest appends one batch, the frame's only Data, to one partition.
	ProduceRequest struct {
		ID        ID
		Epoch     Epoch // the leader epoch that the sender knows; log.NoEpoch: any
		Acks      Acks
		TimeoutMs int32 // how long the leader may wait for the ISR
	}

	// ProduceResponse: with OK, the batch's first offset and the epoch it has there.
	// With NotLeader and FencedEpoch, the leader and epoch known to the answerer.
	ProduceResponse struct {
		Code   Code
		First  log.Offset
		Epoch  Epoch
		Leader BrokerID
	}

	// ReadRequest reads committed records of partitions led by one broker. It is
	// parked until MinBytes are there, an error is to be told, or MaxWaitMs is over.
	ReadRequest struct {
		MaxWaitMs  int32
		MinBytes   int32
		MaxBytes   int32
		Partitions []ReadPartition
	}
	// ReadPartition asks for whole batches from the one that holds From.
	ReadPartition struct {
		ID       ID
		Epoch    Epoch // the leader epoch that the reader knows; log.NoEpoch: any
		From     log.Offset
		MaxBytes int32 // the first batch comes whole even if it is larger
	}

	// ReadResponse answers each partition in the order of the request; Data[i] of
	// the frame holds the batches of Partitions[i].
	ReadResponse struct{ Partitions []ReadAnswer }
	// ReadAnswer: HighWatermark and Start also stand beside OutOfRange.
	ReadAnswer struct {
		Code          Code
		HighWatermark log.Offset
		Start         log.Offset
		Epoch         Epoch // as in ProduceResponse
		Leader        BrokerID
	}

	// InfoRequest asks a partition's leader for its offsets, and any replica what is
	// wrong with its copy.
	InfoRequest struct{ ID ID }
	// InfoResponse is answered with NotAvailable until the leader knows its high watermark.
	InfoResponse struct {
		Code          Code
		Epoch         Epoch
		Leader        BrokerID
		Start         log.Offset
		HighWatermark log.Offset
		End           log.Offset
		Followers     []FollowerAnswer // the other replicas, by rising ID
		Damage        string           // what is wrong with the answerer's copy, whether it leads or not; empty: nothing
	}
	// FollowerAnswer is how far one follower has come, as its leader knows.
	FollowerAnswer struct {
		ID   BrokerID
		Held log.Offset // all below it counts as held there; -1: not heard of in this epoch
	}

	// FindTimeRequest asks a partition's leader for the first committed record at or
	// after Time, in milliseconds since the Unix epoch.
	FindTimeRequest struct {
		ID   ID
		Time int64
	}
	// FindTimeResponse: Found is false if no committed record is as late; then Offset is
	// the high watermark. It is answered with NotAvailable until the leader knows that.
	FindTimeResponse struct {
		Code   Code
		Epoch  Epoch // as in ProduceResponse
		Leader BrokerID
		Found  bool
		Offset log.Offset
	}

	// DeleteBeforeRequest asks a partition's leader to remove the records below Before;
	// -1 means all that are committed.
	DeleteBeforeRequest struct {
		ID     ID
		Before log.Offset
	}
	// DeleteBeforeResponse: where the log starts now or, if the leader could not remove
	// what it was asked to, where it would. OutOfRange: Before is above the high watermark.
	DeleteBeforeResponse struct {
		Code   Code
		Epoch  Epoch // as in ProduceResponse
		Leader BrokerID
		Start  log.Offset
	}

	// MetadataRequest asks a broker for its image of the cluster. It is parked until that
	// is newer than After, or as new and of another controller, or MaxWaitMs is over.
	MetadataRequest struct {
		After      log.Offset // an Image's Offset; -1: answer at once
		Controller BrokerID   // of that image
		MaxWaitMs  int32
	}
	// Image is the whole metadata as one broker knows it: the answer to MetadataRequest.
	Image struct {
		Cluster    UUID
		Offset     log.Offset // of the newest metadata record in it
		Controller BrokerID   // as far as the answerer knows
		Voters     []BrokerID
		Brokers    []Broker // by rising ID
		Topics     []Topic  // by rising name
	}

	// CreateTopicRequest goes to the controller.
	CreateTopicRequest struct{ Config TopicConfig }
	// CreateTopicResponse: with OK or TopicExists, the topic's id and the metadata offset at
	// which it is there. Text says more of InvalidTopic.
	CreateTopicResponse struct {
		Code       Code
		Text       string
		Topic      UUID
		Offset     log.Offset
		Controller BrokerID // with NotController: who is, or NoBroker
	}
)

// Held returns how far a follower has come, or -1: its leader may be about to hear that it
// is one.
func (m *InfoResponse) Held(id BrokerID) log.Offset {
	i := slices.IndexFunc(m.Followers, func(f FollowerAnswer) bool { return f.ID == id })
	if i < 0 {
		return -1
	}
	return m.Followers[i].Held
}

// Acks says when a produce request is answered.
type Acks int8

// The acks. Zero is the safest.
const (
	AcksAll    Acks = iota // committed: see Durability
	AcksLeader             // written by the leader, and synced there if the topic is Synced
	AcksNone               // not at all: the answer comes once the leader has taken it
)

// String returns the setting's name.
func (a Acks) String() string {
	switch a {
	case AcksAll:
		return "all"
	case AcksLeader:
		return "leader"
	case AcksNone:
		return "none"
	default:
		return fmt.Sprintf("acks %d", int8(a))
	}
}
