package quorum

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// wipe puts an empty disk in the place of a host's that is down.
func (h *rigHost) wipe() {
	h.disk = logtest.NewDisk(log.NewMemFS())
	h.cfg.FS, h.cfg.Directory = h.disk, directoryOf(byte(h.cfg.Self)+100)
}

// listen returns what a host logs from its next start on.
func (h *rigHost) listen() *strings.Builder {
	text := new(strings.Builder)
	h.cfg.Logger = slog.New(slog.NewTextHandler(text, nil))
	return text
}

// moved is a cluster that was founded by brokers 1 to 3 and is now the others'; all are
// configured with its founders.
func moved(t *testing.T, seed uint64, others int) (r *rig, founders, now []*rigHost, cluster partition.UUID) {
	cryptotest.SetGlobalRandom(t, seed)
	r = newRig(t, seed, 3)
	for range others {
		r.add(3)
	}
	r.startAll()
	r.say("a")
	founders, now = r.hosts[:3], r.hosts[3:]
	for _, h := range now {
		r.elect(time.Minute).change(Change{Add: h.member()})
		r.run(time.Minute, func() bool { return h.engine.Status().Role == Follower })
	}
	for _, h := range founders {
		r.run(time.Minute, func() bool { return r.leader() != nil && !r.leader().engine.changing })
		if r.leader() == h {
			h.do(func() { require.NoError(t, h.engine.Transfer(now[0].cfg.Self)) })
			r.run(time.Minute, func() bool { return r.leader() == now[0] })
		}
		r.leader().change(Change{Remove: h.cfg.Self})
	}
	r.say("b")
	return r, founders, now, now[0].engine.Status().Cluster
}

// requireOf waits until all of them are of that cluster, and of no other meanwhile.
func (r *rig) requireOf(cluster partition.UUID, hosts ...*rigHost) {
	r.t.Helper()
	r.run(time.Minute, func() bool {
		all := true
		for _, h := range hosts {
			s := h.engine.Status()
			all = all && s.Cluster == cluster
			require.True(r.t, s.Cluster == cluster || s.Cluster == partition.UUID{}, "broker %d is of cluster %s", s.Self, s.Cluster)
		}
		return all
	})
}

// The founders' disks were lost one after the other. As strangers they know of the
// cluster, and do so when all of them start again and nobody else is there.
func TestStrangersDoNotForgetTheirCluster(t *testing.T) {
	r, founders, now, cluster := moved(t, 21, 3)
	for _, h := range founders {
		h.crash(true)
		h.wipe()
		h.start()
		r.requireOf(cluster, h)
		r.run(time.Minute, func() bool { return len(h.applied) > 0 })
	}
	for _, h := range r.hosts {
		h.crash(true)
	}
	for _, h := range founders {
		h.start()
		require.Equal(t, cluster, h.engine.Status().Cluster)
		require.Equal(t, Stranger, h.engine.Status().Role)
	}
	r.pass(20 * time.Second)
	r.requireOf(cluster, founders...)
	for _, h := range now {
		h.start()
	}
	r.say("c")
	r.alike(time.Minute)
	r.requireOf(cluster, r.hosts...)
}

// The founders' disks are lost all at once. As they come back one by one, the cluster that
// lives without them finds them before they found another.
func TestALivingClusterIsHeardOfBeforeAnotherIsFounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		others int
		remove bool
	}{{"a leader tells the news", 3, true}, {"voters who lack a leader ask for votes", 2, false}} {
		t.Run(tt.name, func(t *testing.T) {
			var r *rig
			var founders []*rigHost
			var cluster partition.UUID
			if tt.remove {
				r, founders, _, cluster = moved(t, 22, tt.others)
			} else {
				cryptotest.SetGlobalRandom(t, 22)
				r = newRig(t, 22, 3)
				now := []*rigHost{r.add(3), r.add(3)}
				founders = r.hosts[:3]
				r.startAll()
				r.say("a")
				for _, h := range now {
					r.leader().change(Change{Add: h.member()})
					r.run(time.Minute, func() bool { return h.engine.Status().Role == Follower })
				}
				cluster = now[0].engine.Status().Cluster
			}
			for _, h := range founders {
				h.crash(true)
				h.wipe()
			}
			for _, h := range founders {
				h.start()
				require.Zero(t, h.engine.Status().Cluster)
				begin := r.now
				r.requireOf(cluster, h)
				if !tt.remove {
					require.Less(t, r.now-begin, 2500*time.Millisecond, "they ask around later, and for votes first")
				}
			}
			r.pass(10 * time.Second)
			r.requireOf(cluster, r.hosts...)
			if tt.remove {
				r.say("c")
				r.alike(time.Minute)
				require.Len(t, r.leader().engine.Status().Strangers, 3)
			}
		})
	}
}

