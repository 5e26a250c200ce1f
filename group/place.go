package group

import (
	"github.com/cespare/xxhash/v2"

	"github.com/samsalog/samsa/partition"
)

// PartitionOf returns the partition of __consumer_offsets that a group lives in,
// for good: it depends on nothing but the group's name.
func PartitionOf(group string, partitions int) partition.PartitionID {
	return partition.PartitionID(xxhash.Sum64String(group) % uint64(max(partitions, 1)))
}
