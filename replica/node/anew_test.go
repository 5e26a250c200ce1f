package node

import (
	"errors"
	"flag"
	"io/fs"
	"math/rand"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// A worn is a cluster of three with one partition of many small segments, whose records
// are all acknowledged, and counted here.
type worn struct {
	*cluster
	id   partition.ID
	sent int
}

func newWorn(t *testing.T, minISR int) *worn {
	w := &worn{cluster: newCluster(t, 3)}
	w.id = w.create(partition.TopicConfig{Name: "rides", Replicas: 3, MinISR: minISR, SegmentBytes: 4 << 10})
	w.waitISR(w.id, 3)
	w.fill(40)
	return w
}

// fill writes batches that are acknowledged by all in sync.
func (w *worn) fill(batches int) {
	w.t.Helper()
	for range batches {
		w.until("a record acknowledged", func() bool {
			n := w.leader(w.id)
			return n != nil && n.Produce(w.t.Context(), all(w.id), batch(3, 200)).Code == partition.OK
		})
		w.sent += 3
	}
}

const wornDir = "data/rides-0"

// segment returns the name of the n-th segment of a broker's copy.
func (w *worn) segment(id partition.BrokerID, n int) string {
	names, err := w.members[id].disk.ReadDir(wornDir)
	require.NoError(w.t, err)
	var segments []string
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			segments = append(segments, filepath.Join(wornDir, name))
		}
	}
	require.Greater(w.t, len(segments), n+1, "of a sealed segment")
	return segments[n]
}

// flip flips a bit in the n-th segment of a broker's copy.
func (w *worn) flip(id partition.BrokerID, n int) {
	require.NoError(w.t, w.members[id].disk.FlipBit(w.segment(id, n), 100, 3))
}

// wipe leaves a broker that is down with an empty disk.
func (w *worn) wipe(id partition.BrokerID) { w.members[id].disk = logtest.NewDisk(log.NewMemFS()) }

// dirs returns what stands in the directory of a broker's copy and ends so.
func (w *worn) files(id partition.BrokerID, suffix string) (found []string) {
	names, err := w.members[id].disk.ReadDir(wornDir)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(w.t, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, suffix) {
			found = append(found, name)
		}
	}
	return found
}

// alike waits until all three are in sync, and holds every batch of every copy against
// the leader's, as the disks have them.
func (w *worn) alike() {
	w.t.Helper()
	w.waitISR(w.id, 3)
	var want []byte
	for id := range partition.BrokerID(3) {
		r := w.node(id + 1).replica(w.id)
		require.NotNil(w.t, r)
		w.until("all records", func() bool { return r.log.Flushed() == w.leader(w.id).replica(w.id).log.End() })
		require.GreaterOrEqual(w.t, int(r.log.End()), w.sent, "broker %d lacks what was acknowledged", id+1)
		report, err := log.Verify(w.members[id+1].disk, wornDir)
		require.NoError(w.t, err)
		require.Empty(w.t, report.Damage, "broker %d", id+1)
		var got []byte
		for at := r.log.Start(); at < r.log.End(); {
			data, err := r.log.Read(at, r.log.End(), 1<<20)
			require.NoError(w.t, err)
			got = append(got, data...)
			_, end := lastOf(w.t, data)
			at = end
		}
		if want == nil {
			want = got
		}
		require.Equal(w.t, want, got, "broker %d", id+1)
	}
	w.until("all to be whole", func() bool {
		for id := range partition.BrokerID(3) {
			r := w.node(id + 1).replica(w.id)
			if r.behind.Load() || r.damage.Load() != nil || len(w.files(id+1, ".aside"))+len(w.files(id+1, "damage")) > 0 {
				return false
			}
		}
		return true
	})
}

func lastOf(t testing.TB, data []byte) (first, end log.Offset) {
	for len(data) > 0 {
		b, rest, err := log.SplitBatch(data)
		require.NoError(t, err)
		first, end, data = b.First(), b.Next(), rest
	}
	return first, end
}

