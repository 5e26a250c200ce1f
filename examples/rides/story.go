package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
)

// The cluster of the story.
const (
	brokers    = 3
	partitions = 6
	minISR     = 2
)

// When things happen, in hundredths of the requests that have an answer. Requests
// behind holdAt wait for the kill, so that it always comes under load.
const (
	killAt    = 30
	holdAt    = 50
	notifyAt  = 60
	restartAt = 75
)

// Whoever waits looks again that often, and gives up when nothing happens for so long.
const (
	look     = 5 * time.Millisecond
	patience = 30 * time.Second
)

// A story is one run.
type story struct {
	sender   *sender
	book     *book
	progress *progress
	dir      string // empty: memory

	matching     matching
	payment      payment
	notification notification
	analytics    analytics
	services     []*service // in the order of the table

	cluster *samsatest.Cluster
	report  report
	stop    context.CancelCauseFunc // ends the run
	dismiss context.CancelFunc      // sends the services home, and no more
	working sync.WaitGroup
	sending sync.WaitGroup
	sent    chan struct{} // closed when all requests have an answer
}

func newStory(rides []Ride, opts options, p *progress, b *book) *story {
	s := &story{
		sender: newSender(rides, b, p.stage), book: b, progress: p, dir: opts.dir,
		analytics: analytics{revenue: make(revenue)},
		report:    report{Brokers: brokers, Partitions: partitions},
		sent:      make(chan struct{}),
	}
	hire := func(name string, w worker) {
		s.services = append(s.services, &service{name: name, ledger: newLedger(name, b.order), work: w})
	}
	hire("matching", &s.matching)
	hire("payment", &s.payment)
	hire("notification", &s.notification)
	hire("analytics", &s.analytics)
	return s
}

// tell runs the story from its beginning to its end. The report is complete if the
// error is nil, whatever it says.
func (s *story) tell(ctx context.Context) (_ *report, err error) {
	begun := time.Now()
	ctx, s.stop = context.WithCancelCause(ctx)
	if err := s.open(ctx); err != nil {
		s.stop(nil)
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	working, dismiss := context.WithCancel(ctx)
	s.dismiss = dismiss
	defer dismiss()
	if err := s.start(ctx, working, "matching", "payment", "analytics"); err != nil {
		return nil, err
	}
	s.progress.stage("matching, payment and analytics are at work; notification is down")

	if err := s.send(ctx); err != nil {
		return nil, err
	}
	if err := s.middle(ctx, working); err != nil {
		return nil, err
	}
	if err := s.end(ctx); err != nil {
		return nil, err
	}
	s.report.TotalSeconds = time.Since(begun).Seconds()
	return &s.report, nil
}

// middle is what happens while the requests are on their way.
func (s *story) middle(ctx, working context.Context) error {
	if err := s.reach(ctx, killAt); err != nil {
		return err
	}
	if err := s.kill(ctx); err != nil {
		return err
	}
	if err := s.reach(ctx, notifyAt); err != nil {
		return err
	}
	s.progress.stage("notification comes up; %s rides wait for it", thousands(s.book.acked.Load()))
	if err := s.start(ctx, working, "notification"); err != nil {
		return err
	}
	if err := s.reach(ctx, restartAt); err != nil {
		return err
	}
	if err := s.restart(ctx); err != nil {
		return err
	}
	select {
	case <-s.sent:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// open starts the brokers and makes the topics.
func (s *story) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took more than %v", patience))
	defer cancel()
	cluster, err := samsatest.New(ctx, samsatest.Config{Brokers: brokers, Dir: s.dir})
	if err != nil {
		return err
	}
	for _, name := range []string{requested, matched} {
		cfg := samsa.TopicConfig{
			Name: name, Partitions: partitions, Replicas: brokers, MinISR: minISR,
			Retention: -1, RetentionBytes: -1, // nothing goes before everybody has read it
		}
		if err := cluster.Client().CreateTopic(ctx, cfg); err != nil {
			return errors.Join(err, cluster.Close())
		}
	}
	s.cluster = cluster
	s.progress.stage("%d brokers are up; %s has %d partitions, %d replicas of each", brokers, requested, partitions, brokers)
	return nil
}

// close ends what still runs.
func (s *story) close() error {
	s.stop(nil)
	s.sending.Wait()
	s.working.Wait()
	return s.cluster.Close()
}

// start starts services, which work until working ends, and waits until they
// have their partitions. If one of them fails the run is over.
func (s *story) start(ctx, working context.Context, names ...string) error {
	for _, service := range s.services {
		if slices.Contains(names, service.name) {
			s.working.Go(func() {
				if err := service.run(working, s.cluster.Dial); err != nil {
					s.stop(err)
				}
			})
		}
	}
	for _, name := range names {
		if err := s.within(ctx, func(ctx context.Context) error { return s.cluster.WaitAssigned(ctx, name, 1) }); err != nil {
			return err
		}
	}
	return nil
}

// within bounds a wait.
func (s *story) within(ctx context.Context, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took more than %v", patience))
	defer cancel()
	return wait(ctx)
}

// send starts to send.
func (s *story) send(ctx context.Context) error {
	producer, err := s.cluster.Client().NewProducer(samsa.ProducerConfig{})
	if err != nil {
		return err
	}
	s.progress.stage("%s rides are requested", thousands(int64(s.book.order.len())))
	s.progress.begin()
	s.sending.Go(func() {
		defer close(s.sent)
		if err := s.sender.run(ctx, producer); err != nil {
			s.stop(err)
		}
	})
	return nil
}

// reach waits until that share of the requests has an answer, or there will be no
// more of them.
func (s *story) reach(ctx context.Context, share int) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for s.book.answers() < share*s.book.order.len()/100 {
		select {
		case <-tick.C:
		case <-s.sent:
			return context.Cause(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// kill ends the leader of the watched partition.
func (s *story) kill(ctx context.Context) error {
	defer close(s.sender.hold) // whatever comes, nobody waits for the kill any more
	info, err := s.watched(ctx)
	if err != nil {
		return err
	}
	s.report.KilledBroker, s.report.EpochBefore = info.Leader, info.Epoch
	s.sender.watch.kill(info.Epoch)
	waiting := s.book.sent.Load() - int64(s.book.answers())
	if err := s.cluster.Kill(info.Leader); err != nil {
		return err
	}
	s.progress.stage("broker %d, which led partition %d, is dead; %s rides had no answer yet", info.Leader, info.ID, thousands(waiting))
	return nil
}

// restart brings back the broker that was killed.
func (s *story) restart(ctx context.Context) error {
	if gap, ok := s.sender.watch.failover(); ok {
		s.progress.stage("partition %d has another leader; it took %.1f ms", watchedPartition, milliseconds(gap))
	}
	err := s.within(ctx, func(ctx context.Context) error { return s.cluster.Restart(ctx, s.report.KilledBroker) })
	if err == nil {
		s.progress.stage("broker %d is back, and catches up", s.report.KilledBroker)
	}
	return err
}

// watched returns the standing of the watched partition while it has a leader.
func (s *story) watched(ctx context.Context) (info samsa.PartitionInfo, err error) {
	err = s.within(ctx, func(ctx context.Context) error {
		if _, err := s.cluster.Leader(ctx, requested, watchedPartition); err != nil {
			return err
		}
		info, err = s.cluster.Client().Topic(requested).Partition(watchedPartition).Info(ctx)
		return err
	})
	return info, err
}
