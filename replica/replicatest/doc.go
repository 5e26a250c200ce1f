// Package replicatest is a simulator of whole clusters: the real machines of packages
// replica, control and partition, the real quorum and the real log of three to five
// brokers, on disks that lose and break things, in one goroutine and virtual time.
//
// [Run] plays one seed. All that happens is an event of one heap, and every choice is
// drawn from the seed: delays and losses of messages, what clients do, which faults
// strike whom and when. So a seed replays exactly, and the hash of its trace tells.
// raft alone draws from crypto/rand, which a test seeds with
// [testing/cryptotest.SetGlobalRandom].
//
// # What is real and what is not
//
// A process stands where a node.Node stands with its goroutines: it hands each machine
// its inputs and carries out its orders, in the order of protocol: disk, high watermark,
// messages, waiting callers. It decides nothing that the product decides: that is asked
// of the machines, of package replica, and of the functions that node shares. What it
// has in place of goroutines, sockets and timers are events. A flush takes time, and
// covers all that was written when it ends. A broker that is not a voter, or whose disk
// was replaced, follows the voters as the quorum has it. Fetches go in two lanes, by
// replica.Lanes, are answered by replica.Serving, and what is kept for the cold lane by
// replica.ColdSet; only the order of
// goroutines that node has inside one broker is not here.
//
// # What is watched
//
// An observer outside of the cluster sees every log, every committed entry of metadata,
// every high watermark and every answer to a client, and after each event checks what
// has changed against the invariants of the protocol, by their numbers:
//
//	I1  a committed record is the same, for ever, in every later leader
//	I2  whoever is elected has all that is committed
//	I3  and so has every member of ISR and ELR
//	I4  a leader that can commit counts on all who may be elected
//	I5  logs that share an epoch at an offset are alike up to there
//	I6  epochs do not fall within a log, and its history of them is what a scan yields
//	I7  one leader an epoch
//	I8  log start <= high watermark <= log end; a leader's never falls
//	I9  what is acknowledged is committed, and durable in MinISR copies; a leader takes no
//	    follower to hold more than it does, once it has heard of its present life
//	I10 a replica that lost something stands in neither ISR nor ELR
//	I11 broker epochs are unique and only rise
//	I12 what a broker knows of a partition does not grow older
//	I13 a reassignment leaves as many complete copies as are needed, and nothing is
//	    removed but by a committed record
//	I14 a log's start only grows, and not above the high watermark; what an operator was
//	    told is deleted no later leader has
//	I15 when faults end, all comes back by itself, and logs are alike
//	I16 an acknowledged record has one offset, of its own; nothing is there twice
//	I18 a record that was read stays what it was; readers do not go back
//	I19 readers skip nothing
//	I20 what was acknowledged before a write began lies before it
//	I30 the quorum: one leader a term, the same entry at an index, everywhere
//	I31 the metadata is the fold over its entries, from any image on
//	I32 recovery gives what was flushed, or reports damage; again, it gives the same
//	I33 of each key of a compacted topic the newest committed record is there, or its
//	    absence, on every copy and for every reader
//	I34 no request stays unanswered, no file open
//
// Operators reassign and think better of it, move leaders, add partitions, delete topics
// and make others of the same name, change MinISR, remove records, and have a replica
// elected that may have lost some. Such an election begins another lineage: what only
// others held is not committed any more, and whoever has not been found by the new leader
// to hold the front of its log may still have it; and of a key whose newest record is given
// up the older ones may have been compacted away where the one that is elected has its log
// from. What that one has once it leads must then be everywhere. Nothing else is excused by
// it, and each must have been asked for, where nobody who is complete could lead. Where a
// topic is not Synced a ballot may give up what the power took, of all who were asked, who
// are all who were the last to be complete; none of them may have more than its winner.
//
// A bit is flipped, or the directory of a copy taken away, on one broker at a time and where
// others have all that counts. Reads, or a scrub, must find it, and the copy be made anew:
// see anew.go. What it held before stays known, for an acknowledgement may rest on it.
//
// A copy of a compacted topic is compared by what is left of it: see compacted.go.
// Tombstones go soon, so that who was away for a moment must begin anew.
//
// Connections stall, and what was said into one arrives when its sender has died, has
// come back with an empty disk and has been heard again: see stall.go. Some clusters have
// brokers that keep what they have in memory, or lose copies with each process; news of the
// quorum reaches some late all the time.
//
// Now and then a partition is left to a replica that has missed what was written last, with
// an operator beside it: see forsake.go.
//
// Faults strike at times that are drawn, or wait for a moment in the middle of a step: a
// follower about to join the ISR, a log about to be cut. A seed may have a favourite among
// these, in which several faults meet. See moment.go.
//
// # A seed that fails
//
// It is told with the end of its trace and with the faults that it takes: [Shrink] plays
// it again without some of them. Seeds are numbers; what one does changes with each change
// of the simulator, so that a fault that was found gets a test of its own where it is
// mended.
//
// # Whether it would find them
//
// With the build tag samsa_mutations known mistakes are let in again, one after another,
// and a test counts the seeds until one breaks an invariant; see testdata/mutations.txt.
package replicatest
