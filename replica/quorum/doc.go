// Package quorum is the agreement of the controllers: a few voters keep one log
// of entries, and each of them is told of every committed entry, in order.
//
// The main types are [Engine], which is one voter, and [Quorum], which runs one. An
// engine joins go.etcd.io/raft/v3, which chooses the leader and decides what is
// committed, to a [log.Log], in which the entries lie: an entry's index is its
// offset, from 1, and its term is the epoch of its batch. It has no goroutine and no
// clock, so that a simulator can drive many of them; the quorum has both, and decides
// nothing. None of raft's types leave the package. A quorum of one voter runs the same
// code, without a timer.
//
// # What a caller may rely on
//
//   - Entries are applied in the order of their index, each once a run, on the
//     goroutine of [Quorum.Run]. After a restart they are applied again, from the
//     newest snapshot or from the first.
//   - When [Quorum.Propose] returns nil the entry is committed, durable on a
//     majority of voters, and applied here.
//   - An error of Propose that matches [ErrOutcomeUnknown] leaves open whether
//     the entry will be applied. After any other error it certainly never is.
//   - A voter answers nothing, neither a vote nor an append, before what the
//     answer speaks of is synced.
//   - [Status.Leading] is true only once this voter leads and has applied an
//     entry of its own term: it then knows all that was committed before it.
//
// # First start
//
// A voter without configured peers founds a cluster alone. Otherwise each asks
// all the others. When all are new, the one of lowest id fixes the cluster's id
// and its voters, keeps them durably and tells the others, who keep them before
// they answer; once a majority has, it campaigns. From then on the kept list
// counts and not the configuration. A voter's identity is its broker id together
// with the id of its directory, so that a voter whose disk was lost cannot vote a
// second time under its old name: it is a stranger, and says so in [Status]. One whose
// promises alone are lost, or old ones again, and whose identity is not, is refused by
// [Open]: see twin.go, which says, too, what nobody can tell.
//
// # Without a vote
//
// A broker that is not configured as a voter, a stranger, and a voter that has been
// removed follow what is committed: see observe.go. Of a cluster that it has followed it
// stays, also after a restart, and of no other: see foreign.go, which says, too, when a
// second cluster can come to be beside one that lives. An operator lets them in by
// [Quorum.ChangeVoters]. Who is let in gets all entries first, as a learner, and its
// vote once it has them; if a voter of its id is there, with a directory that is lost,
// that one is removed then.
//
// # Snapshots
//
// When enough entries have been applied the [Applier] is asked for its state, which
// is kept in a file; then all entries but some for those that lag are dropped. Who
// lags more, or is new, fetches that file piece by piece. Its format is in snapshot.go.
// A disk without room for one is no failure: the log stays as long as it is, the voter
// votes on, and the snapshot is tried again now and then.
//
// # Words
//
// Voter, leader, term (raft's word for the epoch of a voter's reign), entry,
// index, commit. The format of the file quorum-state is in state.go.
package quorum
