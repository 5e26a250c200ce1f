package replica

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// Check returns the first of the package's invariants that l breaks, by its number,
// or nil. A broken one is a mistake in this package. Tests ask after every step.
func (l *Leader) Check() error {
	bad := func(rule, format string, args ...any) error {
		return fmt.Errorf("replica: leader %d of %v in epoch %d breaks %s: %s",
			l.self, l.id, l.state.Epoch, rule, fmt.Sprintf(format, args...))
	}
	if err := checkOffsets(l.start, l.high, l.end, l.flushed); err != "" {
		return bad("R1", "%s", err)
	}
	var last partition.BrokerID
	for i := range l.followers {
		p := &l.followers[i]
		switch {
		case p.id <= last || p.id == l.self:
			return bad("R3", "followers do not rise at %d", p.id)
		case p.ack != unknown && (!p.heard || p.broker < p.known):
			return bad("R3", "ack %d of %d is not of its present life", p.ack, p.id)
		case p.ack > l.end:
			return bad("R3", "ack %d of %d is above the end %d", p.ack, p.id, l.end)
		case p.inISR != slices.Contains(l.state.ISR, p.id):
			return bad("R4", "%d counts as a member: %t; the ISR is %v", p.id, p.inISR, l.state.ISR)
		case p.proposed && l.pending == nil:
			return bad("R5", "%d is proposed without a proposal", p.id)
		}
		last = p.id
	}
	if l.pending == nil {
		return nil
	}
	req := l.pending.req
	if req.Epoch != l.state.Epoch || req.PartitionEpoch != l.state.PartitionEpoch {
		return bad("R5", "proposal of epoch %d and partition epoch %d, which is %d",
			req.Epoch, req.PartitionEpoch, l.state.PartitionEpoch)
	}
	for _, m := range req.ISR {
		p := l.follower(m.ID)
		switch {
		case m.ID == l.self:
		case p == nil || !p.proposed:
			return bad("R5", "%d is proposed and does not count", m.ID)
		case !p.inISR && m.Epoch == partition.UnknownBrokerEpoch:
			return bad("R6", "%d is proposed unheard", m.ID)
		}
	}
	return nil
}

// Check returns the first of the package's invariants that f breaks, by its number,
// or nil. A broken one is a mistake in this package. Tests ask after every step.
func (f *Follower) Check() error {
	bad := func(rule, format string, args ...any) error {
		return fmt.Errorf("replica: follower %d of %v in epoch %d breaks %s: %s",
			f.self, f.id, f.state.Epoch, rule, fmt.Sprintf(format, args...))
	}
	if f.waiting {
		return nil // R10: the disk is on its way to where the machine will be
	}
	if err := checkOffsets(f.start, f.high, f.end, f.flushed); err != "" {
		return bad("R1", "%s", err)
	}
	if f.lastEpoch > f.state.Epoch {
		return bad("R8", "last batch of epoch %d", f.lastEpoch)
	}
	return nil
}

func checkOffsets(start, high, end, flushed log.Offset) string {
	switch {
	case start > high || high > end:
		return fmt.Sprintf("start %d, high watermark %d, end %d", start, high, end)
	case flushed > end:
		return fmt.Sprintf("flushed end %d, end %d", flushed, end)
	}
	return ""
}
