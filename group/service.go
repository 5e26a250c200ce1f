package group

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// A ServiceConfig holds what a Service goes by. The zero value is complete.
type ServiceConfig struct {
	Config

	// Logger is told when the coordinators are loaded and why they are dropped.
	//
	// Nil is silent.
	Logger *slog.Logger
}

// A Service runs the coordinators of all groups that live in one partition of
// __consumer_offsets. It serves while Run runs.
//
// Whoever finds it idle owns it: it takes the steps that are asked for, and appends
// their records, until nothing is left to do; others leave their task and wait. No
// goroutine belongs to a member or a group.
//
// When the store does not take a record, or cannot say that it is committed, the
// state may be ahead of the records. All of it is thrown away, who waits is
// answered NotCoordinator, and it is loaded anew.
type Service struct {
	cfg    ServiceConfig
	store  offsets.Store
	topics Topics
	wakes  chan struct{} // has room for one: Run should look at next and term

	mu     sync.Mutex // guards queue and active; held for a few instructions only
	queue  []func()
	active bool // somebody owns the Service

	// The owner's.
	term    *term // nil: not serving
	code    partition.Code
	token   uint64
	waiting map[uint64]chan answer
	stained bool // something has been appended whose fate may be open
}

// A term is the time from one loading of the coordinators to the next.
type term struct {
	ctx    context.Context // ends with the term
	end    context.CancelFunc
	groups map[string]*Coordinator
	due    alarm
	last   log.Offset // the end of what has been appended

	mu        sync.Mutex
	committed log.Offset // guarded by mu: all below it is known to be committed
}

// An answer may be given when all below end is committed.
type answer struct {
	response any
	term     *term // nil: may be given at once
	end      log.Offset
}

// NewService returns a Service that answers NotCoordinator until Run is called.
// There must be a new one for each reign of the partition's leader.
func NewService(cfg ServiceConfig, store offsets.Store, topics Topics) *Service {
	cfg.Config = cfg.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		cfg: cfg, store: store, topics: topics, wakes: make(chan struct{}, 1),
		code: partition.NotCoordinator, waiting: map[uint64]chan answer{},
	}
}

// Run loads the coordinators and serves until ctx ends. Then who waits is answered
// NotCoordinator, and nothing is left running. Its error is nil.
func (s *Service) Run(ctx context.Context) error {
	defer s.ask(func() { s.code = partition.NotCoordinator })
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		s.ask(func() { s.code = partition.CoordinatorLoading })
		t, err := s.load(ctx)
		if err == nil {
			pause = firstRetry
			s.ask(func() { s.begin(t) })
			s.serve(t)
		} else if ctx.Err() == nil {
			s.cfg.Logger.Warn("group coordinators not loaded", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// load reads all that is committed. What this Service has appended before may
// be in the log and not yet committed: it is waited for, lest it come up later.
func (s *Service) load(ctx context.Context) (*term, error) {
	var end log.Offset
	var err error
	s.ask(func() {
		if s.stained {
			end, err = s.store.Append([]log.Record{barrier(time.Now().UnixMilli())})
		}
	})
	if err != nil {
		return nil, err
	}
	if end > 0 {
		if err := s.store.Wait(ctx, end); err != nil {
			return nil, err
		}
	}
	t := &term{groups: map[string]*Coordinator{}}
	t.ctx, t.end = context.WithCancel(ctx)
	err = s.store.Scan(ctx, func(r log.Record) error {
		group, rec, err := DecodeRecord(r.Key, r.Value)
		if err == nil && rec != nil {
			t.group(s.cfg.Config, group, true).Load(rec)
		}
		return err
	})
	if err != nil {
		t.end()
	}
	return t, err
}

// serve ticks groups as they ask for it, until the term ends.
func (s *Service) serve(t *term) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var next time.Time
		s.ask(func() { next = s.ring(t) })
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(time.Until(next), 1)) // one that has run out when it is set is no wait
		}
		select {
		case <-timer.C:
		case <-s.wakes:
		case <-t.ctx.Done():
			s.ask(func() { s.drop(t, "end of the term", nil) })
			return
		}
	}
}

// ask has a task done, and waits for it.
func (s *Service) ask(task func()) {
	done := make(chan struct{})
	s.leave(func() { task(); close(done) })
	<-done
}

// Heartbeat deals with a member's request, parked until there is something to say
// or the heartbeat interval is over.
func (s *Service) Heartbeat(ctx context.Context, r HeartbeatRequest) HeartbeatResponse {
	refuse := func(code partition.Code) any { return HeartbeatResponse{Code: code} }
	return s.call(ctx, refuse, func(t *term, token uint64) {
		if c := t.group(s.cfg.Config, r.Group, r.Epoch == Join); c != nil {
			s.step(t, r.Group, c, Heartbeat{Token: token, Request: r, Topics: s.look(c.Names(r.Topics))})
			return
		}
		s.answer(t, token, HeartbeatResponse{Code: partition.UnknownMember})
	}).(HeartbeatResponse)
}

// Commit commits places of a group.
func (s *Service) Commit(ctx context.Context, r offsets.CommitRequest) offsets.CommitResponse {
	refuse := func(code partition.Code) any { return offsets.CommitResponse{Code: code} }
	if r.Group == "" || len(r.Group) > maxName {
		return offsets.CommitResponse{Code: partition.Malformed}
	}
	return s.call(ctx, refuse, func(t *term, token uint64) {
		if c := t.group(s.cfg.Config, r.Group, r.MemberEpoch <= offsets.NoMember); c != nil {
			s.step(t, r.Group, c, Commit{Token: token, Request: r})
			return
		}
		s.answer(t, token, offsets.CommitResponse{Code: partition.UnknownMember})
	}).(offsets.CommitResponse)
}

