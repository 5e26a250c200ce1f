package log_test

import (
	"os"
	"syscall"
)

// datasync is the cheapest way to make what was written durable.
func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
