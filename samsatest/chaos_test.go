package samsatest_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

var (
	chaosSeed  = flag.Uint64("samsa.seed", 0, "run the chaos test with this seed alone")
	chaosSeeds = flag.Int("samsa.seeds", 0, "run the chaos test with this many seeds, from samsa.first on")
	chaosFirst = flag.Uint64("samsa.first", 1000, "the first of samsa.seeds")
	chaosLog   = flag.String("samsa.log", "", "write what the brokers and clients say to this file")
)

// The seeds that run by default.
var fixedSeeds = []uint64{1, 2, 3, 4, 5, 6}

const topic = "orders"

// Bounds of what must happen once every fault is over.
const (
	convergence = time.Minute
	catchingUp  = 3 * time.Minute // a member that is gone holds on for its session
)

// TestChaos runs a cluster under load through a seeded plan of faults, and then
// checks what it has promised. The seed fixes the plan, the load's choices and the
// configuration. A bubble gives virtual time and not replay: goroutines that wake
// at one instant run in any order, so a seed that failed may need some runs
// to fail again.
func TestChaos(t *testing.T) {
	seeds := fixedSeeds
	switch {
	case *chaosSeed != 0:
		seeds = []uint64{*chaosSeed}
	case *chaosSeeds > 0:
		seeds = nil
		for i := range *chaosSeeds {
			seeds = append(seeds, *chaosFirst+uint64(i))
		}
	case testing.Short():
		seeds = seeds[:2]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			begin := time.Now()
			synctest.Test(t, func(t *testing.T) { runChaos(t, seed) })
			t.Logf("took %v", time.Since(begin).Round(time.Millisecond))
		})
	}
}

// A chaos is one run.
type chaos struct {
	t       *testing.T
	rng     *rand.Rand
	seed    uint64
	begin   time.Time
	cluster *samsatest.Cluster
	plan    plan
	cfg     samsa.TopicConfig
	ledger  *ledger
	group   *audience

	ctx  context.Context // ends with the run
	calm chan struct{}   // closed when all faults are over and the cluster has converged
	load sync.WaitGroup
	read sync.WaitGroup
	stop chan struct{} // closed when the load shall end, by endLoad
	gone chan struct{} // closed when the readers shall go, by endReading

	endLoad, endReading func()
	converged, caughtUp time.Duration

	stopping sync.WaitGroup // shutdowns under way

	mu    sync.Mutex // guards all below
	away  map[samsa.BrokerID]bool
	done  []string // the faults, as they came
	wrong int      // complaints so far
}

func runChaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &chaos{
		t: t, rng: rng, seed: seed, begin: time.Now(), away: make(map[samsa.BrokerID]bool),
		calm: make(chan struct{}), stop: make(chan struct{}), gone: make(chan struct{}),
	}
	c.endLoad = sync.OnceFunc(func() { close(c.stop) })
	c.endReading = sync.OnceFunc(func() { close(c.gone) })
	c.plan = newPlan(rng)
	c.cfg = newTopic(rng, c.plan.classes)
	c.ledger = newLedger(c)
	c.group = newAudience(c)
	t.Cleanup(c.tell)
	var end context.CancelFunc
	c.ctx, end = context.WithCancel(context.Background())

	var err error
	c.cluster, err = samsatest.New(c.ctx, samsatest.Config{Logger: c.logger()})
	require.NoError(t, err)
	t.Cleanup(func() { // after a failure all of it may still be at work
		c.endLoad()
		c.endReading()
		_ = c.cluster.Close()
		end()
		c.load.Wait()
		c.read.Wait()
		c.stopping.Wait()
	})
	require.NoError(t, c.cluster.Client().CreateTopic(c.ctx, c.cfg))
	for _, id := range c.cluster.Brokers() {
		c.cluster.Disk(id).Delay(time.Duration(50+rng.IntN(400)) * time.Microsecond)
	}
	c.startLoad()
	c.startReaders()
	c.carryOut()
	c.heal()
	c.converge()
	close(c.calm)
	time.Sleep(2 * time.Second)
	c.endLoad()
	c.load.Wait()
	high := c.high()
	c.catchUp(high)
	c.endReading()
	c.read.Wait()
	c.check(high)
}

// newTopic varies what promises the same to this load.
func newTopic(rng *rand.Rand, classes class) samsa.TopicConfig {
	cfg := samsa.TopicConfig{Name: topic, Partitions: 3 + rng.IntN(2), Replicas: 3, MinISR: 2}
	if rng.IntN(6) == 0 {
		cfg.MinISR = 1
	}
	if rng.IntN(3) == 0 {
		cfg.SegmentBytes = 16 << 10
	}
	if classes&(power|powerAll) == 0 && rng.IntN(4) == 0 {
		cfg.Durability = samsa.Unsynced // the deaths of processes take nothing
	}
	return cfg
}

// logger writes to a file, if that was asked for.
func (c *chaos) logger() *slog.Logger {
	if *chaosLog == "" {
		return nil
	}
	f, err := os.Create(*chaosLog)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = f.Close() })
	begin := c.begin
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Duration("at", a.Value.Time().Sub(begin))
			}
			return a
		},
	}))
}

// at is how far the run has come.
func (c *chaos) at() time.Duration { return time.Since(c.begin) }

// complain fails the run. The first few complaints say why.
func (c *chaos) complain(format string, args ...any) {
	c.mu.Lock()
	c.wrong++
	n := c.wrong
	c.mu.Unlock()
	if n <= 10 {
		c.t.Errorf("%v: %s", c.at(), fmt.Sprintf(format, args...))
	} else {
		c.t.Fail()
	}
}

// note keeps a fault for the story of the run.
func (c *chaos) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, fmt.Sprintf("%12v %s", c.at().Round(time.Microsecond), fmt.Sprintf(format, args...)))
}

// tell tells the story of a run that failed.
func (c *chaos) tell() {
	c.mu.Lock()
	story := strings.Join(c.done, "\n")
	c.mu.Unlock()
	switch {
	case c.t.Failed():
		c.t.Logf("seed %d (go test ./samsatest -run TestChaos -samsa.seed=%d; it may take some runs)\nfaults of %v, topic %+v\n%s\n%s",
			c.seed, c.seed, c.plan.classes, c.cfg, story, c.ledger.summary())
	case testing.Verbose():
		c.t.Logf("seed %d: %d faults of %v in %v; %s; %s; converged in %v, caught up in %v", c.seed, len(c.plan.faults), c.plan.classes,
			c.at().Round(time.Second), c.ledger.summary(), c.group.summary(), c.converged.Round(time.Millisecond), c.caughtUp.Round(time.Millisecond))
	}
}
