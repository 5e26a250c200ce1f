package samsa_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/transport"
)

// These benchmarks hold a record's way through three brokers, to an acknowledgement of
// all of them, against what the machine can do: see limit. An iteration is a round of
// both sides, in turn, each on fresh files, so that a machine that is slower for a
// while is so for both. They report medians of the rounds:
//
//	share            speed of the brokers as a part of the limit's, of the same round
//	rec/s            records a second through the brokers
//	limit-rec/s      likewise, of the limit
//	allocs/rec       allocations a record, of all that the brokers and the client do
//	limit-of-figure  speed of the limit as a part of what the machine of reference
//	                 did; below 0.7 something else was at work, and void is 1
//
// The first round is short and is dropped if others follow, so that one round shows
// that they run, and no more. For figures: go test -bench 'Produce|Ack' -benchtime 6x

// A cell is one way to produce.
type cell struct {
	disk       bool // the operating system's, and not memory
	durability samsa.Durability
	senders    int // who wait, each for its record; 0: one who does not wait
	bytes      int
	partitions int
}

func (c cell) String() string {
	where, how, mode := "mem", "Synced", "async"
	if c.disk {
		where = "disk"
	}
	if c.durability == samsa.Replicated {
		how = "Replicated"
	}
	if c.senders > 0 {
		mode = fmt.Sprintf("%dwait", c.senders)
	}
	return fmt.Sprintf("%s/%s/%s/%dB/%dparts", where, how, mode, c.bytes, c.partitions)
}

// records returns how many make a round: some tenths of a second.
func (c cell) records(short bool) int {
	slow := c.disk && c.durability == samsa.Synced
	var n int
	switch {
	case c.senders == 0:
		n = min(48<<20/c.bytes, 250_000)
	case c.senders == 1 && slow:
		n = 300
	case c.senders == 1:
		n = 6_000
	case slow:
		n = 6_400
	default:
		n = 25_600
	}
	if short {
		n = max(n/100, c.senders, 10)
	}
	return n
}

// figure returns what the limit did on the machine of reference, in records a second;
// 0 if that is not known.
func (c cell) figure() float64 {
	switch {
	case !c.disk || c.bytes != 1<<10:
		return 0
	case c.senders == 0 && c.durability == samsa.Replicated:
		return map[int]float64{1: 619e3, 3: 675e3, 12: 770e3}[c.partitions]
	case c.senders == 0:
		return 398e3
	case c.senders == 1 && c.durability == samsa.Replicated:
		return 94e3
	}
	return 0
}

// cells returns all ways with records of those bytes and those numbers of senders.
func cells(sizes []int, senders ...int) (all []cell) {
	for _, disk := range []bool{false, true} {
		for _, durability := range []samsa.Durability{samsa.Synced, samsa.Replicated} {
			for _, n := range senders {
				for _, bytes := range sizes {
					for _, partitions := range []int{1, 3, 12} {
						all = append(all, cell{disk, durability, n, bytes, partitions})
					}
				}
			}
		}
	}
	return all
}

// A run is one side's round: with senders who each wait for their record, or with one
// who is told when it has its answer.
type run struct {
	wait  func(sender int)
	post  func(done func(samsa.Record, error))
	close func()
}

// A bed is where the rounds take place: three brokers in memory, and three on the disk.
type bed struct {
	*testing.B // of all rounds
	clients    map[bool]*samsa.Client
	topics     int
}

// client opens the brokers that are wanted first.
func (bed *bed) client(disk bool) *samsa.Client {
	if c := bed.clients[disk]; c != nil {
		return c
	}
	network := transport.NewNetwork()
	voters := []samsa.Voter{{ID: 1, Addr: "a"}, {ID: 2, Addr: "b"}, {ID: 3, Addr: "c"}}
	var brokers []*samsa.Broker
	for _, v := range voters {
		cfg := samsa.Config{ID: v.ID, Addr: v.Addr, Transport: network, Voters: voters}
		if disk {
			cfg.Dir = filepath.Join(bed.TempDir(), v.Addr)
		}
		broker, err := samsa.Open(bed.Context(), cfg)
		require.NoError(bed, err)
		bed.Cleanup(func() { _ = broker.Close() })
		brokers = append(brokers, broker)
	}
	for _, broker := range brokers {
		require.NoError(bed, broker.Ready(bed.Context()))
	}
	if bed.clients == nil {
		bed.clients = make(map[bool]*samsa.Client)
	}
	bed.clients[disk] = brokers[0].Client()
	return bed.clients[disk]
}

