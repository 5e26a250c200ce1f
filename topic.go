package samsa

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

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

// Info returns the topic's configuration and partitions. The error matches
// [ErrUnknownTopic] if there is no such topic, and the rest is as in [Partition.Info].
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
	Replicas       []BrokerID // in order of preference; those that are to go come last
	Adding         []BrokerID // those that a reassignment brings, until it is complete
	Removing       []BrokerID // those that go with it
	ISR            []BrokerID // in sync, rising
	ELR            []BrokerID // not in sync, and provably complete, rising
	LastKnownELR   []BrokerID // neither, and the last that were: all of them are needed to elect a leader
	Recovering     bool       // an unclean election was the last, and its leader has not reported yet
	Start          Offset     // the oldest record that is kept
	HighWatermark  Offset     // the end of what is committed; -1: not known
	End            Offset     // the end of what is written
	Lag            []Lag      // of the replicas that do not lead, by rising broker; none without a leader
	// Damage is what is wrong with the leader's copy, or, without one, with the copies of
	// those that are there: file, position and check. Nothing: no copy is known to be damaged.
	Damage map[BrokerID]string
}

// A Lag is how far one replica is behind its leader.
type Lag struct {
	Broker  BrokerID
	Held    Offset // all below it is held there as safely as the topic asks; -1: not heard of by this leader
	Records int64  // from there to the leader's end
}

// ID is the partition's number.
func (p *Partition) ID() PartitionID { return p.n }

// Info returns the partition's standing. While it has no leader the offsets
// are -1. For a new leader to learn its high watermark Info waits, for two seconds at
// most: it may be one that must wait for others.
func (p *Partition) Info(ctx context.Context) (PartitionInfo, error) {
	var info PartitionInfo
	begun := time.Now()
	err := p.ask(ctx, func(id partition.ID, st partition.State) (done bool) {
		info = PartitionInfo{
			ID: p.n, Leader: st.Leader, Epoch: st.Epoch, PartitionEpoch: int(st.PartitionEpoch),
			Replicas: slices.Clone(st.Replicas), ISR: slices.Clone(st.ISR), ELR: slices.Clone(st.ELR),
			Adding: st.Adding(), Removing: st.Removing(), LastKnownELR: slices.Clone(st.LastKnownELR),
			Recovering: st.Recovering, Damage: make(map[BrokerID]string),
			Start: -1, HighWatermark: -1, End: -1,
		}
		if st.Leader == partition.NoBroker {
			p.t.c.damages(ctx, id, st.Replicas, info.Damage)
			return true
		}
		resp, err := p.t.c.Info(ctx, st.Leader, partition.InfoRequest{ID: id})
		if resp.Code == partition.NotAvailable && time.Since(begun) >= 2*time.Second {
			resp.Code, resp.HighWatermark = partition.OK, -1
		}
		if err != nil || resp.Code != partition.OK {
			return false
		}
		info.Epoch, info.Start, info.HighWatermark, info.End = resp.Epoch, resp.Start, resp.HighWatermark, resp.End
		if resp.Damage != "" {
			info.Damage[st.Leader] = resp.Damage
		}
		for _, id := range slices.Sorted(slices.Values(st.Replicas)) {
			if held := resp.Held(id); id != st.Leader {
				info.Lag = append(info.Lag, Lag{Broker: id, Held: held, Records: int64(resp.End - max(held, resp.Start))})
			}
		}
		return true
	})
	return info, err
}

// OffsetAt returns the first committed record at time t or later; if there is none,
// the high watermark, which the next record to be committed gets. Records need not be
// in the order of their times: later ones may be earlier. It waits for a leader.
func (p *Partition) OffsetAt(ctx context.Context, t time.Time) (off Offset, err error) {
	err = p.askLeader(ctx, func(id partition.ID, leader BrokerID) (partition.Code, error) {
		resp, err := p.t.c.FindTime(ctx, leader, partition.FindTimeRequest{ID: id, Time: millis(t)})
		off = resp.Offset
		return resp.Code, err
	})
	return off, err
}

// DeleteBefore removes the records below an offset for good, on all replicas, and
// returns where the partition starts then: the records of one batch leave together,
// so that some below the offset may stay. -1 removes all that are committed. An
// offset above the high watermark is an error that matches [ErrOutOfRange]. It waits for
// a leader and for MinISR replicas in sync, and may be called again if it fails.
func (p *Partition) DeleteBefore(ctx context.Context, before Offset) (start Offset, err error) {
	if err := notOwn(p.t.name); err != nil {
		return -1, wrapped(p.what(), err)
	}
	err = p.askLeader(ctx, func(id partition.ID, leader BrokerID) (partition.Code, error) {
		resp, err := p.t.c.deleteBefore(ctx, leader, partition.DeleteBeforeRequest{ID: id, Before: before})
		if start = resp.Start; before == -1 && start > 0 {
			before = start // asked again, it is not to take what has come since
		}
		return resp.Code, err
	})
	if errors.Is(err, ErrOutOfRange) {
		err = fmt.Errorf("%w: offset %d", err, before)
	}
	return start, err
}

// askLeader is ask of whoever leads, until that one has done so, or refused for good.
func (p *Partition) askLeader(ctx context.Context, attempt func(partition.ID, BrokerID) (partition.Code, error)) error {
	var refusal error
	err := p.ask(ctx, func(id partition.ID, st partition.State) (done bool) {
		if st.Leader == partition.NoBroker {
			return false
		}
		code, err := attempt(id, st.Leader)
		if err == nil && code != partition.OK && !code.Retriable() {
			refusal = wrapped(p.what(), code)
		}
		return err == nil && !code.Retriable()
	})
	return errors.Join(err, refusal)
}

func (p *Partition) what() string { return fmt.Sprintf("partition %s/%d", p.t.name, p.n) }

// ask gives what is known of the partition to attempt, each time that it changes or
// a moment has passed, until that is done.
func (p *Partition) ask(ctx context.Context, attempt func(partition.ID, partition.State) (done bool)) error {
	id, err := p.t.c.place(p.what(), p.t.name, p.n)
	if err != nil {
		return err
	}
	for {
		_, changed := p.t.c.view.Changed()
		st, _ := p.t.c.view.State(id)
		if attempt(id, st) {
			return nil
		}
		if err := p.t.c.pause(ctx, changed); err != nil {
			return wrapped(p.what(), err)
		}
	}
}

// AwaitReassigned returns nil when no reassignment of the partition is under way, also
// if its topic is deleted meanwhile.
func (p *Partition) AwaitReassigned(ctx context.Context) error {
	what := fmt.Sprintf("await the reassignment of %s/%d", p.t.name, p.n)
	id, err := p.t.c.place(what, p.t.name, p.n)
	if err != nil {
		return err
	}
	return wrapped(what, p.t.c.until(ctx, func() bool {
		st, ok := p.t.c.view.State(id)
		return !ok || st.Target == nil
	}))
}

// Records reads the partition from an offset on, without a group, and waits at its
// end for more. It ends with ctx, without an error. An offset that is not kept any
// more, or not written yet, is an error that matches [ErrOutOfRange]. A topic that is
// not there is waited for; a partition that it has not is ErrUnknownPartition.
func (p *Partition) Records(ctx context.Context, from Offset) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		fail := func(err error) { yield(Record{}, fmt.Errorf("samsa: read %s/%d: %w", p.t.name, p.n, err)) }
		found, known := p.t.c.view.Topic(p.t.name)
		if known && int(p.n) >= len(found.Partitions) {
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
