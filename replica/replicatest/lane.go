package replicatest

import (
	"time"

	"github.com/samsalog/samsa/replica"
)

// A laneTurn is where a lane's turns are.
type laneTurn struct {
	round *replica.LanesRound[*copyOf]
	out   *call // under way
	due   int   // counts the turns that were planned; a later one makes those before void
}

// obey does what the lanes say.
func (f *fetcher) obey(do replica.LanesOrders) {
	for lane, end := range do.End {
		if end {
			f.end(replica.Lane(lane))
		}
	}
	for lane, start := range do.Start {
		if start {
			f.plan(replica.Lane(lane), 0)
		}
	}
	f.p.w.watch.sound(f.lanes.Check())
}

// end ends a lane's call, or the wait after it.
func (f *fetcher) end(lane replica.Lane) {
	t := &f.turns[lane]
	switch {
	case t.out != nil:
		t.out.drop()
		t.out = nil
		f.ended(t.round, true)
	case t.round == nil:
		f.plan(lane, 0)
	default: // its answer is there
	}
}

// plan plans a lane's next turn.
func (f *fetcher) plan(lane replica.Lane, after time.Duration) {
	t := &f.turns[lane]
	t.round = nil
	t.due++
	due := t.due
	f.p.w.at(after, f.p.b, disk, "fetch", func() {
		if t.due == due {
			f.turn(lane)
		}
	})
}

// turn sends a lane's next request.
func (f *fetcher) turn(lane replica.Lane) {
	// What is sent is not copied: a round's memory serves once.
	r := &replica.LanesRound[*copyOf]{Lane: lane}
	if !f.lanes.Begin(f.p.w.clock(), r) {
		return
	}
	for i := range r.Asks {
		f.ask(&r.Asks[i], r.MaxBytes)
	}
	t := &f.turns[lane]
	t.round = r
	f.obey(f.lanes.Asked(r, f.p.epoch))
	if r.Idle {
		f.ended(r, true)
		return
	}
	limit := callTime
	if lane != replica.Beside {
		limit += fetchWait
	}
	t.out = f.send(r.Request, limit, func(got *fetchAnswer) {
		t.out = nil
		f.p.w.at(0, f.p.b, disk, "fetched", func() {
			if got != nil {
				f.answered(r, got)
			}
			if !f.p.dead {
				f.ended(r, got == nil)
			}
		})
	})
}

// answered hands an answer to those of whom it has news.
func (f *fetcher) answered(r *replica.LanesRound[*copyOf], got *fetchAnswer) {
	now := f.p.w.clock()
	do := f.lanes.Told(now, r, &got.resp)
	for i := range r.Asks {
		a := &r.Asks[i]
		a.News = got.resp.Partitions[a.At].News(got.dataOf(a.At), a.Copy.high, a.Part.Start)
	}
	f.lanes.News(now, r)
	f.obey(do)
	if r.Lane == replica.Cold {
		f.p.w.watch.counts.Cold++
	}
	for i := range r.Asks {
		if a := &r.Asks[i]; a.News {
			a.Copy.hand(a, got.resp.Partitions[a.At], got.dataOf(a.At))
		}
	}
}

// ended plans the lane's next turn by what the last brought.
func (f *fetcher) ended(r *replica.LanesRound[*copyOf], failed bool) {
	wait, do := f.lanes.Ended(f.p.w.clock(), r, failed)
	f.plan(r.Lane, wait)
	f.obey(do)
}