// follower returns a broker that follows, and runs no controller.
func (w *worn) follower() partition.BrokerID {
	for id := partition.BrokerID(3); ; id-- {
		if w.leader(w.id).self != id && w.a.leader != id {
			return id
		}
	}
}

// Each case damages a copy, or several, in one of the ways in which that can be found,
// writes on, and demands that all comes back by itself, the same on all disks.
func TestADamagedCopyIsMadeAnew(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(w *worn)
	}{
		{"a follower, found when it is idle", func(w *worn) { w.flip(w.follower(), 2) }},
		{"a follower, found after a restart", func(w *worn) {
			id := w.follower()
			w.kill(id)
			w.flip(id, 2)
			w.start(id)
		}},
		{"a follower, found when it opens", func(w *worn) {
			id := w.follower()
			w.kill(id)
			w.flip(id, len(w.files(id, ".log"))-2)
			require.NoError(w.t, w.members[id].disk.FlipBit(filepath.Join(wornDir, "flushed"), 20, 1))
			require.NoError(w.t, w.members[id].disk.FlipBit(filepath.Join(wornDir, "flushed"), 532, 1))
			w.start(id)
		}},
		{"a follower that stopped in good order", func(w *worn) {
			id := w.follower()
			require.NoError(w.t, w.stop(id))
			w.flip(id, 0)
			w.start(id)
		}},
		{"the leader, found when it is idle", func(w *worn) { w.flip(w.leader(w.id).self, 2) }},
		{"the leader, found by a restart", func(w *worn) {
			id := w.leader(w.id).self
			w.a.lead(id%3 + 1)
			w.kill(id)
			w.flip(id, 2)
			w.start(id)
		}},
		{"a label", func(w *worn) {
			id := w.follower()
			w.kill(id)
			require.NoError(w.t, w.members[id].disk.FlipBit(filepath.Join(wornDir, partitionFile), 30, 1))
			w.start(id)
		}},
		{"a directory that is gone", func(w *worn) {
			id := w.follower()
			w.kill(id)
			require.NoError(w.t, removeIn(w.members[id].disk, wornDir, ""))
			require.NoError(w.t, w.members[id].disk.Remove(wornDir))
			w.start(id)
		}},
		{"the directory of a leader is gone", func(w *worn) {
			id := w.leader(w.id).self
			w.a.lead(id%3 + 1)
			w.kill(id)
			require.NoError(w.t, removeIn(w.members[id].disk, wornDir, ""))
			require.NoError(w.t, w.members[id].disk.Remove(wornDir))
			w.start(id)
		}},
		{"a disk that was replaced", func(w *worn) {
			id := w.follower()
			w.kill(id)
			w.wipe(id)
			w.start(id)
		}},
		{"two disks at once; the third has all", func(w *worn) {
			one := w.leader(w.id).self
			w.a.lead(one)
			for id := range partition.BrokerID(3) {
				if id+1 != one {
					w.kill(id + 1)
				}
			}
			for id := range partition.BrokerID(3) {
				if id+1 != one {
					w.wipe(id + 1)
					w.start(id + 1)
				}
			}
		}},
		{"two disks at once, and the leader dies before they have copied", func(w *worn) {
			one := w.leader(w.id).self
			w.a.lead(one)
			w.net.Lose(func(_, _ transport.Addr, f transport.Frame) bool { return f.Kind == transport.Kind(KindFetch) })
			for id := range partition.BrokerID(3) {
				if id+1 != one {
					w.kill(id + 1)
					w.wipe(id + 1)
					w.start(id + 1)
					w.ready(id + 1)
				}
			}
			w.a.lead(one%3 + 1)
			w.kill(one)
			w.net.Lose(nil)
			time.Sleep(10 * time.Second)
			st, _ := w.node(w.a.leader).State(w.id)
			require.True(w.t, w.leader(w.id) == nil, "neither has what was acknowledged: %+v", st)
			w.start(one)
		}},
		{"a sector that cannot be read", func(w *worn) {
			id := w.leader(w.id).self
			old := w.node(id).replica(w.id)
			end := w.members[id].disk.Inject(logtest.Fault{Op: logtest.Read, Name: filepath.Base(w.segment(id, 2)), Every: 1, Err: syscall.EIO})
			w.until("another copy", func() bool { return w.node(id).replica(w.id) != old })
			end()
		}},
		{"two, one after another", func(w *worn) {
			id := w.follower()
			w.flip(id, 2)
			w.flip(w.leader(w.id).self, 4)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorn(t, 2)
				tt.run(w)
				w.fill(5)
				time.Sleep(2 * scrubDelay)
				w.alike()
				require.Equal(t, w.sent, int(w.leader(w.id).replica(w.id).log.End()), "nothing twice")
			})
		})
	}
}

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
		require.Contains(t, w.node(1).damageOf(w.id), "rides-0 is gone")
		w.start(2)
		w.start(3)
		w.alike()
	})
}

