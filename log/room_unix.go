//go:build darwin || dragonfly || freebsd || linux

package log

import (
	"os"
	"syscall"
)

// Room implements [Roomer].
func (osFS) Room(dir string) (int64, error) {
	var st syscall.Statfs_t
	for {
		switch err := syscall.Statfs(dir, &st); err {
		case nil:
			return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // other systems have other types
		case syscall.EINTR:
		default:
			return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
	}
}
