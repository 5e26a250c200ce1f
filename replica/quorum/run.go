package quorum

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	pb "go.etcd.io/raft/v3/raftpb"
)

// While a cluster is being formed, peers that were not there are asked again.
// Nobody waits for this but after a lost message: who comes up greets all others.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// inARow is how many messages and proposals are taken before their entries are
// synced, all at once.
const inARow = 256

// A proposal is an entry that somebody waits for.
type proposal struct {
	data  []byte
	term  uint64
	index uint64
	done  chan outcome // has room for one
}

type outcome struct {
	index log.Offset
	err   error
}

// A runner is what Run owns: nobody else touches it.
type runner struct {
	q       *Quorum
	ctx     context.Context
	form    *former
	node    *machine // nil until this voter belongs to a cluster
	status  Status
	senders []*sender
	names   map[uint64]member // the voters by raft id
	running sync.WaitGroup    // the senders
	reports chan report
	ticks   <-chan time.Time
	ticker  *time.Ticker
	retry   *time.Timer // while forming: ask again; later: campaign in a dead leader's place
	wait    time.Duration

	applied  uint64 // index and term of the newest applied entry
	termOf   uint64
	unplaced []*proposal // taken by raft, index not known yet; in order
	placed   []*proposal // in rising order of term and index
	full     []uint64    // voters whose queue had no room
	decided  []decision  // to be told once the status is published
}

type decision struct {
	p *proposal
	o outcome
}

