package log

import (
	"context"
	"errors"
	"time"
)

// A CompactConfig says how a log is compacted. UpTo apart, the zero value is
// complete.
type CompactConfig struct {
	// UpTo bounds what is looked at: segments that hold an offset at or above it are
	// left alone. For a replica it is the high watermark, as what lies above may yet
	// be cut. It has no default.
	UpTo Offset

	// MinLag is how long each record stays, at least, superseded or not.
	//
	// Zero means no time.
	MinLag time.Duration

	// TombstoneAge is how long a tombstone stays once a pass has seen it, for readers
	// on their way.
	//
	// Zero means 24 hours.
	TombstoneAge time.Duration

	// MinDirty is the share of bytes that no pass has seen at which a pass pays,
	// above 0 and up to 1.
	//
	// Zero means 0.5.
	MinDirty float64

	// Memory bounds the bytes that a pass takes to remember keys, at 24 each. A pass
	// goes as far as they reach, and the next one on from there.
	//
	// Zero means 16 MiB, for about 500,000 keys. Below 48 counts as 48: one key.
	Memory int

	// Throttle is told of bytes that were read or written, by some hundred thousand,
	// and may take its time: the log is used meanwhile. An error of it ends the pass.
	//
	// Nil means as fast as the disk goes.
	Throttle func(ctx context.Context, bytes int) error
}

func (c CompactConfig) withDefaults() CompactConfig {
	if c.TombstoneAge <= 0 {
		c.TombstoneAge = 24 * time.Hour
	}
	if c.MinDirty <= 0 {
		c.MinDirty = 0.5
	}
	if c.Memory <= 0 {
		c.Memory = 16 << 20
	}
	c.Memory = max(c.Memory, 2*keyEntrySize) // a pass that remembers no key would come nowhere
	if c.Throttle == nil {
		c.Throttle = func(context.Context, int) error { return nil }
	}
	return c
}

// A Compaction is what a pass did.
type Compaction struct {
	Ran bool // false: it did not pay

	RecordsIn, RecordsOut int64
	BytesIn, BytesOut     int64
	Tombstones            int64 // that were removed

	// CleanTo is the offset below which each key was seen: of records below it none
	// is superseded by another below it.
	CleanTo Offset
	// More: the keys did not all fit into memory, so that another pass pays at once.
	More bool
}

// errMoved ends a look at segments that are not there any more.
var errMoved = errors.New("log: cut or compacted while it was read")

// Compact makes one pass over the full segments below UpTo, if it pays: of records
// with one key it leaves the newest, of tombstones those that are young. Offsets stay
// as they are; see format.go for what stands where records were. A crash at any
// moment leaves each segment as it was or as it is to be.
//
// One call at a time; it overlaps all others. What ctx ends, or a cut under way, is
// no harm: the next pass begins anew. After [Log.Close] it ends soon, and nobody opens
// the directory again before it has.
func (l *Log) Compact(ctx context.Context, now time.Time, cfg CompactConfig) (Compaction, error) {
	p := pass{l: l, ctx: ctx, cfg: cfg.withDefaults(), now: now.UnixMilli()}
	if err := l.acquire(); err != nil {
		return Compaction{}, err
	}
	p.bounds = l.bounds
	l.release()
	err := p.run()
	if errors.Is(err, errMoved) {
		err = nil
	}
	return p.done, err
}

// A pass is one compaction under way.
type pass struct {
	l      *Log
	ctx    context.Context
	cfg    CompactConfig
	now    int64
	bounds bounds // as they were at the start
	cuts   int
	done   Compaction
}

