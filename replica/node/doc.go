// Package node runs the copies of partitions that one broker holds: it is the
// shell around the pure machines of packages replica and control.
//
// A [Node] holds a [Replica] for each partition that the metadata assigns to its
// broker. It registers the broker with the controller and keeps it alive by
// heartbeats, folds the quorum's committed entries into the metadata table, gives
// each replica its role, fetches from the leaders of the partitions that it
// follows, and answers those who fetch from it. Where its voter leads the quorum
// it also runs the controller.
//
// # How a replica runs
//
// A replica is a queue and an "active" bit. A caller who finds it idle becomes its
// owner and performs what it brings, the disk included; any other leaves its work
// in the queue and goes, or waits on a channel of its own. There is no goroutine,
// ticker or timer for an idle partition, and no lock is held while anything waits.
// Orders of a machine are carried out in the order disk, high watermark, messages,
// waiting callers; that order is part of the protocol.
//
// A copy of which the disk has lost something begins anew from its leader, once nobody
// counts on it; see anew.go. A broker reads all that it holds from time to time to find
// that out.
//
// # What it takes from above
//
// [Peers] reaches other brokers, [Quorum] is the controllers' agreement. The disk
// comes as a log.FS. A failed fsync or write is final: the whole node goes
// offline, [Node.Done] closes and [Node.Err] says why.
package node
