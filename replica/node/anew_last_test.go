package node

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// A reader or follower that meets the damage gets no wrong byte: the leader gives its
// place away, and the asker goes on there.
func TestReadersMeetDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		old := w.leader(w.id).self
		w.kill(old) // its memory is empty then
		w.a.lead(old%3 + 1)
		w.flip(old, 1)
		w.start(old)
		begun := time.Now()
		w.waitISR(w.id, 3)
		resp := w.node(w.a.leader).HandleTransfer(t.Context(), partition.TransferRequest{ID: w.id, To: old})
		require.Equal(t, partition.OK, resp.Code)
		w.until("the transfer", func() bool { n := w.leader(w.id); return n != nil && n.self == old })

		var from log.Offset
		var refused partition.Code
		w.until("all records", func() bool {
			n := w.leader(w.id)
			if n == nil {
				return false
			}
			resp, data := n.HandleRead(t.Context(), partition.ReadRequest{MaxBytes: 2000, MinBytes: 1, Partitions: []partition.ReadPartition{
				{ID: w.id, Epoch: log.NoEpoch, From: from, MaxBytes: 2000}}})
			if code := resp.Partitions[0].Code; code != partition.OK {
				require.True(t, code.Retriable(), code)
				refused = code
				return false
			}
			if len(data[0]) > 0 {
				for rest := data[0]; len(rest) > 0; {
					var b log.Batch
					var err error
					b, rest, err = log.SplitBatch(rest)
					require.NoError(t, err)
					require.NoError(t, b.Check())
					require.LessOrEqual(t, b.First(), from)
					from = b.Next()
				}
			}
			return int(from) == w.sent
		})
		require.NotZero(t, refused)
		require.Less(t, time.Since(begun), scrubDelay, "nobody else has found it")
		require.NotEqual(t, old, w.leader(w.id).self)
		w.alike()
	})
}

// What nobody else has is never given up: the copy stays, and says what is wrong; when
// another has caught up it takes over.
func TestTheLastCopyIsNotDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 1)
		one := w.leader(w.id).self
		w.a.lead(one)
		others := make([]partition.BrokerID, 0, 2)
		for id := range partition.BrokerID(3) {
			if id+1 != one {
				others = append(others, id+1)
				w.kill(id + 1)
			}
		}
		w.waitISR(w.id, 1)
		w.fill(5)
		before := len(w.files(one, ".log"))
		w.flip(one, 2)
		time.Sleep(2 * scrubDelay)
		n := w.node(one)
		require.NotNil(t, n.replica(w.id).damage.Load())
		require.Equal(t, one, w.leader(w.id).self)
		require.Len(t, w.files(one, ".log"), before)
		require.Empty(t, w.files(one, ".aside"))
		require.Contains(t, n.HandleInfo(t.Context(), partition.InfoRequest{ID: w.id}).Damage, filepath.Base(w.segment(one, 2)))
		w.fill(5) // it still takes what comes

		require.NoError(t, w.stop(one)) // what is known is not forgotten
		w.start(one)
		w.ready(one)
		w.until("the same leader", func() bool { return w.leader(w.id) != nil })
		require.NotEmpty(t, n.damageOf(w.id))
		require.NotEmpty(t, w.node(one).damageOf(w.id))

		w.start(others[0]) // it has all but the last, and needs nothing that is damaged
		w.until("another leader", func() bool { n := w.leader(w.id); return n != nil && n.self == others[0] })
		w.start(others[1])
		w.alike()
	})
}

// A sole copy that does not open keeps the partition offline until an operator decides.
func TestTheLastCopyThatDoesNotOpenStaysOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 1)
		one := w.leader(w.id).self
		other := one%3 + 1
		w.a.lead(other)
		w.kill(6 - one - other)
		w.isolate(other, one)
		w.fill(5) // it is left behind
		w.waitISR(w.id, 1)
		w.kill(one)
		w.heal()
		w.flip(one, len(w.files(one, ".log"))-2)
		for _, at := range []int64{20, 532} {
			require.NoError(t, w.members[one].disk.FlipBit(filepath.Join(wornDir, "flushed"), at, 1))
		}
		before := len(w.files(one, ".log"))
		w.start(one)
		w.ready(one)
		time.Sleep(5 * time.Second)
		require.True(t, w.leader(w.id) == nil)
		require.Len(t, w.files(one, ".log"), before)
		require.Empty(t, w.files(one, ".aside"))
		st, _ := w.node(other).State(w.id)
		require.Equal(t, []partition.BrokerID{one}, st.LastKnownELR)
		require.Contains(t, w.node(one).HandleInfo(t.Context(), partition.InfoRequest{ID: w.id}).Damage, "flushed")

		resp := w.node(other).HandleElect(t.Context(), partition.ElectRequest{ID: w.id})
		require.Equal(t, partition.OK, resp.Code, resp.Text)
		w.until("the elected", func() bool { n := w.leader(w.id); return n != nil && n.self == other })
		w.waitISR(w.id, 2)
		require.Empty(t, w.node(one).damageOf(w.id))
	})
}

