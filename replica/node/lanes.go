package node

import (
	"context"
	"time"

	"github.com/samsalog/samsa/replica"
)

// A round is one turn of a lane. Its memory is used again in the next.
type round struct {
	exchange
	lane    replica.LanesRound[*Replica]
	ctx     context.Context // ends when the call is to end
	request *requestOp
	answer  *answeredOp
}

func (f *fetcher) newRound(lane replica.Lane) *round {
	return &round{lane: replica.LanesRound[*Replica]{Lane: lane}, request: newRequestOp(f.leader), answer: newAnsweredOp()}
}

// run takes a lane through its turns.
func (f *fetcher) run(lane replica.Lane) {
	now := time.Now()
	for r := f.beginTurn(now, lane); r != nil; r = f.beginTurn(now, lane) {
		err := f.fetch(r)
		now = time.Now()
		wait := f.ended(now, r, err)
		if err != nil && err != errNothing && !r.lane.Cut {
			f.n.logger.Debug("fetch", "lane", lane, "leader", f.leader, "error", err)
		}
		if wait > 0 {
			pause(r.ctx, wait)
			now = time.Now()
		}
	}
}

// pause waits for d, or until the lane's next turn is due.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// beginTurn puts the lane's next request together; nil: the lane rests, or the broker
// stops.
func (f *fetcher) beginTurn(now time.Time, lane replica.Lane) *round {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	r := f.round(now, lane)
	if r == nil {
		return nil
	}
	r.request.max = r.lane.MaxBytes
	for i := range r.lane.Asks {
		r.request.put(now, &r.lane.Asks[i])
	}
	f.mu.Lock()
	f.obey(f.lanes.Asked(&r.lane, f.n.Epoch()))
	r.req = r.lane.Request
	return r
}

// round begins a round of a lane; nil: there is none. The turn is held.
func (f *fetcher) round(now time.Time, lane replica.Lane) *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n.ctx.Err() != nil {
		f.rest(lane)
		return nil
	}
	c := &f.calls[lane]
	if c.round == nil {
		c.round = f.newRound(lane)
	}
	r := c.round
	if !f.lanes.Begin(now, &r.lane) {
		f.rest(lane)
		return nil
	}
	r.ctx = f.begin(lane)
	return r
}

// fetch sends a round's request, and hands the answer to those of whom it has news.
func (f *fetcher) fetch(r *round) error {
	if r.lane.Idle {
		return errNothing
	}
	data, err := f.call(r.ctx, &r.exchange)
	if err != nil {
		return err
	}
	now := time.Now()
	f.note(now, r, data)
	for i := range r.lane.Asks {
		if a := &r.lane.Asks[i]; a.News {
			r.answer.hand(now, a, r.resp.Partitions[a.At], dataOf(data, a.At))
		}
	}
	return nil
}

// note has the lanes note of whom an answer tells.
func (f *fetcher) note(now time.Time, r *round, data [][]byte) {
	f.mu.Lock()
	do := f.lanes.Told(now, &r.lane, &r.resp)
	for i := range r.lane.Asks {
		a := &r.lane.Asks[i]
		a.News = r.resp.Partitions[a.At].News(dataOf(data, a.At), a.Copy.highWatermark(), a.Part.Start)
	}
	f.lanes.News(now, &r.lane)
	f.obey(do)
}

// ended ends a round, and returns how long to wait before the next.
func (f *fetcher) ended(now time.Time, r *round, err error) time.Duration {
	f.mu.Lock()
	wait, do := f.lanes.Ended(now, &r.lane, err != nil)
	f.obey(do)
	return wait
}
