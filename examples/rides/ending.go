package main

import (
	"context"
	"errors"
	"time"

	"github.com/samsalog/samsa"
)

// end waits until every group has been given everything and every replica is in
// sync, sends the services home and draws up the report. What does not come about
// in time is a problem of the report, and no error.
func (s *story) end(ctx context.Context) error {
	s.progress.stage("all requests have an answer; the groups read to the end")
	if err := s.caughtUp(ctx); err != nil {
		return err
	}
	for _, topic := range []string{requested, matched} {
		err := s.within(ctx, func(ctx context.Context) error { return s.cluster.WaitISR(ctx, topic, brokers) })
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			s.report.problem("%v", err)
		}
	}
	info, err := s.watched(ctx)
	if err != nil {
		return err
	}
	s.report.EpochAfter = info.Epoch
	s.progress.stage("all %d replicas of every partition are in sync", brokers)

	s.dismiss()
	s.working.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.fill()
	return s.groups(ctx)
}

// caughtUp waits until every group has been given all acknowledged rides, or none
// of them is given anything any more.
func (s *story) caughtUp(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	consumed, since := -1, time.Now()
	for {
		missing, sum := 0, 0
		for _, service := range s.services {
			l := service.ledger
			m, _ := l.missing(s.book)
			missing += m
			sum += l.counts().consumed
		}
		switch {
		case missing == 0:
			return nil
		case sum != consumed:
			consumed, since = sum, time.Now()
		case time.Since(since) > patience:
			for _, service := range s.services {
				if text := service.ledger.complaint(s.book); text != "" {
					s.report.problem("nothing came for %v: %s", patience, text)
				}
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fill enters what the sender and the services know.
func (s *story) fill() {
	r := &s.report
	r.Sent, r.Acked = s.book.sent.Load(), s.book.acked.Load()
	r.Failed, r.Unknown = s.book.failed.Load(), s.book.unknown.Load()
	r.Seconds = s.sender.took().Seconds()
	if r.Seconds > 0 {
		r.RecordsPerSecond = float64(r.Acked) / r.Seconds
	}
	if gap, ok := s.sender.watch.failover(); ok {
		ms := milliseconds(gap)
		r.FailoverMS = &ms
	}
	r.Matched = s.matching.answers.Load()
	r.PaidCents = Cents(s.payment.taken.Load())
	r.revenue = s.analytics.revenue
	r.RevenueCents = r.revenue.total()
}

// groups enters what each group was given, and what it has not committed.
func (s *story) groups(ctx context.Context) error {
	for _, service := range s.services {
		l := service.ledger
		t := l.counts()
		lost, _ := l.missing(s.book)
		g := groupReport{Group: l.group, Consumed: t.consumed, Lost: lost, Repeated: t.repeated, OutOfOrder: t.outOfOrder}
		err := s.within(ctx, func(ctx context.Context) (err error) {
			g.Lag, err = s.lag(ctx, l.group)
			return err
		})
		if err != nil {
			return err
		}
		s.report.Groups = append(s.report.Groups, g)
	}
	return nil
}

// lag counts the records that a group has not committed. Where it has committed
// nothing that is all of them, and the group does not even name the partition.
func (s *story) lag(ctx context.Context, group string) (int64, error) {
	topic, err := s.cluster.Client().Topic(requested).Info(ctx)
	if err != nil {
		return 0, err
	}
	info, err := s.cluster.Client().Group(group).Info(ctx)
	if err != nil && !errors.Is(err, samsa.ErrUnknownGroup) {
		return 0, err
	}
	behind := samsa.Offset(0)
	for _, p := range topic.Partitions {
		behind += p.HighWatermark
	}
	for _, p := range info.Partitions {
		behind -= max(p.Committed, 0)
	}
	return int64(behind), nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