func (p *pass) run() error {
	policy := compactPolicy{
		segmentBytes: p.l.cfg.SegmentBytes, minLag: p.cfg.MinLag.Milliseconds(), dirtyRatio: p.cfg.MinDirty,
	}
	p.cuts = p.l.cuts()
	segments, described, err := p.survey()
	if err != nil {
		return err
	}
	chosen := policy.compactable(described, p.cfg.UpTo, p.now)
	if !policy.pays(chosen, p.bounds.cleaned, p.bounds.horizon, p.now) {
		return nil
	}
	p.done.Ran = true
	segments = segments[:len(chosen)]
	keys, err := p.cover(segments, chosen)
	if err != nil {
		return err
	}
	c := compaction{
		keys: keys, now: p.now, tombstoneAge: p.cfg.TombstoneAge.Milliseconds(), limit: MaxInflatedBytes,
		isLast: p.l.producers.holdsLast,
	}
	total := compactStats{nextHorizon: noHorizon}
	for _, g := range policy.groups(chosen, keys.end) {
		run := segments[:len(g)]
		segments = segments[len(g):]
		stats, err := p.rewrite(c, run, g[len(g)-1].end)
		if err != nil {
			return err
		}
		total.add(stats)
	}
	p.note(total, keys.end)
	return p.finish(keys.end, total.nextHorizon)
}

func (p *pass) note(s compactStats, end Offset) {
	p.done.RecordsIn, p.done.RecordsOut = s.recordsIn, s.recordsOut
	p.done.BytesIn, p.done.BytesOut = s.bytesIn, s.bytesOut
	p.done.Tombstones, p.done.CleanTo = s.tombstones, end
}

// finish makes durable how far the pass came.
func (p *pass) finish(end Offset, horizon int64) error {
	if err := p.l.acquire(); err != nil {
		return err
	}
	defer p.l.release()
	if p.l.cuts() != p.cuts {
		return errMoved
	}
	b := p.l.bounds
	b.cleaned, b.horizon = end, horizon
	return p.l.saveBounds(b)
}

// survey returns the segments, and what the choice of them goes by.
func (p *pass) survey() ([]*segment, []compactSegment, error) {
	segments, sizes, times, err := p.l.survey()
	if err != nil {
		return nil, nil, err
	}
	described := make([]compactSegment, len(segments))
	for i, s := range segments {
		end := p.l.End()
		if i+1 < len(segments) {
			end = segments[i+1].base
		}
		described[i] = compactSegment{base: s.base, end: end, size: sizes[i], maxTimestamp: times[i]}
	}
	return segments, described, nil
}

// cover reads the keys of what no pass has seen yet, as far as memory goes.
func (p *pass) cover(segments []*segment, chosen []compactSegment) (*keyMap, error) {
	last := chosen[len(chosen)-1].end
	keys := newKeyMap(p.cfg.Memory, max(p.bounds.cleaned, segments[0].base), last)
	for i, s := range segments {
		if chosen[i].end <= keys.end {
			continue
		}
		full := false
		err := p.walk(s, func(b Batch) (err error) {
			if b.Next() > keys.end && !full {
				full, err = keys.cover(b, MaxInflatedBytes)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if full {
			p.done.More = keys.end > keys.start
			break
		}
	}
	return keys, nil
}

// walk gives each batch of a segment, which holds until the next one.
func (p *pass) walk(s *segment, each func(Batch) error) error {
	l := p.l
	l.mu.Lock()
	if l.state.cuts != p.cuts || s.dead {
		l.mu.Unlock()
		return errMoved
	}
	s.pin()
	e := l.state.epochs
	l.mu.Unlock()
	defer l.done(s)
	file, size, err := l.open(s)
	if err != nil {
		return err
	}
	w := newWalk(file, size, s.base, e)
	told := int64(0)
	for w.pos < size {
		b, err := w.step()
		if err != nil {
			return place(err, s.name(), w.pos, w.next)
		}
		if err := each(b); err != nil {
			return place(err, s.name(), w.pos-int64(len(b)), b.First())
		}
		if n := w.pos - told; n >= scanStep || w.pos == size {
			told = w.pos
			if err := p.pause(int(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause lets others have the disk.
func (p *pass) pause(bytes int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	return p.cfg.Throttle(p.ctx, bytes)
}
