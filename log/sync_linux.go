package log

import (
	"errors"
	"os"
	"syscall"
)

// datasync makes what a file holds durable by fdatasync(2), which leaves out no
// more than its times: it covers the bytes, and of what the file system notes all
// that finding them takes, the size and new blocks among it. So it is as good as
// fsync(2) for a file that grew or was cut. Where neither has happened, it spares
// the disk the journal.
func datasync(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = syscall.Fdatasync(int(fd)); !errors.Is(failed, syscall.EINTR) {
				return
			}
		}
	})
	if err == nil && failed != nil {
		err = &os.PathError{Op: "fdatasync", Path: f.Name(), Err: failed}
	}
	return err
}
