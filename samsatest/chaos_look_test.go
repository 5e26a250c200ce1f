package samsatest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest/internal/history"
)

// look asks, as an operator does, for high watermarks and commits, until the readers
// go.
func (c *chaos) look() {
	rng := rand.New(rand.NewPCG(c.seed, 300))
	for !ended(c.gone) {
		c.lookAtPartition(rng.Int())
		c.lookAtGroup()
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
	}
}

// looks begins a question about each of some partitions.
func (c *chaos) looks(ps []*samsa.Partition) []*history.Look {
	all := make([]*history.Look, len(ps))
	c.book.tell(func(h *history.History) error {
		for i, p := range ps {
			all[i] = h.Look(partitionOf(topic, p.ID()))
		}
		return nil
	})
	return all
}

func (c *chaos) lookAtPartition(drawn int) {
	all := c.cluster.Client().Topic(topic).Partitions()
	p := all[drawn%len(all)]
	looks := c.looks([]*samsa.Partition{p})
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	if info, err := p.Info(ctx); err == nil {
		c.sawHigh(looks[0], info)
	}
}

func (c *chaos) sawHigh(look *history.Look, info samsa.PartitionInfo) {
	if info.HighWatermark < 0 {
		return // no leader
	}
	c.book.tell(func(*history.History) error { return look.High(info.Epoch, info.HighWatermark) })
	if info.HighWatermark > info.End {
		c.complain("partition %d has the high watermark %d, and ends at %d", info.ID, info.HighWatermark, info.End)
	}
}

func (c *chaos) lookAtGroup() {
	all := c.cluster.Client().Topic(topic).Partitions()
	looks := c.looks(all)
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	info, err := c.cluster.Client().Group(live).Info(ctx)
	if err != nil && !errors.Is(err, samsa.ErrUnknownGroup) {
		return
	}
	committed := make(map[samsa.PartitionID]samsa.Offset)
	for _, p := range info.Partitions {
		committed[p.Partition] = p.Committed
	}
	for i, p := range all {
		c.book.tell(func(*history.History) error { return looks[i].Committed(live, committed[p.ID()]) })
	}
}
