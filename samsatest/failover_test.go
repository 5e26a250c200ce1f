package samsatest_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

var outageRuns = flag.Int("samsa.outages", 2, "how often the failover test makes each outage")

// An outage is something that takes a broker away, while one producer with acks=all
// sends one record after another to a partition, and a group reads it.
type outage struct {
	name     string
	leads    bool          // the victim leads that partition
	controls bool          // and is the controller
	limit    time.Duration // of the time without progress
	begin    func(ctx context.Context, c *samsatest.Cluster, victim samsa.BrokerID) error
}

// The limits hold for the defaults: a session of 3 s, and elections after 1 to 2 s of
// silence, and once more if two candidates share the votes.
var outages = []outage{
	{"leader-killed", true, false, 500 * time.Millisecond, kill1},
	{"leader-cut-off", true, false, 3500 * time.Millisecond, isolate1},
	{"leader-paused", true, false, 3500 * time.Millisecond, pause1},
	{"controller-killed", false, true, 2500 * time.Millisecond, kill1},
	{"leader-and-controller-killed", true, true, 2500 * time.Millisecond, kill1},
	{"leader-shut-down", true, false, 100 * time.Millisecond, shutdown1},
	{"leader-and-controller-shut-down", true, true, 2500 * time.Millisecond, shutdown1},
	{"rolling-restart", true, false, 100 * time.Millisecond, roll(true)},
	{"rolling-restart-in-haste", true, false, 4500 * time.Millisecond, roll(false)},
}

func kill1(_ context.Context, c *samsatest.Cluster, victim samsa.BrokerID) error {
	return c.Kill(victim)
}

func isolate1(_ context.Context, c *samsatest.Cluster, victim samsa.BrokerID) error {
	c.Isolate(victim)
	return nil
}

func pause1(_ context.Context, c *samsatest.Cluster, victim samsa.BrokerID) error {
	c.Pause(victim)
	return nil
}

func shutdown1(ctx context.Context, c *samsatest.Cluster, victim samsa.BrokerID) error {
	return c.Broker(victim).Shutdown(ctx)
}

// roll restarts all brokers, one after the other, each once the one before is ready;
// and, with patience, in sync: in haste there are fewer than MinISR for a while.
func roll(patient bool) func(context.Context, *samsatest.Cluster, samsa.BrokerID) error {
	return func(ctx context.Context, c *samsatest.Cluster, _ samsa.BrokerID) error {
		for _, id := range c.Brokers() {
			if err := restart1(ctx, c, id); err != nil {
				return err
			}
			if !patient {
				continue
			}
			if err := c.WaitISR(ctx, topic, 3); err != nil {
				return err
			}
		}
		return nil
	}
}

func restart1(ctx context.Context, c *samsatest.Cluster, id samsa.BrokerID) error {
	if err := c.Broker(id).Shutdown(ctx); err != nil {
		return err
	}
	if err := c.Kill(id); err != nil { // its place is free
		return err
	}
	if err := c.Restart(ctx, id); err != nil {
		return err
	}
	return c.Broker(id).Ready(ctx)
}

// A pulse is a producer and a group at work on one partition.
type pulse struct {
	part samsa.PartitionID

	mu      sync.Mutex // guards all below
	last    time.Time  // of the last acknowledgement
	longest time.Duration
	acked   samsa.Offset // the last
	read    samsa.Offset
	errs    []error
}