var crashEvery = flag.Int("crash.every", 9, "at how many of the calls that make a copy anew the broker dies: one in so many")

// Wherever the broker dies while its copy is made anew, with and without its unsynced
// bytes, the next life goes on with it.
func TestACrashWhileACopyIsMadeAnew(t *testing.T) {
	last := 0
	synctest.Test(t, func(t *testing.T) {
		w := newWorn(t, 2)
		id := w.follower()
		before := w.members[id].disk.Mutations()
		w.flip(id, 2)
		time.Sleep(2 * scrubDelay)
		w.alike()
		last = w.members[id].disk.Mutations() - before
	})
	require.Greater(t, last, 50)
	for n := 1; n <= last; n += *crashEvery {
		for _, power := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { makeAnewAndCrash(t, n, power) })
			require.False(t, t.Failed(), "power cut %t, at call %d of %d", power, n, last)
		}
	}
}

func makeAnewAndCrash(t *testing.T, n int, power bool) {
	w := newWorn(t, 2)
	id := w.follower()
	disk := w.members[id].disk
	w.flip(id, 2)
	disk.Crash(n)
	crashed := false
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		if crashed = w.node(id).ctx.Err() != nil; crashed {
			break
		}
	}
	if !crashed {
		disk.Revive() // it took fewer calls this time
		w.alike()
		return
	}
	if power {
		w.net.Detach(transport.Addr(addr(id)))
		require.NoError(t, disk.PowerFail(rand.New(rand.NewSource(int64(n)))))
	}
	w.kill(id)
	w.fill(2)
	w.start(id)
	time.Sleep(2 * scrubDelay)
	w.alike()
}

func TestTheFilesOfCopiesKeepTheirBytes(t *testing.T) {
	fsys := log.NewMemFS()
	require.NoError(t, fsys.MkdirAll("data"))
	copies := map[string]partition.ID{
		"rides-3":    {Topic: partition.UUID{0: 1, 15: 2}, Partition: 3},
		"payments-0": {Topic: partition.UUID{0: 4}},
	}
	require.NoError(t, writeCopies(fsys, "data", copies))
	require.Equal(t, golden(t, "copies-1"), contents(t, fsys, "data/copies"))
	got, err := readCopies(fsys, "data")
	require.NoError(t, err)
	require.Equal(t, copies, got)

	known, err := readDamage(fsys, "data")
	require.NoError(t, err)
	require.Nil(t, known)
	require.NoError(t, writeDamage(fsys, "data", &damage{err: errors.New("a bit"), discarded: true}))
	require.Equal(t, golden(t, "damage-1"), contents(t, fsys, "data/damage"))
	known, err = readDamage(fsys, "data")
	require.NoError(t, err)
	require.Equal(t, &damage{err: errors.New("a bit"), discarded: true, noted: true}, known)
	require.NoError(t, writeDamage(fsys, "data", &damage{err: errors.New(strings.Repeat("x", maxReason+1))}))
	_, err = readDamage(fsys, "data")
	require.NoError(t, err)
	require.NoError(t, removeDamage(fsys, "data"))
	require.NoError(t, removeDamage(fsys, "data"))
	require.Empty(t, contents(t, fsys, "data/damage"))
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
