package produce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

var errBroken = errors.New("broken link")

func TestSendGathersWhileABatchIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.delay = 10 * time.Millisecond
		p := start(t, Config{}, f)
		var l teller
		for n := range 5 {
			v := fmt.Sprint(n)
			p.Send(t.Context(), value(v), l.done(v))
			synctest.Wait()
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, [][]string{{"0"}, {"1", "2", "3", "4"}}, f.written())
		for n, c := range l.all() {
			require.NoError(t, c.err)
			require.Equal(t, told{value: fmt.Sprint(n), placed: Placed{Topic: "t", Offset: log.Offset(n), Epoch: 3, Timestamp: 1000}}, c)
		}
	})
}

func TestLingerWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := start(t, Config{Linger: time.Second, BatchBytes: 1000}, f)
		var l teller
		began := time.Now()
		p.Send(t.Context(), value("a"), l.done("a"))
		time.Sleep(time.Second / 2)
		p.Send(t.Context(), value("b"), l.done("b"))
		synctest.Wait()
		require.Empty(t, f.written())
		time.Sleep(time.Second / 2)
		synctest.Wait()
		require.Equal(t, [][]string{{"a", "b"}}, f.written())

		p.Send(t.Context(), value("c"), l.done("c"))
		p.Send(t.Context(), value(strings.Repeat("d", 990)), l.done("d")) // does not fit with c
		synctest.Wait()
		require.Len(t, f.written(), 3, "a full batch leaves at once, and the next behind it")

		p.Send(t.Context(), value("e"), l.done("e"))
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, time.Second, time.Since(began), "a flush does not linger")
		require.Equal(t, []string{"a", "b", "c", "d", "e"}, l.values())
	})
}

// Whatever the attempts meet, the log has the acknowledged records in the order of
// sending, done is called once each in that order, and one batch is out at a time.
func TestOrderAndExactlyOnceDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.partitions = 2
		f.delay = time.Millisecond
		f.fault = func(_ context.Context, n int) ending {
			switch n % 4 {
			case 1:
				return ending{code: partition.NotLeader}
			case 2:
				return ending{err: ErrNotSent}
			case 3:
				return ending{code: partition.NotEnoughReplicas}
			}
			return ending{}
		}
		p := start(t, Config{Partitioner: partition.Manual, BatchBytes: 300}, f)
		var tellers [2]teller
		var want [2][]string
		for n := range 200 {
			rec := value(fmt.Sprint(n))
			rec.Partition = partition.PartitionID(n % 2)
			want[n%2] = append(want[n%2], fmt.Sprint(n))
			p.Send(t.Context(), rec, tellers[n%2].done(fmt.Sprint(n)))
			if n%7 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		require.NoError(t, p.Flush(t.Context()))
		for i := range want {
			require.Equal(t, want[i], f.values("t", partition.PartitionID(i)))
			require.Equal(t, want[i], tellers[i].values())
			for n, c := range tellers[i].all() {
				require.NoError(t, c.err)
				require.EqualValues(t, n, c.placed.Offset)
			}
		}
		require.Zero(t, f.overlaps)
	})
}

