package replicatest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
)

// Options says what to run.
type Options struct {
	Seed   uint64
	Events int // before faults end; zero means 5,000

	// Spare leaves faults out, by their number in [Result.Faults] of the seed's first
	// run: what fails without them needs them not.
	Spare map[int]bool

	// Story is told of each event, for people; nil for none.
	Story func(line string)
}

// A Result is what became of a seed.
type Result struct {
	Seed    uint64
	Events  int
	Virtual time.Duration // that passed in the cluster
	Hash    uint64        // of the trace
	Err     error         // the first invariant that broke, or nil
	Faults  []Fault       // that struck, or would have, in order
	Trace   []string      // the end of it
	Counts  Counts
}

// Counts says how much there was to see.
type Counts struct {
	Acked, Refused, Unknown, Read, Epochs, Crashes, Committed, Wishes, Removed, Unclean, Balanced, Settled, Deleted, Cold, Compacted, Anew int
}

// A World is one cluster, its clients, its faults, and who watches.
type World struct {
	opt     Options
	now     time.Duration
	events  heap
	serial  uint64
	popped  int
	brokers []*broker
	setup   setup
	calm    bool // faults have ended
	rescued bool // and an operator has looked at what is left

	// Each concern draws from a stream of its own, so that leaving out a fault changes
	// little of the rest.
	rng, net, disks *rand.Rand

	links   links
	faults  *faults
	clients []*client
	watch   *observer

	hash uint64
	ring [512]mark
	n    int // marks so far
	err  error
}

// A setup is what a seed's cluster is like.
type setup struct {
	voters []partition.BrokerID
	topics []partition.TopicConfig

	volatile  bool          // brokers that are no voters keep all in memory
	forgetful bool          // brokers lose copies of partitions with their process
	lulls     bool          // partitions rest now and then
	news      time.Duration // by how much some brokers hear from the quorum late, at most
	latency   time.Duration // of a message, at most
	share     int32         // bytes of a partition that a follower fetches at a time
	strays    float64       // share of messages that take a long way
	snapshots int64         // bytes of the quorum's entries from one snapshot to the next; 0: there is none
}

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Periods of the cluster. They are shorter than the defaults, so that a few thousand
// events see many failovers.
const (
	heartbeatPace = 250 * time.Millisecond
	session       = 1200 * time.Millisecond
	lag           = 1500 * time.Millisecond
	fetchWait     = 300 * time.Millisecond
	callTime      = 400 * time.Millisecond
	tick          = 100 * time.Millisecond
	electionTicks = 5
)

// A mark is one line of the trace.
type mark struct {
	at   time.Duration
	what string
	who  partition.BrokerID
	a, b int64
}

func (m mark) String() string {
	return fmt.Sprintf("%12v  broker %d  %-18s %d %d", m.at, m.who, m.what, m.a, m.b)
}

// Run plays one seed to its end, or to the first broken invariant.
func Run(opt Options) Result {
	if opt.Events == 0 {
		opt.Events = 5000
	}
	w := newWorld(opt)
	w.run()
	return w.result()
}

func newWorld(opt Options) *World {
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(opt.Seed, n)) }
	w := &World{opt: opt, rng: stream(1), net: stream(2), disks: stream(3), hash: 14695981039346656037}
	n := 3 + pick(w.rng, 5, 3, 2) // brokers
	w.setup = drawSetup(w.rng, n)
	w.watch = newObserver(w)
	for id := 1; id <= n; id++ {
		w.brokers = append(w.brokers, newBroker(w, partition.BrokerID(id)))
	}
	w.faults = newFaults(w, stream(4))
	w.links = newLinks(n + 1)
	return w
}

// pick draws an index by weight.
func pick(rng *rand.Rand, weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := rng.IntN(sum)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	return len(weights) - 1
}