// Fetch returns a group's commits. A group that is not known has none.
func (s *Service) Fetch(ctx context.Context, r offsets.FetchRequest) offsets.FetchResponse {
	refuse := func(code partition.Code) any { return offsets.FetchResponse{Code: code} }
	return s.call(ctx, refuse, func(t *term, token uint64) {
		c := t.group(s.cfg.Config, r.Group, false)
		if c == nil {
			c = NewCoordinator(r.Group, s.cfg.Config)
		}
		s.answer(t, token, c.Fetch(r))
	}).(offsets.FetchResponse)
}

// Describe says how a group stands.
func (s *Service) Describe(ctx context.Context, group string) DescribeResponse {
	refuse := func(code partition.Code) any { return DescribeResponse{Code: code} }
	return s.call(ctx, refuse, func(t *term, token uint64) {
		if c := t.group(s.cfg.Config, group, false); c != nil {
			s.answer(t, token, DescribeResponse{Info: c.Info()})
			return
		}
		s.answer(t, token, DescribeResponse{Code: partition.UnknownGroup})
	}).(DescribeResponse)
}

// List names the groups.
func (s *Service) List(ctx context.Context) ListResponse {
	refuse := func(code partition.Code) any { return ListResponse{Code: code} }
	return s.call(ctx, refuse, func(t *term, token uint64) {
		s.answer(t, token, ListResponse{Groups: slices.Sorted(maps.Keys(t.groups))})
	}).(ListResponse)
}

// TopicsChanged says that Topics may answer otherwise than before.
func (s *Service) TopicsChanged() {
	s.leave(func() {
		if t := s.term; t != nil {
			s.each(t, func(c *Coordinator) Input { return Changed{Topics: s.look(c.Names(nil))} })
		}
	})
}

// call leaves a task, and waits for the answer with its token, and until that may
// be given.
func (s *Service) call(ctx context.Context, refuse func(partition.Code) any, do func(t *term, token uint64)) any {
	done := make(chan answer, 1) // so that the owner never waits for a caller
	var token uint64
	s.leave(func() {
		if s.term == nil {
			done <- answer{response: refuse(s.code)}
			return
		}
		s.token++
		token = s.token
		s.waiting[token] = done
		do(s.term, token)
	})
	select {
	case a := <-done:
		if a.response == nil || !s.committed(ctx, a) {
			return refuse(partition.NotCoordinator)
		}
		return a.response
	case <-ctx.Done():
		s.leave(func() { s.forget(token) })
		return refuse(partition.NotCoordinator)
	}
}

// committed waits until the answer may be given. If the store cannot say so, the
// term is over.
func (s *Service) committed(ctx context.Context, a answer) bool {
	t := a.term
	if t == nil {
		return true
	}
	t.mu.Lock()
	known := a.end <= t.committed
	t.mu.Unlock()
	if known {
		return t.ctx.Err() == nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	err := s.store.Wait(ctx, a.end)
	switch {
	case err == nil:
		t.mu.Lock()
		t.committed = max(t.committed, a.end)
		t.mu.Unlock()
		return t.ctx.Err() == nil
	case ctx.Err() == nil:
		s.leave(func() { s.drop(t, "wait for the commit", err) })
	}
	return false
}

// leave queues a task, and works off the queue if nobody else does.
func (s *Service) leave(task func()) {
	s.mu.Lock()
	s.queue = append(s.queue, task)
	owner := !s.active
	s.active = true
	s.mu.Unlock()
	if !owner {
		return // the owner looks once more before it lets go
	}
	for {
		s.mu.Lock()
		work := s.queue
		s.queue = nil
		s.active = len(work) > 0
		s.mu.Unlock()
		if len(work) == 0 {
			return
		}
		for _, task := range work {
			task()
		}
	}
}

// The methods below are the owner's.

// step gives a coordinator one input and carries out what it asks for.
func (s *Service) step(t *term, name string, c *Coordinator, in Input) {
	if s.term != t {
		return
	}
	now := time.Now()
	out := c.Step(now, in)
	if len(out.Records) > 0 {
		s.stained = true
		end, err := s.store.Append(encodeBatch(name, out.Records, now.UnixMilli()))
		if err != nil {
			s.drop(t, "append", err)
			return
		}
		t.last = end
	}
	for _, r := range out.Replies {
		s.answer(t, r.Token, r.Response)
	}
	if c.Gone() {
		delete(t.groups, name)
	}
	if t.due.set(name, out.Wake) {
		s.wake()
	}
}

// ring ticks the groups that are due, and says when the next will be.
func (s *Service) ring(t *term) time.Time {
	for now := time.Now(); ; {
		name, next := t.due.take(now)
		if name == "" {
			return next
		}
		if c := t.groups[name]; c != nil {
			s.step(t, name, c, Tick{})
		}
	}
}

// answer hands an answer to who waits for it. It rests on all that has been appended.
func (s *Service) answer(t *term, token uint64, response any) {
	if done := s.waiting[token]; done != nil {
		delete(s.waiting, token)
		done <- answer{response: response, term: t, end: t.last}
	}
}

// drop ends a term. Who waits is told that this is not the coordinator; perhaps it
// will be again.
func (s *Service) drop(t *term, doing string, err error) {
	if s.term != t {
		return
	}
	if err != nil {
		s.cfg.Logger.Warn("group coordinators dropped", "doing", doing, "err", err)
	}
	s.term, s.code = nil, partition.NotCoordinator
	t.end()
	for _, token := range slices.Sorted(maps.Keys(s.waiting)) {
		s.waiting[token] <- answer{}
		delete(s.waiting, token)
	}
	s.wake()
}

func (s *Service) wake() {
	select {
	case s.wakes <- struct{}{}:
	default:
	}
}
