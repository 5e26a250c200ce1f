package history

import (
	"cmp"
	"maps"
	"slices"

	"github.com/samsalog/samsa/log"
)

// An ending is what stands in each log in the end.
type ending struct {
	h      *History
	logs   map[Log][]Record
	copies map[Record]int
	errs   []error
}

// End says what stands in each log in the end, from offset 0 on, when nobody sends
// any more and every group has had the time to read it, and returns all that is
// wrong with it, in a fixed order.
func (h *History) End(logs map[Log][]Record) []error {
	e := &ending{h: h, logs: logs, copies: make(map[Record]int)}
	for _, l := range sorted(logs) {
		for i, rec := range logs[l] {
			e.copies[rec]++
			e.note(h.sendable(Place{l, log.Offset(i)}, rec))
		}
	}
	order := slices.SortedFunc(maps.Keys(h.sends), compare)
	for _, rec := range order {
		e.settled(rec, h.sends[rec])
	}
	e.ordered(order)
	e.readStays()
	e.allRead()
	e.belowHigh()
	return e.errs
}

func (e *ending) note(err error) {
	if err != nil {
		e.errs = append(e.errs, err)
	}
}

// holds says whether a record stands at a place.
func (e *ending) holds(at Place, rec Record) bool {
	all := e.logs[at.Log]
	return at.Offset < log.Offset(len(all)) && all[at.Offset] == rec
}

// settled checks one record against what its sender was told.
func (e *ending) settled(rec Record, s *send) {
	switch {
	case s.outcome == underWay:
		e.note(wrong(Unanswered, Place{}, "%v was sent", rec))
	case s.outcome == acked && s.safe && s.at.Offset >= log.Offset(len(e.logs[s.at.Log])):
		e.note(wrong(Unseen, s.at, "%v was acknowledged, and the log ends at %d", rec, len(e.logs[s.at.Log])))
	case s.outcome == acked && s.safe && !e.holds(s.at, rec):
		e.note(wrong(Lost, s.at, "%v was acknowledged, and there stands %v", rec, e.logs[s.at.Log][s.at.Offset]))
	}
	if n := e.copies[rec]; n > s.attempts && (s.outcome == acked || s.outcome == unknown) {
		e.note(wrong(Repeated, s.at, "%v stands %d times, and cannot have been tried more than %d times", rec, n, s.attempts))
	}
}

// ordered checks the order of what was acknowledged and stands where that said.
func (e *ending) ordered(order []Record) {
	type lane struct {
		sender uint32
		log    Log
	}
	last := make(map[lane]Record)
	for _, rec := range order {
		s := e.h.sends[rec]
		if s.outcome != acked || !s.safe && !e.holds(s.at, rec) {
			continue
		}
		at := lane{rec.Sender, s.at.Log}
		if before, ok := last[at]; ok && e.h.sends[before].at.Offset >= s.at.Offset {
			e.note(wrong(OutOfOrder, s.at, "%v was sent after %v, which stands at %v", rec, before, e.h.sends[before].at))
		}
		last[at] = rec
	}
}

// readStays checks that what was read is still there.
func (e *ending) readStays() {
	var gone []Place
	for at, rec := range e.h.at {
		if s := e.h.sends[rec]; s.outcome == acked && s.safe && s.at == at {
			continue // it was looked for
		}
		if !e.holds(at, rec) {
			gone = append(gone, at)
		}
	}
	slices.SortFunc(gone, func(a, b Place) int {
		return cmp.Or(compareLogs(a.Log, b.Log), cmp.Compare(a.Offset, b.Offset))
	})
	for _, at := range gone {
		e.note(wrong(Inconsistent, at, "%v was read there, and is not there in the end", e.h.at[at]))
	}
}

// allRead checks that the groups have processed everything.
func (e *ending) allRead() {
	for _, name := range slices.Sorted(maps.Keys(e.h.groups)) {
		for _, l := range sorted(e.h.groups[name]) {
			if g, end := e.h.groups[name][l], log.Offset(len(e.logs[l])); g.frontier < end {
				e.note(wrong(Unseen, Place{l, g.frontier}, "group %s has not processed it; the log ends at %d", name, end))
			}
		}
	}
}

// belowHigh holds what was read against the high watermarks of the last epoch: that
// of an older one may be a deposed leader's.
func (e *ending) belowHigh() {
	newest := make(map[Log]log.Epoch)
	for _, s := range e.h.looks {
		newest[s.log] = max(newest[s.log], s.epoch)
	}
	for l, r := range e.h.ends {
		for epoch := range r.acked {
			newest[l] = max(newest[l], epoch)
		}
	}
	for _, s := range e.h.looks {
		if s.epoch == newest[s.log] && s.high < s.read {
			e.note(wrong(AboveHigh, Place{s.log, s.high}, "it is the high watermark of epoch %d, and all below %d had been read", s.epoch, s.read))
		}
	}
}

func sorted[V any](of map[Log]V) []Log { return slices.SortedFunc(maps.Keys(of), compareLogs) }

func compareLogs(a, b Log) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}