// beat sends until ctx ends. The pace leaves the processors to the brokers.
func (p *pulse) beat(ctx context.Context, producer *samsa.Producer) {
	for ctx.Err() == nil {
		rec, err := producer.Send(context.Background(), samsa.Record{Topic: topic, Partition: p.part, Value: []byte("v")})
		now := time.Now()
		p.mu.Lock()
		if err != nil {
			p.errs = append(p.errs, fmt.Errorf("send: %w", err))
		}
		p.longest, p.last, p.acked = max(p.longest, now.Sub(p.last)), now, rec.Offset
		p.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// listen reads until ctx ends.
func (p *pulse) listen(ctx context.Context, consumer *samsa.Consumer) {
	for rec, err := range consumer.Records(ctx) {
		p.mu.Lock()
		if err != nil {
			p.errs = append(p.errs, fmt.Errorf("read: %w", err))
		} else if rec.Partition == p.part {
			p.read = rec.Offset
		}
		p.mu.Unlock()
	}
}

// beats waits for n acknowledgements more, and for the group to read them.
func (p *pulse) beats(ctx context.Context, t testing.TB, n samsa.Offset) {
	p.mu.Lock()
	until := p.acked + n
	p.mu.Unlock()
	for {
		p.mu.Lock()
		done := p.acked >= until && p.read >= until
		p.mu.Unlock()
		if done {
			return
		}
		require.NoError(t, ctx.Err(), "the pulse stops before %d", until)
		time.Sleep(time.Millisecond)
	}
}

// run makes one outage in a new cluster, and returns how long nothing was
// acknowledged: from the last acknowledgement before to the first one after, or a
// longer time of the kind until all is as it was.
func (o outage) run(t testing.TB, disk time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := samsatest.New(ctx, samsatest.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	for _, id := range c.Brokers() {
		c.Disk(id).Delay(disk)
	}
	client := c.Client()
	require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: topic, Partitions: 3, Replicas: 3}))
	p, victim := o.cast(ctx, t, c)
	producer, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
	require.NoError(t, err)
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: live, Topics: []string{topic}})
	require.NoError(t, err)
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	p.last = time.Now()
	work.Go(func() { p.beat(working, producer) })
	work.Go(func() { p.listen(working, consumer) })
	p.beats(ctx, t, 50)

	p.mu.Lock()
	p.longest = 0
	p.mu.Unlock()
	require.NoError(t, o.begin(ctx, c, victim))
	p.beats(ctx, t, 100)
	stop()
	work.Wait()
	require.Empty(t, p.errs, "neither producer nor consumer is told")
	require.NoError(t, consumer.Close())
	return p.longest
}

// cast chooses the partition and the victim.
func (o outage) cast(ctx context.Context, t testing.TB, c *samsatest.Cluster) (*pulse, samsa.BrokerID) {
	require.NoError(t, c.WaitISR(ctx, topic, 3))
	info, err := c.Client().Topic(topic).Info(ctx)
	require.NoError(t, err)
	controller := c.Client().Cluster().Controller
	i := slices.IndexFunc(info.Partitions, func(p samsa.PartitionInfo) bool {
		return (p.Leader == controller) == (o.leads && o.controls)
	})
	require.GreaterOrEqual(t, i, 0, "%+v", info.Partitions)
	victim := info.Partitions[i].Leader
	if !o.leads {
		victim = controller
	}
	return &pulse{part: info.Partitions[i].ID}, victim
}

// Brokers go in each of the ways there are, and records go on within the limit. In
// virtual time a call takes none and a sync 200 µs, so that what is left is what the
// protocol waits for.
func TestOutages(t *testing.T) {
	table := []string{fmt.Sprintf("%-32s %9s %9s %9s", "time without progress", "p50 ms", "p99 ms", "limit ms")}
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			var all []time.Duration
			for range *outageRuns {
				synctest.Test(t, func(t *testing.T) { all = append(all, o.run(t, 200*time.Microsecond)) })
			}
			p50, p99 := percentile(all, 50), percentile(all, 99)
			table = append(table, fmt.Sprintf("%-32s %9.1f %9.1f %9.1f", o.name, p50, p99, ms(o.limit)))
			require.LessOrEqual(t, slices.Max(all), o.limit)
		})
	}
	t.Logf("%d runs each\n%s", *outageRuns, strings.Join(table, "\n"))
}

// BenchmarkOutage is the same on a real clock, in memory; -benchtime=50x makes it 50.
func BenchmarkOutage(b *testing.B) {
	for _, o := range outages {
		b.Run(o.name, func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				all = append(all, o.run(b, 0))
			}
			b.ReportMetric(percentile(all, 50), "p50-ms")
			b.ReportMetric(percentile(all, 99), "p99-ms")
		})
	}
}

func percentile(all []time.Duration, p int) float64 {
	all = slices.Sorted(slices.Values(all))
	return ms(all[min(len(all)*p/100, len(all)-1)])
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
