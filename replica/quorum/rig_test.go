package quorum

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A rig drives engines from one goroutine: events happen at virtual times, those of
// one time in the order in which they were planned.
type rig struct {
	t      testing.TB
	rng    *rand.Rand
	now    time.Duration
	events []event
	hosts  []*rigHost
	trace  uint64 // of all that has happened
	loss   int    // of how many messages one is lost; 0: none
	lazy   int    // of how many inputs one is not worked on at once; 0: none
	cut    map[partition.BrokerID]bool
	sever  func(from, to partition.BrokerID) bool
	watch  func() // called after every event
}

type event struct {
	at time.Duration
	do func()
}

// A rigHost is one voter's place: its disk, and the engine that lives there now.
type rigHost struct {
	rig      *rig
	cfg      Config
	disk     *logtest.Disk
	engine   *Engine // nil: down
	wake     int     // the newest alarm; older ones do not ring
	applied  []string
	restored int // snapshots, in this life
	decided  map[Token]error
	places   map[Token]log.Offset
	texts    map[Token]string // of proposals under way
	checked  int              // of applied
}

func newRig(t testing.TB, seed uint64, n int) *rig {
	r := &rig{t: t, watch: func() {}, sever: func(_, _ partition.BrokerID) bool { return false }, rng: rand.New(rand.NewPCG(seed, 7)), cut: make(map[partition.BrokerID]bool)}
	for _, v := range votersOf(n) {
		h := &rigHost{rig: r, disk: logtest.NewDisk(log.NewMemFS())}
		h.cfg = Config{Self: v.ID, Directory: directoryOf(byte(v.ID)), Dir: "quorum", FS: h.disk, Voters: votersOf(n)}
		r.hosts = append(r.hosts, h)
	}
	return r
}

// add makes room for a broker that is no voter; it knows where the first n are.
func (r *rig) add(n int) *rigHost {
	id := partition.BrokerID(len(r.hosts) + 1)
	h := &rigHost{rig: r, disk: logtest.NewDisk(log.NewMemFS())}
	h.cfg = Config{Self: id, Addr: fmt.Sprint("addr-", id), Directory: directoryOf(byte(id)), Dir: "quorum", FS: h.disk, Voters: votersOf(n)}
	r.hosts = append(r.hosts, h)
	return h
}

// compact lets all voters to come take snapshots often.
func (r *rig) compact(bytes int64, keep int) {
	for _, h := range r.hosts {
		h.cfg.SnapshotBytes, h.cfg.KeepEntries = bytes, keep
	}
}

func (r *rig) startAll() {
	for _, h := range r.hosts {
		h.start()
	}
}

// alike waits until all that run have applied the same, and returns it.
func (r *rig) alike(limit time.Duration) []string {
	r.t.Helper()
	var all []string
	r.run(limit, func() bool {
		all = nil
		for _, h := range r.hosts {
			if h.engine == nil {
				continue
			}
			if all == nil {
				all = h.applied
			}
			if !slices.Equal(all, h.applied) {
				return false
			}
		}
		return true
	})
	return all
}

func (r *rig) note(format string, args ...any) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d ", r.trace, r.now)
	fmt.Fprintf(h, format, args...)
	r.trace = h.Sum64()
}

// after plans something; what is planned for the same time keeps its order.
func (r *rig) after(d time.Duration, do func()) {
	at := r.now + d
	i := len(r.events)
	for i > 0 && r.events[i-1].at > at {
		i--
	}
	r.events = append(r.events[:i], append([]event{{at, do}}, r.events[i:]...)...)
}

// run lets time pass until good, or fails at the deadline.
func (r *rig) run(limit time.Duration, good func() bool) {
	r.t.Helper()
	for end := r.now + limit; !good(); {
		require.NotEmpty(r.t, r.events)
		e := r.events[0]
		r.events = r.events[1:]
		if e.at > end {
			for _, h := range r.hosts {
				if h.engine != nil {
					r.t.Logf("%+v", h.engine.Status())
				}
			}
			require.FailNow(r.t, "out of time")
		}
		r.now = e.at
		e.do()
		r.watch()
	}
}

func (r *rig) pass(d time.Duration) {
	end := r.now + d
	r.after(d, func() {})
	r.run(d, func() bool { return r.now >= end })
}

func (h *rigHost) start() {
	h.applied, h.restored, h.checked = nil, 0, 0
	h.decided, h.places, h.texts = make(map[Token]error), make(map[Token]log.Offset), make(map[Token]string)
	engine, err := OpenEngine(h.cfg, h)
	require.NoError(h.rig.t, err)
	h.engine = engine
	h.do(func() { engine.Begin() })
	h.tick(engine)
}

// crash ends an engine as the death of its process does, or a power cut.
func (h *rigHost) crash(power bool) {
	h.engine = nil
	h.disk.Fail(errDisk)
	if power {
		require.NoError(h.rig.t, h.disk.PowerFail(nil))
	}
	h.disk.Revive()
}

