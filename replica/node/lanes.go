package node

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A restraint keeps a lane from asking in vain again and again.
type restraint struct {
	backoff time.Duration
	empty   int // answers in a row that came at once and said nothing
}

// after returns how long to wait before the next fetch.
func (p *restraint) after(err error, learned bool, took time.Duration) time.Duration {
	switch {
	case err == nil && (learned || took >= quick):
		*p = restraint{}
	case err == nil && p.empty == 0:
		p.empty = 1 // it may have crossed an ack, which made it the older one
	default:
		p.backoff = min(max(2*p.backoff, quick), 100*time.Millisecond)
		return p.backoff
	}
	return 0
}

// pause waits for d, or until the set of partitions changes.
func pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (f *fetcher) report(what string, err error, kicked bool) {
	if err != nil && err != errNothing && !kicked {
		f.n.logger.Debug(what, "leader", f.leader, "error", err)
	}
}

// A round is one fetch of a lane.
type round struct {
	ctx   context.Context // ends when the lane is kicked
	req   replica.FetchRequest
	asked []*followed // whose parts req has, but for those that a leader keeps
	parts []asked     // likewise
	all   int         // that there are, those included who want nothing now
}

func (f *fetcher) runHot() {
	var p restraint
	for {
		r, ok := f.beginHot()
		if !ok {
			return
		}
		begun := time.Now()
		learned, err := f.fetchHot(r)
		wait := p.after(err, learned, time.Since(begun))
		pause(r.ctx, wait)
		f.report("fetch", err, f.end(&f.hot))
		f.startCold()
	}
}

// beginHot puts the next hot fetch together; false ends the run.
func (f *fetcher) beginHot() (r round, ok bool) {
	if f.n.ctx.Err() != nil {
		f.rest(&f.hot)
		return r, false
	}
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	parts, ctx := f.takeHot()
	if len(parts) == 0 {
		return r, false
	}
	r.ctx, r.all = ctx, len(parts)
	f.ask(&r, parts, partitionBytes)
	return r, true
}

// rest ends a lane's run when the broker stops.
func (f *fetcher) rest(l *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.running = false
}

// takeHot takes over who has become hot, and returns all who are. The turn is held.
func (f *fetcher) takeHot() ([]*followed, context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, m := range f.hot.coming {
		m.coming = false
		if f.members[m.r] == m && m.pace.Lane() == replica.Cold {
			f.toHot(now, m)
		}
	}
	f.hot.coming = nil
	parts := f.hot.parts
	if len(parts) == 0 {
		f.hot.running = false
		return nil, nil
	}
	// Who comes last may get nothing when the others fill the answer.
	f.next = (f.next + 1) % len(parts)
	return slices.Concat(parts[f.next:], parts[:f.next]), f.begin(&f.hot)
}

// toHot moves a member. The turn and the lock are held.
func (f *fetcher) toHot(now time.Time, m *followed) {
	delete(f.cooled, m.r.id)
	f.cold.parts = without(f.cold.parts, m)
	m.kept, m.cools = false, false
	m.pace.Enter(now, replica.Hot)
	f.hot.parts = append(f.hot.parts, m)
}

// ask puts a request together from what members want to be fetched now. The turn is
// held.
func (f *fetcher) ask(r *round, members []*followed, maxBytes int32) {
	o := newRequestOp(maxBytes)
	parts := make([]replica.FetchPartition, 0, len(members))
	for _, m := range members {
		f.mu.Lock()
		o.start = m.start
		f.mu.Unlock()
		ok := f.request(o, m.r)
		f.mu.Lock()
		m.cools = o.cools
		f.mu.Unlock()
		if ok {
			r.asked, r.parts = append(r.asked, m), append(r.parts, o.asked)
			parts = append(parts, o.asked.part)
		}
	}
	r.req = f.number(parts)
	r.req.MaxWaitMs, r.req.MinBytes, r.req.MaxBytes = int32(f.n.cfg.FetchWait/time.Millisecond), 1, fetchBytes
}

// fetchHot reports whether the answer said anything new.
func (f *fetcher) fetchHot(r round) (learned bool, err error) {
	if len(r.asked) == 0 || r.req.BrokerEpoch == 0 {
		return false, errNothing
	}
	if len(r.asked) < r.all {
		r.req.MaxWaitMs = min(r.req.MaxWaitMs, 20) // some are delayed: ask them again soon
	}
	resp, data, err := f.call(r.ctx, r.req)
	if err != nil {
		return false, err
	}
	for i, m := range r.asked {
		a := resp.Partitions[i]
		fresh := news(m.r, &a, data[i])
		if !f.noteHot(m, &a, fresh) || !fresh {
			continue
		}
		learned = learned || a.Code == partition.OK // others have their delays
		hand(m.r, r.parts[i], a, data[i])
	}
	return learned, nil
}

