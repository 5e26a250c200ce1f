package group

import (
	"container/heap"
	"time"
)

// An alarm knows when which group must be ticked. The zero alarm is empty.
type alarm struct {
	at   map[string]time.Time // of each group that waits for something
	heap wakings              // has an entry for each of those, perhaps others that have passed
}

type waking struct {
	at    time.Time
	group string
}

// set says when a group must be ticked next, zero for never, and reports whether
// that is before all others. A group may be ticked earlier than it asked for: a time that
// moves on, as most do, leaves the earlier one standing, so that the heap stays small.
func (a *alarm) set(group string, at time.Time) (first bool) {
	if at.IsZero() {
		delete(a.at, group)
		return false
	}
	if have, ok := a.at[group]; ok && !at.Before(have) {
		return false
	}
	if a.at == nil {
		a.at = map[string]time.Time{}
	}
	a.at[group] = at
	heap.Push(&a.heap, waking{at: at, group: group})
	return a.heap[0] == waking{at: at, group: group}
}

// take removes a group that is due at now and returns it; none left: when the next
// will be, zero for never.
func (a *alarm) take(now time.Time) (group string, next time.Time) {
	for len(a.heap) > 0 {
		w := a.heap[0]
		if at, ok := a.at[w.group]; !ok || !at.Equal(w.at) {
			heap.Pop(&a.heap) // it has been set to another time since
			continue
		}
		if now.Before(w.at) {
			return "", w.at
		}
		heap.Pop(&a.heap)
		delete(a.at, w.group)
		return w.group, time.Time{}
	}
	return "", time.Time{}
}

type wakings []waking

func (w wakings) Len() int           { return len(w) }
func (w wakings) Less(i, j int) bool { return w[i].at.Before(w[j].at) }
func (w wakings) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *wakings) Push(x any)        { *w = append(*w, x.(waking)) }
func (w *wakings) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}
