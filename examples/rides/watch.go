package main

import (
	"sync"
	"time"

	"github.com/samsalog/samsa"
)

// watchedPartition is the one whose leader is killed.
const watchedPartition = samsa.PartitionID(0)

// A watch measures how long a partition acknowledges nothing while it gets another
// leader: the longest gap between two acknowledgements from the kill to the first
// one of a later epoch.
type watch struct {
	mu     sync.Mutex // guards all below
	last   time.Time  // of the latest acknowledgement
	killed bool
	before samsa.Epoch
	after  bool // there was one of a later epoch
	gap    time.Duration
}

// kill says that the leader of that epoch is about to die.
func (w *watch) kill(epoch samsa.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed, w.before = true, epoch
}

func (w *watch) acked(now time.Time, epoch samsa.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed && !w.after && !w.last.IsZero() {
		w.gap = max(w.gap, now.Sub(w.last))
	}
	if w.killed && epoch > w.before {
		w.after = true
	}
	w.last = now
}

// failover returns the gap; false if the partition acknowledged nothing before the
// kill or nothing after it.
func (w *watch) failover() (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gap, w.after && w.gap > 0
}
