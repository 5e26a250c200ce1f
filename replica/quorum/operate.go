package quorum

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// ChangeVoters lets a broker in among the voters, or takes one out, and returns the
// index of the agreed change. A broker that does not lead asks the leader. One that is
// let in gets its vote later, when it has the entries: see Status.Voters.
//
// The errors are those of [Engine.ChangeVoters]. One that matches [ErrOutcomeUnknown]
// leaves open whether the change takes effect.
func (q *Quorum) ChangeVoters(ctx context.Context, c Change) (log.Offset, error) {
	s := q.Status()
	if s.Leader == partition.NoBroker || s.Leader == q.cfg.Self {
		return q.give(ctx, order{change: &c, done: make(chan outcome, 1)})
	}
	answer, err := q.peers.Call(ctx, s.LeaderAddr, encodeOrder(s.Cluster, c))
	if err != nil {
		return 0, &unknownError{err}
	}
	out, err := readAnswer(kindOutcome, answer, nil, decodeOutcome)
	if err != nil {
		return 0, &unknownError{err}
	}
	return out.index, out.err
}

// Transfer hands the lead to another voter; NoBroker: to the one that has most
// entries. It returns once this voter does not lead any more. If ctx ends before,
// it may yet come to that.
func (q *Quorum) Transfer(ctx context.Context, to partition.BrokerID) error {
	if _, err := q.give(ctx, order{transfer: to, done: make(chan outcome, 1)}); err != nil {
		return err
	}
	for {
		s, changed := q.Watch()
		if s.Role != Leader {
			return nil
		}
		select {
		case <-changed:
		case <-q.ended:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// StepAside hands the lead to another voter, if this one has it and another takes it
// within an election's time. It is for a voter that is about to go: the others need not
// miss it first.
func (q *Quorum) StepAside(ctx context.Context) {
	if q.Status().Role != Leader {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(q.cfg.ElectionTicks)*q.cfg.Tick)
	defer cancel()
	if err := q.Transfer(ctx, partition.NoBroker); err != nil {
		q.cfg.Logger.Info("nobody takes the lead of the quorum", "broker", q.cfg.Self, "error", err)
	}
}

// ReadBarrier returns once it is sure that this voter leads, and has applied all that
// anybody was told to be agreed on before the call; see [Engine.ReadBarrier].
func (q *Quorum) ReadBarrier(ctx context.Context) error {
	_, err := q.give(ctx, order{barrier: true, done: make(chan outcome, 1)})
	return err
}

func (q *Quorum) give(ctx context.Context, o order) (log.Offset, error) {
	select {
	case q.orders <- o:
	case <-q.ended:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	select {
	case out := <-o.done:
		return out.index, out.err
	case <-ctx.Done():
		return 0, &unknownError{context.Cause(ctx)}
	}
}

// handleOrder changes the voters for another broker.
func (q *Quorum) handleOrder(ctx context.Context, body []byte) ([]byte, error) {
	cluster, c, err := decodeOrder(body)
	if err != nil {
		return nil, err
	}
	if s := q.Status(); !s.formed() || s.Cluster != cluster {
		return encodeReceipt(refused), nil
	}
	index, err := q.give(ctx, order{change: &c, done: make(chan outcome, 1)})
	return encodeOutcome(outcome{index, err}), nil
}

func encodeOrder(cluster partition.UUID, c Change) []byte {
	w := envelope(kindOrder)
	w.ID(cluster)
	encodeMember(w, c.Add)
	w.Int32(int32(c.Remove))
	return w.Bytes()
}

func decodeOrder(body []byte) (partition.UUID, Change, error) {
	r := wire.NewReader(body)
	cluster := partition.UUID(r.ID())
	c := Change{Add: decodeMember(r), Remove: partition.BrokerID(r.Int32())}
	if err := r.Done(); err != nil {
		return cluster, c, malformed(err)
	}
	return cluster, c, nil
}

// refusals are the errors that an outcome tells apart; the numbers are on the wire. Any
// other is taken for an unknown outcome.
var refusals = []error{nil, ErrNotLeader, ErrBusy, ErrBadChange, ErrDropped, ErrClosed, ErrNoChange}

func encodeOutcome(o outcome) []byte {
	code, text := uint8(len(refusals)), ""
	for i, known := range refusals {
		if errors.Is(o.err, known) && !errors.Is(o.err, ErrOutcomeUnknown) {
			code = uint8(i)
		}
	}
	if o.err != nil {
		text = o.err.Error()
	}
	w := envelope(kindOutcome)
	w.Uint8(code)
	w.Int64(int64(o.index))
	w.String(text[:min(len(text), maxAddr)])
	return w.Bytes()
}

func decodeOutcome(body []byte) (outcome, error) {
	r := wire.NewReader(body)
	code, index, text := r.Uint8(), log.Offset(r.Int64()), r.String(maxAddr)
	if err := r.Done(); err != nil || index < 0 {
		return outcome{}, malformed(err)
	}
	switch {
	case code == 0:
		return outcome{index: index}, nil
	case int(code) >= len(refusals):
		return outcome{err: &unknownError{errors.New(text)}}, nil
	case text == refusals[code].Error():
		return outcome{err: refusals[code]}, nil
	}
	return outcome{err: fmt.Errorf("%w: the leader says %q", refusals[code], text)}, nil
}
