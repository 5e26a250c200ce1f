package log

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// CheckProducer judges a batch of an idempotent producer before it is appended:
// whether it follows what the log has of that producer. It is called by the writer,
// with nothing appended between it and [Log.Append].
//
// If the batch is one of the last five of its producer it is a duplicate, and first
// is where it stands: it must not be appended again, and is acknowledged as soon as
// the high watermark has passed it there. An error matches [ErrStaleProducer],
// [ErrOutOfSequence] or [ErrUnknownProducer]. A batch without a producer is always in
// order.
func (l *Log) CheckProducer(b Batch) (first Offset, duplicate bool, err error) {
	return l.producers.check(b)
}

// ExpireProducers forgets the idempotent producers that have been silent for that
// long, and returns how many. It overlaps anything.
func (l *Log) ExpireProducers(now time.Time, silent time.Duration) int {
	return l.producers.expire(now.UnixMilli(), silent.Milliseconds())
}

// What a log knows of its producers is kept in snapshots: one at the first offset of
// each segment, made when it began and synced by a later flush, and one at the
// recovery point, which is not synced. Recovery takes the newest one that is whole,
// and the batches behind it.

// A producersDue is a snapshot that is still to be written.
type producersDue struct {
	at      Offset
	payload []byte
}

// dueAtRoll takes a snapshot where a segment is about to begin; l.mu is held.
func (l *Log) dueAtRoll() {
	if l.producers.known() {
		l.state.due = append(l.state.due, producersDue{l.End(), l.producers.encode(l.End())})
	}
}

// saveProducers writes the snapshots that are due, and one of this moment, which is
// synced if asked to, and removes those that nobody will need. Who calls holds the
// right of acquire.
//
// As long as the batches are there it is a help, as an index is: whoever finds none
// reads more of the log. So only a failed sync is an error, unless it was asked for.
func (l *Log) saveProducers(sync bool) error {
	l.mu.Lock()
	due := l.state.due
	l.state.due = nil
	now := producersDue{at: l.End()}
	if l.producers.known() && l.synced != now.at && (sync || !slices.Contains(l.snapshots, now.at)) {
		now.payload = l.producers.encode(now.at)
	}
	l.mu.Unlock()
	if sync && now.payload != nil {
		due = append(due, now)
	}
	for _, d := range due {
		err := WriteFile(l.fsys, snapshotPath(l.dir, d.at), snapshotMagic, snapshotVersion, d.payload)
		switch {
		case final(err):
			return l.fail(err)
		case err == nil:
			l.snapshots, l.synced = append(l.snapshots, d.at), d.at
		case sync:
			return err
		}
	}
	if !sync && now.payload != nil {
		if err := writeUnsynced(l.fsys, snapshotPath(l.dir, now.at), snapshotMagic, snapshotVersion, now.payload); err == nil {
			l.snapshots = append(l.snapshots, now.at)
		}
	}
	l.pruneSnapshots()
	return nil
}

// pruneSnapshots removes those that are neither at the beginning of a segment nor the
// newest that a crash leaves.
func (l *Log) pruneSnapshots() {
	if len(l.snapshots) < 2 {
		return
	}
	slices.Sort(l.snapshots)
	l.mu.Lock()
	segments := l.state.segments
	l.mu.Unlock()
	newest := Offset(-1)
	if l.synced <= l.Flushed() {
		newest = l.synced
	}
	l.snapshots = slices.DeleteFunc(slices.Compact(l.snapshots), func(at Offset) bool {
		i := findSegment(segments, at)
		if at >= newest || i >= 0 && segments[i].base == at {
			return false
		}
		return ignoreAbsent(l.fsys.Remove(snapshotPath(l.dir, at))) == nil
	})
}

// cutSnapshots removes the snapshots behind an end; that is durable before the next
// batch is written.
func (l *Log) cutSnapshots(end Offset) error {
	l.mu.Lock()
	l.state.due = slices.DeleteFunc(l.state.due, func(d producersDue) bool { return d.at > end })
	l.mu.Unlock()
	for _, at := range l.snapshots {
		if at <= end {
			continue
		}
		l.unsynced = true
		if err := ignoreAbsent(l.fsys.Remove(snapshotPath(l.dir, at))); err != nil {
			return err
		}
	}
	l.snapshots = slices.DeleteFunc(l.snapshots, func(at Offset) bool { return at > end })
	if l.synced > end {
		l.synced = -1
	}
	return nil
}

// recallProducers makes the state of the producers anew, up to the end of the log,
// from a snapshot and the batches behind it. empty is an offset at which there was no
// producer; -1 if that is not known.
func (l *Log) recallProducers(empty Offset) error {
	slices.Sort(l.snapshots)
	from, found := max(empty, l.Start()), newProducers()
	if empty < 0 && (from > 0 || l.bounds.cleaned > 0) {
		found.setIncomplete()
	}
	for i := len(l.snapshots) - 1; i >= 0; i-- {
		at := l.snapshots[i]
		if at > l.End() || at < empty {
			continue
		}
		t, err := l.readSnapshot(at)
		if err != nil {
			return err
		}
		if t != nil {
			from, found = max(at, l.Start()), t
			break
		}
	}
	if err := l.replayProducers(found, from); err != nil {
		return err
	}
	l.producers.become(found)
	return nil
}

// readSnapshot returns nil for one that is damaged, which is removed.
func (l *Log) readSnapshot(at Offset) (*producers, error) {
	t, err := readProducers(l.fsys, l.dir, at)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
		return nil, ignoreAbsent(l.fsys.Remove(snapshotPath(l.dir, at)))
	}
	return t, err
}

// replayProducers notes the batches from an offset on.
func (l *Log) replayProducers(t *producers, from Offset) error {
	if from >= l.End() {
		return nil // as nearly always
	}
	now := l.cfg.Now().UnixMilli()
	buf := make([]byte, scanStep)
	for from < l.End() {
		data, err := l.ReadInto(buf, from, l.End())
		if err != nil {
			return err
		}
		for len(data) > 0 {
			var b Batch
			if b, data, err = SplitBatch(data); err != nil {
				return err
			}
			t.update(b, now)
			from = b.Next()
		}
	}
	return nil
}
