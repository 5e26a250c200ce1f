package consume

import (
	"context"
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// attempt bounds one call to a coordinator, or to a leader for its offsets.
const attempt = 5 * time.Second

// locate finds out where to begin with the parts that have no place yet, until
// there are none. One runs at a time, and only while there are some.
func (c *Consumer) locate() {
	for backoff := time.Duration(0); ; backoff = min(max(2*backoff, firstBackoff), maxBackoff) {
		if !c.rest(backoff) {
			return
		}
		c.mu.Lock()
		parts := c.unlocated()
		c.locating = len(parts) > 0
		c.mu.Unlock()
		if len(parts) == 0 {
			return
		}
		if c.locateAll(parts) {
			backoff = 0
		}
		c.dispatch()
	}
}

// rest waits. False: the consumer is closed.
func (c *Consumer) rest(d time.Duration) bool {
	if d == 0 {
		return c.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// unlocated returns the parts that have no place yet; the caller holds mu.
func (c *Consumer) unlocated() []*part {
	var parts []*part
	for _, p := range c.parts {
		if !p.located && !p.fresh && !p.revoking {
			parts = append(parts, p)
		}
	}
	return parts
}

// locateAll makes one attempt. It reports whether all went well.
func (c *Consumer) locateAll(parts []*part) bool {
	committed := make([]mark, len(parts))
	for i := range committed {
		committed[i] = unmarked
	}
	if c.member.session != nil && !c.committed(parts, committed) {
		return false
	}
	well := true
	for i, p := range parts {
		at := committed[i]
		if at.at < 0 {
			var ok bool
			if at, ok = c.beginning(p); !ok {
				well = false
				continue
			}
		}
		c.mu.Lock()
		if !p.gone && !p.located { // Seek may have been quicker
			p.start(at)
			p.progress.committed = committed[i]
		}
		c.mu.Unlock()
	}
	return well
}

// committed asks the coordinator what the group has committed.
func (c *Consumer) committed(parts []*part, into []mark) bool {
	req := offsets.FetchRequest{Group: c.cfg.Group, Member: c.cfg.Member, Partitions: make([]partition.ID, len(parts))}
	for i, p := range parts {
		req.Partitions[i] = p.id
	}
	c.mu.Lock()
	req.MemberEpoch = c.member.session.Epoch()
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, attempt)
	defer cancel()
	resp, err := c.cluster.FetchOffsets(ctx, req)
	if err == nil {
		err = resp.Code.Err()
	}
	if err == nil && len(resp.Partitions) != len(parts) {
		err = errMisfit
	}
	if err != nil {
		c.cfg.Logger.Debug("fetch of committed offsets", "group", c.cfg.Group, "err", err)
		return false
	}
	for i, a := range resp.Partitions {
		if a.Found && a.ID == parts[i].id {
			into[i] = mark{a.Commit.Offset, a.Commit.Epoch}
		}
	}
	return true
}

// beginning returns where to begin without a commit. The earliest record is found
// by asking for offset 0: if that is gone, the answer says where the log starts.
func (c *Consumer) beginning(p *part) (mark, bool) {
	switch c.cfg.Start {
	case Earliest:
		return mark{0, log.NoEpoch}, true
	case At:
		return mark{c.cfg.From, log.NoEpoch}, true
	case AtTime:
		return c.sinceTime(c.ctx, p.id, c.cfg.Since)
	case Latest:
	}
	leaders, _ := c.cluster.Leaders([]partition.ID{p.id})
	if leaders[0].Broker == partition.NoBroker {
		return unmarked, false
	}
	ctx, cancel := context.WithTimeout(c.ctx, attempt)
	defer cancel()
	info, err := c.cluster.Info(ctx, leaders[0].Broker, partition.InfoRequest{ID: p.id})
	if err != nil || info.Code != partition.OK {
		return unmarked, false
	}
	return mark{info.HighWatermark, log.NoEpoch}, true
}

// sinceTime makes one attempt to find the first record at or after a time.
func (c *Consumer) sinceTime(ctx context.Context, id partition.ID, t int64) (mark, bool) {
	leaders, _ := c.cluster.Leaders([]partition.ID{id})
	if leaders[0].Broker == partition.NoBroker {
		return unmarked, false
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	resp, err := c.cluster.FindTime(ctx, leaders[0].Broker, partition.FindTimeRequest{ID: id, Time: t})
	if err != nil || resp.Code != partition.OK {
		return unmarked, false
	}
	return mark{resp.Offset, log.NoEpoch}, true
}

// SeekTime makes the first record at or after a time, in milliseconds since the Unix
// epoch, the next one of each partition that is assigned now; behind the newest one
// if there is none. It waits for leaders until ctx ends; then some partitions may
// have been moved.
func (c *Consumer) SeekTime(ctx context.Context, t int64) error {
	for _, place := range c.Assigned() {
		if err := c.seekTime(ctx, place, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *Consumer) seekTime(ctx context.Context, place Place, t int64) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		c.mu.Lock()
		p := c.find(place)
		if p == nil || p.revoking {
			c.mu.Unlock()
			return nil // it was taken away meanwhile
		}
		id := p.id
		c.mu.Unlock()
		if at, ok := c.sinceTime(ctx, id, t); ok {
			if err := c.Seek(place, at.at); !errors.Is(err, ErrNotAssigned) {
				return err
			}
			return nil
		}
		if !c.rest(backoff) {
			return ErrClosed
		}
		if ctx.Err() != nil {
			return &Error{place, context.Cause(ctx)}
		}
	}
}
