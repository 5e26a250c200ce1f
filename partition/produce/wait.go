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
	stops  []func() bool // of the contexts of records
}

// begin returns a context that ends after limit, when the contexts of all records of b
// have ended, or when the producer gives up. The caller has the role of the sender, and
// calls end before it begins again.
func (q *queue) begin(b *batch, limit time.Duration) context.Context {
	w := q.wait
	if w == nil {
		w = new(wait)
		w.ctx, w.cancel = context.WithCancel(q.producer.ctx)
		w.limit = time.AfterFunc(limit, w.cancel)
		q.wait = w
	} else {
		w.limit.Reset(limit)
	}
	if !b.lasting {
		w.watch(b.contexts)
	}
	return w.ctx
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
	for _, stop := range w.stops {
		again = stop() && again
	}
	clear(w.stops)
	w.stops = w.stops[:0]
	if !again || w.ctx.Err() != nil {
		w.cancel()
		q.wait = nil
	}
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
