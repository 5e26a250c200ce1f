package offsets

import (
	"maps"
	"slices"

	"github.com/samsalog/samsa/partition"
)

// A Table is what commit records fold into: the newest commit for each key. The
// zero Table is empty. It is not safe for concurrent use.
type Table struct{ commits map[Key]Commit }

// Apply takes in the next record; a nil commit removes the key's.
func (t *Table) Apply(k Key, c *Commit) {
	if c == nil {
		delete(t.commits, k)
		return
	}
	if t.commits == nil {
		t.commits = map[Key]Commit{}
	}
	t.commits[k] = *c
}

// Get returns a key's commit.
func (t *Table) Get(k Key) (Commit, bool) {
	c, ok := t.commits[k]
	return c, ok
}

// Len returns how many commits there are.
func (t *Table) Len() int { return len(t.commits) }

// Keys returns the keys of all commits, by group, topic and partition.
func (t *Table) Keys() []Key {
	return slices.SortedFunc(maps.Keys(t.commits), compareKey)
}

// Answer looks up a group's commits for the given partitions; nil: for all that it has.
func (t *Table) Answer(group string, ids []partition.ID) []FetchAnswer {
	if ids == nil {
		for _, k := range t.Keys() {
			if k.Group == group {
				ids = append(ids, k.Partition)
			}
		}
	}
	var answers []FetchAnswer
	for _, id := range ids {
		c, ok := t.commits[Key{Group: group, Partition: id}]
		answers = append(answers, FetchAnswer{ID: id, Found: ok, Commit: c})
	}
	return answers
}
