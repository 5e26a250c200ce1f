package linear

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// An operation asks for one thing of one partition: to append a value, or to read the
// record at an offset.
type operation struct {
	partition int
	read      bool
	value     int // to append; values differ
	offset    int // to read at
}

type outcome int

const (
	ok outcome = iota
	failed
	unknown
)

// A result is what an operation has answered. A read that had no answer is not part of
// a history: there need not have been a record.
type result struct {
	outcome outcome // of an append; unknown: it takes effect at any later time, or never
	offset  int     // of an append that is ok
	value   int     // of a read
}

func (o operation) describe(r result) string {
	switch {
	case o.read:
		return fmt.Sprintf("read %d@%d: %d", o.partition, o.offset, r.value)
	case r.outcome == ok:
		return fmt.Sprintf("append %d to %d: at %d", o.value, o.partition, r.offset)
	case r.outcome == failed:
		return fmt.Sprintf("append %d to %d: failed", o.value, o.partition)
	}
	return fmt.Sprintf("append %d to %d: unknown", o.value, o.partition)
}

// A partition is a list of values. An append puts its value at the end, which is
// the offset that it answers; what is there never changes. Appends take effect
// when they are committed, so that a reader sees them from then on.
var model = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var all [][]porcupine.Operation
		for _, op := range history {
			p := op.Input.(operation).partition
			for len(all) <= p {
				all = append(all, nil)
			}
			all[p] = append(all[p], op)
		}
		return all
	},
	Init: func() []any { return []any{[]int(nil)} },
	Step: func(state, input, output any) []any {
		s, in, out := state.([]int), input.(operation), output.(result)
		appended := func() any { return append(slices.Clip(s), in.value) }
		switch {
		case in.read && in.offset < len(s) && s[in.offset] == out.value:
			return []any{s}
		case in.read:
			return nil
		case out.outcome == failed:
			return []any{s}
		case out.outcome == unknown:
			return []any{s, appended()}
		case out.offset == len(s):
			return []any{appended()}
		}
		return nil
	},
	Equal: func(a, b any) bool { return slices.Equal(a.([]int), b.([]int)) },
	DescribeOperation: func(input, output any) string {
		return input.(operation).describe(output.(result))
	},
}

// patience bounds the search. A history that takes longer is not called wrong.
const patience = 30 * time.Second

func check(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model.ToModel(), history, patience)
}

// A span is an operation and when it was under way.
type span struct {
	operation
	result
	from, to int64
}

func app(value int, r result, from, to int64) span {
	return span{operation{value: value}, r, from, to}
}

func read(offset, value int, from, to int64) span {
	return span{operation{read: true, offset: offset}, result{value: value}, from, to}
}

func at(offset int) result { return result{offset: offset} }

const never = int64(1) << 60

var histories = []struct {
	name string
	ok   bool
	ops  []span
}{
	{"appended and read", true, []span{app(1, at(0), 0, 1), read(0, 1, 2, 3)}},
	{"read before it is acknowledged", true, []span{app(1, at(0), 0, 9), read(0, 1, 2, 3)}},
	{"together, in the order of their offsets", true, []span{app(1, at(1), 0, 9), app(2, at(0), 0, 9)}},
	{"an unknown append takes effect late", true, []span{app(1, result{outcome: unknown}, 0, never), app(2, at(0), 2, 3), read(1, 1, 4, 5)}},
	{"an unknown append never takes effect", true, []span{app(1, result{outcome: unknown}, 0, never), app(2, at(0), 2, 3), app(3, at(1), 4, 5)}},
	{"two partitions", true, []span{app(1, at(0), 0, 1), {operation{partition: 1, value: 2}, at(0), 2, 3}}},

	{"read before it is appended", false, []span{read(0, 1, 0, 1), app(1, at(0), 2, 3)}},
	{"read another value", false, []span{app(1, at(0), 0, 1), app(2, at(1), 2, 3), read(0, 2, 4, 5)}},
	{"one after the other, in another order", false, []span{app(1, at(1), 0, 1), app(2, at(0), 2, 3)}},
	{"two at one offset", false, []span{app(1, at(0), 0, 1), app(2, at(0), 2, 3)}},
	{"a gap", false, []span{app(1, at(1), 0, 1)}},
	{"a failed append is read", false, []span{app(1, result{outcome: failed}, 0, 1), read(0, 1, 2, 3)}},
	{"an unknown append takes effect before it is sent", false, []span{read(0, 1, 0, 1), app(1, result{outcome: unknown}, 2, never)}},
	{"an unknown append stands twice", false, []span{app(1, result{outcome: unknown}, 0, never), read(0, 1, 2, 3), read(1, 1, 2, 3)}},
	{"what was acknowledged is overwritten", false, []span{
		app(1, at(0), 0, 1), app(2, result{outcome: unknown}, 0, never), read(0, 2, 2, 3),
	}},
}

func TestModel(t *testing.T) {
	for _, h := range histories {
		t.Run(h.name, func(t *testing.T) {
			var ops []porcupine.Operation
			for i, s := range h.ops {
				ops = append(ops, porcupine.Operation{ClientId: i, Input: s.operation, Call: s.from, Output: s.result, Return: s.to})
			}
			want := porcupine.Illegal
			if h.ok {
				want = porcupine.Ok
			}
			require.Equal(t, want, check(ops))
		})
	}
}
