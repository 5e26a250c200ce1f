//go:build !plan9

package log

import "syscall"

// What the system's errors say.
const (
	errNoSpace  = syscall.ENOSPC
	errQuota    = syscall.EDQUOT
	errReadOnly = syscall.EROFS
)
