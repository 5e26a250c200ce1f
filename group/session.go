package group

import (
	"fmt"
	"time"

	"github.com/samsalog/samsa/partition"
)

// A SessionInput is one thing that has happened to a member. The set is closed:
// Tick, Answered, Unanswered, Revoked and Quit are all there are.
type SessionInput interface{ sessionInput() }

type (
	// Tick: look at the time. Both the member and the coordinator take it.
	Tick struct{}

	// Answered: the request of that Sequence has been answered.
	Answered struct {
		Sequence int64
		Response HeartbeatResponse
	}

	// Unanswered: the call with that request has failed; whether the coordinator has
	// seen it is not known.
	Unanswered struct{ Sequence int64 }

	// Revoked: the partitions, which a SessionOutput asked to revoke, have been given up:
	// nothing of them is being processed, and what was has been committed.
	Revoked struct{ Partitions []partition.ID }

	// Quit: the member has given up all its partitions, and wants to go.
	Quit struct{}
)

func (Tick) sessionInput()       {}
func (Answered) sessionInput()   {}
func (Unanswered) sessionInput() {}
func (Revoked) sessionInput()    {}
func (Quit) sessionInput()       {}

// A SessionOutput is what the shell of a member must do now, in the order of the
// fields. The zero SessionOutput is nothing.
type SessionOutput struct {
	// Lost partitions may belong to others already: stop delivering them at once, and
	// commit nothing of them. It is all that was held, also what was being revoked.
	Lost []partition.ID

	// Revoke asks to stop delivering these, to finish and commit what has been
	// delivered, and then to say so with Revoked. Who is not done in the rebalance
	// timeout loses everything.
	Revoke []partition.ID

	// Assigned partitions are the member's from now on. The groups' commits for them are
	// what their last owners left.
	Assigned []partition.ID

	// Send is a request for the coordinator. One that is still on its way need not be
	// waited for; its answer will be ignored.
	Send *HeartbeatRequest

	// Left: the member is out of the group; the session is over.
	Left bool

	// Fatal is an answer that cannot be mended by trying again. The session is over.
	Fatal partition.Code

	// Wake is when Tick must come, at the latest. Zero: never.
	Wake time.Time
}

// A SessionConfig says who a member is and what it wants.
type SessionConfig struct {
	Group  string
	Member string // unique for ever: a new random one for each session
	Topics []string

	// Session is after how long a silence the coordinator takes the member for dead.
	//
	// Zero means the coordinator's default.
	Session time.Duration

	// Rebalance is how long a revocation may take.
	//
	// Zero means the coordinator's default.
	Rebalance time.Duration

	Assignor string // empty: the coordinator's default
	Rack     string
	Client   string
}

const (
	firstRetry      = 20 * time.Millisecond // doubled at each failure in a row
	lastRetry       = time.Second
	defaultInterval = 3 * time.Second // until the coordinator says its own
)

// A Session is the member's half of the group protocol: what to send to the
// coordinator and when, which partitions the member holds, and until when. It is a
// machine like the [Coordinator], and not safe for concurrent use.
//
// A member may deliver records of what it holds only while its lease lasts, which
// is counted from the sending of the newest request that was answered. The
// coordinator counts from its receipt, so it cannot give a partition away before
// the lease is over, however late anything arrives.
type Session struct {
	cfg SessionConfig

	epoch    MemberEpoch // Join: no member yet, or no more
	version  Version     // newest assignment taken
	assigned []partition.ID
	owned    []partition.ID // delivered; all of it is in assigned
	revoking []partition.ID // no more delivered, not yet given up

	lease    time.Time // no delivery from here on
	revokeBy time.Time // everything is lost from here on; zero: the coordinator waits for no revocation

	sequence int64     // of the newest request
	sentAt   time.Time // when it was sent
	out      bool      // it has not been answered
	sendAt   time.Time // when the next one is due, unless out
	failures int       // in a row

	interval time.Duration // as the coordinator has it, as is session
	session  time.Duration

	quitAt time.Time // zero: not leaving
	over   bool
}

// NewSession returns the session of a member that is yet to join: the first Tick
// makes it send.
func NewSession(c SessionConfig) *Session { return &Session{cfg: c, interval: defaultInterval} }

