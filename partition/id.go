package partition

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/samsalog/samsa/log"
)

// A BrokerID names a broker for good, over all its restarts: 1 or more.
type BrokerID int32

// NoBroker stands for none, as in a partition without a leader.
const NoBroker BrokerID = 0

// A BrokerEpoch numbers one incarnation of a broker: the offset, in the metadata
// log, of the record that registered it. It only rises.
type BrokerEpoch int64

// UnknownBrokerEpoch stands in a proposed ISR for a member that has not been heard of yet.
const UnknownBrokerEpoch BrokerEpoch = -1

// Epoch is a partition's leader epoch.
type Epoch = log.Epoch

// A PartitionEpoch numbers the changes of one partition's state.
type PartitionEpoch int32

// A UUID identifies a topic, a directory, an incarnation of a broker, or a
// cluster, for ever. The zero UUID is none.
type UUID [16]byte

func (u UUID) String() string { return hex.EncodeToString(u[:]) }

// WithLife returns u as the incarnation of the life-th process in a directory, from 1: its
// last eight bytes count. What a process has sent may arrive after it has died and the
// next one has registered, and must be told from that one's.
func (u UUID) WithLife(life uint64) UUID {
	binary.BigEndian.PutUint64(u[8:], life)
	return u
}

// Before reports whether u is of an earlier life of the same directory than other. An
// incarnation whose lives are not counted is before none.
func (u UUID) Before(other UUID) bool {
	life := binary.BigEndian.Uint64(u[8:])
	return life != 0 && life < binary.BigEndian.Uint64(other[8:])
}

// A PartitionID is a partition's number within its topic: 0 or more.
type PartitionID int32

// An ID names a partition for good: a topic created again under the same name
// has another Topic.
type ID struct {
	Topic     UUID
	Partition PartitionID
}

// Compare orders by topic, then by partition: below, equal to or above zero as id
// comes before, is, or comes after other.
func (id ID) Compare(other ID) int {
	return cmp.Or(bytes.Compare(id.Topic[:], other.Topic[:]), cmp.Compare(id.Partition, other.Partition))
}

func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Topic, id.Partition) }
