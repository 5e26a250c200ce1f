package samsa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/group/consume"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/produce"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/wire"
)

var (
	_ produce.Cluster = (*cluster)(nil)
	_ consume.Cluster = (*cluster)(nil)
)

// decoded returns what makes an answer of the frame that it came in.
func decoded[T any](decode func([]byte) (T, error)) func(transport.Frame, error) (T, error) {
	return func(f transport.Frame, err error) (T, error) {
		if err != nil {
			var none T
			return none, err
		}
		return decode(f.Head)
	}
}

// Topic implements [produce.Cluster].
func (c *cluster) Topic(ctx context.Context, name string) (produce.Topic, error) {
	if err := errors.Join(partition.CheckName(name), notOwn(name)); err != nil {
		return produce.Topic{}, err
	}
	var t partition.Topic
	err := c.until(ctx, func() bool {
		var ok bool
		t, ok = c.view.Topic(name)
		return ok
	})
	if err != nil {
		return produce.Topic{}, fmt.Errorf("topic %q: %w: %w", name, ErrUnknownTopic, err)
	}
	return produce.Topic{ID: t.ID, Partitions: len(t.Partitions), MaxBatchBytes: t.Config.MaxBatchBytes, Keyed: t.Config.Compact}, nil
}

// Produce implements [produce.Cluster].
func (c *cluster) Produce(ctx context.Context, req partition.ProduceRequest, batch log.Batch) (partition.ProduceResponse, error) {
	st, err := c.leader(ctx, req.ID)
	if errors.Is(err, ErrUnknownTopic) {
		return partition.ProduceResponse{Code: partition.TopicDeleted}, nil // another of that name has another id
	}
	if err != nil {
		return partition.ProduceResponse{}, fmt.Errorf("no leader: %w: %w", produce.ErrNotSent, err)
	}
	req.Epoch = st.Epoch
	var m struct { // in one piece: a batch of one record should not cost more than that
		head [64]byte
		data [1][]byte
	}
	w := wire.NewWriter(m.head[:0])
	req.Encode(w)
	m.data[0] = batch
	f := transport.Frame{Kind: kindProduce, Head: w.Bytes(), Data: m.data[:]}
	got, err := c.call(ctx, st.Leader, f, c.leads(req.ID, st))
	if errors.Is(err, transport.ErrRefused) {
		c.moved(ctx, req.ID, st)
		return partition.ProduceResponse{}, fmt.Errorf("%w: %w", produce.ErrNotSent, err)
	}
	if err != nil {
		return partition.ProduceResponse{}, err
	}
	resp, err := partition.DecodeProduceResponse(got.Head)
	if err == nil {
		c.catchUp(ctx, req.ID, resp.Code, resp.Epoch)
	}
	return resp, err
}

// Topics implements [consume.Cluster].
func (c *cluster) Topics(names []string) ([]consume.Topic, <-chan struct{}) {
	_, changed := c.view.Changed()
	all := make([]consume.Topic, 0, len(names))
	for _, name := range names {
		t, _ := c.view.Topic(name)
		all = append(all, consume.Topic{Name: name, ID: t.ID, Partitions: len(t.Partitions)})
	}
	return all, changed
}

// Leaders implements [consume.Cluster].
func (c *cluster) Leaders(ids []partition.ID) ([]consume.Leader, <-chan struct{}) {
	_, changed := c.view.Changed()
	all := make([]consume.Leader, len(ids))
	for i, id := range ids {
		if st, ok := c.view.State(id); ok {
			all[i] = consume.Leader{Broker: st.Leader, Epoch: st.Epoch}
		}
	}
	return all, changed
}

// Read implements [consume.Cluster].
func (c *cluster) Read(ctx context.Context, from partition.BrokerID, req partition.ReadRequest) (partition.ReadResponse, [][]byte, error) {
	got, err := c.call(ctx, from, encoded(kindRead, req.Encode), func() bool {
		for _, p := range req.Partitions {
			if st, ok := c.view.State(p.ID); !ok || st.Leader != from {
				return false
			}
		}
		return true
	})
	if err != nil {
		return partition.ReadResponse{}, nil, err
	}
	resp, err := partition.DecodeReadResponse(got.Head)
	if err == nil && (len(resp.Partitions) != len(req.Partitions) || len(got.Data) != len(req.Partitions)) {
		err = fmt.Errorf("samsa: broker %d answered %d partitions with %d", from, len(req.Partitions), len(resp.Partitions))
	}
	return resp, got.Data, err
}

