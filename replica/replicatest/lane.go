package replicatest

import (
	"slices"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
)

// A lane is one of a fetcher's two fetches.
type lane struct {
	parts   []*followed // hot: all; cold: those that the leader does not keep
	coming  []*followed // of the other lane, to be taken over at the next turn
	turn    func()      // puts the next fetch together
	running bool
	out     *call // under way
	round   int   // of turns; a later one makes what an earlier one planned void
	backoff time.Duration
	empty   int // answers in a row that came at once and said nothing
}

// again plans the lane's next turn.
func (f *fetcher) again(l *lane, after time.Duration) {
	l.running = true
	l.round++
	round := l.round
	f.p.w.at(after, f.p.b, disk, "fetch", func() {
		if l.round == round {
			l.turn()
		}
	})
}

// poke ends the fetch under way, so that the next one sees other partitions.
func (f *fetcher) poke(l *lane) {
	if l.out != nil {
		l.out.drop()
		l.out = nil
		if l == &f.cold {
			f.last = 0
		}
	}
	f.again(l, 0)
}

// start begins a lane's turns if none is planned.
func (f *fetcher) start(l *lane) {
	if !l.running {
		f.again(l, 0)
	}
}

// rests plans the next turn by what the last brought.
func (f *fetcher) rests(l *lane, failed, learned bool, took time.Duration) {
	switch {
	case !failed && (learned || took >= quick):
		l.backoff, l.empty = 0, 0
		f.again(l, 0)
	case !failed && l.empty == 0:
		l.empty = 1
		f.again(l, 0)
	default:
		l.backoff = min(max(2*l.backoff, quick), 100*time.Millisecond)
		f.again(l, l.backoff)
	}
}

// fetch sends a lane's request; done is told of the answer if the lane still waits for it.
func (f *fetcher) fetch(l *lane, req replica.FetchRequest, done func(*fetchAnswer) (learned bool)) {
	begun, round := f.p.w.now, l.round
	l.out = f.send(req, fetchWait+callTime, func(got *fetchAnswer) {
		l.out = nil
		f.p.w.at(0, f.p.b, disk, "fetched", func() {
			learned := done(got)
			if !f.p.dead && l.round == round {
				f.rests(l, got == nil, learned, f.p.w.now-begun)
			}
		})
	})
}

func (f *fetcher) turnHot() {
	now := f.p.w.clock()
	for _, m := range f.hot.coming {
		m.coming = false
		if f.has(m) && m.pace.Lane() == replica.Cold {
			f.toHot(m)
		}
	}
	f.hot.coming = nil
	n := len(f.hot.parts)
	if n == 0 {
		f.hot.running = false
		return
	}
	f.next = (f.next + 1) % n
	members := slices.Concat(f.hot.parts[f.next:], f.hot.parts[:f.next])
	req, named, parts := f.ask(members)
	if len(named) == 0 || req.BrokerEpoch == 0 {
		f.rests(&f.hot, true, false, 0)
		f.startCold(now)
		return
	}
	if len(named) < n {
		req.MaxWaitMs = min(req.MaxWaitMs, 20)
	}
	f.fetch(&f.hot, req, func(got *fetchAnswer) (learned bool) {
		if got != nil {
			learned = f.takeHot(named, parts, got)
		}
		f.startCold(f.p.w.clock())
		return learned
	})
}

// takeHot reports whether an answer said anything new.
func (f *fetcher) takeHot(named []*followed, parts []asked, got *fetchAnswer) (learned bool) {
	for i, m := range named {
		a, data := got.resp.Partitions[i], got.dataOf(i)
		if !f.has(m) || m.pace.Lane() != replica.Hot {
			continue
		}
		m.start = a.Start
		if !m.c.news(&a, data) {
			continue
		}
		m.pace.Moved(f.p.w.clock())
		learned = learned || a.Code == partition.OK
		m.c.hand(parts[i], a, data)
	}
	return learned
}

