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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/samsalog/samsa/samsatest/internal/history"
	"github.com/stretchr/testify/require"
)

var (
	chaosSeed    = flag.Uint64("samsa.seed", 0, "run the chaos test with this seed alone")
	chaosSeeds   = flag.Int("samsa.seeds", 0, "run the chaos test with this many seeds, from samsa.first on")
	chaosFirst   = flag.Uint64("samsa.first", 1000, "the first of samsa.seeds")
	chaosMinutes = flag.Float64("samsa.minutes", 0, "how long the faults of a chaos test last, in virtual minutes; 0: one or two")
	chaosLog     = flag.String("samsa.log", "", "write what the brokers and clients say to this file")
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
//
// The long run is
//
//	go test -race -timeout 12h ./samsatest -run Chaos -samsa.seeds=100 -samsa.minutes=10
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
	book    *book
	closed  atomic.Bool // the cluster is, and nobody may say anything any more
	words   atomic.Int64

	ctx  context.Context // ends with the run
	calm chan struct{}   // closed when all faults are over and the cluster has converged
	load sync.WaitGroup
	read sync.WaitGroup
	stop chan struct{} // closed when the load shall end, by endLoad
	gone chan struct{} // closed when the readers shall go, by endReading

	endLoad, endReading func()
	converged, caughtUp time.Duration

	stopping  sync.WaitGroup // shutdowns under way
	operating sync.WaitGroup // operators' calls

	mu       sync.Mutex // guards all below
	away     map[samsa.BrokerID]bool
	wounded  map[samsa.BrokerID]bool // the power failed, and what was lost has not been fetched again
	remade   *remade
	operated map[string]int // operators' calls that succeeded
	done     []string       // the faults, as they came
	wrong    int            // complaints so far
}

func runChaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &chaos{
		t: t, rng: rng, seed: seed, begin: time.Now(), away: make(map[samsa.BrokerID]bool),
		wounded: make(map[samsa.BrokerID]bool), operated: make(map[string]int),
		calm: make(chan struct{}), stop: make(chan struct{}), gone: make(chan struct{}),
	}
	c.endLoad = sync.OnceFunc(func() { close(c.stop) })
	c.endReading = sync.OnceFunc(func() { close(c.gone) })
	c.plan = newPlan(rng)
	c.cfg = newTopic(rng, c.plan.classes)
	c.book = &book{c: c, h: history.New()}
	c.remade = newRemade(c)
	t.Cleanup(c.tell)
	var end context.CancelFunc
	c.ctx, end = context.WithCancel(context.Background())

	var err error
	c.cluster, err = samsatest.New(c.ctx, samsatest.Config{Brokers: c.plan.brokers, Logger: c.logger()})
	require.NoError(t, err)
	t.Cleanup(func() { // after a failure all of it may still be at work
		c.endLoad()
		c.endReading()
		_ = c.cluster.Close()
		end()
		c.load.Wait()
		c.read.Wait()
		c.stopping.Wait()
		c.operating.Wait()
	})
	require.NoError(t, c.cluster.Client().CreateTopic(c.ctx, c.cfg))
	for _, id := range c.cluster.Brokers() {
		c.cluster.Disk(id).Delay(time.Duration(50+rng.IntN(400)) * time.Microsecond)
	}
	c.startLoad()
	c.startReaders()
	c.read.Go(c.look)
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
	switch {
	case classes&(power|powerAll) == 0 && rng.IntN(4) == 0:
		cfg.Durability = samsa.Unsynced // the deaths of processes take nothing
	case classes&powerAll == 0 && cfg.MinISR == 2 && rng.IntN(3) == 0:
		cfg.Durability = samsa.Replicated // one power cut at a time takes nothing
	}
	return cfg
}

// logger counts words, and writes them to a file if that was asked for.
func (c *chaos) logger() *slog.Logger {
	if *chaosLog == "" {
		return slog.New(&counter{Handler: slog.DiscardHandler, c: c})
	}
	f, err := os.Create(*chaosLog)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = f.Close() })
	begin := c.begin
	return slog.New(&counter{c: c, Handler: slog.NewTextHandler(f, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Duration("at", a.Value.Time().Sub(begin))
			}
			return a
		},
	})})
}

// A counter counts what is said once the cluster has been closed.
type counter struct {
	slog.Handler
	c *chaos
}

func (h *counter) Enabled(ctx context.Context, level slog.Level) bool {
	if h.c.closed.Load() {
		h.c.words.Add(1)
	}
	return h.Handler.Enabled(ctx, level)
}

func (h *counter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &counter{h.Handler.WithAttrs(attrs), h.c}
}

func (h *counter) WithGroup(name string) slog.Handler {
	return &counter{h.Handler.WithGroup(name), h.c}
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
	story, operated := strings.Join(c.done, "\n"), fmt.Sprint(c.operated)
	c.mu.Unlock()
	switch {
	case c.t.Failed():
		c.t.Logf("seed %d (go test ./samsatest -run TestChaos -samsa.seed=%d -samsa.minutes=%v; it may take some runs)\nfaults of %v, topic %+v\n%s\n%s",
			c.seed, c.seed, *chaosMinutes, c.plan.classes, c.cfg, story, c.book.summary())
	case testing.Verbose():
		c.t.Logf("seed %d: %d brokers, %v, %d faults of %v in %v; %s; operators %s; converged in %v, caught up in %v",
			c.seed, c.plan.brokers, c.cfg.Durability, len(c.plan.faults), c.plan.classes, c.at().Round(time.Second), c.book.summary(), operated,
			c.converged.Round(time.Millisecond), c.caughtUp.Round(time.Millisecond))
	}
}
