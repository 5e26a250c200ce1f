package replicatest

import (
	"fmt"
	oldrand "math/rand"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/samsalog/samsa/log/logtest"
	"github.com/samsalog/samsa/partition"
)

// A Fault is one thing that goes wrong, or that an operator asks for.
type Fault struct {
	N      int // its number in the seed, from 1
	At     time.Duration
	Kind   string
	Broker partition.BrokerID
	Other  partition.BrokerID // of a link: its other end
	For    time.Duration      // how long it lasts, of one that lasts
	When   moment             // what it waits for
	Spared bool               // it was left out

	seed int64
	size float64 // from 0 to 1
}

func (f Fault) String() string {
	return fmt.Sprintf("%3d %12v %-10s broker %d, other %d, %v, %.2f %s", f.N, f.At, f.Kind, f.Broker, f.Other, f.For, f.size, f.When)
}

// A kind of fault, and how often it comes among those that a seed has.
type kind struct {
	name   string
	weight int
	strike func(w *World, f Fault, b *broker)
}

// kinds are all faults.
var kinds = slices.Concat(breakages, wishes)

// breakages are what goes wrong.
var breakages = []kind{
	{"crash", 4, func(_ *World, _ Fault, b *broker) { b.end(false, nil) }},
	{"power", 5, func(_ *World, f Fault, b *broker) { b.end(true, f.losses()) }},
	{"midway", 4, func(_ *World, f Fault, b *broker) { b.disk.Crash(1 + int(f.size*f.size*40)) }},
	{"all crash", 1, func(w *World, f Fault, _ *broker) { w.all(false, f) }},
	{"all power", 3, func(w *World, f Fault, _ *broker) { w.all(true, f) }},
	{"wipe", 5, func(w *World, f Fault, b *broker) {
		if f.When == anyMoment {
			b = w.straggler(f, b)
		}
		w.wipe(b, f.dice().IntN(3) == 0)
	}},
	{"flip", 5, func(w *World, f Fault, b *broker) { w.flip(b, f) }},
	{"mislay", 5, func(w *World, f Fault, b *broker) { w.mislayOne(b, f) }},
	{"rot", 2, func(w *World, f Fault, b *broker) { w.rot(b, f) }},
	{"fail sync", 2, func(_ *World, f Fault, b *broker) {
		b.disk.Inject(logtest.Fault{Op: logtest.Sync | logtest.SyncDir, Nth: 1 + int(f.size*6), Err: errDisk})
	}},
	{"full", 2, fillDisk},
	{"hang", 2, func(w *World, f Fault, b *broker) { b.hung = w.now + f.For }},
	{"pause", 4, func(w *World, f Fault, b *broker) { b.paused = w.now + f.For }},
	{"clock", 1, func(w *World, f Fault, b *broker) {
		b.skew = time.Duration((f.size - 0.5) * float64(6*time.Hour))
		w.faults.skew = b.skew / 2
	}},
	{"late", 6, func(w *World, f Fault, b *broker) { w.late(f, b) }},
	{"slow disk", 3, func(w *World, f Fault, b *broker) {
		usual := b.syncTime
		b.syncTime = time.Duration(f.size * float64(500*time.Millisecond))
		w.at(f.For, nil, always, "fast disk", func() { b.syncTime = usual })
	}},
	{"controller", 3, func(w *World, f Fault, _ *broker) {
		for _, b := range w.brokers {
			if b.p != nil && b.p.leads {
				b.end(f.size < 0.5, f.losses())
				return
			}
		}
	}},
	{"step aside", 6, func(w *World, f Fault, b *broker) {
		if f.When == anyMoment {
			b = w.leader(f, b)
		}
		b.stepAside(f.For / 16)
	}},
	{"stop", 3, func(_ *World, f Fault, b *broker) {
		if b.p != nil && b.p.stopped == nil {
			b.p.handOver(f.For)
		}
	}},
	{"cut", 4, func(w *World, f Fault, b *broker) {
		w.links.set(b.id, f.Other, true)
		if f.size < 0.5 {
			w.links.set(f.Other, b.id, true)
		}
		w.at(f.For, nil, always, "joined", func() {
			w.links.set(b.id, f.Other, false)
			w.links.set(f.Other, b.id, false)
		})
	}},
	{"isolate", 3, func(w *World, f Fault, b *broker) {
		cut := func(on bool) {
			for other := range partition.BrokerID(len(w.brokers) + 1) {
				if other != b.id && (other != 0 || f.size < 0.3) {
					w.links.set(b.id, other, on && f.size < 0.8)
					w.links.set(other, b.id, on)
				}
			}
		}
		cut(true)
		w.at(f.For, nil, always, "joined", func() { cut(false) })
	}},
	{"forsake", 4, func(w *World, f Fault, _ *broker) { w.forsake(f) }},
	{"loss", 2, func(w *World, f Fault, _ *broker) {
		w.links.loss = f.size * 0.3
		w.at(f.For, nil, always, "no loss", func() { w.links.loss = 0 })
	}},
	{"repeat", 2, func(w *World, f Fault, _ *broker) {
		w.links.dup = f.size * 0.5
		w.at(f.For, nil, always, "no repeat", func() { w.links.dup = 0 })
	}},
	{"fade", 6, func(w *World, f Fault, b *broker) { w.fade(f, b) }},
	{"stall", 6, func(w *World, f Fault, b *broker) { w.stallOne(f, b) }},
	{"disorder", 5, func(w *World, f Fault, _ *broker) {
		w.links.slow, w.links.late = f.size*0.5, f.For/2
		w.at(4*f.For, nil, always, "order", func() { w.links.slow = 0 })
	}},
}

