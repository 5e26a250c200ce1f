package history

import "github.com/samsalog/samsa/log"

// A Reader is who reads, alone or for a group.
type Reader struct {
	Name  string
	Group string // empty: none
}

func (r Reader) String() string { return r.Name }

// A position is where a reader is in a log. It has one from its first record on.
type position struct {
	begun bool
	next  log.Offset // begun: the record that it must be given
	floor log.Offset // not begun: what its group had committed when it was assigned
}

// A progress is how far a group is in a log.
type progress struct {
	done      map[log.Offset]bool // processed, above frontier
	frontier  log.Offset          // all below has been processed
	committed log.Offset          // the most that was accepted
}

// Assigned says that a reader is to begin anew in a log: where its group has
// committed, or wherever it likes if it has none.
func (h *History) Assigned(r Reader, l Log) {
	p := &position{}
	if r.Group != "" {
		p.floor = h.progress(r.Group, l).committed
	}
	h.positions(r)[l] = p
}

// Read says that a reader was given a record. The next one is to be the same again,
// unless [History.Done] comes between.
func (h *History) Read(r Reader, at Place, rec Record) error {
	h.reach(at.Log).read(at.Offset)
	if err := h.sendable(at, rec); err != nil {
		return err
	}
	if err := h.stands(at, rec, "read"); err != nil {
		return err
	}
	return h.step(r, at)
}

// sendable checks that a record can stand anywhere.
func (h *History) sendable(at Place, rec Record) error {
	switch s := h.sends[rec]; {
	case s == nil:
		return wrong(Unsent, at, "%v stands there, and nobody has sent it", rec)
	case s.outcome == failed:
		return wrong(Unsent, at, "%v stands there, and its send had failed for certain", rec)
	}
	return nil
}

// step checks that a reader goes on from where it was.
func (h *History) step(r Reader, at Place) error {
	p := h.positions(r)[at.Log]
	if p == nil {
		p = &position{}
		h.positions(r)[at.Log] = p
	}
	was := *p
	p.begun, p.next = true, at.Offset
	switch {
	case was.begun && at.Offset > was.next:
		return wrong(Skipped, at, "%v should have been given %d", r, was.next)
	case was.begun && at.Offset < was.next:
		return wrong(Rewound, at, "%v should have been given %d", r, was.next)
	case at.Offset < was.floor:
		return wrong(Rewound, at, "%v begins there, and its group had committed up to %d", r, was.floor)
	}
	if r.Group == "" {
		return nil
	}
	if g := h.progress(r.Group, at.Log); at.Offset > g.frontier {
		return wrong(Skipped, at, "%v was given it, and its group has processed up to %d", r, g.frontier)
	}
	return nil
}

// Done says that a reader has processed the record that it was given last.
func (h *History) Done(r Reader, at Place) {
	if p := h.positions(r)[at.Log]; p != nil && p.begun && p.next == at.Offset {
		p.next++
	}
	if r.Group == "" {
		return
	}
	g := h.progress(r.Group, at.Log)
	if at.Offset < g.frontier {
		return
	}
	g.done[at.Offset] = true
	for g.done[g.frontier] {
		delete(g.done, g.frontier)
		g.frontier++
	}
}

// Commit says that a group's commit of a record, and all before it in its log, was
// accepted.
func (h *History) Commit(group string, at Place) {
	g := h.progress(group, at.Log)
	g.committed = max(g.committed, at.Offset+1)
}

// Processed returns the offset below which a group has processed all of a log.
func (h *History) Processed(group string, l Log) log.Offset { return h.progress(group, l).frontier }

func (h *History) positions(r Reader) map[Log]*position {
	if h.readers[r] == nil {
		h.readers[r] = make(map[Log]*position)
	}
	return h.readers[r]
}

func (h *History) progress(group string, l Log) *progress {
	if h.groups[group] == nil {
		h.groups[group] = make(map[Log]*progress)
	}
	g := h.groups[group][l]
	if g == nil {
		g = &progress{done: make(map[log.Offset]bool)}
		h.groups[group][l] = g
	}
	return g
}
