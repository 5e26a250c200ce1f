package consume

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func TestReadsInOrderWithoutGapOrRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for range 10 {
			f.write(at(0), 7)
			f.write(at(1), 3)
		}
		c := start(t, Config{Partitions: []Place{place(0), place(1)}, FetchBytes: 500}, f)
		next := map[partition.PartitionID]log.Offset{}
		n := 0
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, next[rec.Partition], rec.Offset)
			require.Equal(t, fmt.Sprint(rec.Offset), string(rec.Value))
			require.Equal(t, "a", rec.Topic)
			require.EqualValues(t, 1, rec.Epoch)
			next[rec.Partition]++
			if n++; n == 100 {
				f.write(at(1), 1) // while the consumer waits for more
			}
			if n == 101 {
				break
			}
		}
		require.ErrorIs(t, c.Commit(t.Context()), partition.Unsupported)
	})
}

// The iterator's promise, for each way out of the loop. The loop has asked for
// three records, 0 to 2, and has come back from two of them.
func TestPromiseOfTheIterator(t *testing.T) {
	errPanic := errors.New("of the body")
	tests := []struct {
		name      string
		leave     func(c *Consumer, ctx context.Context, cancel func())
		committed log.Offset
		next      log.Offset
	}{{
		name:      "break leaves the current record unfinished",
		leave:     func(c *Consumer, ctx context.Context, _ func()) { take(t, ctx, c, 3) },
		committed: 2, next: 2,
	}, {
		name: "panic leaves the current record unfinished",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			defer func() { require.Equal(t, errPanic, recover()) }()
			n := 0
			for range c.Records(ctx) {
				if n++; n == 3 {
					panic(errPanic)
				}
			}
		},
		committed: 2, next: 2,
	}, {
		name: "the end of the context is seen when the body has come back, so all is finished",
		leave: func(c *Consumer, ctx context.Context, cancel func()) {
			n := 0
			for _, err := range c.Records(ctx) {
				require.NoError(t, err)
				if n++; n == 3 {
					cancel()
				}
			}
			require.Equal(t, 3, n)
		},
		committed: 3, next: 3,
	}, {
		name: "commit before break says otherwise",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			for rec, err := range c.Records(ctx) {
				require.NoError(t, err)
				if rec.Offset == 2 {
					require.NoError(t, c.Commit(ctx, rec))
					break
				}
			}
		},
		committed: 3, next: 3,
	}, {
		name: "commit of nothing means what is finished",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			for rec, err := range c.Records(ctx) {
				require.NoError(t, err)
				if rec.Offset == 2 {
					require.NoError(t, c.Commit(ctx))
					break
				}
			}
		},
		committed: 2, next: 2,
	}, {
		name: "a Poll says that the one before is processed",
		leave: func(c *Consumer, ctx context.Context, _ func()) {
			recs, err := c.Poll(ctx, 2)
			require.NoError(t, err)
			require.Equal(t, []log.Offset{0, 1}, offsetsOf(recs))
			recs, err = c.Poll(ctx, 1)
			require.NoError(t, err)
			require.Equal(t, []log.Offset{2}, offsetsOf(recs))
			require.NoError(t, c.Commit(ctx))
		},
		committed: 2, next: 3,
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.write(at(0), 10)
				f.assign(at(0))
				c := start(t, inGroup(), f)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				tt.leave(c, ctx, cancel)
				require.Equal(t, tt.committed, f.committed(at(0)))
				require.Equal(t, tt.next, take(t, t.Context(), c, 1)[0].Offset)
			})
		})
	}
}

func TestWhatIsFinishedIsCommittedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 4 {
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				require.EqualValues(t, 4, f.committed(at(0)), "the record in hand is not finished")
				require.EqualValues(t, 1, f.requests[0].Partitions[0].Epoch)
				break
			}
		}
	})
}

func TestManualCommitsNothingByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		cfg := inGroup()
		cfg.Manual = true
		c := start(t, cfg, f)
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 5 {
				time.Sleep(3 * time.Second)
				break
			}
		}
		require.EqualValues(t, -1, f.committed(at(0)))
		recs, err := c.Poll(t.Context(), 100)
		require.NoError(t, err)
		require.Equal(t, []log.Offset{5, 6, 7, 8, 9}, offsetsOf(recs))
		require.NoError(t, c.Commit(t.Context(), recs[1], recs[0]))
		require.EqualValues(t, 7, f.committed(at(0)))
		require.NoError(t, c.Close(t.Context()))
		require.EqualValues(t, 7, f.committed(at(0)))
	})
}

func TestTransientFaultsAreNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		n := 0
		f.fault = func(what string) (partition.Code, error) {
			n++
			switch n % 3 {
			case 0:
				return partition.OK, nil
			case 1:
				return partition.OK, errors.New("broken link")
			}
			if what == "read" || what == "info" {
				return partition.NotLeader, nil
			}
			return partition.NotCoordinator, nil
		}
		f.write(at(0), 50)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		recs := take(t, t.Context(), c, 50)
		require.Len(t, recs, 50)
		require.EqualValues(t, 49, f.committed(at(0)))
	})
}

func TestLeaderIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.leader[at(0)] = Leader{}
		f.write(at(0), 1)
		c := start(t, Config{Partitions: []Place{place(0)}}, f)
		go func() {
			time.Sleep(time.Minute)
			f.with(func() {
				f.leader[at(0)] = Leader{Broker: 2, Epoch: 2}
				close(f.changed)
				f.changed = make(chan struct{})
			})
		}()
		began := time.Now()
		take(t, t.Context(), c, 1)
		require.Equal(t, time.Minute, time.Since(began))
		f.with(func() { require.Less(t, f.reads, 3) })
	})
}

func TestTopicThatIsNotThereYetIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.partitions = 0
		f.write(at(0), 1)
		f.assign(at(0))
		for _, cfg := range []Config{{Partitions: []Place{place(0)}}, inGroup()} {
			f.with(func() { f.partitions = 0 })
			c := start(t, cfg, f)
			go func() {
				time.Sleep(time.Second)
				f.with(func() {
					f.partitions = 1
					close(f.changed)
					f.changed = make(chan struct{})
				})
			}()
			began := time.Now()
			take(t, t.Context(), c, 1)
			require.Equal(t, time.Second, time.Since(began))
		}
	})
}

func TestWhereToBegin(t *testing.T) {
	tests := []struct {
		name      string
		start     Start
		committed log.Offset // -1: nothing
		want      log.Offset
	}{
		{"earliest", Earliest, -1, 5},
		{"latest", Latest, -1, 10},
		{"committed", Latest, 7, 7},
		{"committed before the start of the log, earliest", Earliest, 2, 5},
		{"committed before the start of the log, latest", Latest, 2, 10},
		{"committed behind the end of the log", Earliest, 20, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.log(at(0)).start = 5
				f.write(at(0), 5)
				if tt.committed >= 0 {
					f.commits[at(0)] = tt.committed
				}
				f.assign(at(0))
				cfg := inGroup()
				cfg.Start = tt.start
				c := start(t, cfg, f)
				go func() {
					time.Sleep(time.Second)
					f.write(at(0), 1)
				}()
				require.Equal(t, tt.want, take(t, t.Context(), c, 1)[0].Offset)
				time.Sleep(time.Second)
			})
		})
	}
}

func TestSeekPauseResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 100)
		f.write(at(1), 100)
		f.assign(at(0), at(1))
		c := start(t, inGroup(), f)
		require.ErrorIs(t, c.Seek(place(0), 5), ErrNotAssigned)
		n := 0
		var want log.Offset
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Partition == 1 {
				require.NoError(t, c.Pause(place(1)))
				continue
			}
			switch n++; {
			case n == 1:
				require.NoError(t, c.Seek(place(0), 50))
				want = 50
				continue
			case n == 3:
				require.NoError(t, c.Seek(place(0), 10))
				want = 10
				continue
			}
			require.Equal(t, want, rec.Offset)
			want++
			if n == 20 {
				require.NoError(t, c.Commit(t.Context()))
				require.Equal(t, rec.Offset, f.committed(at(0)), "what is committed may go back with Seek")
				break
			}
		}
		require.NoError(t, c.Pause(place(0)))
		require.NoError(t, c.Resume(place(1)))
		require.EqualValues(t, 1, take(t, t.Context(), c, 1)[0].Partition)
		require.Equal(t, []Place{place(0), place(1)}, c.Assigned())
	})
}

func TestSeekMakesAReadUnderWayVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 100)
		f.write(at(0), 100)
		f.commits[at(0)] = 100
		f.assign(at(0))
		f.delay = time.Second
		c := start(t, inGroup(), f)
		time.AfterFunc(time.Second/2, func() { require.NoError(t, c.Seek(place(0), 10)) })
		require.EqualValues(t, 10, take(t, t.Context(), c, 1)[0].Offset)
	})
}

func TestCommitOfAnEarlierRecordTakesNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		var second Record
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 1 {
				second = rec
			}
			if rec.Offset == 5 {
				require.NoError(t, c.Commit(t.Context(), second))
				require.EqualValues(t, 5, f.committed(at(0)))
				break
			}
		}
	})
}

