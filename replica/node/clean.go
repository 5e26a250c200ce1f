package node

import (
	"context"
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

const (
	// cleanPace is how often a broker looks for records that need not be kept.
	cleanPace = 30 * time.Second
	// cleanRate bounds what compactions read and write in a second, all partitions of a
	// broker together, so that producers keep most of the disk.
	cleanRate = 32 << 20
)

// runCleaner removes what retention does not keep, and has logs that are silent know what
// is synced. Leaders decide where a log starts; followers go after them.
func (n *Node) runCleaner() {
	n.rounds(func(r *Replica, topic partition.TopicConfig) {
		// For a log that has fallen silent: what is synced is to be known as synced.
		if err := r.log.Checkpoint(); err != nil {
			r.report("checkpoint", err)
		}
		if !topic.Compact && r.standing.Load().leads {
			r.retain(topic)
		}
	})
}

// runCompactor compacts. It may be at one partition for hours, so that nothing else waits
// for it.
func (n *Node) runCompactor() {
	n.rounds(func(r *Replica, topic partition.TopicConfig) {
		if topic.Compact {
			n.compact(r)
		}
	})
}

// rounds calls visit for one replica after another, and for all again a while later.
func (n *Node) rounds(visit func(*Replica, partition.TopicConfig)) {
	ticker := time.NewTicker(cleanPace)
	defer ticker.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		}
		for _, r := range n.hosted() {
			if n.ctx.Err() != nil {
				return
			}
			if topic, ok := n.topicConfig(r.id); ok && !r.lost.Load() {
				visit(r, topic)
			}
		}
	}
}

// topicConfig returns how a partition's topic is kept by the newest metadata.
func (n *Node) topicConfig(id partition.ID) (partition.TopicConfig, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	t, ok := n.table.TopicByID(id.Topic)
	if !ok {
		return partition.TopicConfig{}, false
	}
	return t.Config, true
}

// compact leaves of each key of a partition the newest record. Each replica does so for
// itself, below the high watermark that it knows.
func (n *Node) compact(r *Replica) {
	select {
	case r.tidying <- struct{}{}:
		defer func() { <-r.tidying }()
	case <-r.ctx.Done():
		return
	}
	throttle := func(ctx context.Context, bytes int) error { return n.throttle(ctx, bytes, cleanRate) }
	cfg := log.CompactConfig{UpTo: r.highWatermark(), Throttle: throttle}
	for {
		done, err := r.log.Compact(r.ctx, time.Now(), cfg)
		if done.Ran {
			n.logger.Debug("compacted", "partition", r.name(), "below", done.CleanTo, "records", done.RecordsIn, "left", done.RecordsOut)
			r.do(startedOp{})
		}
		switch {
		case err != nil:
			r.report("compaction", err)
			return
		case !done.Ran || !done.More:
			return
		}
	}
}

// retain removes the segments of a led partition that its topic does not keep.
func (r *Replica) retain(topic partition.TopicConfig) {
	keep := log.Retention{Age: max(topic.Retention, 0), Bytes: max(topic.RetentionBytes, 0)}
	start, roll, err := r.log.Expired(time.Now(), keep, r.highWatermark())
	if err == nil && roll {
		if r.roll() {
			start, _, err = r.log.Expired(time.Now(), keep, r.highWatermark())
		}
	}
	if err != nil {
		r.report("retention", err)
		return
	}
	_ = r.trim(start) // it was reported
}

// trim removes what lies below start, and tells the machine where the log starts now.
func (r *Replica) trim(start log.Offset) error {
	before := r.log.Start()
	err := r.log.DeleteBefore(start)
	now := r.log.Start()
	if err == nil && now == r.log.End() && r.roll() { // all of it is gone, and its segment can go too
		err = r.log.DeleteBefore(now)
	}
	if err != nil {
		r.report("delete", err)
	}
	if now > before {
		r.node.logger.Debug("records removed", "partition", r.name(), "below", now)
	}
	if below := now; now > before || err == nil && start > now {
		if err == nil {
			below = max(below, start)
		}
		r.do(startedOp{below})
	}
	return err
}

// report tells of an error of the disk that keeps records from being removed. One
// that ended the log ends the node; others pass, and it is tried again.
func (r *Replica) report(what string, err error) {
	switch {
	case errors.Is(err, log.ErrFailed):
		r.node.failStorage(err)
	case errors.Is(err, log.ErrClosed), errors.Is(err, log.ErrOutOfRange), errors.Is(err, context.Canceled):
		// The broker stops, or the log was cut meanwhile.
	default:
		if errors.Is(err, log.ErrCorrupt) {
			r.ail(err)
		}
		r.node.logger.Warn("records that need not be kept stay", "partition", r.name(), "step", what, "error", err)
	}
}

// startedOp tells the machine what was taken out of the log.
type startedOp struct{ below log.Offset }

func (o startedOp) perform(r *Replica, now time.Time) {
	r.step(now, replica.Started{Start: r.log.Start(), Below: o.below, Removed: r.log.RemovedBelow()})
}

// roll has the replica's owner, who is the log's one writer, begin a new segment, and
// waits for that. It is false if there is none.
func (r *Replica) roll() bool {
	o := &rollOp{done: make(chan error, 1)}
	r.do(o)
	var err error
	select {
	case err = <-o.done:
	case <-r.node.ctx.Done():
		return false // who owns it may never come to it
	}
	if err != nil {
		r.report("roll", err)
	}
	return err == nil
}

type rollOp struct{ done chan error }

func (o *rollOp) perform(r *Replica, _ time.Time) {
	if r.lost.Load() {
		o.done <- log.ErrClosed
		return
	}
	o.done <- r.log.Roll()
}
