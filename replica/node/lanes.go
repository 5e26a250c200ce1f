package node

import (
	"context"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
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

// A round is one fetch of a lane. Its memory is used again in the next.
type round struct {
	exchange
	ctx     context.Context // ends when the lane is kicked
	begun   time.Time
	members []*followed // of the lane, those included who want nothing now
	asked   []*followed // whose parts req has, but for those that a leader keeps
	parts   []asked     // likewise
	notes   []note      // of members, and then of asked
	request *requestOp
	answer  *answeredOp
}

// A note is what the lane passes on, between the fetcher's lock and a replica's owner.
type note struct {
	start log.Offset // the leader's
	cools bool
	fresh bool // there is news of it
}

func newRound() *round {
	return &round{request: newRequestOp(partitionBytes), answer: newAnsweredOp()}
}

func (f *fetcher) runHot() {
	var p restraint
	now := time.Now()
	for r := newRound(); f.beginHot(now, r); {
		learned, err := f.fetchHot(r)
		now = time.Now()
		wait := p.after(err, learned, now.Sub(r.begun))
		pause(r.ctx, wait)
		f.report("fetch", err, f.endHot(now))
		if wait > 0 {
			now = time.Now()
		}
	}
}

// beginHot puts the next hot fetch together; false ends the run.
func (f *fetcher) beginHot(now time.Time, r *round) bool {
	if f.n.ctx.Err() != nil {
		f.stop(&f.hot)
		return false
	}
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	r.begun = now
	if !f.takeHot(r) {
		return false
	}
	f.ask(r)
	return true
}

// takeHot takes over who has become hot, and begins a round of all who are; false:
// there is nobody. The turn is held.
func (f *fetcher) takeHot(r *round) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hot.follows = false // what is flushed from now on may be too late for it
	for _, m := range f.hot.coming {
		m.coming = false
		if f.members[m.r] == m && m.pace.Lane() == replica.Cold {
			f.toHot(r.begun, m)
		}
	}
	f.hot.coming = nil
	parts := f.hot.parts
	if len(parts) == 0 {
		f.hot.rest()
		return false
	}
	// Who comes last may get nothing when the others fill the answer.
	f.next = (f.next + 1) % len(parts)
	r.members = append(append(r.members[:0], parts[f.next:]...), parts[:f.next]...)
	r.ctx = f.begin(&f.hot, f.n.cfg.FetchWait+f.n.cfg.CallTimeout)
	return true
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
func (f *fetcher) ask(r *round) {
	o, parts := r.request, r.req.Partitions[:0]
	r.asked, r.parts, r.notes = r.asked[:0], r.parts[:0], r.notes[:0]
	f.mu.Lock()
	for _, m := range r.members {
		r.notes = append(r.notes, note{start: m.start})
	}
	f.mu.Unlock()
	for i, m := range r.members {
		o.start = r.notes[i].start
		ok := f.request(r.begun, o, m.r)
		r.notes[i].cools = o.cools
		if ok {
			r.asked, r.parts = append(r.asked, m), append(r.parts, o.asked)
			parts = append(parts, o.asked.part)
		}
	}
	f.mu.Lock()
	for i, m := range r.members {
		m.cools = r.notes[i].cools
	}
	f.mu.Unlock()
	r.req = f.number(parts)
	r.req.MaxWaitMs, r.req.MinBytes, r.req.MaxBytes = int32(f.n.cfg.FetchWait/time.Millisecond), 1, fetchBytes
}

// fetchHot reports whether the answer said anything new.
func (f *fetcher) fetchHot(r *round) (learned bool, err error) {
	if len(r.asked) == 0 || r.req.BrokerEpoch == 0 {
		return false, errNothing
	}
	if len(r.asked) < len(r.members) {
		r.req.MaxWaitMs = min(r.req.MaxWaitMs, 20) // some are delayed: ask them again soon
	}
	data, err := f.call(r.ctx, &r.exchange)
	if err != nil {
		return false, err
	}
	now := time.Now()
	learned = f.noteHot(now, r, data)
	for i, m := range r.asked {
		if r.notes[i].fresh {
			r.answer.hand(now, m.r, r.parts[i], r.resp.Partitions[i], dataOf(data, i))
		}
	}
	return learned, nil
}

// noteHot notes of whom there is news, among those who are still of the lane. It
// reports whether that brings the next fetch at once; others have their delays.
func (f *fetcher) noteHot(now time.Time, r *round, data [][]byte) (learned bool) {
	r.notes = slices.Grow(r.notes[:0], len(r.asked))[:len(r.asked)]
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range r.asked {
		a := &r.resp.Partitions[i]
		r.notes[i].fresh = false
		if f.members[m.r] != m || m.pace.Lane() != replica.Hot {
			continue
		}
		m.start = a.Start
		if news(m.r, a, dataOf(data, i)) {
			r.notes[i].fresh = true
			m.pace.Moved(now)
			learned = learned || a.Code == partition.OK
		}
	}
	f.hot.follows = learned
	return learned
}

// endHot reports whether the fetch was ended by a kick. It starts the cold lane if
// there is somebody for it.
func (f *fetcher) endHot(now time.Time) (kicked bool) {
	f.mu.Lock()
	kicked = f.hot.kicked
	start := !f.cold.running && slices.ContainsFunc(f.hot.parts, func(m *followed) bool { return m.cooling(now) }) && f.cold.start()
	f.mu.Unlock()
	if start {
		f.n.workers.Go(f.runCold)
	}
	return kicked
}

// cooling reports whether a hot member is for the cold lane. The lock is held.
func (m *followed) cooling(now time.Time) bool { return m.cools && m.pace.Wants(now) == replica.Cold }

func (f *fetcher) runCold() {
	var p restraint
	var last int64 // the newest cold fetch that was answered; 0: the next begins anew
	for r := newRound(); f.beginCold(r, last); {
		learned, err := f.fetchCold(r)
		last = r.req.Sequence
		if err != nil {
			last = 0 // what the leader keeps now is open
		}
		wait := p.after(err, learned, time.Since(r.begun))
		pause(r.ctx, wait)
		f.report("cold fetch", err, f.endCold())
	}
}

func (f *fetcher) endCold() (kicked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cold.kicked
}

// beginCold puts the next cold fetch together; false ends the run.
func (f *fetcher) beginCold(r *round, last int64) bool {
	if f.n.ctx.Err() != nil {
		f.stop(&f.cold)
		return false
	}
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	r.begun = time.Now()
	if !f.takeCold(r, last == 0) {
		return false
	}
	f.ask(r)
	r.req.Cold, r.req.After = true, last
	f.keepCold(r)
	return true
}

// takeCold takes over who has cooled down, and begins a round of all whom the leader
// does not keep; false: nobody is cold. The turn is held.
func (f *fetcher) takeCold(r *round, anew bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := r.begun
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
		f.cold.rest()
		return false
	}
	r.members = append(r.members[:0], f.cold.parts...)
	r.ctx = f.begin(&f.cold, f.n.cfg.FetchWait+f.n.cfg.CallTimeout)
	return true
}

// keepCold notes whom the leader will keep. Those who want nothing now, or have need
// of fetches without news, go back to the hot lane and are in no cold request; what
// they would have acked with it goes out at once. The turn is held.
func (f *fetcher) keepCold(r *round) {
	f.mu.Lock()
	now := r.begun
	named := r.req.Partitions[:0] // no longer than what is read
	for i, m := range r.asked {
		if f.members[m.r] == m && m.cools {
			m.kept, m.asked = true, r.parts[i]
			named = append(named, r.parts[i].part)
		}
	}
	r.req.Partitions = named
	for _, m := range r.members {
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
func (f *fetcher) fetchCold(r *round) (learned bool, err error) {
	if r.req.BrokerEpoch == 0 {
		return false, errNothing
	}
	data, err := f.call(r.ctx, &r.exchange)
	if err == nil && r.resp.Lost {
		err = errLost
	}
	if err != nil {
		return false, err
	}
	for i := range r.resp.Partitions {
		a, b := r.resp.Partitions[i], dataOf(data, i)
		m, q := f.noteCold(&a)
		if m == nil {
			continue
		}
		if news(m.r, &a, b) {
			learned = learned || a.Code == partition.OK
			r.answer.hand(time.Now(), m.r, q, a, b)
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