// The process may be suspended, so that nothing sees the lease run out before the
// loop asks for a record.
func TestLeaseIsCheckedAtDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.assign(at(0))
		c := start(t, inGroup(), f)
		c.step(group.Tick{}) // run is not started: nobody looks at the time
		synctest.Wait()
		f.with(func() { f.silent = true })
		c.mu.Lock()
		defer c.mu.Unlock()
		p := c.parts[0]
		p.start(mark{0, log.NoEpoch})
		p.add(make(log.Batch, log.BatchOverhead))
		require.Equal(t, p, c.ready(time.Now().Add(29*time.Second)))
		require.Nil(t, c.ready(time.Now().Add(30*time.Second)))
	})
}

func TestOneLoopAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		c := start(t, Config{Partitions: []Place{place(0)}}, f)
		for range c.Records(t.Context()) {
			_, err := c.Poll(t.Context(), 1)
			require.ErrorIs(t, err, ErrInUse)
			for _, err := range c.Records(t.Context()) {
				require.ErrorIs(t, err, ErrInUse)
			}
			break
		}
		require.Len(t, take(t, t.Context(), c, 10), 10)
	})
}

func TestCorruptBatchIsAnErrorWithItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 2)
		f.write(at(0), 2)
		f.logs[at(0)].batches[1][70] ^= 1
		c := start(t, Config{Partitions: []Place{place(0)}}, f)
		n := 0
		var fault error
		for _, err := range c.Records(t.Context()) {
			if fault = err; err == nil {
				n++
			}
		}
		require.ErrorIs(t, fault, log.ErrCorrupt)
		var e *Error
		require.ErrorAs(t, fault, &e)
		require.Equal(t, place(0), e.Place)
		f.logs[at(0)].batches[1][70] ^= 1
		require.Len(t, take(t, t.Context(), c, 4-n), 4-n)
	})
}

func TestBufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for range 100 {
			f.write(at(0), 10)
		}
		size := len(f.logs[at(0)].batches[0])
		c := start(t, Config{Partitions: []Place{place(0)}, FetchBytes: 4 * size, BufferBytes: 8 * size}, f)
		wide := start(t, Config{Partitions: []Place{place(0)}, FetchBytes: 4 * size, BufferBytes: 1000 * size}, f)
		for _, c := range []*Consumer{c, wide} {
			f.with(func() { f.reads = 0 })
			for range c.Records(t.Context()) {
				time.Sleep(time.Second)
				synctest.Wait()
				c.mu.Lock()
				buffered := c.buffered()
				c.mu.Unlock()
				require.LessOrEqual(t, buffered, 8*size)
				f.with(func() { require.LessOrEqual(t, f.reads, 3) })
				break
			}
			require.Len(t, take(t, t.Context(), c, 1000), 1000)
			require.NoError(t, c.Close(t.Context()))
		}
	})
}

func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.write(at(1), 10)
		f.assign(at(0), at(1))
		cfg := inGroup()
		var said []string
		inBody := false
		note := func(what string) func([]Place) {
			return func(places []Place) {
				require.False(t, inBody, "no call-back runs beside a loop body")
				said = append(said, fmt.Sprint(what, places, f.committed(at(0))))
			}
		}
		cfg.OnAssigned, cfg.OnRevoked, cfg.OnLost = note("assigned"), note("revoked"), note("lost")
		c := start(t, cfg, f)
		seen := map[partition.PartitionID]int{}
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			inBody = true
			seen[rec.Partition]++
			if rec.Partition == 0 && rec.Offset == 3 {
				f.assign(at(1))
				time.Sleep(10 * time.Second)
				synctest.Wait()
				owned := f.beats[len(f.beats)-1].Owned
				require.Contains(t, owned, at(0), "it is held while the body has a record of it")
			}
			inBody = false
			if seen[1] == 10 && seen[0] > 0 {
				break
			}
		}
		require.Equal(t, 4, seen[0], "nothing is delivered of what is being revoked")
		require.Equal(t, []string{"assigned[a/0 a/1] -1", "revoked[a/0] 4"}, said)
		synctest.Wait()
		require.Equal(t, []partition.ID{at(1)}, f.beats[len(f.beats)-1].Owned)
		require.NoError(t, c.Close(t.Context()))
		require.Equal(t, "revoked[a/1] 4", said[2])
		require.EqualValues(t, -1, f.beats[len(f.beats)-1].Epoch)
	})
}

func TestRevocationWaitsForTheLoopBodyAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0), at(1))
		c := start(t, inGroup(), f)
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 3 {
				f.assign(at(0)) // the body has nothing of partition 1
				synctest.Wait()
				require.Equal(t, []partition.ID{at(0)}, f.beats[len(f.beats)-1].Owned)
				f.assign(at(2))
				time.Sleep(20 * time.Second)
				synctest.Wait()
				require.Contains(t, f.beats[len(f.beats)-1].Owned, at(0))
				time.AfterFunc(time.Second, func() { f.write(at(2), 1) })
			}
			if rec.Partition == 2 {
				break
			}
		}
		require.EqualValues(t, 4, f.committed(at(0)))
	})
}

// A body that does not come back in time loses everything, and may not commit.
func TestRebalanceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		lost := make(chan []Place, 1)
		cfg := inGroup()
		cfg.OnLost = func(places []Place) { lost <- places }
		c := start(t, cfg, f)
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			f.assign()
			time.Sleep(61 * time.Second)
			require.ErrorIs(t, c.Commit(t.Context(), rec), ErrNotAssigned)
			require.Empty(t, lost)
			break
		}
		require.Equal(t, []Place{place(0)}, <-lost)
	})
}

func TestRevocationWithoutALoopIsDoneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		take(t, t.Context(), c, 3)
		f.assign()
		synctest.Wait()
		require.Empty(t, f.beats[len(f.beats)-1].Owned)
		require.Empty(t, c.Assigned())
		f.assign(at(0))
		require.EqualValues(t, 2, take(t, t.Context(), c, 1)[0].Offset, "from what was committed")
	})
}

func TestFencedMemberLosesEverythingAndJoinsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		cfg := inGroup()
		lost := 0
		cfg.OnLost = func(places []Place) { lost += len(places) }
		c := start(t, cfg, f)
		var offs []log.Offset
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			offs = append(offs, rec.Offset)
			if len(offs) == 3 {
				f.with(func() {
					f.fenced = true
					f.target.Version++
					f.tell()
				})
				synctest.Wait()
				var e *CommitError
				require.ErrorAs(t, c.Commit(t.Context(), rec), new(*Error))
				require.False(t, errors.As(c.Commit(t.Context(), rec), &e) && e.Unknown)
			}
			if len(offs) == 5 {
				break
			}
		}
		require.Equal(t, []log.Offset{0, 1, 2, 0, 1}, offs, "nothing was committed of what was lost")
		require.Equal(t, 1, lost)
	})
}

func TestNothingIsDeliveredWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 1000)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		n := 0
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var last time.Time
		began := time.Now()
		for _, err := range c.Records(ctx) {
			require.NoError(t, err)
			last = time.Now()
			if n++; n == 10 {
				f.with(func() { f.silent = true })
			}
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, last.Sub(began), 45*time.Second)
		require.Greater(t, last.Sub(began), 30*time.Second)
	})
}

func TestTheWayOutIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 10)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		began := time.Now()
		for rec, err := range c.Records(t.Context()) {
			require.NoError(t, err)
			if rec.Offset == 2 {
				f.with(func() {
					f.silent = true
					f.fault = func(what string) (partition.Code, error) {
						if what == "commit" {
							return 0, errors.New("broken link")
						}
						return partition.OK, nil
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				err := c.Commit(ctx, rec)
				cancel()
				require.ErrorIs(t, err, ErrOutcomeUnknown)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				break
			}
		}
		require.Equal(t, 6*time.Second, time.Since(began))
		require.ErrorIs(t, c.Close(t.Context()), context.DeadlineExceeded)
		require.Equal(t, 11*time.Second, time.Since(began))
	})
}

func TestCloseEndsALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 3)
		f.assign(at(0))
		c := start(t, inGroup(), f)
		done := make(chan error)
		var last error
		var first Record
		go func() {
			for rec, err := range c.Records(t.Context()) {
				if err == nil && rec.Offset == 0 {
					first = rec
				}
				if last = err; err == nil && rec.Offset == 2 {
					time.Sleep(2 * time.Second)
					if err := c.Commit(t.Context(), first); err != nil {
						t.Errorf("a body that Close waits for may commit: %v", err)
					}
				}
			}
			close(done)
		}()
		synctest.Wait()
		require.NoError(t, c.Close(t.Context()))
		<-done
		require.ErrorIs(t, last, ErrClosed)
		require.EqualValues(t, 3, f.committed(at(0)))
		_, err := c.Poll(t.Context(), 1)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, c.Commit(t.Context()), ErrClosed)
		require.ErrorIs(t, c.Commit(t.Context(), first), ErrClosed)
		require.NoError(t, c.Close(t.Context()))
	})
}

