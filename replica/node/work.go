package node

import (
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// runClock is the broker's one timer for its partitions: lag, lost proposals, the
// background flush of topics that acknowledge before it, and replicas that found
// the disk full.
func (n *Node) runClock() {
	ticker := time.NewTicker(max(min(n.cfg.ReplicaLag/2, time.Second), time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, r := range n.due.take() {
			r.do(tickOp{})
			if r.dirty.Swap(false) {
				r.flushSoon()
			}
		}
		n.lookForRoom()
		n.cold.expire(time.Now().Add(-n.cfg.SessionTimeout))
		if n.takeLater() {
			n.touch()
		}
		n.lookAgain(n.takeAgain()...)
	}
}

func (n *Node) takeLater() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	later := n.later
	n.later = false
	return later
}

// resignAll ends all roles, so that every waiting caller is answered.
func (n *Node) resignAll() {
	for _, r := range n.hosted() {
		o := &resignOp{done: make(chan struct{})}
		r.do(o)
		<-o.done
	}
}

type resignOp struct{ done chan struct{} }

func (o *resignOp) perform(r *Replica, _ time.Time) {
	defer close(o.done)
	r.leave(partition.Resigned)
	r.retire()
}

// retire makes known that the replica has no role any more.
func (r *Replica) retire() {
	s := &role{epoch: log.NoEpoch}
	r.standing.Store(s)
	r.node.roleChanged(r, s)
}

// workers are goroutines that the node waits for.
type workers struct {
	mu     sync.Mutex // guards closed
	closed bool
	wg     sync.WaitGroup
}

// Go runs f in a goroutine, or here once the workers have been closed. The node's
// ctx has ended by then, so f must look at it before it waits for a replica that
// its caller may own.
func (w *workers) Go(f func()) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		f()
		return
	}
	w.wg.Add(1)
	w.mu.Unlock()
	go func() {
		defer w.wg.Done()
		f()
	}()
}

func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}

// Stats counts what a node holds.
type Stats struct {
	Replicas int // partitions of which there is a copy here
	Leading  int // those that this broker leads
	Parked   int // requests of followers and readers that wait at those, or are kept for a cold fetch
}

// Stats returns the counts of this moment.
func (n *Node) Stats() Stats {
	var s Stats
	for _, r := range n.hosted() {
		s.Replicas++
		if r.standing.Load().leads {
			s.Leading++
		}
		r.mu.Lock()
		s.Parked += len(r.parked.All())
		r.mu.Unlock()
	}
	return s
}
