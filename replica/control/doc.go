// Package control decides who leads: it is the pure half of the controller, the
// one broker that moves partitions between leaders, brokers in and out of the
// cluster, and replicas in and out of the ISR.
//
// A [Controller] has one verb, [Controller.Step]. It does no I/O, reads no clock,
// starts no goroutine and draws no random number: one sequence of inputs, times
// and applied records gives one sequence of outputs. Its shell proposes what it
// says to the controllers' quorum, applies what has been committed to the
// [partition.Table], and tells it so.
//
// # Rules
//
// The controller is serial. It computes a change from applied state alone,
// proposes it as one entry of outcome records, and computes the next one only
// after that entry has been applied, or is known never to be. So there is no
// state that might have to be taken back, and what a deposed controller still
// has under way does no harm: each record carries the partition epoch that it
// expects, and the broker epoch of each member that it adds or elects.
//
//	C1  A fenced broker neither leads nor stands in an ISR: after each applied
//	    entry the controller looks again, until there is none.
//	C2  Only a member of the ISR is elected, or, when that is empty, of the ELR;
//	    and only one that is active. A leader that is still valid stays.
//	C3  When ISR and ELR are both empty, all of LastKnownELR are asked how far
//	    their logs go; once every one has answered undamaged, the one with the
//	    highest last epoch, then the highest end, becomes leader and whole ISR
//	    (balanced election, KIP-966).
//	C4  A broker stays fenced until it has applied its own registration and no
//	    longer wants to be fenced.
//	C5  A registration from the same directory supersedes the incarnation before it.
//	    From another directory it must wait until that one is fenced, and
//	    all that it held is suspect. The same incarnation again is a retry, and one
//	    of an earlier life of the directory is refused: its process is dead.
//	C6  A suspect replica leaves ISR and ELR in the entry of its registration.
//	C7  An ISR proposal counts only from the partition's leader, in its
//	    epoch, based on the present partition epoch, with every member active
//	    and of the named broker epoch (KIP-497, KIP-903). One that is refused for
//	    a member is outdated by a new partition epoch before it is answered.
//	C8  MinISR changes only here (KAFKA-16540), and is never raised above a
//	    partition's ISR.
//	C9  Nothing is answered from state that is not applied.
//	C10 A broker that wants to stop leads nothing that another could lead, and leaves
//	    every ISR in which there is another. It may go when every active broker has
//	    applied that; it is fenced in the same entry.
//	C11 A reassignment is complete in the change in which all that it adds are in the
//	    ISR and enough of it stays; then those that go leave ISR and ELR, and the epoch
//	    rises. The ISR is no smaller for it until then.
//	C12 Where nobody is electable only an operator has an incomplete replica elected:
//	    the partition is recovering until its leader has reported.
//	C13 A broker whose disk is full leads nothing that another in sync could lead,
//	    leaves an ISR that is MinISR without it, and joins none.
//	C14 A copy that must begin anew leaves ISR and ELR first, in a new leader epoch, and
//	    another leads if it led. Where nobody else can it stays where it is.
//	C15 An election that may have given records up, by comparing logs or by C12, is
//	    remembered by its leader epoch: in a compacted topic all other copies of before
//	    it begin anew.
package control
