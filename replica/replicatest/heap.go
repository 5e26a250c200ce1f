package replicatest

import "time"

// A need says what a process must be able to do for an event of its to happen. One
// that cannot now is put off until it can.
type need uint8

const (
	always need = iota // nothing: it is the world's, or of a dead process
	awake              // its process runs
	disk               // and its disk answers
)

// An event is something that happens at a time.
type event struct {
	at   time.Duration
	seq  uint64 // among those of one time
	who  *broker
	life int // of who, in which it was planned
	need need
	what string
	do   func()
	over *bool // true: it is void, and does not count
}

// A heap holds events by time, then in the order in which they were planned. What is
// sorted are keys without pointers: to move them costs little.
type heap struct {
	keys   []key
	events []event
	free   []int32 // of events
}

type key struct {
	at    time.Duration
	seq   uint64
	event int32
}

func (k *key) before(o *key) bool { return k.at < o.at || k.at == o.at && k.seq < o.seq }

func (h *heap) push(e event) {
	k := key{e.at, e.seq, int32(len(h.events))}
	if n := len(h.free); n > 0 {
		k.event, h.free = h.free[n-1], h.free[:n-1]
		h.events[k.event] = e
	} else {
		h.events = append(h.events, e)
	}
	h.keys = append(h.keys, k)
	s := h.keys
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(&s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *heap) pop() event {
	s := h.keys
	first := s[0].event
	e := h.events[first]
	h.events[first] = event{}
	h.free = append(h.free, first)
	n := len(s) - 1
	s[0] = s[n]
	s = s[:n]
	h.keys = s
	for i := 0; ; {
		down := 2*i + 1
		if down >= n {
			return e
		}
		if down+1 < n && s[down+1].before(&s[down]) {
			down++
		}
		if !s[down].before(&s[i]) {
			return e
		}
		s[i], s[down] = s[down], s[i]
		i = down
	}
}

// at plans an event of a broker's present life; who nil is the world.
func (w *World) at(after time.Duration, who *broker, need need, what string, do func()) {
	w.atUnless(nil, after, who, need, what, do)
}

// atUnless is at for what is void once over is true.
func (w *World) atUnless(over *bool, after time.Duration, who *broker, need need, what string, do func()) {
	e := event{at: w.now + max(after, 0), who: who, need: need, what: what, do: do, over: over}
	if who != nil {
		e.life = who.life
	}
	w.serial++
	e.seq = w.serial
	w.events.push(e)
}

// step lets the next event happen. It is false if there is none, or an invariant broke.
func (w *World) step() bool {
	if w.err != nil || len(w.events.keys) == 0 {
		return false
	}
	e := w.events.pop()
	if e.over != nil && *e.over {
		return true
	}
	if b := e.who; b != nil {
		if b.life != e.life {
			return true
		}
		if until := b.unable(e.need); until > e.at {
			e.at = until // its turn among those that wait is kept by seq
			w.events.push(e)
			return true
		}
	}
	w.now = e.at
	w.popped++
	var id, life int64
	if e.who != nil {
		id, life = int64(e.who.id), int64(e.life)
	}
	w.note(e.what, 0, id, life)
	e.do()
	w.watch.look()
	return w.err == nil
}