// A second cluster is founded while nobody of the first is there. When they meet, each
// says that the other is another, and nobody changes sides, whether a voter or none.
func TestClustersStayApart(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 23)
	r := newRig(t, 23, 3)
	fourth, fifth, observer := r.add(3), r.add(3), r.add(3)
	founders := r.hosts[:3]
	r.startAll()
	r.say("a")
	for _, h := range []*rigHost{fourth, fifth} {
		r.leader().change(Change{Add: h.member()})
		r.run(time.Minute, func() bool { return h.engine.Status().Role == Follower })
	}
	r.alike(time.Minute)
	first := r.leader().engine.Status().Cluster
	for _, h := range r.hosts {
		h.crash(true)
	}
	r.pass(time.Second) // what is on its way would tell
	var logs []*strings.Builder
	for _, h := range founders {
		h.wipe()
		logs = append(logs, h.listen())
		h.start()
	}
	r.say("another a")
	second := founders[0].engine.Status().Cluster
	require.NotEqual(t, first, second)

	said := []*strings.Builder{fourth.listen(), observer.listen()}
	fourth.start()
	fifth.start()
	observer.start()
	r.pass(20 * time.Second)
	r.requireOf(first, fourth, fifth, observer)
	r.requireOf(second, founders...)
	require.Equal(t, Observer, observer.engine.Status().Role)
	require.Empty(t, observer.applied)
	require.Regexp(t, fmt.Sprintf(`^broker \d is of cluster %s, and this one of cluster %s$`, second, first), observer.engine.Status().Problem)
	for _, text := range said {
		require.Equal(t, 3, strings.Count(text.String(), fmt.Sprintf("its=%s ours=%s", second, first)), "once of each: %s", text)
	}
	for i, text := range logs {
		require.Equal(t, 1, strings.Count(text.String(), fmt.Sprintf("broker=4 its=%s ours=%s", first, second)), "broker %d: %s", i+1, text)
		require.Equal(t, 1, strings.Count(text.String(), fmt.Sprintf("broker=6 its=%s ours=%s", first, second)), "broker %d: %s", i+1, text)
	}
}

// A broker without a vote that has lost its directory, or has it again as it was, has
// promised nothing; but it is still of its cluster.
func TestAnObserverKeepsItsCluster(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 24)
	r := newRig(t, 24, 3)
	o := r.add(3)
	r.startAll()
	r.say("a")
	r.alike(time.Minute)
	cluster := o.engine.Status().Cluster
	o.crash(true)
	require.NoError(t, logtest.RemoveTree(o.disk, "quorum"))
	for _, h := range r.hosts[:3] {
		h.crash(true)
	}
	o.start()
	require.Equal(t, cluster, o.engine.Status().Cluster)
	require.Equal(t, Observer, o.engine.Status().Role)
	before, err := o.disk.Clone(".", log.NewMemFS())
	require.NoError(t, err)
	for _, h := range r.hosts[:3] {
		h.start()
	}
	r.elect(time.Minute).change(Change{Add: o.member()})
	r.run(time.Minute, func() bool { return o.engine.Status().Role == Follower })
	o.crash(true)
	require.NoError(t, logtest.RemoveTree(o.disk, "quorum"))
	copyTree(t, o.disk, before, "quorum")
	_, err = OpenEngine(o.cfg, o)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "before it was let in")
}
