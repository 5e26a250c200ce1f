package group

import (
	"slices"

	"github.com/samsalog/samsa/partition"
)

// Uniform is the default assignor: members hold as many partitions as each other,
// as far as their subscriptions allow, and as few as possible move.
//
// What a member already has it keeps at first. What is left over goes to the least
// loaded that want it. Then, while somebody could be relieved by two or more, one
// partition moves along a path of members to one who has less: when there is no
// such path, no assignment is more even (Harvey et al., Semi-matchings for bipartite
// graphs and load balancing). With equal subscriptions all end within one of each other.
type Uniform struct{}

// Assign implements [Assignor].
func (Uniform) Assign(members []Subscriber, topics []Topic) [][]partition.ID {
	b := newBalance(members, topics)
	b.hand(b.retain())
	for b.even() {
	}
	for i := range b.held {
		b.held[i] = sorted(b.held[i])
	}
	return b.held
}

// A balance is an assignment in the making. Members and topics go by index.
type balance struct {
	members []Subscriber
	topics  []Topic
	byID    map[partition.UUID]int
	wants   [][]int          // topics of each member
	wanted  [][]int          // members of each topic
	held    [][]partition.ID // of each member
	count   [][]int          // how many of each topic each member holds
}

func newBalance(members []Subscriber, topics []Topic) *balance {
	b := &balance{
		members: members, topics: topics, byID: map[partition.UUID]int{},
		wants: make([][]int, len(members)), wanted: make([][]int, len(topics)),
		held: make([][]partition.ID, len(members)), count: make([][]int, len(members)),
	}
	for t, topic := range topics {
		b.byID[topic.ID] = t
		for m := range members {
			if subscribes(members[m], topic) {
				b.wants[m] = append(b.wants[m], t)
				b.wanted[t] = append(b.wanted[t], m)
			}
		}
	}
	for m := range members {
		b.count[m] = make([]int, len(topics))
	}
	return b
}

func (b *balance) give(m int, id partition.ID) {
	b.held[m] = append(b.held[m], id)
	b.count[m][b.byID[id.Topic]]++
}

// retain gives everybody what it has, and returns what nobody has.
func (b *balance) retain() []partition.ID {
	taken := map[partition.ID]bool{}
	for m := range b.members {
		for _, id := range b.members[m].Target {
			t, there := b.byID[id.Topic]
			if there && within(id, b.topics[t]) && subscribes(b.members[m], b.topics[t]) && !taken[id] {
				taken[id] = true
				b.give(m, id)
			}
		}
	}
	// Topics that few want first: the others can make up for them.
	order := make([]int, len(b.topics))
	for t := range order {
		order[t] = t
	}
	slices.SortStableFunc(order, func(s, t int) int { return len(b.wanted[s]) - len(b.wanted[t]) })
	var free []partition.ID
	for _, t := range order {
		for p := range b.topics[t].Partitions {
			id := partition.ID{Topic: b.topics[t].ID, Partition: partition.PartitionID(p)}
			if !taken[id] && len(b.wanted[t]) > 0 {
				free = append(free, id)
			}
		}
	}
	return free
}

// hand gives each free partition to the least loaded member that wants it.
func (b *balance) hand(free []partition.ID) {
	for _, id := range free {
		t := b.byID[id.Topic]
		best := b.wanted[t][0]
		for _, m := range b.wanted[t] {
			if b.less(m, best, t) {
				best = m
			}
		}
		b.give(best, id)
	}
}

// less says that m should rather get a partition of topic t than n.
func (b *balance) less(m, n, t int) bool {
	if len(b.held[m]) != len(b.held[n]) {
		return len(b.held[m]) < len(b.held[n])
	}
	return b.count[m][t] < b.count[n][t]
}

// even makes one member's load less by moving along one path, and reports whether
// it could.
func (b *balance) even() bool {
	order := make([]int, len(b.members))
	for m := range order {
		order[m] = m
	}
	slices.SortStableFunc(order, func(m, n int) int { return len(b.held[n]) - len(b.held[m]) })
	if len(order) == 0 {
		return false
	}
	least := len(b.held[order[len(order)-1]])
	tried := newTrail(b) // what one source reached in vain, a lesser one need not look at
	for _, m := range order {
		if len(b.held[m]) < least+2 {
			return false
		}
		if path := tried.search(m); path != nil {
			b.move(path)
			return true
		}
	}
	return false
}

// move passes one partition along each step of the path.
func (b *balance) move(path []step) {
	for _, s := range path {
		// The last one of the topic goes, so that what a member keeps is the beginning.
		at := -1
		for i, id := range b.held[s.from] {
			if b.byID[id.Topic] == s.topic && (at < 0 || id.Partition > b.held[s.from][at].Partition) {
				at = i
			}
		}
		id := b.held[s.from][at]
		b.held[s.from] = slices.Delete(b.held[s.from], at, at+1)
		b.count[s.from][s.topic]--
		b.give(s.to, id)
	}
}

// A step passes a partition of a topic from one member to another.
type step struct{ from, to, topic int }

// A trail is a breadth-first search for members with less.
type trail struct {
	b      *balance
	came   []step // how each member was reached
	member []bool // reached
	topic  []bool // passed through
}

func newTrail(b *balance) *trail {
	return &trail{b: b, came: make([]step, len(b.members)), member: make([]bool, len(b.members)), topic: make([]bool, len(b.topics))}
}

// search returns the shortest path from a member to the least loaded that it leads
// to, if that has less by two or more.
func (s *trail) search(from int) []step {
	if s.member[from] {
		return nil
	}
	limit := len(s.b.held[from]) - 2
	s.member[from] = true
	s.came[from] = step{from: -1}
	level := []int{from}
	for len(level) > 0 {
		var next []int
		best := -1
		for _, m := range level {
			for _, t := range s.b.wants[m] {
				if s.topic[t] || s.b.count[m][t] == 0 {
					continue
				}
				s.topic[t] = true
				for _, n := range s.b.wanted[t] {
					if s.member[n] {
						continue
					}
					s.member[n] = true
					s.came[n] = step{from: m, to: n, topic: t}
					next = append(next, n)
					if len(s.b.held[n]) <= limit && (best < 0 || len(s.b.held[n]) < len(s.b.held[best])) {
						best = n
					}
				}
			}
		}
		if best >= 0 {
			return s.back(best)
		}
		level = next
	}
	return nil
}

func (s *trail) back(to int) []step {
	var path []step
	for at := s.came[to]; at.from >= 0; at = s.came[at.from] {
		path = append(path, at)
	}
	slices.Reverse(path)
	return path
}