// Epoch is the epoch that commits of this member carry. Join: it is no member now.
func (s *Session) Epoch() MemberEpoch { return s.epoch }

// Lease is the moment from which nothing may be delivered unless it moves on.
func (s *Session) Lease() time.Time { return s.lease }

// Holds reports whether a record of the partition may be delivered now. It is to be
// asked at each delivery: the process may have been suspended since the last Tick.
func (s *Session) Holds(now time.Time, id partition.ID) bool {
	return s.alive(now) && contains(s.owned, id)
}

// Held returns what the member holds: what it may deliver and what it is giving up.
func (s *Session) Held() []partition.ID { return union(s.owned, s.revoking) }

// Step takes one input and returns what must be done about it.
func (s *Session) Step(now time.Time, in SessionInput) SessionOutput {
	var out SessionOutput
	if s.over {
		return out
	}
	if s.epoch > Join && !s.alive(now) {
		s.lose(now, &out)
	}
	news := false // the coordinator should hear of it at once
	switch in := in.(type) {
	case Tick:
	case Answered:
		if in.Sequence == s.sequence && s.out {
			s.answered(now, in.Response, &out)
		}
	case Unanswered:
		if in.Sequence == s.sequence && s.out {
			s.retry(now)
		}
	case Revoked:
		news = s.revoked(in.Partitions, &out)
	case Quit:
		news = s.quit(now)
	default:
		panic(fmt.Sprintf("group: session input of unknown type %T", in))
	}
	s.send(now, news, &out)
	out.Wake = s.wake()
	return out
}

// alive reports whether the member may hold anything.
func (s *Session) alive(now time.Time) bool {
	return !s.over && s.epoch > Join && now.Before(s.lease) && (s.revokeBy.IsZero() || now.Before(s.revokeBy))
}

// lose forgets all that is held, and joins again.
func (s *Session) lose(now time.Time, out *SessionOutput) {
	out.Lost = s.Held()
	s.epoch, s.version = Join, 0
	s.assigned, s.owned, s.revoking = nil, nil, nil
	s.revokeBy = time.Time{}
	s.out, s.sendAt = false, now
}

func (s *Session) answered(now time.Time, r HeartbeatResponse, out *SessionOutput) {
	switch r.Code {
	case partition.OK:
		s.accepted(now, r, out)
	case partition.UnknownMember, partition.FencedMember:
		if s.left(out) {
			return
		}
		s.lose(now, out)
	case partition.Malformed, partition.Unsupported, partition.InvalidTopic,
		partition.FencedInstance, partition.UnreleasedInstance:
		if s.left(out) {
			return
		}
		s.lose(now, out)
		out.Fatal, s.over = r.Code, true
	default:
		s.retry(now)
	}
}

// left ends the session if the member was about to leave anyway.
func (s *Session) left(out *SessionOutput) bool {
	if s.quitAt.IsZero() {
		return false
	}
	out.Left, s.over = true, true
	return true
}

func (s *Session) accepted(now time.Time, r HeartbeatResponse, out *SessionOutput) {
	if s.left(out) {
		return
	}
	s.interval = time.Duration(r.IntervalMs) * time.Millisecond
	s.session = time.Duration(r.SessionMs) * time.Millisecond
	lease := s.sentAt.Add(s.session)
	if !now.Before(lease) || s.epoch == Join && r.Assignment == nil {
		s.retry(now) // so late that it proves nothing; or no answer to a join
		return
	}
	s.lease, s.out, s.failures = lease, false, 0
	switch news := r.Assignment != nil && r.Assignment.Version != s.version; {
	case r.RebalanceMs <= 0:
		s.revokeBy = time.Time{}
	case news || s.revokeBy.IsZero():
		// The coordinator's own time runs from its answer, so this one is over first.
		s.revokeBy = s.sentAt.Add(time.Duration(r.RebalanceMs) * time.Millisecond)
	}
	if r.Assignment == nil {
		// An empty answer that comes early must not become a busy loop.
		s.sendAt = s.sentAt.Add(s.interval / 2)
		return
	}
	s.epoch, s.sendAt = r.Epoch, now
	s.take(*r.Assignment, out)
}

