package consume

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

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
