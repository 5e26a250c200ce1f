//go:build !linux

package log_test

import "os"

func datasync(f *os.File) error { return f.Sync() }