// A Close that gives up on a loop body says nothing of its partitions beside it.
func TestCloseThatDoesNotGetTheBodyBack(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.write(at(0), 3)
			f.assign(at(0))
			cfg := inGroup()
			var inBody atomic.Bool
			cfg.OnRevoked = func([]Place) { require.False(t, inBody.Load()) }
			c := start(t, cfg, f)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range c.Records(t.Context()) {
					inBody.Store(true)
					time.Sleep(time.Minute)
					inBody.Store(false)
				}
			}()
			synctest.Wait()
			require.True(t, inBody.Load())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_ = c.Close(ctx)
			require.True(t, inBody.Load())
			<-done
		})
	}
}

// One that closes while nobody processes anything is told, however little time there is.
func TestCloseTellsAnIdleLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.assign(at(0))
		cfg := inGroup()
		var told []Place
		cfg.OnRevoked = func(places []Place) { told = places }
		c := start(t, cfg, f)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, err := range c.Records(t.Context()) {
				if !errors.Is(err, ErrClosed) {
					t.Error("a record", err)
				}
			}
		}()
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = c.Close(ended)
		require.Len(t, told, 1)
		<-done
	})
}

func TestFatalAnswerOfTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fault = func(string) (partition.Code, error) { return partition.Unsupported, nil }
		c := start(t, inGroup(), f)
		for range 2 {
			_, err := c.Poll(t.Context(), 1)
			require.ErrorIs(t, err, partition.Unsupported)
		}
		require.NoError(t, c.Close(t.Context()))
	})
}

func TestPartitionThatComesDoesNotWaitForAParkedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(1), 1)
		f.assign(at(0))
		cfg := inGroup()
		cfg.MaxWait = time.Minute
		c := start(t, cfg, f)
		go func() {
			time.Sleep(time.Second)
			f.assign(at(0), at(1))
		}()
		began := time.Now()
		take(t, t.Context(), c, 1)
		require.Less(t, time.Since(began), 1010*time.Millisecond)
	})
}

// Two requests that are in somebody's way become old enough at different moments:
// the consumer must wait for both without waking itself by turns.
func TestTwoParkedReadsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for n := range 4 {
			f.leader[at(n)] = Leader{Broker: partition.BrokerID(1 + n%2), Epoch: 1}
		}
		c := start(t, Config{Partitions: []Place{place(0), place(1), place(2), place(3)}, MaxWait: time.Minute}, f)
		go func() {
			time.Sleep(time.Second)
			_ = c.Pause(place(2), place(3))
			for _, n := range []int{2, 3, 0, 1} { // the last two reads leave at two moments
				f.write(at(n), 1)
				time.Sleep(500 * time.Microsecond)
			}
			f.with(func() { f.looks = 0 })
			_ = c.Resume(place(2), place(3))
		}()
		began := time.Now()
		require.Len(t, take(t, t.Context(), c, 4), 4)
		require.Less(t, time.Since(began), 1010*time.Millisecond)
		f.with(func() { require.Less(t, f.looks, 100) })
	})
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"Partitions":     {},
		"Topics":         {Group: "g"},
		"exclude":        {Group: "g", Topics: []string{"a"}, Partitions: []Place{place(0)}},
		"Start":          {Partitions: []Place{place(0)}, Start: 7},
		"CommitInterval": {Partitions: []Place{place(0)}, CommitInterval: -1},
	} {
		_, err := New(cfg, newFake())
		require.ErrorContains(t, err, name)
	}
	_, err := New(Config{Partitions: []Place{place(0)}, Start: 7}, newFake())
	require.ErrorIs(t, err, partition.Unsupported)
}

// A leader that was deposed, and does not know it, may say of its own log that it
// ends before what has been read. That is no cut.
func TestDeposedLeaderCausesNoReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(at(0), 3)
		c := start(t, Config{Partitions: []Place{place(0)}}, f)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var got []log.Offset
		for rec, err := range c.Records(ctx) {
			require.NoError(t, err)
			if got = append(got, rec.Offset); len(got) == 3 {
				whole := f.logs[at(0)]
				f.with(func() { f.epoch0, f.logs[at(0)] = true, &fakeLog{} })
				time.AfterFunc(10*time.Second, func() {
					f.with(func() { f.epoch0, f.logs[at(0)] = false, whole })
					f.write(at(0), 1)
				})
			}
			if len(got) == 4 {
				break
			}
		}
		require.Equal(t, []log.Offset{0, 1, 2, 3}, got)
	})
}
