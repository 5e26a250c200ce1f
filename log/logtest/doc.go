// Package logtest tests what stands on a [log.FS], and implementations of it.
//
// A [Disk] wraps any FS and does to it what a machine does: it forgets what was
// not synced, dies in the middle of a call, takes time to sync, and fails the
// call that a test names. [RunFS] is the conformance suite for an FS.
package logtest