func drawSetup(rng *rand.Rand, n int) setup {
	var s setup
	voters := 3
	switch {
	case rng.IntN(4) == 0:
		voters = 1
	case n == 5 && rng.IntN(2) == 0:
		voters = 5
	}
	for id := 1; id <= voters; id++ {
		s.voters = append(s.voters, partition.BrokerID(id))
	}
	first := partition.TopicConfig{Name: "rides", Partitions: 1 + rng.IntN(2), Replicas: 3, MinISR: 2}
	first.SegmentBytes = int64(1 << (10 + rng.IntN(4)))
	switch rng.IntN(6) {
	case 0, 1:
		first.RetentionBytes = 4 << 10
	case 2:
		first.Compact, first.SegmentBytes = true, 1<<10
	}
	if rng.IntN(6) == 0 {
		first.Durability = partition.Replicated
	}
	if rng.IntN(6) == 0 {
		// It is made with the brokers that are there, and gets more as they come.
		s.topics = append(s.topics, partition.TopicConfig{Name: control.OffsetsTopic, Partitions: 1, SegmentBytes: 2 << 10})
	}
	s.topics = append(s.topics, first)
	if rng.IntN(2) == 0 {
		second := partition.TopicConfig{Name: "stops", Partitions: 1, SegmentBytes: 4 << 10}
		switch rng.IntN(4) {
		case 0:
			second.Replicas, second.MinISR, second.Durability = 3, 2, partition.Replicated
		case 1:
			second.Replicas, second.MinISR = 3, 1
		case 2:
			second.Replicas, second.MinISR = 2, 2
		case 3:
			second.Replicas, second.MinISR = min(n, 4), 3
		}
		if rng.IntN(5) < 2 {
			second.Compact, second.SegmentBytes = true, 1<<10
		}
		s.topics = append(s.topics, second)
	}
	s.forgetful = rng.IntN(4) == 0
	s.volatile = n > voters && rng.IntN(3) == 0
	s.latency = []time.Duration{900, 900, 5000, 20000}[rng.IntN(4)] * time.Microsecond
	s.share = []int32{partitionBytes, 256, 256}[rng.IntN(3)]
	s.strays = []float64{0, 0, 0.02}[rng.IntN(3)]
	s.news = []time.Duration{0, 20, 100}[rng.IntN(3)] * time.Millisecond
	s.lulls = rng.IntN(2) == 0
	if rng.IntN(2) == 0 {
		s.snapshots = int64(1 << (10 + rng.IntN(4)))
	}
	return s
}

func (w *World) run() {
	for _, b := range w.brokers {
		w.at(time.Duration(w.rng.IntN(20))*time.Millisecond, nil, always, "boot", b.boot)
	}
	w.at(0, nil, always, "setup", w.create)
	for w.popped < w.opt.Events && w.step() {
	}
	if w.err == nil {
		w.settle()
	}
}

// fail keeps the first broken invariant.
func (w *World) fail(rule, format string, args ...any) {
	if w.err == nil {
		w.err = &Violation{Rule: rule, Text: fmt.Sprintf(format, args...)}
		w.note("violation", 0, 0, 0)
	}
}

// A Violation is a broken invariant.
type Violation struct {
	Rule string // I1 to I34
	Text string
}

func (v *Violation) Error() string { return v.Rule + ": " + v.Text }

// note puts a line into the trace.
func (w *World) note(what string, who partition.BrokerID, a, b int64) {
	const prime = 1099511628211
	h := w.hash
	for _, v := range [...]uint64{uint64(w.now), uint64(len(what)), uint64(what[0]), uint64(who), uint64(a), uint64(b)} {
		h = (h ^ v) * prime
		h ^= h >> 29
	}
	w.hash = h
	m := mark{w.now, what, who, a, b}
	w.ring[w.n%len(w.ring)] = m
	w.n++
	if w.opt.Story != nil {
		w.opt.Story(m.String())
	}
}

// tell adds to the story what is only for people.
func (w *World) tell(format string, args ...any) {
	if w.opt.Story != nil {
		w.opt.Story(fmt.Sprintf("%12v  ", w.now) + fmt.Sprintf(format, args...))
	}
}

func (w *World) clock() time.Time { return begin.Add(w.now) }

func (w *World) result() Result {
	r := Result{
		Seed: w.opt.Seed, Events: w.popped, Virtual: w.now, Hash: w.hash, Err: w.err,
		Faults: w.faults.struck, Counts: w.watch.counts,
	}
	for i := max(0, w.n-len(w.ring)); i < w.n; i++ {
		r.Trace = append(r.Trace, w.ring[i%len(w.ring)].String())
	}
	return r
}

func (w *World) broker(id partition.BrokerID) *broker { return w.brokers[id-1] }

// span draws a time between two.
func span(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)+1))
}

func uuid(rng *rand.Rand) (id partition.UUID) {
	for i := 0; i < len(id); i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			id[i+j] = byte(v >> (8 * j))
		}
	}
	return id
}
