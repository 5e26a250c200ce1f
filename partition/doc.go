// Package partition says what a partition is and who may lead it.
//
// A partition is one ordered log, kept by a few brokers: its replicas. One of
// them leads; those that have all that is committed are in its ISR. Which broker
// is what stands in the cluster's metadata, on which the controllers agree, one
// [Record] after another. A [Table] is the fold over those records, and every
// broker keeps one; a [State] is what it says about one partition.
//
// # What a caller may rely on
//
//   - Everything here is pure: no clock, no disk, no goroutine, no chance. Equal
//     records give equal tables, on every machine ([Table.Hash] compares them).
//   - Records are outcomes with conditions. One that comes late, twice, or from a
//     controller that has been deposed, finds its condition broken and changes nothing.
//   - A partition's epoch and partition epoch only rise. The leader epoch rises at
//     every change of leader, so that no two brokers ever lead in the same one.
//   - [State.Change] is the only place where a leader is chosen. It chooses from
//     the ISR, or, if that is empty, from the ELR: replicas outside the ISR that are
//     provably complete, because fewer than MinISR were left when they went and
//     nothing has been committed since (KIP-966).
//   - States and topics that come out of a table never change. They may be kept,
//     and handed to other goroutines.
//
// # What it does not do
//
// It does not decide when a broker is dead, or when a replica is in sync. The
// controller does the first, a partition's leader the second; both ask here what
// follows from it.
//
// The messages in message.go are what clients and brokers say to each other
// about partitions. The formats are described beside their codecs.
package partition
