package log_test

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/log/logtest"
)

// A crash is what is left when a machine or a process stops.
type crash struct {
	name string
	run  func(d *logtest.Disk, rng *rand.Rand) error
}

var crashes = []crash{
	{"the process dies, and all that it wrote is there", func(d *logtest.Disk, _ *rand.Rand) error {
		d.Fail(logtest.ErrCrashed)
		d.Revive()
		return nil
	}},
	{"the power fails, and nothing is left that was not synced", func(d *logtest.Disk, _ *rand.Rand) error {
		return d.PowerFail(nil)
	}},
	{"the power fails, and one half is left", func(d *logtest.Disk, rng *rand.Rand) error {
		return d.PowerFailKeeping(0.5, rng)
	}},
	{"the power fails, and all is left but parts of last blocks", func(d *logtest.Disk, rng *rand.Rand) error {
		return d.PowerFailKeeping(1, rng)
	}},
}

// A crashing is a script on a disk whose every mutating call is where the machine
// stops, in one way of the crashes, on a copy of the disk: the script itself goes on,
// so that n crashes take the time of n, not of all that leads to each.
type crashing struct {
	*world
	way     int
	seed    int64 // what befalls the copies is drawn from it
	changes int   // mutating calls of the script so far
	crashes int   // of all copies
	again   int   // each so many mutating calls of a recovery it crashes too
	calls   int   // mutating calls of recoveries
}

// until runs the script until it has made so many mutating calls.
func (c *crashing) until(changes int) {
	c.disk.Before(func(op logtest.Op, _ string) {
		if op&logtest.Mutate == 0 {
			return
		}
		c.changes++
		c.crash(c.world, crashes[c.way], nil)
	})
	_, err := c.world.open()
	require.NoError(c.t, err)
	for c.changes < changes {
		require.NoError(c.t, c.step())
	}
	c.disk.Before(nil)
	c.check(done)
	require.NoError(c.t, c.log.Close())
	require.Empty(c.t, c.disk.Handles())
}

// crash stops a copy of a world, opens the log there, and compares. Within the
// recovery it crashes again, in another way. It tells whether a loss was reported.
func (c *crashing) crash(from *world, how crash, before []string) bool {
	c.crashes++
	where := append(before, how.name)
	seed := c.seed + int64(c.crashes)
	copied, err := from.disk.Clone(".", log.NewMemFS())
	require.NoError(c.t, err)
	w := from.on(copied, place{c.t, fmt.Sprintf("change %d, %q", c.changes, where)}, seed)
	require.NoError(w.t, how.run(w.disk, w.rng))
	var again []bool // losses that were reported after crashes of the recovery
	if len(before) == 0 {
		w.disk.Before(func(op logtest.Op, _ string) {
			if op&logtest.Mutate == 0 {
				return
			}
			if c.calls++; c.calls%c.again == 0 {
				again = append(again, c.crash(w, crashes[(c.way+c.calls/c.again)%len(crashes)], where))
			}
		})
	}
	lost := w.recovered()
	if c.way > 0 { // else bytes that are torn may be gone after one more crash
		require.NotContains(w.t, again, !lost, "a loss is reported until somebody says that he knows")
	}
	return lost
}

// recovered opens the log after a crash, and again after one more, by which what
// the first one has found must stand. It tells whether a loss was reported.
func (w *world) recovered() bool {
	rec, err := w.open()
	require.NoError(w.t, err)
	w.disk.Before(nil)
	before := *w
	w.check(crashed)
	w.forget()
	if rec.Lost {
		require.NoError(w.t, w.log.Reported())
	}
	w.epoch = max(w.epoch, w.log.LastEpoch(), 0)
	next := [][]func() error{{w.reopen}, {w.append}, {w.append, w.flush}, {w.reopen, w.append}}
	n := w.rng.Intn(len(next))
	for _, call := range next[n] {
		require.NoError(w.t, call())
	}
	w.check(done)
	w.forget()
	if n == 0 && before.cutTo >= 0 && w.start == before.start {
		w.entries = before.entries // nothing was written behind the cut, which may come to nothing now
	}
	w.disk.Fail(logtest.ErrCrashed)
	_ = w.log.Close()
	require.NoError(w.t, w.disk.PowerFail(nil))
	second, err := w.open()
	require.NoError(w.t, err)
	require.False(w.t, second.Lost)
	w.check(crashed)
	require.NoError(w.t, w.log.Close())
	require.Empty(w.t, w.disk.Handles())
	return rec.Lost
}

func TestLogSurvivesACrashAtEveryCallOfALongScript(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed int64) {
		for way, how := range crashes {
			t.Run(how.name, func(t *testing.T) {
				t.Parallel()
				c := &crashing{world: newWorld(t, seed), way: way, seed: seed + int64(way)<<32, again: 8}
				c.until(long(2000))
				t.Logf("%d crashes at %d changes of the disk", c.crashes, c.changes)
			})
		}
	})
}
