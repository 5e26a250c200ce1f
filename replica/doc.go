// Package replica keeps the copies of one partition alike: the pure machines of
// its leader and of its followers.
//
// A [Leader] and a [Follower] decide, [Lanes] when a broker fetches what from a leader,
// and [Serving] what a leader answers with; a shell (replica/node) reads clocks, disks and links for them, hands them one
// [Input] at a time and carries out the [Output], in the order in which its fields
// stand. They do no I/O, read no clock, start no goroutine and draw no random numbers,
// so one sequence of inputs and times always gives one sequence of outputs.
//
// # How it goes
//
// The controller names a leader, under a leader epoch that only rises. Followers
// pull: a fetch says where the follower's log ends (Fetch), which epoch its last
// batch has (LastEpoch), and up to where it is flushed (Ack). The leader first
// looks whether the two logs part. If they do, it says where, the follower cuts
// there and asks again, perhaps several times after fast elections (KIP-101,
// KIP-279). If they do not, the leader notes what the follower has flushed and
// answers with what comes next. So shipping runs ahead of flushing, and only
// flushed bytes count: for acks, for lag and for joining the ISR.
//
// The high watermark is the end that every counted replica holds. Counted are the
// maximal ISR, which is the committed one and whatever has been proposed beside
// it (KIP-497), and those who are about to join. It stands still while the
// committed ISR is smaller than MinISR, and it is what makes the replicas of the
// ELR complete (KIP-966).
//
// A follower that stays behind for longer than the allowed lag leaves the ISR, one
// that has caught up joins it. The leader only proposes; the controller decides,
// by the partition epoch that the proposal is based on, and by the broker epoch of
// each member that it names (KIP-903).
//
// A machine lives for one leader epoch. At every new one, also if the leader stays
// the same, the shell makes new machines: a leader that has missed an epoch in
// between knows nothing of what its followers have cut in it.
//
// # What always holds
//
// [Leader.Check] and [Follower.Check] test these, as far as one replica can see:
//
//	R1  log start <= high watermark <= log end, and flushed end <= log end.
//	R2  A leader's high watermark does not go down.
//	R3  A follower's ack counts only if it was sent in this leader epoch, by the
//	    newest incarnation known, and is the newest of that one: (broker epoch,
//	    leader epoch, sequence) rises. A diverging fetch takes the ack away.
//	R4  The high watermark moves only up to what every member of the maximal ISR
//	    holds (has flushed, if the topic is Synced), and only while the committed
//	    ISR has MinISR members and nobody stands in the ELR.
//	R5  At most one proposal is under way. It is based on the partition epoch that
//	    the leader knows, and its members count until it is known not to hold.
//	R6  Nobody is proposed for the ISR who has not flushed up to the high watermark
//	    and to where the log ended when the epoch began (KAFKA-7128), in this epoch
//	    and in the incarnation that the metadata shows.
//	R7  A partition epoch never goes back.
//	R8  A follower appends only what follows its log, in epochs that do not fall
//	    and are not above its own.
//	R9  A follower hears of a high watermark only when its log has been compared with
//	    the leader's; after a divergence nothing else of the answer counts
//	    (KAFKA-14704).
//	R10 While a follower waits for its disk it asks for nothing and believes nothing.
//	R11 A replica that counts as complete never starts its log anew: it leaves ISR and
//	    ELR first, in a new leader epoch. See discard.go.
//
// # What a shell must keep
//
//   - It lets nobody lead who is fenced, or whose own registration it has not seen
//     applied: a restarted broker must not go on in an epoch of its former life.
//   - It begins the epoch in the log before it makes a Leader, and steps [Flushed]
//     once right after, which moves the high watermark where nobody else counts.
//   - The flushed end that it hands over is read from the log in the same step, not
//     carried along from before a cut.
//   - It reads for a follower only below the End of its verdict.
//   - It numbers the fetches of this broker to one leader without a gap in order:
//     the sequence rises as long as the process lives.
//   - It fetches as [Lanes] says, in its turns: a copy is asked what it wants, and has it
//     sent, by one of them at a time.
//   - A proposal that was sent reaches the controller within Lag, or never.
//   - It discards a copy only when [Assignment.Remedy] says so, and only what it has
//     seen applied counts for that. What it holds instead is known, durably and before,
//     to be made anew.
package replica
