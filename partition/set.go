package partition

import "slices"

// The sets of a State are slices in rising order; nil is the empty one. These
// functions take slices in any order and write to none.

// setOf returns the members of ids.
func setOf(ids []BrokerID) []BrokerID {
	if len(ids) == 0 {
		return nil
	}
	set := slices.Clone(ids)
	slices.Sort(set)
	return slices.Compact(set)
}

// union returns what is in a or b.
func union(a, b []BrokerID) []BrokerID {
	return setOf(slices.Concat(a, b))
}

// minus returns what is in a and not in b.
func minus(a, b []BrokerID) []BrokerID {
	return keep(a, func(id BrokerID) bool { return !slices.Contains(b, id) })
}

// intersect returns what is in a and in b.
func intersect(a, b []BrokerID) []BrokerID {
	return keep(a, func(id BrokerID) bool { return slices.Contains(b, id) })
}

// hasTwice reports whether a broker is named more than once.
func hasTwice(ids []BrokerID) bool { return len(setOf(ids)) < len(ids) }

func keep(ids []BrokerID, wanted func(BrokerID) bool) []BrokerID {
	var kept []BrokerID
	for _, id := range ids {
		if wanted(id) {
			kept = append(kept, id)
		}
	}
	return setOf(kept)
}
