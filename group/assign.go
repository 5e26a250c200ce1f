package group

import (
	"slices"

	"github.com/samsalog/samsa/partition"
)

// An Assignor says which member shall read which partition. It must be a function:
// the same arguments give the same result, whatever the machine.
type Assignor interface {
	// Assign returns, for each member, what it shall hold: partitions of topics that it
	// subscribes to, none of them twice. Members come by rising id, topics by rising
	// name; a subscription may name topics that are not there.
	Assign(members []Subscriber, topics []Topic) [][]partition.ID
}

// A Subscriber is a member as an assignor sees it.
type Subscriber struct {
	Member string
	Rack   string
	Topics []string       // in rising order
	Target []partition.ID // what the last assignment was
}

// assign asks an assignor, and does not trust it: a panic, or a result that would
// give a partition to two or to one that did not ask, is no result.
func assign(a Assignor, members []Subscriber, topics []Topic) (targets [][]partition.ID, ok bool) {
	defer func() {
		if recover() != nil {
			targets, ok = nil, false
		}
	}()
	targets = a.Assign(members, topics)
	if len(targets) != len(members) {
		return nil, false
	}
	byID := index(topics)
	given := map[partition.ID]bool{}
	for i, ids := range targets {
		for _, id := range ids {
			t, there := byID[id.Topic]
			if !there || !within(id, t) || given[id] || !subscribes(members[i], t) {
				return nil, false
			}
			given[id] = true
		}
		targets[i] = sorted(ids)
	}
	return targets, true
}

// keep is what is done without a result: the last target, less what is no more.
func keep(members []Subscriber, topics []Topic) [][]partition.ID {
	byID := index(topics)
	targets := make([][]partition.ID, len(members))
	for i, m := range members {
		targets[i] = filter(m.Target, func(id partition.ID) bool {
			t, there := byID[id.Topic]
			return there && within(id, t) && subscribes(m, t)
		})
	}
	return targets
}

func index(topics []Topic) map[partition.UUID]Topic {
	byID := make(map[partition.UUID]Topic, len(topics))
	for _, t := range topics {
		byID[t.ID] = t
	}
	return byID
}

func within(id partition.ID, t Topic) bool {
	return id.Partition >= 0 && int(id.Partition) < t.Partitions
}

func subscribes(m Subscriber, t Topic) bool {
	_, found := slices.BinarySearch(m.Topics, t.Name)
	return found
}
