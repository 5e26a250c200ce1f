package quorum

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"
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
	cut    map[partition.BrokerID]bool
}

type event struct {
	at time.Duration
	do func()
}

// A rigHost is one voter's place: its disk, and the engine that lives there now.
type rigHost struct {
	rig     *rig
	cfg     Config
	disk    *logtest.Disk
	engine  *Engine // nil: down
	wake    int     // the newest alarm; older ones do not ring
	applied []string
	decided map[Token]error
}

func newRig(t testing.TB, seed uint64, n int) *rig {
	r := &rig{t: t, rng: rand.New(rand.NewPCG(seed, 7)), cut: make(map[partition.BrokerID]bool)}
	for _, v := range votersOf(n) {
		h := &rigHost{rig: r, disk: logtest.NewDisk(log.NewMemFS())}
		h.cfg = Config{Self: v.ID, Directory: directoryOf(byte(v.ID)), Dir: "quorum", FS: h.disk, Voters: votersOf(n)}
		r.hosts = append(r.hosts, h)
	}
	return r
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
	}
}

func (r *rig) pass(d time.Duration) {
	end := r.now + d
	r.after(d, func() {})
	r.run(d, func() bool { return r.now >= end })
}

func (h *rigHost) start() {
	h.applied, h.decided = nil, make(map[Token]error)
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
		if h.engine == engine {
			h.do(engine.Tick)
			h.tick(engine)
		}
	})
}

func (h *rigHost) do(input func()) {
	input()
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
	lost := r.loss > 0 && r.rng.IntN(r.loss) == 0 || r.cut[h.cfg.Self] || r.cut[m.To]
	r.note("send %d %d %x", h.cfg.Self, m.To, m.Bytes())
	r.after(time.Duration(1+r.rng.IntN(5))*time.Millisecond, func() {
		var answer []byte
		err := errors.New("lost")
		if to := r.hosts[m.To-1]; to.engine != nil && !lost {
			to.do(func() { answer, err = to.engine.Step(m.Bytes()) })
		}
		r.after(time.Millisecond, func() {
			if h.engine == from {
				h.do(func() { from.Answered(m, answer, err) })
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

func (h *rigHost) Decided(token Token, _ log.Offset, err error) { h.decided[token] = err }

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

func (h *rigHost) propose(text string) Token {
	var token Token
	h.do(func() {
		var err error
		token, err = h.engine.Propose([]byte(text))
		require.NoError(h.rig.t, err)
	})
	return token
}

func TestEnginesInOneGoroutine(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n, " voters"), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 1)
			r := newRig(t, 1, n)
			for _, h := range r.hosts {
				h.start()
			}
			leader := r.elect(100 * time.Millisecond)
			require.Equal(t, n > 1, leader.engine.NeedsTicks())
			token := leader.propose("a")
			r.run(time.Second, func() bool { _, ok := leader.decided[token]; return ok })
			require.NoError(t, leader.decided[token])
			r.run(time.Second, func() bool {
				for _, h := range r.hosts {
					if len(h.applied) != 2 {
						return false
					}
				}
				return true
			})
			for _, h := range r.hosts {
				require.Equal(t, []string{"", "a"}, h.applied)
				require.NoError(t, h.engine.Close())
			}
		})
	}
}

// riotIn lets voters of a seed crash, lose power and messages, and returns the
// digest of all that happened.
func riotIn(t *testing.T, seed uint64) uint64 {
	cryptotest.SetGlobalRandom(t, seed)
	r := newRig(t, seed, 3)
	r.loss = 8
	for _, h := range r.hosts {
		h.start()
	}
	proposals := 0
	for range 40 {
		h := r.hosts[r.rng.IntN(3)]
		if r.rng.IntN(3) == 0 {
			h.crash(r.rng.IntN(2) == 0)
			r.pass(time.Duration(r.rng.IntN(3000)) * time.Millisecond)
			h.start()
		}
		r.pass(time.Duration(r.rng.IntN(1000)) * time.Millisecond)
		if l := r.leader(); l != nil {
			proposals++
			l.propose(fmt.Sprint("entry ", proposals))
		}
	}
	r.loss = 0
	leader := r.elect(time.Minute)
	last := leader.propose("last")
	r.run(time.Minute, func() bool { _, ok := leader.decided[last]; return ok })
	r.pass(5 * time.Second)
	for _, h := range r.hosts {
		require.Equal(t, leader.applied, h.applied)
	}
	require.Greater(t, proposals, 10)
	return r.trace
}

func TestSameSeedSameTrace(t *testing.T) {
	traces := make(map[uint64]bool)
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			first := riotIn(t, seed)
			require.Equal(t, first, riotIn(t, seed))
			traces[first] = true
		})
	}
	require.Greater(t, len(traces), 9, "the seed must matter")
}

func TestEngineAfterAFault(t *testing.T) {
	r := newRig(t, 1, 1)
	h := r.hosts[0]
	h.start()
	h.disk.FailNth(logtest.Sync, 1, errDisk)
	_, err := h.engine.Propose([]byte("a"))
	require.NoError(t, err)
	_, err = h.engine.Work()
	require.ErrorIs(t, err, errDisk)
	_, err = h.engine.Propose([]byte("b"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = h.engine.Step(encodeHello(fresh(2, 2)))
	require.ErrorIs(t, err, errDisk)
	h.engine.Tick()
	h.engine.Wake()
	h.engine.Gone(2)
	h.engine.Campaign()
	worked, err := h.engine.Work()
	require.False(t, worked)
	require.ErrorIs(t, err, errDisk)
	require.Empty(t, h.decided)
}
