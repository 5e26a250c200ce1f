package group

import (
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// A Record is one change of a group, as its coordinator writes it down. The set is
// closed. Each record replaces what an earlier one of the same kind, member or
// partition said, so that the newest of each are all that a later coordinator
// needs, in whatever order compaction has left them. Gone: there is nothing more to say of it.
type Record interface{ record() }

type (
	// EpochRecord sets the group epoch.
	EpochRecord struct {
		Gone    bool
		Epoch   GroupEpoch
		Changed int64 // when, in milliseconds since the Unix epoch
	}

	// TopicsRecord sets what the group knows of the topics it subscribes to.
	TopicsRecord struct {
		Gone   bool
		Topics []Topic // by rising name
	}

	// MemberRecord sets what a member has said of itself.
	MemberRecord struct {
		Gone        bool
		Member      string
		Joined      int64 // Sequence of its newest join: what is not newer is of an earlier life
		Topics      []string
		SessionMs   int32
		RebalanceMs int32
		Rack        string
		Client      string
	}

	// TargetEpochRecord sets the assignment epoch.
	TargetEpochRecord struct {
		Gone  bool
		Epoch GroupEpoch
	}

	// TargetRecord sets what a member shall hold.
	TargetRecord struct {
		Gone       bool
		Member     string
		Partitions []partition.ID
	}

	// CurrentRecord sets how far a member has come. A partition in Assigned or Pending
	// is nobody else's.
	CurrentRecord struct {
		Gone     bool
		Member   string
		Version  Version
		Epoch    MemberEpoch
		Previous MemberEpoch // the one before: its bearer may have missed the answer
		State    State
		Assigned []Given // what it may hold
		Pending  []Given // what it has yet to give up
	}

	// CommitRecord sets the group's place in a partition; nil: it has none.
	CommitRecord struct {
		Partition partition.ID
		Commit    *offsets.Commit
	}
)

func (EpochRecord) record()       {}
func (TopicsRecord) record()      {}
func (MemberRecord) record()      {}
func (TargetEpochRecord) record() {}
func (TargetRecord) record()      {}
func (CurrentRecord) record()     {}
func (CommitRecord) record()      {}

// Given is a partition that a member has held since Epoch, an epoch of its own.
type Given struct {
	ID    partition.ID
	Epoch MemberEpoch
}

// A Topic is what a coordinator needs to know of one.
type Topic struct {
	Name       string
	ID         partition.UUID
	Partitions int
}

// Topics is what a Service needs to know of topics. Calls may overlap.
type Topics interface {
	Topic(name string) (id partition.UUID, partitions int, ok bool)
}
