package samsa

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/samsalog/samsa/group/consume"
	"github.com/samsalog/samsa/partition"
)

// A Topic is a handle of a topic.
type Topic struct {
	c    *cluster
	name string
}

// A TopicInfo is a topic as it is kept.
type TopicInfo struct {
	Config     TopicConfig // complete: no field is zero for want of a value
	Partitions []PartitionInfo
}

// Name is the topic's name.
func (t *Topic) Name() string { return t.name }

// Info returns the topic's configuration and partitions.
func (t *Topic) Info(ctx context.Context) (TopicInfo, error) {
	found, ok := t.c.view.Topic(t.name)
	if !ok {
		return TopicInfo{}, fmt.Errorf("samsa: topic %q: %w", t.name, ErrUnknownTopic)
	}
	info := TopicInfo{Config: found.Config}
	for i := range found.Partitions {
		p, err := t.Partition(PartitionID(i)).Info(ctx)
		if err != nil {
			return info, err
		}
		info.Partitions = append(info.Partitions, p)
	}
	return info, nil
}

// Partition returns a handle of one partition, which need not exist.
func (t *Topic) Partition(n PartitionID) *Partition { return &Partition{t: t, n: n} }

// Partitions returns handles of all partitions; none if the topic is not known.
func (t *Topic) Partitions() []*Partition {
	found, _ := t.c.view.Topic(t.name)
	all := make([]*Partition, len(found.Partitions))
	for i := range all {
		all[i] = t.Partition(PartitionID(i))
	}
	return all
}

// A Partition is a handle of one partition of a topic.
type Partition struct {
	t *Topic
	n PartitionID
}

// A PartitionInfo is what an operator asks of a partition. ISR, ELR and Replicas
// are those of the agreed metadata; the offsets are the leader's own.
type PartitionInfo struct {
	ID             PartitionID
	Leader         BrokerID // 0: none
	Epoch          Epoch
	PartitionEpoch int
	Replicas       []BrokerID // in order of preference
	ISR            []BrokerID // in sync, rising
	ELR            []BrokerID // not in sync, and provably complete, rising
	Start          Offset     // the oldest record that is kept
	HighWatermark  Offset     // the end of what is committed
	End            Offset     // the end of what is written
}

// ID is the partition's number.
func (p *Partition) ID() PartitionID { return p.n }

// Info returns the partition's standing. While it has no leader the offsets
// are -1; while a new leader does not know its high watermark Info waits.
func (p *Partition) Info(ctx context.Context) (PartitionInfo, error) {
	found, ok := p.t.c.view.Topic(p.t.name)
	if !ok {
		return PartitionInfo{}, fmt.Errorf("samsa: topic %q: %w", p.t.name, ErrUnknownTopic)
	}
	if p.n < 0 || int(p.n) >= len(found.Partitions) {
		return PartitionInfo{}, fmt.Errorf("samsa: partition %s/%d: %w", p.t.name, p.n, ErrUnknownPartition)
	}
	id := partition.ID{Topic: found.ID, Partition: p.n}
	for {
		_, changed := p.t.c.view.Changed()
		st, _ := p.t.c.view.State(id)
		info := PartitionInfo{
			ID: p.n, Leader: st.Leader, Epoch: st.Epoch, PartitionEpoch: int(st.PartitionEpoch),
			Replicas: slices.Clone(st.Replicas), ISR: slices.Clone(st.ISR), ELR: slices.Clone(st.ELR),
			Start: -1, HighWatermark: -1, End: -1,
		}
		if st.Leader == partition.NoBroker {
			return info, nil
		}
		resp, err := p.t.c.Info(ctx, st.Leader, partition.InfoRequest{ID: id})
		if err == nil && resp.Code == partition.OK {
			info.Epoch, info.Start, info.HighWatermark, info.End = resp.Epoch, resp.Start, resp.HighWatermark, resp.End
			return info, nil
		}
		if err := p.t.c.pause(ctx, changed); err != nil {
			return info, fmt.Errorf("samsa: partition %s/%d: %w", p.t.name, p.n, err)
		}
	}
}

// Records reads the partition from an offset on, without a group, and waits at its
// end for more. It ends with ctx, without an error. An offset that is not kept any
// more, or not written yet, is an error that matches [ErrOutOfRange].
func (p *Partition) Records(ctx context.Context, from Offset) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		fail := func(err error) { yield(Record{}, fmt.Errorf("samsa: read %s/%d: %w", p.t.name, p.n, err)) }
		found, known := p.t.c.view.Topic(p.t.name)
		switch {
		case from < 0:
			fail(fmt.Errorf("%w: offset %d", ErrOutOfRange, from))
			return
		case p.n < 0, known && int(p.n) >= len(found.Partitions):
			fail(ErrUnknownPartition)
			return
		}
		c, err := consume.New(consume.Config{
			Partitions: []consume.Place{{Topic: p.t.name, Partition: p.n}},
			Start:      consume.At, From: from, Logger: p.t.c.logger,
		}, p.t.c)
		if err != nil {
			fail(err)
			return
		}
		if p.t.c.ctx.Err() != nil {
			fail(ErrClosed)
			return
		}
		defer context.AfterFunc(p.t.c.ctx, func() {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = c.Close(ended)
		})()
		defer func() { _ = c.Close(context.Background()) }() // there is no group to leave
		for rec, err := range c.Records(ctx) {
			if errors.Is(err, consume.ErrClosed) {
				err = ErrClosed // the client is
			}
			if err != nil {
				fail(err)
				return
			}
			if !yield(fromConsume(rec), nil) {
				return
			}
		}
	}
}
