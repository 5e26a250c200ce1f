package quorum

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A riot is a rig of which brokers crash, lose power, disks and messages, and whose
// voters change, while entries are proposed. It checks, after every event, that a term has
// one leader; at every entry, that all brokers are given the same; and in the end,
// that what was agreed on is there.
type riot struct {
	*rig
	leaders map[log.Epoch]partition.BrokerID
	history map[log.Offset]string // what was given to any broker
	agreed  map[string]log.Offset
	wiped   byte
}

// riotSeeds is how many seeds are tried; QUORUM_SEEDS says otherwise.
func riotSeeds() uint64 {
	n, err := strconv.Atoi(os.Getenv("QUORUM_SEEDS"))
	if err != nil {
		return 12
	}
	return uint64(n)
}

func TestRiot(t *testing.T) {
	for seed := range riotSeeds() {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			first := runRiot(t, seed)
			if seed < 2 {
				require.Equal(t, first, runRiot(t, seed), "same seed, same trace")
			}
		})
	}
}

func runRiot(t *testing.T, seed uint64) (trace uint64) {
	cryptotest.SetGlobalRandom(t, seed)
	r := &riot{
		rig: newRig(t, seed, 3), leaders: make(map[log.Epoch]partition.BrokerID),
		history: make(map[log.Offset]string), agreed: make(map[string]log.Offset), wiped: 100,
	}
	r.lazy = int(seed % 4)
	r.add(3)
	r.add(3)
	r.compact(int64(200+r.rng.IntN(2000)), r.rng.IntN(20)+1)
	r.watch = r.check
	r.startAll()
	r.elect(time.Minute)
	for n := range 60 {
		if r.rng.IntN(4) > 0 {
			r.loss = 5 + r.rng.IntN(20)
		} else {
			r.loss = 0
		}
		r.mischief()
		for i := range r.rng.IntN(6) {
			r.pass(time.Duration(r.rng.IntN(300)) * time.Millisecond)
			if l := r.leader(); l != nil {
				text := fmt.Sprint("entry ", n, ".", i)
				h := l
				l.do(func() {
					if token, err := h.engine.Propose(log.NoEpoch, []byte(text)); err == nil {
						h.texts[token] = text
					}
				})
			}
		}
	}
	r.calm()
	last := r.alike(time.Minute)
	for text, index := range r.agreed {
		require.Equal(t, text, last[index-1], "agreed on at %d", index)
	}
	require.Greater(t, len(r.agreed), 30)
	require.Equal(t, r.history[log.Offset(len(last))], last[len(last)-1])
	return r.trace
}

// check is called after every event.
func (r *riot) check() {
	for _, h := range r.hosts {
		if h.engine == nil {
			continue
		}
		s := h.engine.Status()
		if s.Role == Leader {
			was, ok := r.leaders[s.Term]
			require.True(r.t, !ok || was == s.Self, "%d and %d lead term %d", was, s.Self, s.Term)
			r.leaders[s.Term] = s.Self
		}
		for ; h.checked < len(h.applied); h.checked++ {
			index, text := log.Offset(h.checked+1), h.applied[h.checked]
			was, ok := r.history[index]
			require.True(r.t, !ok || was == text, "broker %d was given %q at %d, another %q", s.Self, text, index, was)
			r.history[index] = text
		}
		for token, text := range h.texts {
			err, decided := h.decided[token]
			if decided && err == nil {
				r.agreed[text] = h.places[token]
			}
			if decided {
				delete(h.texts, token)
			}
		}
	}
}

// calm ends all faults, and waits until every broker takes part as it should.
func (r *riot) calm() {
	r.loss = 0
	clear(r.cut)
	for _, h := range r.hosts {
		if h.engine == nil {
			h.start()
		}
	}
	r.say("calm")
	r.alike(2 * time.Minute)
}

func (r *riot) mischief() {
	h := r.hosts[r.rng.IntN(len(r.hosts))]
	switch r.rng.IntN(10) {
	case 0, 1:
		if r.rng.IntN(3) == 0 {
			require.NoError(r.t, h.engine.Close())
		}
		h.crashAndTear(r.rng.IntN(2) == 0)
		r.pass(time.Duration(r.rng.IntN(4000)) * time.Millisecond)
		h.start()
	case 2:
		r.cut[h.cfg.Self] = true
		r.pass(time.Duration(r.rng.IntN(5000)) * time.Millisecond)
		delete(r.cut, h.cfg.Self)
	case 3: // all at once
		for _, h := range r.hosts {
			h.crashAndTear(true)
		}
		r.startAll()
	case 4:
		if l := r.leader(); l != nil {
			l.do(func() { _ = l.engine.Transfer(partition.NoBroker) })
		}
	case 5:
		r.wipe(h)
	case 6, 7:
		r.reform(h)
	case 8:
		r.rollBack(h)
	case 9:
		for _, name := range []string{"*.snap.tmp", "*.snap.new.tmp"} {
			r.after(time.Duration(r.rng.IntN(8000))*time.Millisecond, full(h.disk, name))
		}
	}
}