// noteHot reports whether the member is still of the lane.
func (f *fetcher) noteHot(m *followed, a *replica.FetchAnswer, fresh bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.members[m.r] != m || m.pace.Lane() != replica.Hot {
		return false
	}
	m.start = a.Start
	if fresh {
		m.pace.Moved(time.Now())
	}
	return true
}

// startCold starts the cold lane if there is somebody for it.
func (f *fetcher) startCold() {
	f.mu.Lock()
	now := time.Now()
	start := !f.cold.running && slices.ContainsFunc(f.hot.parts, func(m *followed) bool { return m.cooling(now) }) && f.cold.start()
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.runCold)
	}
}

// cooling reports whether a hot member is for the cold lane. The lock is held.
func (m *followed) cooling(now time.Time) bool { return m.cools && m.pace.Wants(now) == replica.Cold }

func (f *fetcher) runCold() {
	var p restraint
	var last int64 // the newest cold fetch that was answered; 0: the next begins anew
	for {
		r, ok := f.beginCold(last)
		if !ok {
			return
		}
		begun := time.Now()
		learned, err := f.fetchCold(r)
		last = r.req.Sequence
		if err != nil {
			last = 0 // what the leader keeps now is open
		}
		wait := p.after(err, learned, time.Since(begun))
		pause(r.ctx, wait)
		f.report("cold fetch", err, f.end(&f.cold))
	}
}

// beginCold puts the next cold fetch together; false ends the run.
func (f *fetcher) beginCold(last int64) (r round, ok bool) {
	if f.n.ctx.Err() != nil {
		f.rest(&f.cold)
		return r, false
	}
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	parts, ctx := f.takeCold(last == 0)
	if ctx == nil {
		return r, false
	}
	r.ctx = ctx
	f.ask(&r, parts, partitionBytes)
	r.req.Cold, r.req.After = true, last
	f.keepCold(&r, parts)
	return r, true
}

// takeCold takes over who has cooled down, and returns all whom the leader does not
// keep. The turn is held.
func (f *fetcher) takeCold(anew bool) ([]*followed, context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.hot.parts = slices.DeleteFunc(f.hot.parts, func(m *followed) bool {
		if !m.cooling(now) {
			return false
		}
		m.pace.Enter(now, replica.Cold)
		f.cooled[m.r.id] = m
		f.cold.parts = append(f.cold.parts, m)
		return true
	})
	if anew {
		f.cold.parts = f.cold.parts[:0]
		for _, m := range f.cooled {
			m.kept = false
			f.cold.parts = append(f.cold.parts, m)
		}
	}
	if len(f.cooled) == 0 {
		f.cold.running = false
		return nil, nil
	}
	return slices.Clone(f.cold.parts), f.begin(&f.cold)
}

// keepCold notes whom the leader will keep. Those who want nothing now, or have need
// of fetches without news, go back to the hot lane and are in no cold request; what
// they would have acked with it goes out at once. The turn is held.
func (f *fetcher) keepCold(r *round, parts []*followed) {
	f.mu.Lock()
	now := time.Now()
	var named []replica.FetchPartition
	for i, m := range r.asked {
		if f.members[m.r] == m && m.cools {
			m.kept, m.asked = true, r.parts[i]
			named = append(named, r.parts[i].part)
		}
	}
	r.req.Partitions = named
	for _, m := range parts {
		if f.members[m.r] == m && !m.kept {
			f.toHot(now, m)
			f.hot.poke()
		}
	}
	f.cold.parts = f.cold.parts[:0]
	start := len(f.hot.parts) > 0 && f.hot.start()
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.runHot)
	}
}

// fetchCold reports whether the answer said anything new.
func (f *fetcher) fetchCold(r round) (learned bool, err error) {
	if r.req.BrokerEpoch == 0 {
		return false, errNothing
	}
	resp, data, err := f.call(r.ctx, r.req)
	if err == nil && resp.Lost {
		err = errLost
	}
	if err != nil {
		return false, err
	}
	for i := range resp.Partitions {
		a := resp.Partitions[i]
		m, q := f.noteCold(&a)
		if m == nil {
			continue
		}
		if news(m.r, &a, data[i]) {
			learned = learned || a.Code == partition.OK
			hand(m.r, q, a, data[i])
		}
	}
	return learned, nil
}

// noteCold returns whom the leader has told of and keeps no more, and what it was
// asked; or nil if it is not of the lane any more.
func (f *fetcher) noteCold(a *replica.FetchAnswer) (*followed, asked) {
	f.mu.Lock()
	m := f.cooled[a.ID]
	if m == nil || !m.kept {
		f.mu.Unlock()
		return nil, asked{}
	}
	now := time.Now()
	m.kept, m.start = false, a.Start
	f.cold.parts = append(f.cold.parts, m)
	m.pace.Moved(now)
	start := false
	if m.pace.Wants(now) == replica.Hot {
		f.warm(m)
		start = f.hot.start()
	}
	q := m.asked
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.runHot)
	}
	return m, q
}
