package linear

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

var (
	seeds = flag.Int("linear.seeds", 10, "how many histories to look at")
	first = flag.Uint64("linear.first", 1, "the seed of the first")
)

// Histories are short, for to look at them takes time that grows fast with what is
// under way at once.
const (
	topic      = "t"
	partitions = 2
	clients    = 4
	appends    = 25 // of each client
)

// A recorder keeps the operations of a run. Its clock ticks at each beginning and each
// end, for in a bubble many things happen in one moment.
type recorder struct {
	mu      sync.Mutex // guards all below
	clock   int64
	history []porcupine.Operation
	ends    [partitions]int // behind what has been acknowledged
	values  int             // so far: each is another
}

func (r *recorder) now() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	return r.clock
}

func (r *recorder) note(client int, call int64, in operation, out result, open bool) {
	end := r.now()
	if open {
		end = never
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
	if !in.read && out.outcome == ok {
		r.ends[in.partition] = max(r.ends[in.partition], out.offset+1)
	}
}

func (r *recorder) value() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values++
	return r.values
}

func (r *recorder) end(partition int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends[partition]
}

// append sends one value.
func (r *recorder) append(ctx context.Context, client int, p *samsa.Producer, in operation) {
	call := r.now()
	rec, err := p.Send(ctx, samsa.Record{Topic: topic, Partition: samsa.PartitionID(in.partition), Value: strconv.AppendInt(nil, int64(in.value), 10)})
	switch {
	case err == nil:
		r.note(client, call, in, result{offset: int(rec.Offset)}, false)
	case errors.Is(err, samsa.ErrOutcomeUnknown):
		r.note(client, call, in, result{outcome: unknown}, true)
	default:
		r.note(client, call, in, result{outcome: failed}, false)
	}
}

// read reads one record, if there is one before ctx ends.
func (r *recorder) read(ctx context.Context, client int, c *samsa.Client, partition, offset int) error {
	call := r.now()
	for rec, err := range c.Topic(topic).Partition(samsa.PartitionID(partition)).Records(ctx, samsa.Offset(offset)) {
		if errors.Is(err, samsa.ErrOutOfRange) {
			return nil // it is not written yet
		}
		if err != nil {
			return err
		}
		value, err := strconv.Atoi(string(rec.Value))
		if err != nil || int(rec.Offset) != offset {
			return fmt.Errorf("read %q at %d, asked for %d: %w", rec.Value, rec.Offset, offset, err)
		}
		r.note(client, call, operation{partition: partition, read: true, offset: offset}, result{value: value}, false)
		return nil
	}
	return nil
}

// load has clients append and read, each one thing after another.
func (r *recorder) load(t *testing.T, cluster *samsatest.Cluster, seed uint64) *sync.WaitGroup {
	var running sync.WaitGroup
	for n := range clients {
		client, err := cluster.Dial(t.Context())
		require.NoError(t, err)
		producer, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual, DeliveryTimeout: 4 * time.Second})
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		running.Go(func() {
			for range appends {
				time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
				r.append(t.Context(), n, producer, operation{partition: rng.IntN(partitions), value: r.value()})
				p := rng.IntN(partitions)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if err := r.read(ctx, n, client, p, rng.IntN(r.end(p)+1)); err != nil {
					t.Errorf("client %d: %v", n, err)
				}
				cancel()
			}
			if err := producer.Close(); err != nil {
				t.Errorf("client %d: %v", n, err)
			}
		})
	}
	return &running
}

// final reads all that stands in the end, and lets each value that stands again, as
// one may that was tried more than once, have been appended as often: its sender
// does not know how often that was.
func (r *recorder) final(t *testing.T, client *samsa.Client) {
	tried := make(map[int]porcupine.Operation)
	counted := make(map[int]int)
	for _, op := range r.history {
		if in := op.Input.(operation); !in.read {
			tried[in.value], counted[in.value] = op, 1
		}
	}
	stands := make(map[int]int)
	for p := range partitions {
		info, err := client.Topic(topic).Partition(samsa.PartitionID(p)).Info(t.Context())
		require.NoError(t, err)
		for offset := range int(info.HighWatermark) {
			require.NoError(t, r.read(t.Context(), clients, client, p, offset))
			value := r.history[len(r.history)-1].Output.(result).value
			if stands[value]++; stands[value] > counted[value] {
				op := tried[value]
				r.note(clients+1, op.Call, op.Input.(operation), result{outcome: unknown}, true)
				counted[value]++
			}
		}
	}
}

// disturb breaks the cluster in one way after another while the load runs.
func disturb(t *testing.T, cluster *samsatest.Cluster, rng *rand.Rand) {
	for range 4 {
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		id := samsa.BrokerID(1 + rng.IntN(3))
		hold := time.Duration(rng.IntN(5000)) * time.Millisecond
		switch rng.IntN(5) {
		case 0:
			require.NoError(t, cluster.Kill(id))
			time.Sleep(hold / 2)
			require.NoError(t, cluster.Restart(t.Context(), id))
		case 1:
			require.NoError(t, cluster.PowerFailAll())
			for _, id := range cluster.Brokers() {
				require.NoError(t, cluster.Restart(t.Context(), id))
			}
		case 2:
			cluster.Isolate(id)
			time.Sleep(hold)
			cluster.Heal()
		case 3:
			cluster.Pause(id)
			time.Sleep(hold)
			cluster.Resume(id)
		case 4:
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = cluster.Client().TransferLeader(ctx, topic, samsa.PartitionID(rng.IntN(partitions)), id) // it may be fenced
			cancel()
		}
	}
}

func start(t *testing.T) *samsatest.Cluster {
	cluster := samsatest.Start(t, 3)
	require.NoError(t, cluster.Client().CreateTopic(t.Context(), samsa.TopicConfig{Name: topic, Partitions: partitions, Replicas: 3, MinISR: 2}))
	for _, id := range cluster.Brokers() {
		cluster.Disk(id).Delay(200 * time.Microsecond)
	}
	return cluster
}

// run records one history.
func run(t *testing.T, seed uint64) []porcupine.Operation {
	cluster := start(t)
	r := new(recorder)
	load := r.load(t, cluster, seed)
	disturb(t, cluster, rand.New(rand.NewPCG(seed, 1000)))
	load.Wait()
	require.NoError(t, cluster.WaitISR(t.Context(), topic, 3))
	r.final(t, cluster.Client())
	return r.history
}

// A partition is one log to all its clients (I20).
func TestPartitionIsLinearizable(t *testing.T) {
	for i := range *seeds {
		seed := *first + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			var history []porcupine.Operation
			synctest.Test(t, func(t *testing.T) { history = run(t, seed) })
			count := make(map[outcome]int)
			for _, op := range history {
				if !op.Input.(operation).read {
					count[op.Output.(result).outcome]++
				}
			}
			began := time.Now()
			got := check(history)
			t.Logf("%d operations; appends: %d ok, %d failed, %d unknown; %v after %v", len(history), count[ok], count[failed], count[unknown], got, time.Since(began))
			if got == porcupine.Illegal {
				t.Errorf("seed %d (go test -run Linearizable -linear.seeds=1 -linear.first=%d; it may take some runs) is in %s", seed, seed, draw(t, history))
			}
		})
	}
}

// draw leaves a picture of a history that is wrong.
func draw(t *testing.T, history []porcupine.Operation) string {
	name := filepath.Join(os.TempDir(), "samsa-linear.html")
	_, info := porcupine.CheckOperationsVerbose(model.ToModel(), history, patience)
	if err := porcupine.VisualizePath(model.ToModel(), info, name); err != nil {
		t.Error(err)
	}
	return name
}
