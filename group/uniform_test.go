package group

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/samsalog/samsa/partition"
)

func drawTopics(t *rapid.T) []Topic {
	var topics []Topic
	for i := range rapid.IntRange(0, 5).Draw(t, "topics") {
		topics = append(topics, Topic{
			Name: fmt.Sprintf("t%d", i), ID: partition.UUID{byte(9 - i)}, Partitions: rapid.IntRange(0, 7).Draw(t, "partitions"),
		})
	}
	return topics
}

func drawMembers(t *rapid.T, topics []Topic, alike bool) []Subscriber {
	var members []Subscriber
	for i := range rapid.IntRange(1, 7).Draw(t, "members") {
		m := Subscriber{Member: fmt.Sprintf("m%d", i)}
		for _, topic := range topics {
			if alike || rapid.Bool().Draw(t, "subscribes") {
				m.Topics = append(m.Topics, topic.Name)
			}
		}
		members = append(members, m)
	}
	return members
}

// Whoever can be given a partition is, nobody gets another's, and no single move
// along any path of members makes two loads more even.
func TestUniformIsBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := drawTopics(t)
		alike := rapid.Bool().Draw(t, "alike")
		members := drawMembers(t, topics, alike)
		targets, ok := assign(Uniform{}, members, topics)
		require.True(t, ok, "twice, or to one who did not ask")
		again, _ := assign(Uniform{}, members, topics)
		require.Equal(t, targets, again)

		want, got := 0, len(slices.Concat(targets...))
		for _, topic := range topics {
			if slices.ContainsFunc(members, func(m Subscriber) bool { return subscribes(m, topic) }) {
				want += topic.Partitions
			}
		}
		require.Equal(t, want, got, "all that somebody wants is given")
		if alike {
			least, most := len(targets[0]), len(targets[0])
			for _, ids := range targets {
				least, most = min(least, len(ids)), max(most, len(ids))
			}
			require.LessOrEqual(t, most-least, 1)
		}
		b := newBalance(members, topics)
		for i, ids := range targets {
			for _, id := range ids {
				b.give(i, id)
			}
		}
		require.False(t, b.even(), "could be more even: %v", targets)
	})
}

// With equal subscriptions a member keeps as much as its new share allows.
func TestUniformMovesAsLittleAsPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := drawTopics(t)
		members := drawMembers(t, topics, true)
		var free []partition.ID
		for _, topic := range topics {
			for p := range topic.Partitions {
				free = append(free, partition.ID{Topic: topic.ID, Partition: partition.PartitionID(p)})
			}
		}
		for _, p := range free {
			if owner := rapid.IntRange(-1, len(members)-1).Draw(t, "owner"); owner >= 0 {
				members[owner].Target = append(members[owner].Target, p)
			}
		}
		targets, ok := assign(Uniform{}, members, topics)
		require.True(t, ok)
		kept, could := 0, 0
		share, rest := len(free)/len(members), len(free)%len(members)
		for i, m := range members {
			kept += len(common(targets[i], sorted(m.Target)))
			could += min(len(m.Target), share)
			if len(m.Target) > share && rest > 0 {
				could++
				rest--
			}
		}
		require.Equal(t, could, kept)
	})
}

func TestUniformWithDifferentSubscriptionsMovesAlongAPath(t *testing.T) {
	topics := []Topic{{"a", partition.UUID{1}, 2}, {"b", partition.UUID{2}, 1}}
	members := []Subscriber{
		{Member: "x", Topics: []string{"a"}, Target: []partition.ID{id(1, 0), id(1, 1)}},
		{Member: "y", Topics: []string{"a", "b"}, Target: []partition.ID{id(2, 0)}},
		{Member: "z", Topics: []string{"b"}},
	}
	targets, ok := assign(Uniform{}, members, topics)
	require.True(t, ok)
	require.Equal(t, [][]partition.ID{{id(1, 0)}, {id(1, 1)}, {id(2, 0)}}, targets)
}

type badAssignor func(members []Subscriber) [][]partition.ID

func (f badAssignor) Assign(members []Subscriber, _ []Topic) [][]partition.ID { return f(members) }

func TestAssignorIsNotTrusted(t *testing.T) {
	topics := []Topic{{"a", partition.UUID{1}, 2}}
	members := []Subscriber{{Member: "x", Topics: []string{"a"}}, {Member: "y"}}
	for name, f := range map[string]badAssignor{
		"panics":                      func([]Subscriber) [][]partition.ID { panic("boom") },
		"forgets a member":            func([]Subscriber) [][]partition.ID { return [][]partition.ID{{id(1, 0)}} },
		"gives one twice":             func([]Subscriber) [][]partition.ID { return [][]partition.ID{{id(1, 0), id(1, 0)}, nil} },
		"gives what nobody asked for": func([]Subscriber) [][]partition.ID { return [][]partition.ID{nil, {id(1, 0)}} },
		"gives what is not there":     func([]Subscriber) [][]partition.ID { return [][]partition.ID{{id(1, 2)}, nil} },
		"gives an unknown topic":      func([]Subscriber) [][]partition.ID { return [][]partition.ID{{id(2, 0)}, nil} },
	} {
		_, ok := assign(f, members, topics)
		require.False(t, ok, "%s", name)
	}
}

func BenchmarkUniformOneMoreMember(b *testing.B) {
	topics := []Topic{{"a", partition.UUID{1}, 1000}}
	var members []Subscriber
	for i := range 100 {
		members = append(members, Subscriber{Member: fmt.Sprintf("m%03d", i), Topics: []string{"a"}})
	}
	for i, ids := range (Uniform{}).Assign(members[:99], topics) {
		members[i].Target = ids
	}
	for b.Loop() {
		Uniform{}.Assign(members, topics)
	}
}
