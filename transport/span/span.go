// Package span lends contexts to calls that come one after another: to derive one and
// to end it costs more than a short call should, and most calls come from few callers,
// who call again and again.
package span

import (
	"context"
	"reflect"
	"slices"
)

// A Span is a context that ends with that of its caller, or when it is ended.
type Span struct {
	Ctx    context.Context
	cancel context.CancelCauseFunc
	caller context.Context
}

// End ends the span, if it has not ended yet: that is context.Cause of its context.
func (s *Span) End(cause error) { s.cancel(cause) }

// keep is how many spans wait for their callers to call again.
const keep = 32

// A Stock is the spans that wait for a caller. The zero Stock is empty. Its methods are
// not to overlap.
//
// A span that has been given back has not ended, so that it is for handlers that leave
// nothing behind when they have answered.
type Stock struct{ idle []*Span } // the one that was used last comes last

// Take returns a span of ctx: one that was given back, if that was of ctx too.
func (s *Stock) Take(ctx context.Context) *Span {
	// Of others it is not known whether they can be compared.
	known := reflect.TypeOf(ctx).Kind() == reflect.Pointer || ctx == context.Background()
	for i := len(s.idle) - 1; i >= 0 && known; i-- {
		if p := s.idle[i]; p.caller == ctx {
			s.idle = slices.Delete(s.idle, i, i+1)
			if p.Ctx.Err() == nil {
				return p
			}
			break
		}
	}
	p := &Span{caller: ctx}
	p.Ctx, p.cancel = context.WithCancelCause(ctx)
	return p
}

// Give takes back a span for which nobody else has a use any more. The one that has
// waited longest may have to leave, and is ended.
func (s *Stock) Give(p *Span) {
	if p.Ctx.Err() != nil {
		return
	}
	if len(s.idle) == keep {
		s.idle = slices.DeleteFunc(s.idle, func(p *Span) bool { return p.Ctx.Err() != nil })
	}
	if len(s.idle) == keep {
		s.idle[0].cancel(nil)
		s.idle = slices.Delete(s.idle, 0, 1)
	}
	s.idle = append(s.idle, p)
}

// Clear ends all that wait.
func (s *Stock) Clear() {
	for _, p := range s.idle {
		p.cancel(nil)
	}
	s.idle = nil
}