func TestOutcomes(t *testing.T) {
	broken := ending{err: errBroken}
	tests := []struct {
		name    string
		fault   func(context.Context, int) ending
		want    []error
		unknown bool
		after   time.Duration
	}{{
		name: "batch that was never sent fails for good at its deadline",
		fault: func(context.Context, int) ending {
			return ending{err: ErrNotSent}
		},
		want: []error{ErrTimeout, ErrNotSent}, after: 30 * time.Second,
	}, {
		name: "batch that was refused until its deadline fails for good",
		fault: func(context.Context, int) ending {
			return ending{code: partition.NotEnoughReplicas}
		},
		want: []error{ErrTimeout, partition.NotEnoughReplicas}, after: 30 * time.Second,
	}, {
		name: "one attempt of unknown outcome makes the final error unknown",
		fault: func(_ context.Context, n int) ending {
			if n == 2 {
				return broken
			}
			return ending{code: partition.NotLeader}
		},
		want: []error{ErrTimeout, partition.NotLeader}, unknown: true, after: 30 * time.Second,
	}, {
		name: "a code of unknown outcome is told apart",
		fault: func(context.Context, int) ending {
			return ending{code: partition.NotEnoughAfterAppend, write: true}
		},
		want: []error{ErrTimeout, partition.NotEnoughAfterAppend}, unknown: true, after: 30 * time.Second,
	}, {
		name: "definite refusal ends it at once",
		fault: func(context.Context, int) ending {
			return ending{code: partition.CorruptBatch}
		},
		want: []error{partition.CorruptBatch},
	}, {
		name: "definite refusal after a broken attempt says nothing of that attempt",
		fault: func(_ context.Context, n int) ending {
			if n == 1 {
				return broken
			}
			return ending{code: partition.BatchTooLarge}
		},
		want: []error{partition.BatchTooLarge}, unknown: true, after: firstBackoff,
	}, {
		name: "attempt without an answer is cut short, and unknown",
		fault: func(ctx context.Context, _ int) ending {
			<-ctx.Done()
			return ending{err: ctx.Err()}
		},
		want: []error{ErrTimeout}, unknown: true, after: 30 * time.Second,
	}}
	for _, tt := range tests {
		for _, sync := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, sync %v", tt.name, sync), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					f.fault = tt.fault
					p := start(t, Config{}, f)
					began := time.Now()
					var err error
					if sync {
						_, err = p.SendSync(t.Context(), value("a"))
					} else {
						p.Send(t.Context(), value("a"), ReceiverFunc(func(_ Placed, e error) { err = e }))
						require.NoError(t, p.Flush(t.Context()))
					}
					for _, want := range tt.want {
						require.ErrorIs(t, err, want)
					}
					require.Equal(t, tt.unknown, errors.Is(err, ErrOutcomeUnknown), "%v", err)
					require.NotErrorIs(t, err, context.DeadlineExceeded, "nobody's context has ended")
					require.NotErrorIs(t, err, context.Canceled)
					require.Equal(t, tt.after, time.Since(began))
				})
			})
		}
	}
}

// Who got no answer may still hold the bytes: on a link that is slow to notice.
func TestBytesOfABrokenAttemptAreNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := start(t, Config{}, f)
		for n := range 50 {
			f.fault = nil
			if n%2 == 0 {
				first := true
				f.fault = func(context.Context, int) ending {
					if first {
						first = false
						return ending{err: errBroken}
					}
					return ending{}
				}
			}
			_, err := p.SendSync(t.Context(), value(fmt.Sprint("value ", n)))
			require.NoError(t, err)
		}
		require.Len(t, f.held, 25)
		for n, b := range f.held {
			require.NoError(t, b.Check())
			for rec := range b.Records() {
				require.Equal(t, fmt.Sprint("value ", 2*n), string(rec.Value))
			}
		}
	})
}

func TestLineForTheBufferMovesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget{free: 10}
		require.NoError(t, b.take(t.Context(), nil, 6))
		ctx, cancel := context.WithCancel(t.Context())
		var line sync.WaitGroup
		line.Go(func() { require.ErrorIs(t, b.take(ctx, nil, 8), context.Canceled) })
		synctest.Wait()
		line.Go(func() { require.NoError(t, b.take(t.Context(), nil, 3)) })
		synctest.Wait()
		require.Equal(t, 4, b.free, "nobody is overtaken")
		cancel()
		line.Wait()
		require.Equal(t, 1, b.free)
	})
}

