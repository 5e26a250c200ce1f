package consume

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A realGroup has the true coordinator in place of the fake's. Calls to it are
// lost at random, on the way there or on the way back.
type realGroup struct {
	*fakeCluster
	service *group.Service
	rng     *rand.Rand
	loss    int // of a hundred
}

// A memoryStore keeps what is appended, and calls it committed.
type memoryStore struct {
	mu      sync.Mutex // guards records
	records []log.Record
}

func (s *memoryStore) Append(records []log.Record) (log.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, records...)
	return log.Offset(len(s.records)), nil
}

func (s *memoryStore) Wait(context.Context, log.Offset) error { return nil }

func (s *memoryStore) Scan(_ context.Context, each func(log.Record) error) error {
	s.mu.Lock()
	records := s.records
	s.mu.Unlock()
	for _, r := range records {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

type oneTopic struct{ partitions int }

func (o oneTopic) Topic(name string) (partition.UUID, int, bool) {
	return idIn(name, 0).Topic, o.partitions, name == "a"
}

// lost reports whether a message is lost, and waits as long as one takes.
func (g *realGroup) lost() bool {
	g.mu.Lock()
	lost, delay := g.rng.IntN(100) < g.loss, time.Duration(g.rng.IntN(2000))*time.Microsecond
	g.mu.Unlock()
	time.Sleep(delay)
	return lost
}

func (g *realGroup) Heartbeat(ctx context.Context, req group.HeartbeatRequest) (group.HeartbeatResponse, error) {
	if g.lost() {
		<-ctx.Done()
		return group.HeartbeatResponse{}, ctx.Err()
	}
	resp := g.service.Heartbeat(ctx, req)
	if g.lost() {
		<-ctx.Done()
		return group.HeartbeatResponse{}, ctx.Err()
	}
	return resp, ctx.Err()
}

func (g *realGroup) Commit(ctx context.Context, req offsets.CommitRequest) (offsets.CommitResponse, error) {
	if g.lost() {
		return offsets.CommitResponse{}, context.DeadlineExceeded
	}
	resp := g.service.Commit(ctx, req)
	if g.lost() {
		return offsets.CommitResponse{}, context.DeadlineExceeded
	}
	return resp, nil
}

func (g *realGroup) FetchOffsets(ctx context.Context, req offsets.FetchRequest) (offsets.FetchResponse, error) {
	return g.service.Fetch(ctx, req), nil
}

// Consumers come and go, and messages are lost. No two of them ever work on one
// partition at the same time, and every record is worked on.
func TestGroupSharesItsPartitions(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { shareOut(t, seed) })
		})
	}
}

func shareOut(t *testing.T, seed uint64) {
	const partitions, records, members = 6, 400, 4
	g := &realGroup{fakeCluster: newFake(), rng: rand.New(rand.NewPCG(seed, 1)), loss: int(seed % 4 * 5)}
	g.partitions = partitions
	g.service = group.NewService(group.ServiceConfig{}, &memoryStore{}, oneTopic{partitions})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = g.service.Run(ctx) })
	for n := range partitions {
		for range records / 10 {
			g.write(at(n), 10)
		}
	}

	var mu sync.Mutex // guards busy, seen and left
	busy := map[partition.PartitionID]int{}
	seen := map[Place]map[log.Offset]bool{}
	left := partitions * records
	done, finish := context.WithCancel(t.Context())
	work := func(rec Record, member int, d time.Duration) {
		mu.Lock()
		if other, ok := busy[rec.Partition]; ok {
			t.Errorf("members %d and %d both work on partition %d", member, other, rec.Partition)
		}
		busy[rec.Partition] = member
		mu.Unlock()
		time.Sleep(d)
		mu.Lock()
		defer mu.Unlock()
		delete(busy, rec.Partition)
		p := place(int(rec.Partition))
		if seen[p] == nil {
			seen[p] = map[log.Offset]bool{}
		}
		if !seen[p][rec.Offset] {
			seen[p][rec.Offset] = true
			if left--; left == 0 {
				finish()
			}
		}
	}
	for m := range members {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(10+m)))
			for done.Err() == nil {
				cfg := inGroup()
				cfg.Member = fmt.Sprint(m, " ", rng.Uint64())
				c, err := New(cfg, g)
				if err != nil {
					t.Error(err)
					return
				}
				most := 50 + rng.IntN(300)
				for rec, err := range c.Records(done) {
					if err != nil {
						t.Errorf("seed %d: %v", seed, err)
						break
					}
					work(rec, m, time.Duration(rng.IntN(30))*time.Millisecond)
					if most--; most == 0 {
						break
					}
				}
				_ = c.Close(t.Context())
			}
		})
	}
	timeout := time.AfterFunc(time.Hour, func() {
		t.Errorf("seed %d: %d records were never delivered", seed, left)
		finish()
	})
	<-done.Done()
	timeout.Stop()
	time.Sleep(time.Minute)
	stop()
	running.Wait()
	require.False(t, t.Failed(), "seed %d", seed)
}
