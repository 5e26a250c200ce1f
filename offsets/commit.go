package offsets

import (
	"bytes"
	"cmp"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A MemberEpoch numbers the states of one member of a group: it rises each time
// the member is brought up to a newer assignment, and fences what it did before.
type MemberEpoch int32

// NoMember is the epoch of a request that comes from no member of the group, such
// as an operator's.
const NoMember MemberEpoch = -1

// A Key names what a commit is about: one group's place in one partition.
type Key struct {
	Group     string
	Partition partition.ID
}

// A Commit is a group's place in one partition.
type Commit struct {
	Offset    log.Offset // of the next record to read
	Epoch     log.Epoch  // of the last record read; log.NoEpoch: not known
	Metadata  string     // the committer's own
	Timestamp int64      // milliseconds since the Unix epoch, of the coordinator's clock
}

// MaxMetadata is the longest Metadata of a commit, in bytes.
const MaxMetadata = 4096

// CompareID orders partitions by topic, then by number. All lists of partitions in
// records, messages and outputs of this package and of package group are in it.
func CompareID(a, b partition.ID) int {
	return cmp.Or(bytes.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Partition, b.Partition))
}

func compareKey(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), CompareID(a.Partition, b.Partition))
}
