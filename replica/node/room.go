package node

import (
	"time"

	"github.com/samsalog/samsa/log"
)

// A broker calls its disk full from the first record that finds no room. It tells the
// controller, which has others lead and commit without it where they can. It takes
// that back when nothing has been refused for a while and the disk has room to spare:
// the last bytes that somebody frees must not move leaders to and fro.

// noteFull notes that there was no room for a record, or for a new copy.
func (n *Node) noteFull() {
	if n.refused.Swap(int64(max(time.Since(n.born), 1))) != 0 {
		return
	}
	n.logger.Warn("disk is full", "broker", n.self, "dir", n.cfg.Dir)
	n.tellRoom()
}

// lookForRoom is noteFull's other end.
func (n *Node) lookForRoom() {
	refused := n.refused.Load()
	if refused == 0 || time.Since(n.born)-time.Duration(refused) < n.cfg.ReplicaLag || !n.space.Ample() {
		return
	}
	if n.refused.CompareAndSwap(refused, 0) {
		n.logger.Info("disk has room again", "broker", n.self, "dir", n.cfg.Dir)
		n.tellRoom()
	}
}

func (n *Node) tellRoom() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hurryUp() // the heartbeat that is parked says the opposite
}

// full reports whether the disk has no room for records.
func (n *Node) full() bool { return n.refused.Load() != 0 }

// giveWay removes what was set aside of the copy before, for want of room.
func (r *Replica) giveWay() {
	gone, err := log.DropAside(r.node.cfg.FS, r.dir)
	if gone || err != nil {
		r.node.logger.Warn("what was set aside goes for want of room", "partition", r.name(), "error", err)
	}
}
