package replica

import (
	"errors"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

var errLost = errors.New("replica: the leader does not know the cold fetch before")

// Err returns why a response tells of nothing, or nil.
func (m *FetchResponse) Err() error {
	if m.Lost {
		return errLost
	}
	return m.Code.Err()
}

// Told leaves those in the round whom an answer tells of and who have not been asked for
// anew since. The response is sound, by [FetchResponse.Err], and unless the round is cold
// it answers the request's partitions one by one.
func (l *Lanes[C]) Told(now time.Time, r *LanesRound[C], resp *FetchResponse) LanesOrders {
	var do LanesOrders
	switch r.Lane {
	case Hot:
		l.toldHot(r, resp)
	case Cold:
		l.toldCold(now, r, resp, &do)
	default:
		l.toldBeside(r, resp, &do)
	}
	return do
}

func (l *Lanes[C]) toldHot(r *LanesRound[C], resp *FetchResponse) {
	told := r.Asks[:0]
	for i := range r.Asks {
		a, answer := &r.Asks[i], &resp.Partitions[i]
		if m := a.member; !m.gone && m.sequence == a.Sequence {
			m.start = answer.Start
			a.At, a.ok = i, answer.Code == partition.OK
			told = append(told, *a)
		}
	}
	r.Asks = told
}

// toldCold notes of whom a cold answer tells: the leader keeps them no more.
func (l *Lanes[C]) toldCold(now time.Time, r *LanesRound[C], resp *FetchResponse, do *LanesOrders) {
	r.Asks = r.Asks[:0]
	for i := range resp.Partitions {
		answer := &resp.Partitions[i]
		m := l.cold[answer.ID]
		if m == nil || !m.kept {
			continue
		}
		m.kept, m.start = false, answer.Start
		l.fresh = append(l.fresh, m)
		m.pace.moved(now)
		if m.pace.wants(now) == Hot {
			l.warm(m)
			l.start(do, Hot)
		}
		r.Asks = append(r.Asks, LanesAsk[C]{
			Copy: m.copy, Sequence: m.sequence, Start: m.start, Part: m.part,
			At: i, ok: answer.Code == partition.OK, member: m,
		})
	}
}

// News notes of whom there is news, among those whom an answer tells of. If that brings
// the next fetch at once, acks may go with it.
func (l *Lanes[C]) News(now time.Time, r *LanesRound[C]) {
	for i := range r.Asks {
		a := &r.Asks[i]
		if !a.News {
			continue
		}
		r.learned = r.learned || a.ok // others have their delays
		if r.Lane == Hot {
			a.member.pace.moved(now) // of a cold one it is news to be told of at all
		}
	}
	if r.Lane == Hot {
		l.brings = r.learned
	}
}

// Ended ends a round, which has failed if no sound answer came, and returns how long the
// lane waits before its next turn.
func (l *Lanes[C]) Ended(now time.Time, r *LanesRound[C], failed bool) (time.Duration, LanesOrders) {
	var do LanesOrders
	switch r.Lane {
	case Hot:
		l.startCold(now, &do)
	case Cold:
		if !failed {
			l.last = r.Request.Sequence
		}
	default:
		l.endedBeside(r, &do)
		return 0, do // the acks of now are others
	}
	w := &l.ways[r.Lane]
	if r.Cut = w.ended; r.Cut {
		return 0, do // that it has failed says nothing of the leader
	}
	return w.after(failed, r.learned, now.Sub(r.begun)), do
}

// startCold starts the cold lane if there is somebody for it.
func (l *Lanes[C]) startCold(now time.Time, do *LanesOrders) {
	if l.ways[Cold].running {
		return
	}
	for _, m := range l.hot {
		if m.cooling(now) {
			l.start(do, Cold)
			return
		}
	}
}

// News reports whether an answer has to be handed to a follower: one with that high
// watermark, which has removed what lies below start. Data has the answer's batches.
func (a *FetchAnswer) News(data []byte, high, start log.Offset) bool {
	return a.Code != partition.OK || a.Diverging || len(data) > 0 || a.HighWatermark != high || a.Start > start
}