// take makes what is held agree with a new assignment, as far as it can at once.
func (s *Session) take(a Assignment, out *SessionOutput) {
	if a.Version == s.version {
		return
	}
	s.version, s.assigned = a.Version, sorted(a.Partitions)
	out.Revoke = minus(s.owned, s.assigned)
	s.owned = common(s.owned, s.assigned)
	s.revoking = union(s.revoking, out.Revoke)
	// What comes back while it is being given up is taken when that has been done.
	out.Assigned = minus(minus(s.assigned, s.owned), s.revoking)
	s.owned = union(s.owned, out.Assigned)
}

// revoked reports whether the last revocation has been done.
func (s *Session) revoked(ids []partition.ID, out *SessionOutput) bool {
	done := common(sorted(ids), s.revoking)
	if len(done) == 0 {
		return false // all of it has been lost meanwhile
	}
	s.revoking = minus(s.revoking, done)
	out.Assigned = common(done, s.assigned)
	s.owned = union(s.owned, out.Assigned)
	// The time for it runs on until the coordinator has heard of it.
	return len(s.revoking) == 0
}

// quit reports whether the coordinator must be told.
func (s *Session) quit(now time.Time) bool {
	if !s.quitAt.IsZero() {
		return false
	}
	s.assigned, s.owned, s.revoking = nil, nil, nil
	s.revokeBy = time.Time{}
	s.quitAt = now
	return true
}

// retry plans the next attempt.
func (s *Session) retry(now time.Time) {
	s.out = false
	s.sendAt = now.Add(min(lastRetry, firstRetry<<min(s.failures, 10)))
	s.failures++
}

// send sends what is due. A request that has not been answered for long is given
// up: its answer may have been lost.
func (s *Session) send(now time.Time, news bool, out *SessionOutput) {
	if s.over {
		return
	}
	if !s.quitAt.IsZero() && (s.sequence == 0 || s.session > 0 && now.Sub(s.quitAt) >= s.session) {
		out.Left, s.over = true, true // never known, or forgotten by now
		return
	}
	due := s.sendAt
	if s.out {
		due = s.sentAt.Add(s.patience())
	}
	if !news && now.Before(due) {
		return
	}
	if s.out && !news {
		s.failures++
	}
	s.sequence++
	s.sentAt, s.out = now, true
	out.Send = s.request()
}

// patience is how long an answer is waited for.
func (s *Session) patience() time.Duration {
	if s.epoch == Join {
		return s.interval // a join is never parked
	}
	return s.interval + max(s.interval/2, 10*time.Millisecond)
}

// request builds the newest request: a full one when joining, and when the
// coordinator may have missed something.
func (s *Session) request() *HeartbeatRequest {
	r := &HeartbeatRequest{
		Group: s.cfg.Group, Member: s.cfg.Member, Sequence: s.sequence,
		Epoch: s.epoch, Version: s.version, SessionMs: -1, RebalanceMs: -1,
	}
	if !s.quitAt.IsZero() {
		r.Epoch = Leave
		return r
	}
	r.Owned = s.Held()
	if r.Owned == nil {
		r.Owned = []partition.ID{}
	}
	if s.epoch == Join || s.failures > 0 {
		r.Topics = append([]string{}, s.cfg.Topics...)
		r.SessionMs = int32(s.cfg.Session.Milliseconds())
		r.RebalanceMs = int32(s.cfg.Rebalance.Milliseconds())
		r.Assignor, r.Rack, r.Client = s.cfg.Assignor, s.cfg.Rack, s.cfg.Client
	}
	return r
}

func (s *Session) wake() time.Time {
	if s.over {
		return time.Time{}
	}
	at := s.sendAt
	if s.out {
		at = s.sentAt.Add(s.patience())
	}
	if s.epoch > Join {
		at = earlier(at, s.lease)
		at = earlier(at, s.revokeBy)
	}
	if !s.quitAt.IsZero() && s.session > 0 {
		at = earlier(at, s.quitAt.Add(s.session))
	}
	return at
}

// earlier returns the first of two moments; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
