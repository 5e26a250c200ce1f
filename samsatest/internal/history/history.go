package history

import (
	"cmp"
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Log is one partition of one incarnation of a topic.
type Log struct {
	Topic     string // with the number of its incarnation, where it has several
	Partition partition.PartitionID
}

func (l Log) String() string { return fmt.Sprintf("%s/%d", l.Topic, l.Partition) }

// A Place is where a record stands.
type Place struct {
	Log
	Offset log.Offset
}

func (p Place) String() string { return fmt.Sprintf("%v@%d", p.Log, p.Offset) }

// A Record names a record: the number of its sender, and its own among those of the
// sender, in the order in which it sent them.
type Record struct{ Sender, Number uint32 }

func (r Record) String() string { return fmt.Sprintf("%d-%d", r.Sender, r.Number) }

func compare(a, b Record) int {
	return cmp.Or(cmp.Compare(a.Sender, b.Sender), cmp.Compare(a.Number, b.Number))
}

// A Kind is a way in which a history can be wrong.
type Kind int

// The kinds of violations.
const (
	_            Kind = iota
	Lost              // acknowledged, and not at its place in a log that goes on behind it
	Unseen            // acknowledged, and no reader has come to it; or the group has not
	Unsent            // read, though nobody had sent it, or its send failed for certain
	Repeated          // more often in the logs than it was tried to be sent
	OutOfOrder        // acknowledged in another order than that in which it was sent
	Inconsistent      // two records at one place, or two outcomes of one record
	Skipped           // a reader, or its group, went past records that it was not given
	Rewound           // a reader, its group or a high watermark went back
	AboveHigh         // acknowledged or read where the high watermark had not come to
	Uncommitted       // a commit was accepted, and taken back
	Unanswered        // a sender was never told what had become of a record
)

var names = [...]string{
	"nothing", "lost", "unseen", "unsent", "repeated", "out of order", "inconsistent", "skipped", "rewound", "above the high watermark", "uncommitted", "unanswered",
}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return names[k]
}

// A Violation is something that must not be.
type Violation struct {
	Kind Kind
	At   Place  // where; the offset is 0 where it is of no interest
	Text string // for people
}

func (v *Violation) Error() string { return fmt.Sprintf("%v at %v: %s", v.Kind, v.At, v.Text) }

func wrong(kind Kind, at Place, format string, args ...any) error {
	return &Violation{Kind: kind, At: at, Text: fmt.Sprintf(format, args...)}
}

// A History is what has happened so far. Make it with [New]. Its calls must not
// overlap.
type History struct {
	sends   map[Record]*send
	at      map[Place]Record // acknowledged or read there
	readers map[Reader]map[Log]*position
	groups  map[string]map[Log]*progress
	ends    map[Log]*reach
	looks   []sight
}

// New returns a history in which nothing has happened.
func New() *History {
	return &History{
		sends: make(map[Record]*send), at: make(map[Place]Record),
		readers: make(map[Reader]map[Log]*position), groups: make(map[string]map[Log]*progress),
		ends: make(map[Log]*reach),
	}
}

// stands notes that a record has been seen at a place.
func (h *History) stands(at Place, rec Record, how string) error {
	before, known := h.at[at]
	if !known {
		h.at[at] = rec
		return nil
	}
	if before != rec {
		return wrong(Inconsistent, at, "%v was %s, where %v was before", rec, how, before)
	}
	return nil
}
