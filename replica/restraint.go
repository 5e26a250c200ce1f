package replica

import "time"

const (
	quick      = time.Millisecond // an answer that comes faster was not parked
	maxBackoff = 100 * time.Millisecond
)

// A restraint keeps a lane from asking in vain again and again.
type restraint struct {
	backoff time.Duration
	empty   bool // the last answer came at once and said nothing
}

// after returns how long to wait before the next fetch.
func (p *restraint) after(failed, learned bool, took time.Duration) time.Duration {
	switch {
	case !failed && (learned || took >= quick):
		*p = restraint{}
	case !failed && !p.empty:
		p.empty = true // it may have crossed an ack, which made it the older one
	default:
		p.backoff = min(max(2*p.backoff, quick), maxBackoff)
		return p.backoff
	}
	return 0
}