func TestUnknownOutcomeIsSentAgainBeforeTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fault = func(_ context.Context, n int) ending {
			if n == 1 {
				return ending{err: errBroken, write: true}
			}
			return ending{}
		}
		p := start(t, Config{BatchBytes: 1}, f)
		var l teller
		p.Send(t.Context(), value("a"), l.done("a"))
		p.Send(t.Context(), value("b"), l.done("b"))
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, []string{"a", "a", "b"}, f.values("t", 0))
		require.EqualValues(t, 1, l.all()[0].placed.Offset)
	})
}

func TestContextEnds(t *testing.T) {
	// A blocked cluster: nothing is answered before an attempt's context ends.
	blocked := func(ctx context.Context, _ int) ending {
		<-ctx.Done()
		return ending{err: ctx.Err()}
	}
	t.Run("before the batch has left: the record is never sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.delay = time.Second
			p := start(t, Config{}, f)
			var l teller
			ctx, cancel := context.WithCancel(t.Context())
			p.Send(t.Context(), value("a"), l.done("a"))
			synctest.Wait()
			p.Send(t.Context(), value("b"), l.done("b"))
			p.Send(ctx, value("c"), l.done("c"))
			p.Send(t.Context(), value("d"), l.done("d"))
			cancel()
			p.Send(ctx, value("e"), l.done("e"))
			require.NoError(t, p.Flush(t.Context()))
			require.Equal(t, []string{"a", "b", "d"}, f.values("t", 0))
			require.Equal(t, []string{"a", "b", "c", "d", "e"}, l.values())
			for i, c := range l.all() {
				if i == 2 || i == 4 {
					require.ErrorIs(t, c.err, context.Canceled)
					require.NotErrorIs(t, c.err, ErrOutcomeUnknown)
					continue
				}
				require.NoError(t, c.err)
			}
			require.EqualValues(t, 2, l.all()[3].placed.Offset)
		})
	})
	t.Run("after the batch has left: unknown, and at once if nobody else waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.fault = blocked
			p := start(t, Config{}, f)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var l teller
			began := time.Now()
			for _, v := range []string{"a", "b"} {
				p.Send(ctx, value(v), l.done(v))
				synctest.Wait()
			}
			time.Sleep(time.Second)
			synctest.Wait()
			require.Equal(t, []string{"a", "b"}, l.values())
			require.ErrorIs(t, l.all()[0].err, ErrOutcomeUnknown)
			require.ErrorIs(t, l.all()[0].err, context.DeadlineExceeded)
			require.NotErrorIs(t, l.all()[1].err, ErrOutcomeUnknown, "b never left")
			require.ErrorIs(t, l.all()[1].err, context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(began))
		})
	})
	t.Run("of a synchronous sender who waits behind others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.delay = 10 * time.Second
			p := start(t, Config{}, f)
			p.Send(t.Context(), value("a"), ReceiverFunc(func(Placed, error) {}))
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			_, err := p.SendSync(ctx, value("b"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, ErrOutcomeUnknown)
			require.Equal(t, time.Second, time.Since(began))
			require.NoError(t, p.Flush(t.Context()))
			require.Equal(t, []string{"a"}, f.values("t", 0), "an error that is definite is true")
		})
	})
	t.Run("of one of several in a batch that has left", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.delay = 10 * time.Second
			p := start(t, Config{}, f)
			p.Send(t.Context(), value("a"), ReceiverFunc(func(Placed, error) {}))
			synctest.Wait()
			p.Send(t.Context(), value("b"), ReceiverFunc(func(Placed, error) {}))
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			_, err := p.SendSync(ctx, value("c"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, ErrOutcomeUnknown)
			require.NoError(t, p.Flush(t.Context()))
			require.Equal(t, []string{"a", "b", "c"}, f.values("t", 0))
		})
	})
}

func TestBufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.delay = time.Second
		p := start(t, Config{BufferBytes: 1100}, f)
		big := strings.Repeat("x", 300)
		var l teller
		for range 3 {
			p.Send(t.Context(), value(big), l.done("in"))
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		p.Send(ctx, value(big), l.done("late"))
		require.Equal(t, time.Second/2, time.Since(began), "blocks until its context ends")
		p.Send(t.Context(), value(big), l.done("in"))
		require.Equal(t, time.Second, time.Since(began), "goes in when there is room")
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, []string{"in", "in", "in", "late", "in"}, l.values())
		require.ErrorIs(t, l.all()[3].err, context.DeadlineExceeded)
		require.Equal(t, 1100, p.buffer.free)

		p.Send(t.Context(), value(strings.Repeat("x", 1100)), l.done("huge"))
		require.ErrorIs(t, l.all()[5].err, ErrTooLarge)
	})
}

func TestRecordAboveTheTopicsLimitIsRefusedInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.maxBatch, f.delay = 1000, time.Second
		p := start(t, Config{}, f)
		var l teller
		p.Send(t.Context(), value("a"), l.done("a"))
		p.Send(t.Context(), value(strings.Repeat("b", 1000)), l.done("b"))
		p.Send(t.Context(), value("c"), l.done("c"))
		require.Empty(t, l.all())
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, []string{"a", "b", "c"}, l.values())
		require.ErrorIs(t, l.all()[1].err, ErrTooLarge)
		require.Equal(t, []string{"a", "c"}, f.values("t", 0))
		_, err := p.SendSync(t.Context(), value(strings.Repeat("b", 1000)))
		require.ErrorIs(t, err, ErrTooLarge)
	})
}

// A leader refuses a batch whole: one record without a key would take others with it.
func TestRecordWithoutAKeyIsRefusedInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.delay = time.Second
		p := start(t, Config{}, f)
		keyed := func(v string) Record {
			rec := value(v)
			rec.Key = []byte("key")
			return rec
		}
		var l teller
		p.Send(t.Context(), value("a"), l.done("a"))
		f.compact()
		p.Send(t.Context(), keyed("b"), l.done("b"))
		require.NoError(t, p.Flush(t.Context())) // after a second it looks what has become of the topic
		p.Send(t.Context(), keyed("c"), l.done("c"))
		p.Send(t.Context(), value("d"), l.done("d"))
		p.Send(t.Context(), keyed("e"), l.done("e"))
		require.NoError(t, p.Flush(t.Context()))
		require.Equal(t, []string{"a", "b", "c", "d", "e"}, l.values())
		for _, told := range l.all() {
			if told.value == "d" {
				require.ErrorIs(t, told.err, partition.MissingKey)
				continue
			}
			require.NoError(t, told.err)
		}
		require.Equal(t, []string{"a", "b", "c", "e"}, f.values("t", 0))
	})
}

func TestRecordsWithoutAKeyStayTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.partitions = 3
		p := start(t, Config{Linger: time.Second}, f)
		for n := range 9 {
			p.Send(t.Context(), value(fmt.Sprint(n)), ReceiverFunc(func(Placed, error) {}))
			if n%3 == 2 {
				require.NoError(t, p.Flush(t.Context()))
			}
		}
		require.Equal(t, [][]string{{"0", "1", "2"}, {"3", "4", "5"}, {"6", "7", "8"}}, f.written())
		require.Equal(t, []string{"3", "4", "5"}, f.values("t", 1))

		rec := value("k")
		rec.Key = []byte("key")
		placed, err := p.SendSync(t.Context(), rec)
		require.NoError(t, err)
		want, _ := partition.ByKey.Partition(rec.Key, 3)
		require.Equal(t, want, placed.Partition)
	})
}

func TestUnknownTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.unknown = true
		p := start(t, Config{}, f)
		_, err := p.SendSync(t.Context(), value("a"))
		require.ErrorIs(t, err, ErrTimeout)
		require.NotErrorIs(t, err, ErrOutcomeUnknown)

		f.unknown = false
		denied := false
		f.fault = func(context.Context, int) ending {
			if !denied {
				denied = true
				return ending{code: partition.UnknownTopic}
			}
			return ending{}
		}
		for range 2 {
			_, err = p.SendSync(t.Context(), value("a"))
			require.NoError(t, err)
		}
		require.Equal(t, 3, f.lookUps, "who denies a topic makes the producer look again")
		rec := value("a")
		rec.Partition = 7
		manual := start(t, Config{Partitioner: partition.Manual}, f)
		_, err = manual.SendSync(t.Context(), rec)
		require.ErrorIs(t, err, partition.UnknownPartition)
	})
}

