package history

import (
	"maps"

	"github.com/samsalog/samsa/log"
)

// A reach is how far a log is known to have come.
type reach struct {
	end         log.Offset               // behind all that was read
	acked, high map[log.Epoch]log.Offset // behind what an epoch has acknowledged, and its high watermark as last seen
}

func (r *reach) read(at log.Offset) { r.end = max(r.end, at+1) }

func (r *reach) answered(epoch log.Epoch, at log.Offset) {
	r.acked[epoch] = max(r.acked[epoch], at+1)
}

func (h *History) reach(l Log) *reach {
	if h.ends[l] == nil {
		h.ends[l] = &reach{acked: make(map[log.Epoch]log.Offset), high: make(map[log.Epoch]log.Offset)}
	}
	return h.ends[l]
}

// A Look is one question of an operator. What is seen by it may be older than what
// happens while it is under way, and not older than its beginning.
type Look struct {
	h      *History
	before reach
	floors map[string]log.Offset
	log    Log
}

// A sight is what a Look has shown of a high watermark.
type sight struct {
	log   Log
	epoch log.Epoch
	high  log.Offset
	read  log.Offset // behind what had been read before
}

// Look begins a question about a log.
func (h *History) Look(l Log) *Look {
	r := h.reach(l)
	before := reach{r.end, maps.Clone(r.acked), maps.Clone(r.high)}
	k := &Look{h: h, log: l, before: before, floors: make(map[string]log.Offset)}
	for name, logs := range h.groups {
		if g := logs[l]; g != nil {
			k.floors[name] = g.committed
		}
	}
	return k
}

// High says that a leader of that epoch has shown its high watermark. One that has
// been deposed without knowing may show an old one, but none that its own epoch
// had passed before.
func (k *Look) High(epoch log.Epoch, high log.Offset) error {
	k.h.looks = append(k.h.looks, sight{k.log, epoch, high, k.before.end})
	r := k.h.reach(k.log)
	r.high[epoch] = max(r.high[epoch], high)
	at := Place{k.log, high}
	if before := k.before.high[epoch]; high < before {
		return wrong(Rewound, at, "it is the high watermark of epoch %d, which was %d before", epoch, before)
	}
	if before := k.before.acked[epoch]; high < before {
		return wrong(AboveHigh, at, "it is the high watermark of epoch %d, in which all below %d was acknowledged", epoch, before)
	}
	return nil
}

// Committed says that a group's commit was shown: the next offset to read, or less
// than zero if there is none.
func (k *Look) Committed(group string, next log.Offset) error {
	if floor := k.floors[group]; max(next, 0) < floor {
		return wrong(Uncommitted, Place{k.log, next}, "group %s has committed up to %d", group, floor)
	}
	g := k.h.progress(group, k.log)
	if next > g.frontier {
		return wrong(Skipped, Place{k.log, next}, "group %s has committed what it has not processed: it is at %d", group, g.frontier)
	}
	g.committed = max(g.committed, next)
	return nil
}