// toHot moves a member.
func (f *fetcher) toHot(m *followed) {
	f.cold.parts = without(f.cold.parts, m)
	m.kept, m.cools = false, false
	m.pace.Enter(f.p.w.clock(), replica.Hot)
	f.hot.parts = append(f.hot.parts, m)
}

// heat has a copy named in the next hot fetch, and that fetch go out now.
func (f *fetcher) heat(c *copyOf) {
	if m := f.member(c); m != nil && m.pace.Lane() == replica.Cold {
		f.warm(m)
		f.poke(&f.hot)
	}
}

// warm leaves a cold member to the hot lane.
func (f *fetcher) warm(m *followed) {
	if !m.coming {
		m.coming = true
		f.hot.coming = append(f.hot.coming, m)
	}
}

func (m *followed) cooling(now time.Time) bool { return m.cools && m.pace.Wants(now) == replica.Cold }

// startCold starts the cold lane if there is somebody for it.
func (f *fetcher) startCold(now time.Time) {
	if slices.ContainsFunc(f.hot.parts, func(m *followed) bool { return m.cooling(now) }) {
		f.start(&f.cold)
	}
}

func (f *fetcher) turnCold() {
	now := f.p.w.clock()
	f.hot.parts = slices.DeleteFunc(f.hot.parts, func(m *followed) bool {
		if !m.cooling(now) {
			return false
		}
		m.pace.Enter(now, replica.Cold)
		f.cold.parts = append(f.cold.parts, m)
		return true
	})
	if f.last == 0 {
		f.anew()
	}
	if f.cooled() == 0 {
		f.cold.running, f.last = false, 0
		return
	}
	members := slices.Clone(f.cold.parts)
	req, named, parts := f.ask(members)
	req.Cold, req.After = true, f.last
	req.Partitions = f.keep(members, named, parts)
	if req.BrokerEpoch == 0 {
		f.last = 0
		f.rests(&f.cold, true, false, 0)
		return
	}
	f.last = 0 // until it is answered it is open what the leader keeps
	f.fetch(&f.cold, req, func(got *fetchAnswer) (learned bool) {
		if got == nil {
			return false
		}
		f.last = req.Sequence
		f.p.w.watch.counts.Cold++
		return f.takeCold(got)
	})
}

// anew has all members of the cold lane named again.
func (f *fetcher) anew() {
	f.cold.parts = f.cold.parts[:0]
	for _, m := range f.members {
		if m.pace.Lane() == replica.Cold {
			m.kept = false
			f.cold.parts = append(f.cold.parts, m)
		}
	}
}

// keep notes whom the leader will keep, and returns what it is asked for them. Those who
// want nothing now, or have need of fetches without news, go back to the hot lane.
func (f *fetcher) keep(members, named []*followed, parts []asked) (list []replica.FetchPartition) {
	for i, m := range named {
		if m.cools {
			m.kept, m.asked = true, parts[i]
			list = append(list, parts[i].part)
		}
	}
	back := false
	for _, m := range members {
		if !m.kept {
			f.toHot(m)
			back = true
		}
	}
	f.cold.parts = f.cold.parts[:0]
	if back {
		f.poke(&f.hot)
	}
	return list
}

// takeCold reports whether an answer said anything new.
func (f *fetcher) takeCold(got *fetchAnswer) (learned bool) {
	for i := range got.resp.Partitions {
		a, data := got.resp.Partitions[i], got.dataOf(i)
		at := slices.IndexFunc(f.members, func(m *followed) bool {
			return m.c.id == a.ID && m.kept && m.pace.Lane() == replica.Cold
		})
		if at < 0 {
			continue
		}
		m := f.members[at]
		now := f.p.w.clock()
		m.kept, m.start = false, a.Start
		f.cold.parts = append(f.cold.parts, m)
		m.pace.Moved(now)
		if m.pace.Wants(now) == replica.Hot {
			f.warm(m)
			f.start(&f.hot)
		}
		if m.c.news(&a, data) {
			learned = learned || a.Code == partition.OK
			m.c.hand(m.asked, a, data)
		}
	}
	return learned
}
