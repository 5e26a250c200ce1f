// Package group decides who reads which partition.
//
// Groups follow KIP-848. A [Coordinator] knows one group's members, computes what
// each shall hold, and leads each there on its own by heartbeats; nobody stops
// the world. A [Session] is a member's half. Both are pure machines. [Service] is the
// shell of the coordinators that live in one partition of __consumer_offsets; that of a
// member is package group/consume.
//
// # How a partition changes hands
//
// The coordinator tells its holder to give it up. The holder stops delivering,
// finishes and commits what it has delivered, and says that it holds the
// partition no more. Then, and not before, it is given to the next. A holder that takes
// too long, or is silent for too long, is fenced.
//
// # What may be relied on
//
//   - No two members whose leases last hold one partition. A lease counts from the
//     sending of a request, the coordinator's patience from its receipt; so the one
//     is over before the other, as long as clocks run at one speed.
//   - What is late, lost, repeated or overtaken does no harm. Requests of a member
//     are numbered, and a join is on record with its number, so that an older request
//     stays void even for another coordinator. A report of what is owned counts only if it
//     names the newest version of what the member was told.
//   - A commit is taken from who holds the partition, and has held it since the epoch that
//     the commit names (KIP-1251).
//   - Everything that a coordinator says rests on committed records. The next one
//     begins where it ended; members notice only a pause.
//
// # What is not promised
//
// A member whose lease has run out while it processes a record cannot be called
// back: the record may be processed twice. Its commit will be refused.
// A coordinator that has been replaced and does not know it can prolong a lease, but
// cannot give or take anything: whoever runs a [Service] must end it when its
// broker has lost touch with the controller for as long as a member's session.
//
// Words: the group epoch numbers what a group's members, subscriptions and
// topics are; the assignment epoch is the group epoch that the target was computed
// for; a member epoch is the assignment epoch that a member has reached.
package group
