package replica

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// An Input is one thing that has happened. The set is closed. A machine ignores
// those that are not for it.
type Input interface{ input() }

// What a leader takes.
type (
	// Appended: the log now ends at End.
	Appended struct{ End log.Offset }

	// Fetched: a follower has asked for one partition. Known, LogEpoch and LogEnd
	// are what the log's EndOf says of Partition.LastEpoch, and LogStart is where it starts:
	// it does before all below has left the disk, which is when Started comes. The output
	// has a verdict.
	Fetched struct {
		From        partition.BrokerID
		BrokerEpoch partition.BrokerEpoch
		Sequence    int64
		Partition   FetchPartition
		LogEpoch    log.Epoch
		LogEnd      log.Offset
		Known       bool
		LogStart    log.Offset
	}

	// Altered: the controller has answered the proposal that was based on
	// PartitionEpoch.
	Altered struct {
		PartitionEpoch partition.PartitionEpoch
		Code           partition.Code
		State          partition.State // with OK
	}

	// AlterLost: the last proposal got no answer. It may be applied, now or later;
	// a Tick sends it again as it was.
	AlterLost struct{}

	// Tick: look at the time. It may come at any time, and needs to come only while
	// [Leader.NeedsTick].
	Tick struct{}
)

// What both take.
type (
	// Flushed: the log is flushed up to, not including, End.
	Flushed struct{ End log.Offset }

	// Started: the log now starts at Start, and tombstones below Removed may be missing.
	// All below Below has been removed, but for what is in one batch with records that stay:
	// where compaction has made batches of several the log may start below that.
	Started struct{ Start, Below, Removed log.Offset }

	// Changed: the metadata is newer, and the leader epoch is still the machine's.
	// A follower looks at State alone.
	Changed struct {
		State  partition.State
		MinISR int
		Peers  []Peer // the other replicas
	}
)

// What a follower takes.
type (
	// Answered: the leader has answered. OwnKnown, OwnEpoch and OwnEnd are what this
	// broker's own log's EndOf says of Answer.DivergingEpoch.
	Answered struct {
		Sequence int64 // of the fetch that asked
		Request  FetchPartition
		Answer   FetchAnswer
		Data     []byte
		OwnEpoch log.Epoch
		OwnEnd   log.Offset
		OwnKnown bool
	}

	// Moved: the shell has carried out Truncate, Reset or Append, or has found that
	// the log refuses to; the log now is as said here.
	Moved struct {
		Start     log.Offset
		End       log.Offset
		Flushed   log.Offset
		LastEpoch log.Epoch // the newest in the log's epoch history
		Removed   log.Offset
	}
)

func (Appended) input()  {}
func (Fetched) input()   {}
func (Altered) input()   {}
func (AlterLost) input() {}
func (Started) input()   {}
func (Tick) input()      {}
func (Flushed) input()   {}
func (Changed) input()   {}
func (Answered) input()  {}
func (Moved) input()     {}

// A Peer is another replica of the partition, as this broker's metadata shows it.
type Peer struct {
	ID     partition.BrokerID
	Epoch  partition.BrokerEpoch
	Active bool // registered, unfenced, not stopping, and its disk is not full
}
