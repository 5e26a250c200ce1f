package node

import (
	"errors"
	"io/fs"
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
