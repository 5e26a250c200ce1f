package history_test

import (
	"errors"
	"testing"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/samsatest/internal/history"
	"github.com/stretchr/testify/require"
)

var (
	zero  = history.Log{Topic: "t", Partition: 0}
	alone = history.Reader{Name: "reader"}
	m1    = history.Reader{Name: "m1", Group: "g"}
	m2    = history.Reader{Name: "m2", Group: "g"}
)

func rec(number uint32) history.Record   { return history.Record{Sender: 1, Number: number} }
func at(offset log.Offset) history.Place { return history.Place{Log: zero, Offset: offset} }
func recs(ns ...uint32) (r []history.Record) {
	for _, n := range ns {
		r = append(r, rec(n))
	}
	return r
}

// A story tells a history, and keeps what it complains of.
type story struct {
	*history.History
	errs []error
}

func (s *story) note(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// acked sends records of those numbers, which are acknowledged from an offset on.
func (s *story) acked(from log.Offset, numbers ...uint32) {
	for i, n := range numbers {
		s.Send(rec(n), true)
		s.note(s.Acked(rec(n), at(from+log.Offset(i)), 1, 1))
	}
}

// read has a reader read records of those numbers, and process them.
func (s *story) read(r history.Reader, from log.Offset, numbers ...uint32) {
	for i, n := range numbers {
		p := at(from + log.Offset(i))
		s.note(s.Read(r, p, rec(n)))
		s.Done(r, p)
	}
}

func (s *story) end(numbers ...uint32) {
	for _, err := range s.End(map[history.Log][]history.Record{zero: recs(numbers...)}) {
		s.note(err)
	}
}

// Each way to be wrong is named, at its place.
var wrongs = []struct {
	name string
	kind history.Kind
	at   log.Offset
	tell func(s *story)
}{
	{"an acknowledged record is not where it was, and others are behind it", history.Lost, 1, func(s *story) {
		s.acked(0, 0, 1, 2)
		s.Send(rec(3), true)
		s.note(s.Unknown(rec(3), 1))
		s.end(0, 3, 2)
	}},
	{"an acknowledged record stands elsewhere", history.Lost, 0, func(s *story) {
		s.Send(rec(0), true)
		s.note(s.Acked(rec(0), at(0), 1, 2))
		s.acked(1, 1)
		s.Send(rec(2), true)
		s.note(s.Unknown(rec(2), 1))
		s.end(2, 1, 0)
	}},
	{"the log ends before an acknowledged record", history.Unseen, 1, func(s *story) {
		s.acked(0, 0, 1)
		s.end(0)
	}},
	{"the group does not come to the end", history.Unseen, 1, func(s *story) {
		s.acked(0, 0, 1)
		s.read(m1, 0, 0)
		s.end(0, 1)
	}},
	{"the group is given a record and does not process it", history.Unseen, 0, func(s *story) {
		s.acked(0, 0)
		s.note(s.Read(m1, at(0), rec(0)))
		s.end(0)
	}},
	{"nobody has sent what is read", history.Unsent, 0, func(s *story) { s.read(alone, 0, 7) }},
	{"nobody has sent what stands there", history.Unsent, 0, func(s *story) { s.end(7) }},
	{"nobody has sent what is acknowledged", history.Unsent, 0, func(s *story) {
		s.note(s.Acked(rec(0), at(0), 1, 1))
	}},
	{"a send that failed for certain is read", history.Unsent, 0, func(s *story) {
		s.Send(rec(0), true)
		s.note(s.Failed(rec(0)))
		s.read(alone, 0, 0)
	}},
	{"a send that failed for certain stands there", history.Unsent, 0, func(s *story) {
		s.Send(rec(0), true)
		s.note(s.Failed(rec(0)))
		s.end(0)
	}},
	{"one attempt stands twice", history.Repeated, 0, func(s *story) {
		s.acked(0, 0)
		s.end(0, 0)
	}},
	{"two attempts stand three times", history.Repeated, 0, func(s *story) {
		s.Send(rec(0), true)
		s.note(s.Unknown(rec(0), 2))
		s.end(0, 0, 0)
	}},
	{"the leader alone acknowledged it, and it stands twice", history.Repeated, 1, func(s *story) {
		s.Send(rec(0), false)
		s.note(s.Acked(rec(0), at(1), 1, 1))
		s.end(0, 0)
	}},
	{"acknowledged in another order", history.OutOfOrder, 0, func(s *story) {
		s.acked(1, 0)
		s.acked(0, 1)
		s.end(1, 0)
	}},
	{"the leader alone acknowledged it in another order", history.OutOfOrder, 0, func(s *story) {
		for n := range uint32(2) {
			s.Send(rec(n), false)
			s.note(s.Acked(rec(n), at(log.Offset(1-n)), 1, 1))
		}
		s.end(1, 0)
	}},
	{"two records are acknowledged at one place", history.Inconsistent, 0, func(s *story) {
		s.acked(0, 0)
		s.acked(0, 1)
	}},
	{"two records are read at one place", history.Inconsistent, 0, func(s *story) {
		s.Send(rec(0), true)
		s.Send(rec(1), true)
		s.read(alone, 0, 0)
		s.read(m1, 0, 1)
	}},
	{"another record is read than was acknowledged", history.Inconsistent, 0, func(s *story) {
		s.acked(0, 0)
		s.Send(rec(1), true)
		s.read(alone, 0, 1)
	}},
	{"a record is told two outcomes", history.Inconsistent, 0, func(s *story) {
		s.acked(0, 0)
		s.note(s.Failed(rec(0)))
	}},
	{"what was read is not there in the end", history.Inconsistent, 0, func(s *story) {
		for n := range uint32(2) {
			s.Send(rec(n), true)
			s.note(s.Unknown(rec(n), 1))
		}
		s.read(alone, 0, 0)
		s.end(1)
	}},
	{"a reader goes past a record", history.Skipped, 2, func(s *story) {
		s.acked(0, 0, 1, 2)
		s.read(alone, 0, 0)
		s.read(alone, 2, 2)
	}},
	{"a member begins behind what its group has processed", history.Skipped, 2, func(s *story) {
		s.acked(0, 0, 1, 2)
		s.read(m1, 0, 0)
		s.note(s.Read(m1, at(1), rec(1)))
		s.Assigned(m2, zero)
		s.read(m2, 2, 2)
	}},
	{"a group commits what it has not processed", history.Skipped, 1, func(s *story) {
		s.acked(0, 0)
		s.note(s.Read(m1, at(0), rec(0)))
		s.note(s.Look(zero).Committed("g", 1))
	}},
	{"a reader is given a record again", history.Rewound, 0, func(s *story) {
		s.acked(0, 0)
		s.read(alone, 0, 0)
		s.read(alone, 0, 0)
	}},
	{"a member begins before what its group has committed", history.Rewound, 0, func(s *story) {
		s.acked(0, 0, 1)
		s.read(m1, 0, 0)
		s.Commit("g", at(0))
		s.Assigned(m2, zero)
		s.read(m2, 0, 0)
	}},
	{"a high watermark goes back within an epoch", history.Rewound, 1, func(s *story) {
		s.note(s.Look(zero).High(3, 2))
		s.note(s.Look(zero).High(3, 1))
	}},
	{"an epoch has acknowledged what is not below its high watermark", history.AboveHigh, 1, func(s *story) {
		s.acked(0, 0, 1)
		s.note(s.Look(zero).High(1, 1))
	}},
	{"read above the high watermark", history.AboveHigh, 1, func(s *story) {
		s.acked(0, 0)
		s.Send(rec(1), true)
		s.read(alone, 0, 0, 1)
		s.note(s.Look(zero).High(2, 1))
		s.note(s.Unknown(rec(1), 1))
		s.end(0, 1)
	}},
	{"a commit is not there any more", history.Uncommitted, 0, func(s *story) {
		s.acked(0, 0)
		s.read(m1, 0, 0)
		s.Commit("g", at(0))
		s.note(s.Look(zero).Committed("g", 0))
	}},
	{"a commit that was seen is not there any more", history.Uncommitted, -1, func(s *story) {
		s.acked(0, 0)
		s.read(m1, 0, 0)
		s.note(s.Look(zero).Committed("g", 1))
		s.note(s.Look(zero).Committed("g", -1))
	}},
	{"a sender is not told", history.Unanswered, 0, func(s *story) {
		s.Send(rec(0), true)
		s.end()
	}},
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	named := make(map[history.Kind]bool)
	for _, c := range wrongs {
		t.Run(c.name, func(t *testing.T) {
			s := &story{History: history.New()}
			c.tell(s)
			require.Len(t, s.errs, 1, "%v", s.errs)
			v, ok := errors.AsType[*history.Violation](s.errs[0])
			require.True(t, ok)
			require.Equal(t, c.kind, v.Kind, "%v", v)
			require.Equal(t, c.at, v.At.Offset, "%v", v)
			require.ErrorContains(t, v, c.kind.String())
			named[c.kind] = true
		})
	}
	for k := history.Lost; k <= history.Unanswered; k++ {
		require.True(t, named[k], "no history is wrong in the way %v", k)
	}
}

// What may be is not complained of.
var rights = []struct {
	name string
	tell func(s *story)
}{
	{"nothing at all", func(s *story) { s.end() }},
	{"sent, read, committed", func(s *story) {
		s.acked(0, 0, 1)
		s.Assigned(m1, zero)
		s.read(m1, 0, 0, 1)
		s.Commit("g", at(1))
		k := s.Look(zero)
		s.note(k.High(1, 2))
		s.note(k.Committed("g", 2))
		s.end(0, 1)
	}},
	{"an outcome that is not known, either way and as often as it was tried", func(s *story) {
		for n := range uint32(3) {
			s.Send(rec(n), true)
			s.note(s.Unknown(rec(n), 2))
		}
		s.end(2, 0, 2)
	}},
	{"acknowledged at the second attempt, and the first stands too, before or behind", func(s *story) {
		for n := range uint32(2) {
			s.Send(rec(n), true)
			s.note(s.Acked(rec(n), at(1+log.Offset(n)), 1, 2))
		}
		s.end(0, 0, 1, 1)
	}},
	{"the leader alone acknowledged it, and it is gone, and the place another's", func(s *story) {
		s.Send(rec(0), false)
		s.note(s.Acked(rec(0), at(0), 1, 1))
		s.acked(0, 1)
		s.read(alone, 0, 1)
		s.end(1)
	}},
	{"two senders have no order between them", func(s *story) {
		s.acked(1, 0)
		other := history.Record{Sender: 2, Number: 9}
		s.Send(other, true)
		s.note(s.Acked(other, at(0), 1, 1))
		for _, err := range s.End(map[history.Log][]history.Record{zero: {other, rec(0)}}) {
			s.note(err)
		}
	}},
	{"given again, for it was not processed", func(s *story) {
		s.acked(0, 0)
		s.note(s.Read(m1, at(0), rec(0)))
		s.read(m1, 0, 0)
		s.end(0)
	}},
	{"given to the next member, for it was not committed", func(s *story) {
		s.acked(0, 0, 1)
		s.read(m1, 0, 0, 1)
		s.Commit("g", at(0))
		s.Assigned(m2, zero)
		s.read(m2, 1, 1)
		s.end(0, 1)
	}},
	{"committed while the question was under way", func(s *story) {
		s.acked(0, 0)
		s.read(m1, 0, 0)
		k := s.Look(zero)
		s.Commit("g", at(0))
		s.note(k.Committed("g", -1))
		s.end(0)
	}},
	{"acknowledged while the question was under way", func(s *story) {
		k := s.Look(zero)
		s.acked(0, 0)
		s.note(k.High(1, 0))
		s.end(0)
	}},
	{"a deposed leader shows what it knew", func(s *story) {
		s.note(s.Look(zero).High(1, 0))
		s.Send(rec(0), true)
		s.note(s.Acked(rec(0), at(0), 2, 1))
		s.read(alone, 0, 0)
		s.note(s.Look(zero).High(1, 0))
		s.end(0)
	}},
	{"a reader that begins anew goes anywhere", func(s *story) {
		s.acked(0, 0, 1, 2)
		s.read(alone, 0, 0, 1, 2)
		s.Assigned(alone, zero)
		s.read(alone, 1, 1)
		s.end(0, 1, 2)
	}},
}

func TestWhatMayBeIsNotComplainedOf(t *testing.T) {
	for _, c := range rights {
		t.Run(c.name, func(t *testing.T) {
			s := &story{History: history.New()}
			c.tell(s)
			require.Empty(t, s.errs)
		})
	}
}

func TestCounts(t *testing.T) {
	s := &story{History: history.New()}
	s.acked(0, 0, 1)
	for n := uint32(2); n < 6; n++ {
		s.Send(rec(n), true)
	}
	s.note(s.Failed(rec(2)))
	s.note(s.Unknown(rec(3), 1))
	require.Empty(t, s.errs)
	sent, ok, no, open := s.Counts()
	require.Equal(t, []int{6, 2, 1, 1}, []int{sent, ok, no, open})
	s.read(m1, 0, 0)
	require.EqualValues(t, 1, s.Processed("g", zero))
	require.EqualValues(t, 0, s.Processed("h", zero))
}
