package log

import "errors"

// Plan 9 says these in the words of each file server, so that no error matches them.
var (
	errNoSpace  = errors.New("log: no space")
	errQuota    = errors.New("log: quota exceeded")
	errReadOnly = errors.New("log: read-only")
)
