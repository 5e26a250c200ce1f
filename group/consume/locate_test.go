package consume

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

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
