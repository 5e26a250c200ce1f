package produce

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A fakeCluster keeps what it is given. Each attempt is first shown to fault, if
// there is one: it may sleep, and says how the attempt ends.
type fakeCluster struct {
	partitions int
	maxBatch   int
	delay      time.Duration
	fault      func(ctx context.Context, n int) ending
	unknown    bool // the topic does not exist yet

	mu       sync.Mutex // guards all below
	keyed    bool       // records without a key are not taken
	attempts int
	flying   map[partition.ID]int
	overlaps int
	logs     map[partition.ID][]string // values
	batches  [][]string                // values of each batch written
	lookUps  int
	held     []log.Batch // of attempts that broke
}

// An ending is how an attempt ends; the zero ending is a success.
type ending struct {
	code  partition.Code
	err   error
	write bool // the batch is written nevertheless
}

func newFake() *fakeCluster {
	return &fakeCluster{partitions: 1, flying: make(map[partition.ID]int), logs: make(map[partition.ID][]string)}
}

func (f *fakeCluster) Topic(ctx context.Context, name string) (Topic, error) {
	f.mu.Lock()
	f.lookUps++
	unknown, keyed := f.unknown, f.keyed
	f.mu.Unlock()
	if unknown {
		<-ctx.Done()
		return Topic{}, ctx.Err()
	}
	return Topic{ID: topicID(name), Partitions: f.partitions, MaxBatchBytes: f.maxBatch, Keyed: keyed}, nil
}

func topicID(name string) (id partition.UUID) {
	copy(id[:], name)
	return id
}

func (f *fakeCluster) Produce(ctx context.Context, req partition.ProduceRequest, b log.Batch) (partition.ProduceResponse, error) {
	f.mu.Lock()
	f.attempts++
	n := f.attempts
	f.flying[req.ID]++
	if f.flying[req.ID] > 1 {
		f.overlaps++
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.flying[req.ID]--
	}()
	if f.delay > 0 {
		select {
		case <-time.After(f.delay):
		case <-ctx.Done():
			return partition.ProduceResponse{}, ctx.Err()
		}
	}
	var end ending
	if f.fault != nil {
		end = f.fault(ctx, n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	first := len(f.logs[req.ID])
	if end == (ending{}) || end.write {
		if err := b.CheckRecords(); err != nil {
			return partition.ProduceResponse{Code: partition.CorruptBatch}, nil
		}
		var values []string
		for rec, err := range b.Records() {
			if err != nil {
				return partition.ProduceResponse{Code: partition.CorruptBatch}, nil
			}
			values = append(values, string(rec.Value))
		}
		f.logs[req.ID] = append(f.logs[req.ID], values...)
		f.batches = append(f.batches, values)
	}
	if end.err != nil {
		f.held = append(f.held, b)
	}
	return partition.ProduceResponse{Code: end.code, First: log.Offset(first), Epoch: 3}, end.err
}

// compact has the topic take records with a key alone, from now on.
func (f *fakeCluster) compact() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keyed = true
}

// values returns what the log of a partition holds.
func (f *fakeCluster) values(topic string, part partition.PartitionID) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs[partition.ID{Topic: topicID(topic), Partition: part}]
}

func start(t *testing.T, cfg Config, f *fakeCluster) *Producer {
	t.Helper()
	p, err := New(cfg, f)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
	return p
}

// A told is one call of a done function.
type told struct {
	value  string
	placed Placed
	err    error
}

// A teller collects the calls of done functions.
type teller struct {
	mu    sync.Mutex // guards calls
	calls []told
}

func (l *teller) done(value string) ReceiverFunc {
	return func(placed Placed, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls = append(l.calls, told{value, placed, err})
	}
}

func (l *teller) all() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]told(nil), l.calls...)
}

func (l *teller) values() []string {
	var values []string
	for _, c := range l.all() {
		values = append(values, c.value)
	}
	return values
}

func value(v string) Record { return Record{Topic: "t", Timestamp: 1000, Value: []byte(v)} }

// written returns the values of each batch that was written.
func (f *fakeCluster) written() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batches
}
