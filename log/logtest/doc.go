// Package logtest tests what stands on a [log.FS], and implementations of it.
//
// A [Disk] wraps any FS and does to it what a machine does: it forgets what was
// not synced ([Disk.PowerFail]), dies in the middle of a call ([Disk.Crash]), takes
// time to sync ([Disk.Delay]), fills up ([Disk.Limit]), flips bits ([Disk.FlipBit]),
// and makes the calls that a test names fail, lie, hang or stop halfway
// ([Disk.Inject]). A test that is to crash at every call does so on copies
// ([Disk.Before], [Disk.Clone]), and one that is to close what it opened asks
// [Disk.Handles]. [RunFS] is the conformance suite for an FS.
package logtest