// brokers makes a topic, and sees each of its partitions acknowledge.
func (bed *bed) brokers(b *testing.B, c cell) run {
	ctx, client := b.Context(), bed.client(c.disk)
	bed.topics++
	topic := fmt.Sprintf("t%d", bed.topics)
	require.NoError(b, client.CreateTopic(ctx, samsa.TopicConfig{
		Name: topic, Partitions: c.partitions, Replicas: 3, MinISR: 2, Durability: c.durability,
	}))
	first, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
	require.NoError(b, err)
	for n := range samsa.PartitionID(c.partitions) {
		_, err := first.Send(ctx, samsa.Record{Topic: topic, Partition: n, Value: []byte("first")})
		require.NoError(b, err)
		info, err := client.Topic(topic).Partition(n).Info(ctx)
		require.NoError(b, err)
		require.Len(b, info.ISR, 3)
	}
	require.NoError(b, first.Close())
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	require.NoError(b, err)
	rec := samsa.Record{Topic: topic, Value: make([]byte, c.bytes)}
	return run{
		wait: func(int) {
			if _, err := producer.Send(ctx, rec); err != nil {
				b.Error(err)
			}
		},
		post: func(done func(samsa.Record, error)) { producer.SendAsync(ctx, rec, done) },
		close: func() {
			require.NoError(b, producer.Close())
			require.NoError(b, client.DeleteTopic(ctx, topic))
		},
	}
}

// limit makes the files for a round of the limit.
func (bed *bed) limit(b *testing.B, c cell) run {
	fsys, dir := log.FS(log.NewMemFS()), "."
	if c.disk {
		fsys, dir = log.OS(), b.TempDir()
	}
	l, err := newLimit(fsys, dir, c.partitions, c.durability == samsa.Synced)
	require.NoError(b, err)
	value, sent := make([]byte, c.bytes), 0
	waiting := make([]chan struct{}, c.senders)
	answer := make([]func(samsa.Record, error), c.senders)
	for i := range waiting {
		waiting[i] = make(chan struct{}, 1)
		answer[i] = func(samsa.Record, error) { waiting[i] <- struct{}{} }
	}
	return run{
		wait: func(sender int) {
			l.parts[sender%c.partitions].send(value, true, answer[sender])
			<-waiting[sender]
		},
		post: func(done func(samsa.Record, error)) {
			// As records without a key do: a batch's worth, then the next partition.
			sent++
			l.parts[sent*c.bytes/limitBytes%c.partitions].send(value, false, done)
		},
		close: func() { require.NoError(b, l.close()) },
	}
}

