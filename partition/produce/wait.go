package produce

import (
	"context"
	"sync/atomic"
	"time"
)

// A wait is what the sender of a queue does in one context: an attempt, or a pause
// between two. As long as nothing has ended it, it serves for the next one too: most
// records travel in a batch of few, and a context of its own costs each more than all
// the rest of a call.
type wait struct {
	ctx    context.Context // ends with the producer, too
	cancel context.CancelFunc
	limit  *time.Timer
	stops  []func() bool   // of the contexts of records
	only   <-chan struct{} // ends the one context that all records had the last time; nil: they had others
	stays  bool            // that one had come twice, and is watched on: it may come again
}

// begin returns a context that ends after limit, when the contexts of all records of b
// have ended, or when the producer gives up. The caller has the role of the sender, and
// calls end before it begins again.
func (q *queue) begin(b *batch, limit time.Duration) context.Context {
	w, only := q.wait, b.only()
	if w != nil && w.stays && w.only != only && !w.unwatch() {
		w.cancel() // it is about to be ended
		w = nil
	}
	if w == nil {
		w = new(wait)
		w.ctx, w.cancel = context.WithCancel(q.producer.ctx)
		w.limit = time.AfterFunc(limit, w.cancel)
		q.wait = w
	} else {
		w.limit.Reset(limit)
	}
	again := only != nil && w.only == only
	if !b.lasting && !(again && w.stays) {
		w.watch(b.contexts)
	}
	w.only, w.stays = only, again
	return w.ctx
}

// only returns what ends the one context that all records of b have; nil: they have
// others.
func (b *batch) only() <-chan struct{} {
	if b.lasting || len(b.contexts) != 1 {
		return nil
	}
	return b.contexts[0].Done()
}

// watch has the wait end when all those contexts have.
func (w *wait) watch(contexts []context.Context) {
	ended := w.cancel
	if len(contexts) > 1 {
		left := new(atomic.Int64)
		left.Store(int64(len(contexts)))
		ended = func() {
			if left.Add(-1) == 0 {
				w.cancel()
			}
		}
	}
	for _, ctx := range contexts {
		w.stops = append(w.stops, context.AfterFunc(ctx, ended))
	}
}

// end ends what begin has begun. A wait that was ended, or that something is just
// about to end, is not used again.
func (q *queue) end() {
	w := q.wait
	again := w.limit.Stop()
	if !w.stays {
		again = w.unwatch() && again
	}
	if !again || w.ctx.Err() != nil {
		q.waitNoMore()
	}
}

// waitNoMore gives up the wait, if there is one. Nobody has the role of the sender, or
// the caller has.
func (q *queue) waitNoMore() {
	if w := q.wait; w != nil {
		w.unwatch()
		w.cancel()
		q.wait = nil
	}
}

// unwatch reports whether none of the contexts has ended.
func (w *wait) unwatch() bool {
	none := true
	for _, stop := range w.stops {
		none = stop() && none
	}
	clear(w.stops)
	w.stops = w.stops[:0]
	return none
}

// unwanted reports whether the contexts of all records have ended.
func (b *batch) unwanted() bool {
	if b.lasting || len(b.contexts) == 0 {
		return false
	}
	for _, ctx := range b.contexts {
		if ctx.Err() == nil {
			return false
		}
	}
	return true
}
