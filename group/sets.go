package group

import (
	"slices"

	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// Sets of partitions are slices in the order of offsets.CompareID, without
// repetition. They are values: nobody writes to one once it is made.

// sorted returns the set of what is in ids.
func sorted(ids []partition.ID) []partition.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, offsets.CompareID)
	return slices.Compact(ids)
}

func contains(set []partition.ID, id partition.ID) bool {
	_, found := slices.BinarySearchFunc(set, id, offsets.CompareID)
	return found
}

// union returns what is in a or in b.
func union(a, b []partition.ID) []partition.ID {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	return sorted(slices.Concat(a, b))
}

// minus returns what is in a and not in b; nil for nothing.
func minus(a, b []partition.ID) []partition.ID {
	return filter(a, func(id partition.ID) bool { return !contains(b, id) })
}

// common returns what is in both a and b; nil for nothing.
func common(a, b []partition.ID) []partition.ID {
	return filter(a, func(id partition.ID) bool { return contains(b, id) })
}

// filter returns those of a that keep holds for; nil for none.
func filter(a []partition.ID, keep func(partition.ID) bool) []partition.ID {
	var kept []partition.ID
	for _, id := range a {
		if keep(id) {
			kept = append(kept, id)
		}
	}
	return kept
}