// rounds runs both sides in turn, and returns what a round came to, of each side. The
// first round is short, and is not among them if others follow.
func rounds[T any](b *testing.B, bed *bed, c cell, round func(r run, short bool) T) (limits, ours []T) {
	for i := 0; b.Loop(); i++ {
		for n := range 2 {
			isLimit := n == i%2
			ready := bed.brokers
			if isLimit {
				ready = bed.limit
			}
			r := ready(b, c)
			runtime.GC() // nobody pays for the garbage of the other
			got := round(r, i == 0)
			r.close()
			if isLimit {
				limits = append(limits, got)
			} else {
				ours = append(ours, got)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of a round: means nothing
	if len(ours) > 1 {
		limits, ours = limits[1:], ours[1:]
	}
	return limits, ours
}

// medians returns the median of what each round comes to.
func medians[T any](rounds []T, of func(T) float64) float64 {
	var v []float64
	for _, r := range rounds {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// reportLimit says whether the limit did what it should have done.
func reportLimit(b *testing.B, share float64) {
	if share == 0 {
		return
	}
	b.ReportMetric(share, "limit-of-figure")
	if share < 0.7 && b.N > 1 {
		b.ReportMetric(1, "void")
	}
}

// A pace is how fast a round was.
type pace struct{ perSecond, allocs float64 }

// BenchmarkProduce produces as fast as it goes.
func BenchmarkProduce(b *testing.B) {
	bed := &bed{B: b}
	for _, c := range cells([]int{100, 1 << 10}, 1, 64, 0) {
		b.Run(c.String(), func(b *testing.B) {
			limits, ours := rounds(b, bed, c, func(r run, short bool) pace { return produce(b, r, c, c.records(short)) })
			var shares []float64
			for i := range ours {
				shares = append(shares, ours[i].perSecond/limits[i].perSecond)
			}
			perSecond := func(p pace) float64 { return p.perSecond }
			b.ReportMetric(medians(shares, func(s float64) float64 { return s }), "share")
			b.ReportMetric(medians(ours, perSecond), "rec/s")
			b.ReportMetric(medians(limits, perSecond), "limit-rec/s")
			b.ReportMetric(medians(ours, func(p pace) float64 { return p.allocs }), "allocs/rec")
			if f := c.figure(); f > 0 {
				reportLimit(b, medians(limits, perSecond)/f)
			}
		})
	}
}

func produce(b *testing.B, r run, c cell, records int) pace {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var answered sync.WaitGroup
	began := time.Now()
	if c.senders == 0 {
		answered.Add(records)
		done := func(_ samsa.Record, err error) {
			if err != nil {
				b.Error(err)
			}
			answered.Done()
		}
		for range records {
			r.post(done)
		}
	}
	for sender := range c.senders {
		answered.Go(func() {
			for n := sender; n < records; n += c.senders {
				r.wait(sender)
			}
		})
	}
	answered.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return pace{float64(records) / took.Seconds(), float64(after.Mallocs-before.Mallocs) / float64(records)}
}

// ackRate is at what rate BenchmarkAck sends, in records a second.
const ackRate = 2000

// A delay is how long the acknowledgements of a round took.
type delay struct{ p50, p99 time.Duration }

// BenchmarkAck sends at a fixed rate that is far below what goes through, and times
// each acknowledgement. Where it takes longer than a record has, they overlap. It
// reports the microseconds of the brokers and of the limit, and how many times as long
// the brokers take.
func BenchmarkAck(b *testing.B) {
	bed := &bed{B: b}
	for _, c := range cells([]int{1 << 10}, 0) {
		b.Run(c.String(), func(b *testing.B) {
			limits, ours := rounds(b, bed, c, func(r run, short bool) delay { return acks(b, r, short) })
			var times []float64
			for i := range ours {
				times = append(times, float64(ours[i].p50)/float64(limits[i].p50))
			}
			micros := func(of func(delay) time.Duration) func(delay) float64 {
				return func(d delay) float64 { return float64(of(d).Nanoseconds()) / 1e3 }
			}
			p50 := micros(func(d delay) time.Duration { return d.p50 })
			p99 := micros(func(d delay) time.Duration { return d.p99 })
			b.ReportMetric(medians(times, func(s float64) float64 { return s }), "p50-of-limit")
			b.ReportMetric(medians(ours, p50), "p50-µs")
			b.ReportMetric(medians(ours, p99), "p99-µs")
			b.ReportMetric(medians(limits, p50), "limit-p50-µs")
			b.ReportMetric(medians(limits, p99), "limit-p99-µs")
		})
	}
}

func acks(b *testing.B, r run, short bool) delay {
	records := ackRate / 2
	if short {
		records = 20
	}
	took := make([]time.Duration, records)
	var answered sync.WaitGroup
	began := time.Now()
	for i := range records {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / ackRate)))
		sent := time.Now()
		answered.Add(1)
		r.post(func(_ samsa.Record, err error) {
			took[i] = time.Since(sent)
			if err != nil {
				b.Error(err)
			}
			answered.Done()
		})
	}
	answered.Wait()
	slices.Sort(took)
	return delay{took[records/2], took[records*99/100]}
}
