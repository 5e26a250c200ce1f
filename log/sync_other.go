//go:build !linux

package log

import "os"

// datasync makes what a file holds durable. On macOS that is F_FULLFSYNC, since
// fsync(2) stops at the drive's own cache there.
func datasync(f *os.File) error { return f.Sync() }
