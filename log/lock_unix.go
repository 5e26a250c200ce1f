//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package log

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks an open file, against all other open ones of its name, in this
// process too. It returns false if one of them has the lock.
func tryLock(f *os.File) (bool, error) {
	err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func freeLock(f *os.File) error { return flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