// Info implements [consume.Cluster]. While nobody leads, others may be asked too.
func (c *cluster) Info(ctx context.Context, from partition.BrokerID, req partition.InfoRequest) (partition.InfoResponse, error) {
	st, _ := c.view.State(req.ID)
	return decoded(partition.DecodeInfoResponse)(c.call(ctx, from, encoded(kindInfo, req.Encode), c.isLeader(req.ID, st.Leader)))
}

// damages asks those of brokers that are there what is wrong with their copies of a
// partition, for a moment.
func (c *cluster) damages(ctx context.Context, id partition.ID, brokers []BrokerID, found map[BrokerID]string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, b := range brokers {
		if at, _ := c.view.Broker(b); at.Fenced {
			continue
		}
		if resp, err := c.Info(ctx, b, partition.InfoRequest{ID: id}); err == nil && resp.Damage != "" {
			found[b] = resp.Damage
		}
	}
}

// FindTime implements [consume.Cluster].
func (c *cluster) FindTime(ctx context.Context, from partition.BrokerID, req partition.FindTimeRequest) (partition.FindTimeResponse, error) {
	return decoded(partition.DecodeFindTimeResponse)(c.call(ctx, from, encoded(kindFindTime, req.Encode), c.isLeader(req.ID, from)))
}

// deleteBefore asks a partition's leader to remove records.
func (c *cluster) deleteBefore(ctx context.Context, from partition.BrokerID, req partition.DeleteBeforeRequest) (partition.DeleteBeforeResponse, error) {
	return decoded(partition.DecodeDeleteBeforeResponse)(c.call(ctx, from, encoded(kindDeleteBefore, req.Encode), c.isLeader(req.ID, from)))
}

// coordinate sends one request to the coordinator of a group.
func (c *cluster) coordinate(ctx context.Context, name string, f transport.Frame) (transport.Frame, error) {
	t, err := c.offsetsTopic(ctx)
	if err != nil {
		return transport.Frame{}, err
	}
	id := partition.ID{Topic: t.ID, Partition: group.PartitionOf(name, len(t.Partitions))}
	st, err := c.leader(ctx, id)
	if err != nil {
		return transport.Frame{}, err
	}
	return c.call(ctx, st.Leader, f, c.leads(id, st))
}

// Heartbeat implements [consume.Cluster].
func (c *cluster) Heartbeat(ctx context.Context, req group.HeartbeatRequest) (group.HeartbeatResponse, error) {
	return decoded(group.DecodeHeartbeatResponse)(c.coordinate(ctx, req.Group, encoded(kindGroupHeartbeat, req.Encode)))
}

// Commit implements [consume.Cluster].
func (c *cluster) Commit(ctx context.Context, req offsets.CommitRequest) (offsets.CommitResponse, error) {
	return decoded(offsets.DecodeCommitResponse)(c.coordinate(ctx, req.Group, encoded(kindCommit, req.Encode)))
}

// FetchOffsets implements [consume.Cluster].
func (c *cluster) FetchOffsets(ctx context.Context, req offsets.FetchRequest) (offsets.FetchResponse, error) {
	return decoded(offsets.DecodeFetchResponse)(c.coordinate(ctx, req.Group, encoded(kindFetchOffsets, req.Encode)))
}

// describe asks a group's coordinator about it.
func (c *cluster) describe(ctx context.Context, name string) (group.DescribeResponse, error) {
	req := group.DescribeRequest{Group: name}
	return decoded(group.DecodeDescribeResponse)(c.coordinate(ctx, name, encoded(kindDescribeGroup, req.Encode)))
}

// offsetsTopic waits for the topic of the groups' records, which is made at the
// first use of a group.
func (c *cluster) offsetsTopic(ctx context.Context) (partition.Topic, error) {
	if t, ok := c.view.Topic(control.OffsetsTopic); ok {
		return t, nil
	}
	if err := c.createTopic(ctx, TopicConfig{Name: control.OffsetsTopic}); err != nil {
		return partition.Topic{}, err
	}
	t, _ := c.view.Topic(control.OffsetsTopic)
	return t, nil
}