// faults is what goes wrong in a seed: some of the kinds, at some pace.
type faults struct {
	w       *World
	rng     *rand.Rand
	kinds   []kind
	weights []int
	pace    time.Duration
	struck  []Fault
	waiting []Fault       // for their moment
	skew    time.Duration // of the clients' clocks

	favourite moment
}

func newFaults(w *World, rng *rand.Rand) *faults {
	f := &faults{w: w, rng: rng, kinds: kinds}
	some := false
	for _, k := range f.kinds {
		weight := 0
		if rng.IntN(2) == 0 {
			weight, some = k.weight, true
		}
		f.weights = append(f.weights, weight)
	}
	if !some {
		f.weights[0] = 1
	}
	f.favourite = drawFavourite(rng)
	f.pace = []time.Duration{60, 150, 400, 1000}[rng.IntN(4)] * time.Millisecond
	return f
}

// begin plans the first fault.
func (f *faults) begin() { f.next() }

// next draws a fault, all of it before anything is known of the moment at which it
// strikes, so that others that are left out do not change it.
func (f *faults) next() {
	w, rng := f.w, f.rng
	n := len(w.brokers)
	wait := time.Duration(rng.ExpFloat64() * float64(f.pace))
	one := Fault{
		N: len(f.struck) + 1, Kind: f.kinds[pick(rng, f.weights...)].name,
		Broker: partition.BrokerID(1 + rng.IntN(n)), seed: rng.Int64(), size: rng.Float64(),
	}
	one.Other = partition.BrokerID(1 + (int(one.Broker)+rng.IntN(n-1))%n)
	one.For = time.Duration(rng.Float64() * float64([]time.Duration{100, 1000, 4000}[rng.IntN(3)]*time.Millisecond))
	one.When = f.drawMoment()
	w.at(wait, nil, always, "fault", func() {
		if w.calm {
			return
		}
		one.At, one.Spared = w.now, w.opt.Spare[one.N]
		f.struck = append(f.struck, one)
		f.next()
		if !one.Spared {
			f.await(one)
		}
	})
}

// strike lets a fault happen.
func (f *faults) strike(one Fault) {
	w := f.w
	if w.calm {
		return
	}
	for _, k := range f.kinds {
		if k.name == one.Kind {
			w.note(k.name, one.Broker, int64(one.N), int64(one.For))
			k.strike(w, one, w.broker(one.Broker))
		}
	}
}

// losses draws what a power failure takes; nil is all that was not synced.
func (f Fault) losses() *oldrand.Rand {
	if f.size < 0.3 {
		return nil
	}
	return oldrand.New(oldrand.NewSource(f.seed))
}

func (b *broker) end(power bool, losses *oldrand.Rand) {
	if b.p != nil {
		b.kill(power, losses)
	}
}

func (w *World) all(power bool, f Fault) {
	for _, b := range w.brokers {
		b.end(power, f.losses())
	}
}

// leader is a broker that leads the partition that a fault draws, mostly; else b.
func (w *World) leader(f Fault, b *broker) *broker {
	if n := len(w.watch.ids); n > 0 && f.size < 0.8 {
		if st, ok := w.watch.table.Partition(w.watch.ids[int(f.size*100)%n]); ok && st.Leader != partition.NoBroker {
			return w.broker(st.Leader)
		}
	}
	return b
}

// straggler is, half of the time, a broker that is out of an ISR; else b.
func (w *World) straggler(f Fault, b *broker) *broker {
	for _, id := range w.watch.ids {
		st, ok := w.watch.table.Partition(id)
		if !ok {
			continue
		}
		for _, r := range st.Replicas {
			if f.size < 0.7 && !slices.Contains(st.ISR, r) && !slices.Contains(st.ELR, r) {
				return w.broker(r)
			}
		}
	}
	return b
}

// late has the metadata reach a broker late, or its roles follow the metadata late.
func (w *World) late(f Fault, b *broker) {
	dice := f.dice()
	if dice.IntN(2) == 0 {
		b = w.broker(f.Other)
	}
	late, lasts := &b.late, 2*f.For
	if dice.IntN(2) == 0 {
		late, lasts = &b.news, f.For
	}
	usual := b.usualNews
	if late == &b.late {
		usual = 0
	}
	*late = max(usual, f.For/time.Duration(1+dice.IntN(8)))
	w.at(lasts, nil, always, "in time", func() { *late = usual })
}

// stepAside has a broker ask to be fenced, and to be unfenced after a while.
func (b *broker) stepAside(after time.Duration) {
	p := b.p
	if p == nil || p.fencing {
		return
	}
	p.fence(true)
	b.w.at(after, b, awake, "step back", func() {
		if p.stopped == nil {
			p.fence(false)
		}
	})
}

func fillDisk(w *World, f Fault, b *broker) {
	b.limit = b.disk.Used() + reserve + int64(f.size*8192)
	b.disk.Limit(b.limit)
	w.at(f.For, nil, always, "room", func() {
		b.limit = -1
		b.disk.Limit(-1)
	})
}