func TestClose(t *testing.T) {
	t.Run("delivers what was sent, and refuses what comes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.delay = time.Second
			p := start(t, Config{BatchBytes: 1}, f)
			var l teller
			for _, v := range []string{"a", "b", "c"} {
				p.Send(t.Context(), value(v), l.done(v))
			}
			var closing sync.WaitGroup
			closing.Go(func() { require.NoError(t, p.Close(t.Context())) })
			synctest.Wait()
			p.Send(t.Context(), value("d"), l.done("d"))
			_, err := p.SendSync(t.Context(), value("e"))
			require.ErrorIs(t, err, ErrClosed)
			closing.Wait()
			require.Equal(t, []string{"a", "b", "c", "d"}, l.values())
			require.ErrorIs(t, l.all()[3].err, ErrClosed)
			require.Equal(t, []string{"a", "b", "c"}, f.values("t", 0))
			require.NoError(t, p.Close(t.Context()))
		})
	})
	t.Run("gives up at the end of its context, and tells what left apart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.delay = time.Hour
			p := start(t, Config{BatchBytes: 1}, f)
			var l teller
			for _, v := range []string{"a", "b"} {
				p.Send(t.Context(), value(v), l.done(v))
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, p.Close(ctx), context.DeadlineExceeded)
			require.Equal(t, []string{"a", "b"}, l.values())
			require.ErrorIs(t, l.all()[0].err, ErrOutcomeUnknown)
			require.ErrorIs(t, l.all()[1].err, ErrClosed)
			require.NotErrorIs(t, l.all()[1].err, ErrOutcomeUnknown)
		})
	})
	t.Run("frees who waits for the buffer or for a topic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.delay = time.Hour
			p := start(t, Config{BufferBytes: 100}, f)
			var l teller
			var senders sync.WaitGroup
			p.Send(t.Context(), value(strings.Repeat("x", 60)), l.done("a"))
			senders.Go(func() { p.Send(t.Context(), value(strings.Repeat("x", 60)), l.done("b")) })
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.Error(t, p.Close(ctx))
			senders.Wait()
			require.Equal(t, []string{"a", "b"}, l.values())
			require.ErrorIs(t, l.all()[1].err, ErrClosed)
		})
	})
}

func TestManySenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.partitions = 3
		f.delay = time.Millisecond
		f.fault = func(_ context.Context, n int) ending {
			if n%5 == 0 {
				return ending{code: partition.NotLeader}
			}
			return ending{}
		}
		p := start(t, Config{BufferBytes: 4000, BatchBytes: 500}, f)
		var senders sync.WaitGroup
		var mu sync.Mutex
		seen := make(map[string]bool)
		for s := range 20 {
			senders.Go(func() {
				for n := range 20 {
					placed, err := p.SendSync(t.Context(), value(fmt.Sprintf("%d-%d", s, n)))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					at := fmt.Sprintf("%d/%d", placed.Partition, placed.Offset)
					if seen[at] {
						t.Errorf("two records at %s", at)
					}
					seen[at] = true
					mu.Unlock()
				}
			})
		}
		senders.Wait()
		require.Len(t, seen, 400)
		require.Zero(t, f.overlaps)
	})
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{Linger: -1, BatchBytes: -1, Acks: 9, Compression: 3}, newFake())
	for _, name := range []string{"Linger", "BatchBytes", "Acks", "Compression", "lz4"} {
		require.ErrorContains(t, err, name)
	}
	require.ErrorIs(t, err, partition.Unsupported)
}