// crashAndTear ends a broker; in a power cut any part of what was not synced may stay.
func (h *rigHost) crashAndTear(power bool) {
	h.engine = nil
	h.disk.Fail(errDisk)
	if power {
		require.NoError(h.rig.t, h.disk.PowerFail(rand.New(rand.NewSource(h.rig.rng.Int64()))))
	}
	h.disk.Revive()
}

// wipe takes a broker's disk. An operator lets it in again, if it was a voter, before
// anything else is lost.
func (r *riot) wipe(h *rigHost) {
	r.calm()
	voters := r.elect(time.Minute).engine.roster.voters
	wasVoter := indexOf(voters, h.member()) >= 0
	if wasVoter && len(voters) < 3 {
		return // its vote would be missed for ever
	}
	h.crash(false)
	r.replace(h, wasVoter)
}

func (r *riot) replace(h *rigHost, wasVoter bool) {
	r.wiped++
	h.disk = logtest.NewDisk(log.NewMemFS())
	h.cfg.FS, h.cfg.Directory = h.disk, directoryOf(r.wiped)
	h.start()
	r.calm()
	if wasVoter {
		r.order(Change{Add: h.member()})
	}
}

// rollBack takes a broker's directory, or puts the copy of an earlier life in its place.
// Whoever has promised something since does not start.
func (r *riot) rollBack(h *rigHost) {
	r.calm()
	voters := r.elect(time.Minute).engine.roster.voters
	wasVoter := indexOf(voters, h.member()) >= 0
	if wasVoter && len(voters) < 3 {
		return
	}
	h.crashAndTear(true)
	old, err := h.disk.Clone(".", log.NewMemFS())
	require.NoError(r.t, err)
	h.start()
	if r.rng.IntN(3) > 0 {
		r.pass(time.Duration(r.rng.IntN(2000)) * time.Millisecond)
	}
	h.crashAndTear(false)
	before := h.stored()
	require.NoError(r.t, logtest.RemoveTree(h.disk, "quorum"))
	if r.rng.IntN(3) > 0 {
		copyTree(r.t, h.disk, old, "quorum")
	}
	engine, err := OpenEngine(h.cfg, h)
	if err != nil {
		require.ErrorIs(r.t, err, ErrCorrupt)
		require.NotEmpty(r.t, before, "it has promised nothing")
		r.replace(h, wasVoter)
		return
	}
	require.NoError(r.t, engine.Close())
	require.Equal(r.t, before, h.stored(), "it has promised something else")
	h.start()
}

// stored is what a member that is down has promised; empty: it is none.
func (h *rigHost) stored() string {
	engine, err := OpenEngine(h.cfg, h)
	require.NoError(h.rig.t, err)
	defer engine.Close()
	s := engine.disk
	if !s.kept.isMember() {
		return ""
	}
	term, err := s.Term(s.last())
	require.NoError(h.rig.t, err)
	return fmt.Sprintf("term %d, vote %d, entry %d of term %d", s.kept.Term, s.kept.Vote, s.last(), term)
}

// reform adds a broker to the voters, or removes it.
func (r *riot) reform(h *rigHost) {
	r.calm()
	l := r.elect(time.Minute)
	if indexOf(l.engine.roster.voters, h.member()) < 0 {
		r.order(Change{Add: h.member()})
	} else if len(l.engine.roster.voters) > 2 {
		r.order(Change{Remove: h.cfg.Self})
	}
}

// order has the voters changed, and waits until they are.
func (r *riot) order(c Change) {
	r.t.Helper()
	r.run(time.Minute, func() bool { l := r.leader(); return l != nil && !l.engine.changing })
	l := r.leader()
	var token Token
	l.do(func() {
		var err error
		token, err = l.engine.ChangeVoters(c)
		require.NoError(r.t, err, "%+v %+v", c, l.engine.Status())
	})
	r.run(time.Minute, func() bool { _, ok := l.decided[token]; return ok })
	r.run(2*time.Minute, func() bool {
		l := r.leader()
		if l == nil || len(l.engine.roster.learners) > 0 {
			return false
		}
		_, twice := l.engine.roster.superseded()
		return !twice
	})
}
