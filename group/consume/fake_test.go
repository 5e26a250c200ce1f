package consume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

// A fakeCluster has topics "a", "b", ... whose partitions are led by broker 1, and
// a coordinator that assigns what the test says.
type fakeCluster struct {
	fault func(what string) (partition.Code, error) // asked at each call; called with mu held

	mu         sync.Mutex // guards all below
	partitions int        // of each topic
	changed    chan struct{}
	leader     map[partition.ID]Leader
	logs       map[partition.ID]*fakeLog
	arrived    chan struct{} // closed when records come
	reads      int
	epoch0     bool          // answers to reads come from a leader of epoch 0
	looks      int           // at the leaders, since the test has last set it to 0
	delay      time.Duration // of an answer to a read
	codec      log.Compression
	commits    map[partition.ID]log.Offset
	requests   []offsets.CommitRequest

	epoch     group.MemberEpoch
	target    group.Assignment
	fenced    bool
	beats     []group.HeartbeatRequest
	news      chan struct{} // closed when a parked heartbeat must be answered
	silent    bool          // no heartbeat is answered
	sessionMs int32
}

type fakeLog struct {
	start   log.Offset
	batches []log.Batch
}

func (l *fakeLog) end() log.Offset {
	if len(l.batches) == 0 {
		return l.start
	}
	return l.batches[len(l.batches)-1].Next()
}

func newFake() *fakeCluster {
	return &fakeCluster{
		partitions: 4, changed: make(chan struct{}), arrived: make(chan struct{}), news: make(chan struct{}),
		leader: make(map[partition.ID]Leader), logs: make(map[partition.ID]*fakeLog),
		commits: make(map[partition.ID]log.Offset), sessionMs: 30_000,
	}
}

func at(n int) partition.ID { return idIn("a", n) }

func idIn(topic string, n int) partition.ID {
	return partition.ID{Topic: partition.UUID{topic[0]}, Partition: partition.PartitionID(n)}
}

func (f *fakeCluster) log(id partition.ID) *fakeLog {
	l := f.logs[id]
	if l == nil {
		l = &fakeLog{}
		f.logs[id] = l
	}
	return l
}

// write appends one batch; its values are made of their offsets.
func (f *fakeCluster) write(id partition.ID, records int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.log(id)
	var b log.Builder
	first := l.end()
	for n := range records {
		b.Append(0, nil, fmt.Appendf(nil, "%d", int(first)+n), nil)
	}
	batch := b.Compress(f.codec)
	batch.Place(first, 1)
	l.batches = append(l.batches, batch)
	close(f.arrived)
	f.arrived = make(chan struct{})
}

// compact appends what compaction has left of a batch of that many offsets: its
// first records, or a batch without any.
func (f *fakeCluster) compact(id partition.ID, offsets, left int) {
	f.write(id, max(left, 1))
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.log(id)
	b := l.batches[len(l.batches)-1]
	if left == 0 {
		b = b[:log.BatchOverhead:log.BatchOverhead]
		binary.BigEndian.PutUint32(b[8:], log.BatchOverhead-12)
		binary.BigEndian.PutUint32(b[57:], 0)
		b[22] = byte(log.Zstd) // there is nothing to inflate
	}
	binary.BigEndian.PutUint32(b[23:], uint32(offsets-1))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	l.batches[len(l.batches)-1] = b
}

// assign sets the member's target.
func (f *fakeCluster) assign(ids ...partition.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.SortFunc(ids, offsets.CompareID)
	f.target = group.Assignment{Version: f.target.Version + 1, Partitions: ids}
	f.tell()
}

// tell answers a parked heartbeat; the caller holds mu.
func (f *fakeCluster) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *fakeCluster) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeCluster) fail(what string) (partition.Code, error) {
	if f.fault == nil {
		return partition.OK, nil
	}
	return f.fault(what)
}

func (f *fakeCluster) Topics(names []string) ([]Topic, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var topics []Topic
	for _, name := range names {
		topics = append(topics, Topic{Name: name, ID: idIn(name, 0).Topic, Partitions: f.partitions})
	}
	return topics, f.changed
}

func (f *fakeCluster) Leaders(ids []partition.ID) ([]Leader, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looks++; f.looks > 10_000 {
		panic("the consumer spins") // virtual time would stand still for ever
	}
	var leaders []Leader
	for _, id := range ids {
		l, ok := f.leader[id]
		if !ok {
			l = Leader{Broker: 1, Epoch: 1}
		}
		leaders = append(leaders, l)
	}
	return leaders, f.changed
}

func (f *fakeCluster) Read(ctx context.Context, from partition.BrokerID, req partition.ReadRequest) (partition.ReadResponse, [][]byte, error) {
	wait := time.After(time.Duration(req.MaxWaitMs) * time.Millisecond)
	for {
		f.mu.Lock()
		f.reads++
		code, err := f.fail("read")
		if err != nil {
			f.mu.Unlock()
			return partition.ReadResponse{}, nil, err
		}
		var resp partition.ReadResponse
		var data [][]byte
		something := false
		for _, p := range req.Partitions {
			a, d := f.readOne(p, code)
			something = something || a.Code != partition.OK || len(d) > 0
			resp.Partitions = append(resp.Partitions, a)
			data = append(data, d)
		}
		arrived, delay := f.arrived, f.delay
		f.mu.Unlock()
		if delay > 0 {
			time.Sleep(delay)
		}
		if something {
			return resp, data, nil
		}
		select {
		case <-arrived:
		case <-wait:
			return resp, data, nil
		case <-ctx.Done():
			return partition.ReadResponse{}, nil, ctx.Err()
		}
	}
}

