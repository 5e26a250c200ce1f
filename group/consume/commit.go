package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// A claim is what is to be committed of one part.
type claim struct {
	part *part
	mark mark
}

// Commit commits, and returns when the group's coordinator has confirmed it. With
// records, those and all before them in their partitions are finished; without,
// all that is finished is meant: not what the loop, or the last Poll, has in hand. Once
// Close is over it is an error that matches [ErrClosed], whatever was finished before.
func (c *Consumer) Commit(ctx context.Context, recs ...Record) error {
	if c.member.session == nil {
		return errNoGroup
	}
	if c.ctx.Err() != nil {
		return &CommitError{Group: c.cfg.Group, Err: ErrClosed}
	}
	if len(recs) == 0 {
		return c.commitDue(ctx, nil)
	}
	claims, err := c.claim(recs)
	if err != nil {
		return err
	}
	return c.settleClaims(ctx, func() ([]claim, error) {
		var open []claim
		for _, cl := range claims {
			if cl.part.gone {
				return nil, &Error{cl.part.place, ErrNotAssigned}
			}
			if !c.cfg.Manual { // or the next commit in the background would undo it
				cl.mark = cl.part.progress.finished
			}
			if cl.mark.at != cl.part.progress.committed.at {
				open = append(open, cl)
			}
		}
		return open, nil
	})
}

// claim marks records as finished. It does nothing if one of them cannot be.
func (c *Consumer) claim(recs []Record) ([]claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var claims []claim
	for i := range recs {
		place := Place{recs[i].Topic, recs[i].Partition}
		m := mark{recs[i].Offset + 1, recs[i].Epoch}
		at := slices.IndexFunc(claims, func(cl claim) bool { return cl.part.place == place })
		if at >= 0 {
			if m.at > claims[at].mark.at {
				claims[at].mark = m
			}
			continue
		}
		p := c.find(place)
		if p == nil {
			return nil, &Error{place, ErrNotAssigned}
		}
		if !p.located || !p.progress.delivered(m) {
			return nil, &Error{place, fmt.Errorf("%w: the record at offset %d was not delivered since it has been", ErrNotAssigned, recs[i].Offset)}
		}
		claims = append(claims, claim{p, m})
	}
	for i, cl := range claims {
		cl.part.progress.finish(cl.mark)
		claims[i].mark = cl.part.progress.claimed // an older word takes nothing back
	}
	return claims, nil
}

// commitDue commits what is finished, of some parts or, nil, of all.
func (c *Consumer) commitDue(ctx context.Context, of []*part) error {
	return c.settleClaims(ctx, func() ([]claim, error) { return c.due(of), nil })
}

// due returns what is finished and not committed; the caller holds mu.
func (c *Consumer) due(of []*part) []claim {
	var claims []claim
	for _, p := range c.parts {
		if m, ok := p.progress.due(); ok && p.located && (of == nil || slices.Contains(of, p)) {
			claims = append(claims, claim{p, m})
		}
	}
	return claims
}

// settleClaims tries until the coordinator has confirmed or refused. What to commit
// is asked for at each attempt, under mu: more may be finished, or all be lost. One
// commit is under way at a time, so that an older one cannot undo a newer.
func (c *Consumer) settleClaims(ctx context.Context, claims func() ([]claim, error)) error {
	fail := &CommitError{Group: c.cfg.Group}
	select {
	case c.commit <- struct{}{}:
		defer func() { <-c.commit }()
	case <-ctx.Done():
		fail.Err = ctx.Err()
		return fail
	}
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		c.mu.Lock()
		now, err := claims()
		req := c.commitRequest(now)
		c.mu.Unlock()
		if err != nil {
			fail.Err = err
			return fail
		}
		if len(now) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			fail.because(ctx.Err())
			return fail
		}
		resp, err := c.attemptCommit(ctx, req)
		if err == nil && resp.Code == partition.OK {
			return c.confirmed(fail, now, resp.Partitions)
		}
		if again := fail.judge(resp.Code, err); !again {
			return fail
		}
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-c.ctx.Done():
			timer.Stop()
			fail.because(ErrClosed)
			return fail
		}
		timer.Stop()
	}
}

func (c *Consumer) attemptCommit(ctx context.Context, req offsets.CommitRequest) (offsets.CommitResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	resp, err := c.cluster.Commit(ctx, req)
	if err == nil && resp.Code == partition.OK && len(resp.Partitions) != len(req.Partitions) {
		err = errMisfit
	}
	return resp, err
}

// commitRequest builds the next request; the caller holds mu.
func (c *Consumer) commitRequest(claims []claim) offsets.CommitRequest {
	c.member.sequence++
	req := offsets.CommitRequest{
		Group: c.cfg.Group, Member: c.cfg.Member,
		MemberEpoch: c.member.session.Epoch(), Sequence: c.member.sequence,
		Partitions: make([]offsets.PartitionCommit, len(claims)),
	}
	for i, cl := range claims {
		req.Partitions[i] = offsets.PartitionCommit{ID: cl.part.id, Offset: cl.mark.at, Epoch: cl.mark.epoch}
	}
	return req
}

// confirmed takes in an answer for each partition.
func (c *Consumer) confirmed(fail *CommitError, claims []claim, codes []partition.Code) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, cl := range claims {
		if codes[i] == partition.OK {
			cl.part.progress.committed = cl.mark
		} else if fail.Err == nil || len(claims) == 1 {
			fail.Err = &Error{cl.part.place, codes[i]}
		}
	}
	if slices.IndexFunc(codes, func(code partition.Code) bool { return code != partition.OK }) < 0 {
		return nil
	}
	return fail
}

// judge takes in the end of an attempt that was not confirmed. It reports whether
// another may help.
func (e *CommitError) judge(code partition.Code, err error) (again bool) {
	if err != nil {
		e.Unknown, e.Err = true, err
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e.Err = errors.New("no answer") // the attempt's own context, not the caller's
		}
		return true
	}
	e.Err = code
	e.Unknown = e.Unknown || code == partition.NotCoordinator || code.OutcomeUnknown()
	return code.Retriable() || code.OutcomeUnknown()
}

// because notes why there are no more attempts.
func (e *CommitError) because(reason error) {
	if e.Err != nil {
		reason = fmt.Errorf("%w: %w", reason, e.Err)
	}
	e.Err = reason
}