func (h *rigHost) tick(engine *Engine) {
	h.rig.after(100*time.Millisecond, func() {
		if h.engine != engine {
			return
		}
		if engine.NeedsTicks() {
			h.take(false, engine.Tick)
		}
		h.tick(engine)
	})
}

func (h *rigHost) do(input func()) {
	h.work()
	input()
	h.work()
}

// take is do of what comes by itself. As in a broker, messages of raft that come behind it
// may be taken along with it, before any of them is worked on.
func (h *rigHost) take(post bool, input func()) {
	if !post {
		h.work()
	}
	input()
	if r, engine := h.rig, h.engine; r.lazy > 0 && r.rng.IntN(r.lazy) == 0 {
		r.after(time.Duration(r.rng.IntN(4))*time.Millisecond, func() {
			if h.engine == engine {
				h.work()
			}
		})
		return
	}
	h.work()
}

func (h *rigHost) work() {
	for {
		worked, err := h.engine.Work()
		require.NoError(h.rig.t, err)
		if !worked {
			return
		}
	}
}

func (h *rigHost) Send(m Message) bool {
	r, from := h.rig, h.engine
	lost := r.loss > 0 && r.rng.IntN(r.loss) == 0 || r.cut[h.cfg.Self] || r.cut[m.To] || r.sever(h.cfg.Self, m.To)
	r.note("send %d %d %x", h.cfg.Self, m.To, m.Bytes())
	r.after(time.Duration(1+r.rng.IntN(5))*time.Millisecond, func() {
		var answer []byte
		err := errors.New("lost")
		if to := r.hosts[m.To-1]; to.engine != nil && !lost {
			to.take(m.kind == kindPost, func() { answer, err = to.engine.Step(m.Bytes()) })
		}
		r.after(time.Millisecond, func() {
			if h.engine == from {
				h.take(false, func() { from.Answered(m, answer, err) })
			}
		})
	})
	return true
}

func (h *rigHost) Apply(index log.Offset, data []byte) {
	h.rig.note("apply %d %d %s", h.cfg.Self, index, data)
	require.EqualValues(h.rig.t, len(h.applied)+1, index)
	h.applied = append(h.applied, string(data))
}

func (h *rigHost) Snapshot() ([]byte, error) { return []byte(strings.Join(h.applied, "\n")), nil }

func (h *rigHost) Restore(index log.Offset, state []byte) error {
	h.rig.note("restore %d %d", h.cfg.Self, index)
	h.applied = strings.Split(string(state), "\n")
	require.EqualValues(h.rig.t, len(h.applied), index)
	h.restored++
	return nil
}

func (h *rigHost) Decided(token Token, index log.Offset, err error) {
	h.decided[token], h.places[token] = err, index
}

func (h *rigHost) Wake(after time.Duration) {
	h.wake++
	mine, engine := h.wake, h.engine
	if after < 0 {
		return
	}
	h.rig.after(after, func() {
		if h.wake == mine && h.engine == engine {
			h.do(engine.Wake)
		}
	})
}

func (r *rig) leader() *rigHost {
	for _, h := range r.hosts {
		if h.engine != nil && h.engine.Status().Leading && !r.cut[h.cfg.Self] {
			return h
		}
	}
	return nil
}

func (r *rig) elect(limit time.Duration) *rigHost {
	r.t.Helper()
	r.run(limit, func() bool { return r.leader() != nil })
	return r.leader()
}

// say has an entry agreed on, at whoever leads, at the first attempt that is taken.
func (r *rig) say(text string) {
	r.t.Helper()
	for range 200 { // who hands the lead over takes nothing for more than a second
		h := r.elect(time.Minute)
		var token Token
		var err error
		h.do(func() { token, err = h.engine.Propose(log.NoEpoch, []byte(text)) })
		if err != nil { // it hands the lead over, or has lost it
			r.pass(10 * time.Millisecond)
			continue
		}
		r.run(time.Minute, func() bool { _, ok := h.decided[token]; return ok })
		if h.decided[token] == nil {
			return
		}
	}
	require.FailNow(r.t, "not agreed on", text)
}

// settled waits until it is decided what becomes of a proposal, for good.
func (h *rigHost) settled(token Token) {
	h.rig.t.Helper()
	h.rig.run(time.Minute, func() bool { _, ok := h.decided[token]; return ok })
	require.NoError(h.rig.t, h.decided[token])
}

func (h *rigHost) change(c Change) {
	h.rig.t.Helper()
	var token Token
	h.do(func() {
		var err error
		token, err = h.engine.ChangeVoters(c)
		require.NoError(h.rig.t, err)
	})
	h.settled(token)
}

func (h *rigHost) member() Member { return h.engine.self() }

func (h *rigHost) voters() []partition.BrokerID {
	var ids []partition.BrokerID
	for _, v := range h.engine.Status().Voters {
		ids = append(ids, v.ID)
	}
	return ids
}

func (h *rigHost) propose(text string) Token {
	var token Token
	h.do(func() {
		var err error
		token, err = h.engine.Propose(log.NoEpoch, []byte(text))
		require.NoError(h.rig.t, err)
	})
	return token
}