func (f *fakeCluster) readOne(p partition.ReadPartition, code partition.Code) (partition.ReadAnswer, []byte) {
	l := f.log(p.ID)
	a := partition.ReadAnswer{Code: code, Start: l.start, HighWatermark: l.end(), Epoch: 1, Leader: 1}
	if f.epoch0 {
		a.Epoch = 0
	}
	if code != partition.OK {
		return a, nil
	}
	if p.From < l.start || p.From > l.end() {
		a.Code = partition.OutOfRange
		return a, nil
	}
	var data []byte
	for _, b := range l.batches {
		if b.Next() > p.From && (len(data) == 0 || len(data)+len(b) <= int(p.MaxBytes)) {
			data = append(data, b...)
		}
	}
	return a, data
}

func (f *fakeCluster) Info(_ context.Context, _ partition.BrokerID, req partition.InfoRequest) (partition.InfoResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	code, err := f.fail("info")
	l := f.log(req.ID)
	return partition.InfoResponse{Code: code, Start: l.start, HighWatermark: l.end(), End: l.end()}, err
}

func (f *fakeCluster) FindTime(_ context.Context, _ partition.BrokerID, req partition.FindTimeRequest) (partition.FindTimeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	code, err := f.fail("find")
	l := f.log(req.ID)
	resp := partition.FindTimeResponse{Code: code, Offset: l.end()}
	for _, b := range l.batches {
		for r := range b.Records() {
			if !resp.Found && r.Timestamp >= req.Time {
				resp.Found, resp.Offset = true, r.Offset
			}
		}
	}
	return resp, err
}

func (f *fakeCluster) Heartbeat(ctx context.Context, req group.HeartbeatRequest) (group.HeartbeatResponse, error) {
	f.mu.Lock()
	if len(f.beats) > 0 && f.beats[len(f.beats)-1].Sequence > req.Sequence {
		f.mu.Unlock()
		return group.HeartbeatResponse{}, errors.New("late")
	}
	f.beats = append(f.beats, req)
	if code, err := f.fail("heartbeat"); code != partition.OK || err != nil {
		f.mu.Unlock()
		return group.HeartbeatResponse{Code: code}, err
	}
	if f.silent {
		f.mu.Unlock()
		<-ctx.Done()
		return group.HeartbeatResponse{}, ctx.Err()
	}
	if req.Epoch == group.Join {
		f.epoch++
		f.fenced = false
	}
	park := time.After(3 * time.Second)
	for {
		resp := group.HeartbeatResponse{Epoch: f.epoch, IntervalMs: 3000, SessionMs: f.sessionMs, RebalanceMs: 60_000}
		if f.fenced {
			f.mu.Unlock()
			return group.HeartbeatResponse{Code: partition.FencedMember}, nil
		}
		if req.Version != f.target.Version && req.Epoch != group.Leave {
			target := f.target
			resp.Assignment = &target
		}
		news := f.news
		f.mu.Unlock()
		if resp.Assignment != nil || req.Epoch == group.Leave {
			return resp, nil
		}
		select {
		case <-news:
		case <-park:
			return resp, nil
		case <-ctx.Done():
			return group.HeartbeatResponse{}, ctx.Err()
		}
		f.mu.Lock()
	}
}

func (f *fakeCluster) Commit(_ context.Context, req offsets.CommitRequest) (offsets.CommitResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if code, err := f.fail("commit"); code != partition.OK || err != nil {
		return offsets.CommitResponse{Code: code}, err
	}
	if f.fenced || req.MemberEpoch != f.epoch {
		return offsets.CommitResponse{Code: partition.FencedMember}, nil
	}
	f.requests = append(f.requests, req)
	for _, p := range req.Partitions {
		f.commits[p.ID] = p.Offset
	}
	return offsets.CommitResponse{Partitions: make([]partition.Code, len(req.Partitions))}, nil
}

func (f *fakeCluster) FetchOffsets(_ context.Context, req offsets.FetchRequest) (offsets.FetchResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	code, err := f.fail("fetch")
	if code != partition.OK || err != nil {
		return offsets.FetchResponse{Code: code}, err
	}
	var resp offsets.FetchResponse
	for _, id := range req.Partitions {
		off, ok := f.commits[id]
		resp.Partitions = append(resp.Partitions, offsets.FetchAnswer{ID: id, Found: ok, Commit: offsets.Commit{Offset: off}})
	}
	return resp, nil
}

// committed returns what is committed of a partition; -1: nothing.
func (f *fakeCluster) committed(id partition.ID) log.Offset {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off, ok := f.commits[id]; ok {
		return off
	}
	return -1
}

func start(t *testing.T, cfg Config, f *fakeCluster) *Consumer {
	t.Helper()
	c, err := New(cfg, f)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func inGroup() Config { return Config{Group: "g", Member: "m", Topics: []string{"a"}} }

func place(n int) Place { return Place{"a", partition.PartitionID(n)} }

// take runs a loop and breaks from it at the n-th record, whose body is run as well.
func take(t *testing.T, ctx context.Context, c *Consumer, n int) []Record {
	t.Helper()
	var recs []Record
	for rec, err := range c.Records(ctx) {
		require.NoError(t, err)
		if recs = append(recs, rec); len(recs) == n {
			break
		}
	}
	return recs
}

func offsetsOf(recs []Record) []log.Offset {
	var all []log.Offset
	for _, r := range recs {
		all = append(all, r.Offset)
	}
	return all
}
