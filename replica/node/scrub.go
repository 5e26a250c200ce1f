package node

import (
	"context"
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
)

// A broker reads all that it holds from time to time, so that what a disk has lost is
// found while a peer still has it, and not by whoever needs it.
const (
	scrubDelay = 10 * time.Second // from the start of the broker to the first round
	scrubPace  = 24 * time.Hour   // from the end of a round to the next
	scrubRate  = 8 << 20          // bytes a second, of all partitions together
	scrubBytes = 256 << 10        // read at once
)

func (n *Node) runScrubber() {
	wait := scrubDelay
	for n.rest(wait) {
		buf := make([]byte, scrubBytes)
		for _, r := range n.hosted() {
			n.scrub(r, buf)
		}
		wait = scrubPace
	}
}

// rest reports whether the node still runs after d.
func (n *Node) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// scrub reads what one replica has flushed.
func (n *Node) scrub(r *Replica, buf []byte) {
	before := r.faults.Load()
	for at := r.log.Start(); ; {
		next, err := r.log.Scrub(at, buf)
		switch {
		case errors.Is(err, log.ErrOutOfRange) && at < r.log.Start():
			next = r.log.Start() // retention was faster
		case loses(err):
			r.ail(err)
			return
		case err != nil:
			if !errors.Is(err, log.ErrClosed) && !errors.Is(err, log.ErrOutOfRange) {
				n.logger.Warn("scrub", "partition", r.name(), "offset", at, "error", err)
			}
			return
		case next == at:
			r.recovered(before)
			return
		}
		at = next
		if n.throttle(r.ctx, len(buf), scrubRate) != nil {
			return
		}
	}
}

// throttle waits for as long as bytes may take.
func (n *Node) throttle(ctx context.Context, bytes, rate int) error {
	timer := time.NewTimer(time.Duration(bytes) * time.Second / time.Duration(rate))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
