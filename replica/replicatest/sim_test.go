package replicatest

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "play this seed alone, and tell what happens")
	firstSeed = flag.Uint64("first", 1, "the first of many seeds")
	seeds     = flag.Uint64("seeds", 0, "how many seeds to play; 0: as many as fit a test run")
	events    = flag.Int("events", 5000, "events of a seed before its faults end")
	story     = flag.Bool("story", false, "with -seed, print every event")
)

// play plays a seed, with raft's own dice from it too.
func play(t *testing.T, opt Options) Result {
	t.Helper()
	cryptotest.SetGlobalRandom(t, opt.Seed)
	return Run(opt)
}

func TestSim(t *testing.T) {
	if *oneSeed != 0 {
		opt := Options{Seed: *oneSeed, Events: *events}
		if *story {
			opt.Story = func(line string) { fmt.Println(line) }
		}
		r := play(t, opt)
		if r.Err != nil {
			report(t, r)
		}
		t.Logf("seed %d: %d events in %v, %+v, %d faults, hash %x", r.Seed, r.Events, r.Virtual, r.Counts, len(r.Faults), r.Hash)
		return
	}
	n := *seeds
	if n == 0 {
		n = 20
	}
	begun := time.Now()
	total := Counts{}
	sum := 0
	for seed := *firstSeed; seed < *firstSeed+n; seed++ {
		r := play(t, Options{Seed: seed, Events: *events})
		if r.Err != nil {
			report(t, r)
		}
		if seed%20 == 0 {
			if again := play(t, Options{Seed: seed, Events: *events}); again.Hash != r.Hash {
				t.Errorf("seed %d: the trace differs from one run to the next", seed)
			}
		}
		sum += r.Events
		total.add(r.Counts)
	}
	t.Logf("%d seeds, %d events, %.0f a second: %+v", n, sum, float64(sum)/time.Since(begun).Seconds(), total)
}

func (c *Counts) add(o Counts) {
	c.Acked += o.Acked
	c.Refused += o.Refused
	c.Unknown += o.Unknown
	c.Read += o.Read
	c.Epochs += o.Epochs
	c.Crashes += o.Crashes
	c.Committed += o.Committed
}

func report(t *testing.T, r Result) {
	t.Helper()
	lines := r.Trace[max(0, len(r.Trace)-40):]
	t.Errorf("seed %d breaks %v\n%s\nplay it again: go test ./replica/replicatest -run Sim -seed=%d", r.Seed, r.Err, strings.Join(lines, "\n"), r.Seed)
}
