package consume

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

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
