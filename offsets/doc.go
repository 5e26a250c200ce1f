// Package offsets keeps how far each group has read.
//
// A [Commit] says at which offset a group goes on in one partition. Commits are
// records of the internal topic __consumer_offsets, acknowledged like any other
// record, and a [Table] is what they fold into: the newest one for each [Key]. A
// group's coordinator writes them and answers from its table; who may commit is
// the business of package group, which is why a [CommitRequest] names a member
// and its epoch.
//
// # What a caller may rely on
//
//   - A commit that was answered OK is the one that a later fetch is answered
//     with, by whichever coordinator, until a newer one replaces it or it expires.
//   - Topics are named by their ids. One that is deleted and made again under its
//     old name begins without commits.
//   - The newest record of a key decides, so that compaction may remove the rest.
//
// All of the package is pure. A [Store] is where the records live; the shell of
// package group drives it.
package offsets
