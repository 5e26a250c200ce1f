package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// memStore is a Store whose commits take a moment, and which can be made to fail.
type memStore struct {
	mu      sync.Mutex
	records []log.Record
	batches int
	refuse  error // of Append and of Wait
	lag     time.Duration
}

func (s *memStore) Append(records []log.Record) (log.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return 0, s.refuse
	}
	s.records = append(s.records, records...)
	s.batches++
	return log.Offset(len(s.records)), nil
}

func (s *memStore) Wait(ctx context.Context, _ log.Offset) error {
	select {
	case <-time.After(s.lag):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse
}

func (s *memStore) Scan(_ context.Context, each func(log.Record) error) error {
	s.mu.Lock()
	all := slices.Clone(s.records)
	s.mu.Unlock()
	for _, r := range all {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *memStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

type memTopics map[string]Topic

func (m memTopics) Topic(name string) (partition.UUID, int, bool) {
	t, ok := m[name]
	return t.ID, t.Partitions, ok
}

var rides = memTopics{"rides": {ID: partition.UUID{1}, Partitions: 4}}

// drive is the simplest shell of a member: it gives up at once what it is asked to.
func drive(ctx context.Context, s *Service, x *Session, observe func(held []partition.ID)) {
	in := make(chan SessionInput, 16)
	timer := time.NewTimer(0)
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		var next SessionInput
		select {
		case next = <-in:
		case <-timer.C:
			next = Tick{}
		case <-ctx.Done():
			return
		}
		for queue := []SessionInput{next}; len(queue) > 0; queue = queue[1:] {
			out := x.Step(time.Now(), queue[0])
			if len(out.Revoke) > 0 {
				queue = append(queue, Revoked{Partitions: out.Revoke})
			}
			if out.Send != nil {
				calls.Go(func() {
					answer := s.Heartbeat(ctx, *out.Send)
					select {
					case in <- Answered{Sequence: out.Send.Sequence, Response: answer}:
					case <-ctx.Done():
					}
				})
			}
			if !out.Wake.IsZero() {
				timer.Reset(time.Until(out.Wake))
			}
			observe(x.Held())
		}
	}
}

func TestServiceSharesATopicAmongMembersInRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		store := &memStore{lag: time.Millisecond}
		s := NewService(ServiceConfig{}, store, rides)
		require.Equal(t, partition.NotCoordinator, s.List(ctx).Code, "before it runs")

		var all sync.WaitGroup
		all.Go(func() { _ = s.Run(ctx) })
		synctest.Wait()
		held := make([][]partition.ID, 3)
		var mu sync.Mutex
		for i := range held {
			all.Go(func() {
				x := NewSession(SessionConfig{Group: "pay", Member: fmt.Sprintf("m%d", i), Topics: []string{"rides"}})
				drive(ctx, s, x, func(ids []partition.ID) {
					mu.Lock()
					defer mu.Unlock()
					held[i] = ids
				})
			})
		}
		time.Sleep(200 * time.Millisecond) // much less than a heartbeat interval
		synctest.Wait()
		mu.Lock()
		require.Len(t, slices.Concat(held...), 4, "%v", held)
		for i := range held {
			require.NotEmpty(t, held[i], "%v", held)
		}
		mu.Unlock()
		d := s.Describe(ctx, "pay")
		require.Equal(t, Settled, d.Info.Status)
		require.Len(t, d.Info.Members, 3)
		require.Equal(t, []string{"pay"}, s.List(ctx).Groups)
		require.Equal(t, partition.UnknownGroup, s.Describe(ctx, "other").Code)

		quiet := store.batches
		time.Sleep(time.Minute)
		require.Equal(t, quiet, store.batches, "heartbeats of a quiet group write nothing")
		stop()
		all.Wait()
		require.Equal(t, partition.NotCoordinator, s.List(t.Context()).Code, "after its end")
	})
}

func TestServiceAnswersParkedHeartbeatsWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := NewService(ServiceConfig{}, &memStore{}, rides)
		var run sync.WaitGroup
		run.Go(func() { _ = s.Run(ctx) })
		synctest.Wait()
		joined := s.Heartbeat(t.Context(), HeartbeatRequest{Group: "g", Member: "m", Sequence: 1, Topics: []string{"rides"}})
		require.Equal(t, partition.OK, joined.Code)
		require.Len(t, joined.Assignment.Partitions, 4)

		begin := time.Now()
		beat := HeartbeatRequest{Group: "g", Member: "m", Epoch: joined.Epoch, Sequence: 2, Version: joined.Assignment.Version}
		empty := s.Heartbeat(t.Context(), beat)
		require.Equal(t, partition.OK, empty.Code)
		require.Nil(t, empty.Assignment)
		require.Equal(t, 3*time.Second, time.Since(begin), "parked for the interval")

		beat.Sequence = 3
		answers := make(chan HeartbeatResponse, 1)
		go func() { answers <- s.Heartbeat(t.Context(), beat) }()
		synctest.Wait()
		stop()
		run.Wait()
		require.Equal(t, partition.NotCoordinator, (<-answers).Code)
	})
}

func TestServiceForgetsACallerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		s := NewService(ServiceConfig{}, &memStore{}, rides)
		go func() { _ = s.Run(ctx) }()
		synctest.Wait()
		joined := s.Heartbeat(ctx, HeartbeatRequest{Group: "g", Member: "m", Sequence: 1, Topics: []string{"rides"}})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		got := s.Heartbeat(short, HeartbeatRequest{Group: "g", Member: "m", Epoch: joined.Epoch, Sequence: 2, Version: joined.Assignment.Version})
		require.NotEqual(t, partition.OK, got.Code)
		synctest.Wait()
		require.Empty(t, s.waiting)
		require.Nil(t, s.term.groups["g"].members["m"].parked)
	})
}

func TestServiceLoadsAnewAfterAFailure(t *testing.T) {
	for name, appends := range map[string]bool{"append": true, "wait": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				store := &memStore{lag: time.Millisecond}
				s := NewService(ServiceConfig{}, store, rides)
				go func() { _ = s.Run(ctx) }()
				synctest.Wait()
				commit := func(offset log.Offset) partition.Code {
					r := s.Commit(ctx, offsets.CommitRequest{Group: "g", MemberEpoch: offsets.NoMember,
						Partitions: []offsets.PartitionCommit{{ID: id(1, 0), Offset: offset}}})
					if r.Code == partition.OK {
						return r.Partitions[0]
					}
					return r.Code
				}
				require.Equal(t, partition.OK, commit(5))
				boom := errors.New("boom")
				if appends {
					store.fail(boom)
				} else {
					time.AfterFunc(500*time.Microsecond, func() { store.fail(boom) })
				}
				require.Equal(t, partition.NotCoordinator, commit(6), "the outcome is open")
				store.fail(nil)
				time.Sleep(time.Second)
				got := s.Fetch(ctx, offsets.FetchRequest{Group: "g", MemberEpoch: offsets.NoMember})
				require.Equal(t, partition.OK, got.Code)
				want := log.Offset(6) // it had been appended, and so has come true
				if appends {
					want = 5
				}
				require.Equal(t, want, got.Partitions[0].Commit.Offset)
				require.Equal(t, partition.OK, commit(7))
			})
		})
	}
}

func TestServiceNoticesThatTopicsHaveChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		topics := memTopics{}
		s := NewService(ServiceConfig{}, &memStore{}, topics)
		go func() { _ = s.Run(ctx) }()
		synctest.Wait()
		joined := s.Heartbeat(ctx, HeartbeatRequest{Group: "g", Member: "m", Sequence: 1, Topics: []string{"rides"}})
		require.Empty(t, joined.Assignment.Partitions)
		answers := make(chan HeartbeatResponse, 1)
		go func() {
			answers <- s.Heartbeat(ctx, HeartbeatRequest{Group: "g", Member: "m", Epoch: joined.Epoch, Sequence: 2, Version: joined.Assignment.Version})
		}()
		synctest.Wait()
		topics["rides"] = Topic{Name: "rides", ID: partition.UUID{1}, Partitions: 2}
		s.TopicsChanged()
		require.Len(t, (<-answers).Assignment.Partitions, 2, "the parked heartbeat is answered at once")
	})
}

func TestServiceRefusesWithoutKeepingAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		store := &memStore{}
		s := NewService(ServiceConfig{}, store, rides)
		go func() { _ = s.Run(ctx) }()
		synctest.Wait()
		for want, r := range map[partition.Code]HeartbeatRequest{
			partition.UnknownMember: {Group: "g", Member: "m", Epoch: 4, Sequence: 1},
			partition.Malformed:     {Group: "g", Member: "m", Sequence: 1},
			partition.Unsupported:   {Group: "g", Member: "m", Sequence: 1, Topics: []string{}, Instance: "i"},
		} {
			require.Equal(t, want, s.Heartbeat(ctx, r).Code)
		}
		require.Equal(t, partition.UnknownMember, s.Commit(ctx, offsets.CommitRequest{Group: "g", Member: "m", MemberEpoch: 3}).Code)
		require.Equal(t, partition.Malformed, s.Commit(ctx, offsets.CommitRequest{MemberEpoch: -1}).Code)
		require.Empty(t, s.List(ctx).Groups)
		require.Empty(t, store.records)
	})
}
