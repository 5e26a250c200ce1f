package partition

import "github.com/cespare/xxhash/v2"

// A Partitioner says which partition of a topic a record goes to.
type Partitioner interface {
	// Partition returns the partition, of that many, for a record with that key.
	// False says that any will do: the producer then stays on one until its batch
	// has left. It must not keep the key. Calls may overlap.
	Partition(key []byte, partitions int) (PartitionID, bool)
}

var (
	// ByKey sends records of the same key to the same partition, as long as the
	// topic has the same number of them. A nil key goes anywhere; an empty one is a key.
	ByKey Partitioner = byKey{}

	// Manual sends each record to the partition that it names.
	Manual Partitioner = manual{}
)

type byKey struct{}

func (byKey) Partition(key []byte, partitions int) (PartitionID, bool) {
	if key == nil || partitions < 1 {
		return 0, false
	}
	return PartitionID(xxhash.Sum64(key) % uint64(partitions)), true
}

// manual is told apart by its identity: it never sees the record.
type manual struct{}

func (manual) Partition([]byte, int) (PartitionID, bool) { return 0, false }
