package node

import "sync"

// A dueList has the replicas at which the clock has something to do: somebody lags
// there, something must be sent again, or a flush is due. A partition that is at rest is
// not in it, so that the clock costs nothing however many of them there are.
type dueList struct {
	mu   sync.Mutex // guards list
	list []*Replica
}

func (d *dueList) add(r *Replica) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, r)
}

// take empties the list. Who is to be looked at again comes due anew.
func (d *dueList) take() []*Replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.list
	d.list = nil
	for _, r := range list {
		r.due.Store(false)
	}
	return list
}

// comeDue has the clock look at the replica at its next tick.
func (r *Replica) comeDue() {
	if !r.due.Load() && !r.due.Swap(true) {
		r.node.due.add(r)
	}
}