// Run takes part in the quorum until ctx ends, and then returns nil. It returns
// an error if the disk fails or an invariant breaks: this voter is then offline.
// When it returns, all that it started has ended, and the files are closed. It is
// called once.
func (q *Quorum) Run(ctx context.Context) error {
	if !q.running.CompareAndSwap(false, true) {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{q: q, ctx: ctx, status: q.Status(), reports: make(chan report), retry: time.NewTimer(time.Hour)}
	err := r.begin()
	for err == nil && ctx.Err() == nil {
		err = r.turn()
	}
	if err == nil {
		err = q.disk.hint(uint64(r.status.Commit))
	}
	cancel()
	close(q.ended)
	r.end(err)
	r.running.Wait()
	return errors.Join(err, q.disk.close())
}

// begin starts the machine of a voter that belongs to a cluster, and otherwise
// the forming of one.
func (r *runner) begin() error {
	q := r.q
	var fresh partition.UUID
	rand.Read(fresh[:]) // never fails
	self := member{ID: q.cfg.Self, Directory: q.cfg.Directory}
	r.form = newFormer(self, q.cfg.Voters, fresh, q.disk.kept.formation)
	if !r.form.isFormed() {
		for _, v := range q.cfg.Voters {
			r.link(v)
		}
		r.wait = firstRetry
		r.retry.Reset(r.wait)
		if err := r.take(r.form.begin()); err != nil {
			return err
		}
		return r.work()
	}
	if err := r.join(); err != nil {
		return err
	}
	if len(r.form.formed.Members) == 1 { // nobody can object
		if err := r.node.campaign(); err != nil {
			return err
		}
	}
	return r.work()
}

// turn waits for something to happen, deals with it and what has come with it,
// and then with all that the machine wants done.
func (r *runner) turn() error {
	var err error
	select {
	case <-r.ctx.Done():
		return nil
	case <-r.ticks:
		err = r.node.tick()
	case messages := <-r.q.inbox:
		err = r.receive(messages)
	case p := <-r.q.proposals:
		err = r.propose(p)
	case call := <-r.q.hellos:
		err = r.take(r.form.heard(call.hello, 0))
		if err == nil {
			call.answer <- encodeHello(r.form.greeting())
		}
	case rep := <-r.reports:
		err = r.hear(rep)
	case id := <-r.q.gone:
		err = r.succeed(id)
	case <-r.retry.C:
		if r.form.isFormed() {
			err = r.stand()
		} else {
			r.askAgain()
		}
	}
	if err != nil {
		return err
	}
	if err := r.drain(); err != nil {
		return err
	}
	return r.work()
}

// drain takes what is there already, so that one sync serves all of it.
func (r *runner) drain() error {
	for range inARow {
		var err error
		select {
		case messages := <-r.q.inbox:
			err = r.receive(messages)
		case p := <-r.q.proposals:
			err = r.propose(p)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) receive(messages []*pb.Message) error {
	if r.node == nil {
		return nil
	}
	for _, m := range messages {
		if _, ok := r.names[m.GetFrom()]; !ok {
			continue // raft would believe anybody
		}
		if err := r.node.step(m); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) propose(p *proposal) error {
	if r.node == nil {
		p.done <- outcome{err: ErrNotLeader}
		return nil
	}
	term, refusal, err := r.node.propose(p.data)
	switch {
	case err != nil:
		p.done <- outcome{err: &unknownError{err}}
		return err
	case refusal != nil:
		p.done <- outcome{err: refusal}
	default:
		p.term = term
		r.unplaced = append(r.unplaced, p)
	}
	return nil
}

// hear takes a sender's report.
func (r *runner) hear(rep report) error {
	switch {
	case rep.answer != nil && rep.answer.ID == rep.from:
		return r.take(r.form.heard(*rep.answer, rep.round))
	case rep.answer != nil || rep.lost:
		return r.take(r.form.lost(rep.from))
	case r.node != nil:
		return r.node.unreachable(rep.unreachable)
	}
	return nil
}

// askAgain greets all peers, and the next time later.
func (r *runner) askAgain() {
	if r.form.isFormed() {
		return
	}
	for _, s := range r.senders {
		s.greet()
	}
	r.wait = min(2*r.wait, lastRetry)
	r.retry.Reset(r.wait)
}

// succeed prepares for the place of a leader that is dead. The followers stand one
// after another, in the order of their ids: two candidates at once would share the votes.
func (r *runner) succeed(dead partition.BrokerID) error {
	if r.node == nil || r.status.Role != Follower || r.status.Leader != dead {
		return nil
	}
	if err := r.node.forget(); err != nil {
		return err
	}
	wait := firstStand * r.q.cfg.Tick / 100 // the others have to find out too
	for _, v := range r.status.Voters {
		if v.ID < r.q.cfg.Self && v.ID != dead {
			wait += nextStand * r.q.cfg.Tick / 100
		}
	}
	r.retry.Reset(wait)
	return nil
}

// How long a follower of a dead leader waits before it stands, and for each that
// stands before it: in hundredths of a tick.
const (
	firstStand = 5
	nextStand  = 50
)

// stand campaigns, if nobody has been elected meanwhile.
func (r *runner) stand() error {
	if r.node == nil || r.status.Role != Follower || r.status.Leader != partition.NoBroker {
		return nil
	}
	return r.node.campaign()
}

// take does what the former wants, in its order.
func (r *runner) take(s step) error {
	logger := r.q.cfg.Logger
	if s.Keep {
		k := kept{formation: r.form.formed, Self: r.q.cfg.Self, Directory: r.q.cfg.Directory}
		if err := r.q.disk.keep(k); err != nil {
			return err
		}
		logger.Info("quorum formed", "cluster", k.Cluster.String(), "voters", len(k.Members))
		if err := r.join(); err != nil {
			return err
		}
	}
	r.q.greeting.Store(&greeting{round: r.form.round, hello: encodeHello(r.form.greeting())})
	if s.Ask {
		for _, p := range r.senders {
			p.greet()
		}
	}
	if r.form.isStranger() && r.status.Role != Stranger {
		r.status.Role = Stranger
		logger.Warn("voter is a stranger to its quorum", "problem", s.Problem)
	}
	if r.status.Problem != s.Problem {
		r.status.Problem = s.Problem
		logger.Info("quorum is not formed yet", "problem", s.Problem)
	}
	r.q.publish(r.status)
	if s.Campaign {
		return r.node.campaign()
	}
	return nil
}

// join starts the machine, now that it is known who the voters are.
func (r *runner) join() error {
	formed := r.form.formed
	r.names = make(map[uint64]member)
	r.status.Cluster, r.status.Voters = formed.Cluster, formed.voters(r.q.cfg.Voters)
	r.status.Role, r.status.Problem = Follower, ""
	for i, m := range formed.Members {
		m.Addr = r.status.Voters[i].Addr
		r.names[m.raftID()] = m
		r.link(r.status.Voters[i])
	}
	r.q.greeting.Store(&greeting{hello: encodeHello(r.form.greeting())})
	var err error
	if r.node, err = newMachine(r.q.cfg, r.q.disk, r.q.me); err != nil {
		return err
	}
	r.status.Term = log.Epoch(r.q.disk.kept.Term)
	r.q.publish(r.status)
	r.retry.Stop()
	if len(formed.Members) > 1 { // a voter alone needs no time
		r.ticker = time.NewTicker(r.q.cfg.Tick)
		r.ticks = r.ticker.C
	}
	return nil
}

// link starts a sender to a voter that has none yet.
func (r *runner) link(v Voter) {
	if v.ID == r.q.cfg.Self {
		return
	}
	for _, s := range r.senders {
		if s.id == v.ID {
			return
		}
	}
	s := newSender(v.ID, v.Addr)
	r.senders = append(r.senders, s)
	r.running.Go(func() { r.q.deliver(r.ctx, s, r.reports) })
}