// isolate loses all fetches between two brokers.
func (w *worn) isolate(a, b partition.BrokerID) {
	w.net.Lose(func(from, to transport.Addr, f transport.Frame) bool {
		between := string(from) == addr(a) && string(to) == addr(b) || string(from) == addr(b) && string(to) == addr(a)
		return between && f.Kind == transport.Kind(KindFetch)
	})
}

func (w *worn) heal() { w.net.Lose(nil) }

// A copy that is gone with its directory was complete, as far as the table knows: it
// must not be elected for that, and what the others have is waited for.
func TestADirectoryThatIsGoneIsNotElected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		for id := range partition.BrokerID(3) {
			w.kill(id + 1)
		}
		require.NoError(t, removeIn(w.members[1].disk, wornDir, ""))
		require.NoError(t, w.members[1].disk.Remove(wornDir))
		w.start(1) // it runs the controller, and is the first of the replicas
		w.ready(1)
		time.Sleep(5 * time.Second)
		require.True(t, w.leader(w.id) == nil)
		if r := w.node(1).replica(w.id); r == nil || !r.behind.Load() {
			// Nobody led, so that it could not be made anew, and is marked as lacking records.
			require.Contains(t, w.node(1).damageOf(w.id), "rides-0 is gone")
		}
		w.start(2)
		w.start(3)
		w.alike()
	})
}

// A copy that counts is not touched before the record is committed that takes it out:
// until then the leader may be lost, and it is the one that takes over.
func TestNothingIsDiscardedBeforeTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &worn{cluster: newCluster(t, 3)}
		w.id = w.create(partition.TopicConfig{Name: "rides", Replicas: 2, MinISR: 1, SegmentBytes: 4 << 10})
		w.waitISR(w.id, 2)
		w.fill(40)
		st, _ := w.node(1).State(w.id)
		leader, follower := st.Leader, st.ISR[0]
		if follower == leader {
			follower = st.ISR[1]
		}
		w.a.lead(6 - leader - follower) // it keeps no copy
		w.net.Lose(func(_, _ transport.Addr, f transport.Frame) bool { return f.Kind == transport.Kind(KindDiscard) })
		w.flip(follower, 2)
		time.Sleep(2 * scrubDelay)
		require.NotNil(t, w.node(follower).replica(w.id).damage.Load())
		require.NotEmpty(t, w.files(follower, "damage"))
		require.Empty(t, w.files(follower, ".aside"))

		w.net.Detach(transport.Addr(addr(leader)))
		require.NoError(t, w.members[leader].disk.PowerFail(nil))
		w.kill(leader)
		w.until("the other to lead", func() bool { n := w.leader(w.id); return n != nil && n.self == follower })
		require.Equal(t, w.sent, int(w.node(follower).replica(w.id).highWatermark()))
		w.fill(5)
		w.net.Lose(nil)
		w.start(leader)
		w.until("the first to lead again", func() bool { n := w.leader(w.id); return n != nil && n.self == leader })
		w.waitISR(w.id, 2)
		time.Sleep(2 * scrubDelay)
		w.waitISR(w.id, 2)
		for _, id := range st.ISR {
			require.Equal(t, w.sent, int(w.node(id).replica(w.id).log.End()))
			report, err := log.Verify(w.members[id].disk, wornDir)
			require.NoError(t, err)
			require.Empty(t, report.Damage, "broker %d", id)
		}
	})
}

// An unclean election may choose a copy in the making, which has been told of tombstones
// that are missing behind its end. New ones that are written there are not among these.
func TestALeaderForgetsTombstonesBehindItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		leader := w.leader(w.id).self
		w.a.lead(w.follower())
		end := w.leader(w.id).replica(w.id).log.End()
		for id := range partition.BrokerID(3) {
			if r := w.node(id + 1).replica(w.id); id+1 != leader {
				w.until("all records", func() bool { return r.log.End() == end })
				require.NoError(t, r.log.NoteRemoved(end+100))
			}
		}
		w.kill(leader)
		w.until("another leader", func() bool { return w.leader(w.id) != nil && w.leader(w.id).self != leader })
		require.Equal(t, end, w.leader(w.id).replica(w.id).log.RemovedBelow())
	})
}

// A follower that stands still, because it must discard what it holds, may be out of the
// ISR before the controller is told. It follows again then, and joins without ado.
func TestOneThatStoodStillJoinsInTheSameEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		leader, id := w.leader(w.id).self, w.follower()
		w.a.lead(leader)
		w.isolate(id, leader)
		w.fill(1)
		w.waitISR(w.id, 2)
		w.until("it to know that it is out", func() bool {
			st, _ := w.node(id).State(w.id)
			return len(st.ISR) == 2
		})
		r := w.node(id).replica(w.id)
		r.stuck.Store(true)
		before, _ := w.node(leader).State(w.id)
		w.node(id).touch()
		w.until("it to follow again", func() bool { return !r.stuck.Load() })
		w.heal()
		w.waitISR(w.id, 3)
		time.Sleep(5 * time.Second)
		after, _ := w.node(leader).State(w.id)
		require.Equal(t, before.Epoch, after.Epoch)
		require.Len(t, after.ISR, 3)
	})
}
