package samsatest_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/stretchr/testify/require"
)

const offsetsTopic = "__consumer_offsets"

// converge waits until the cluster is whole again.
func (c *chaos) converge() {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, convergence)
	defer cancel()
	for _, id := range c.cluster.Brokers() {
		if b := c.cluster.Broker(id); b != nil {
			require.NoError(c.t, b.Ready(ctx), "broker %d\n%s", id, c.standing())
		}
	}
	c.waitISR(ctx)
	c.checkAlive()
	c.converged = time.Since(begin)
	c.note("converged after %v", c.converged)
}

func (c *chaos) waitISR(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, convergence)
	defer cancel()
	for _, name := range []string{topic, offsetsTopic} {
		require.NoError(c.t, c.cluster.WaitISR(ctx, name, 3), "%s", c.standing())
	}
}

// standing is what the cluster says of itself, for those who look for a fault.
func (c *chaos) standing() string {
	ctx, cancel := context.WithTimeout(c.ctx, time.Second)
	defer cancel()
	s := fmt.Sprintf("%+v\n", c.cluster.Client().Cluster())
	for _, name := range []string{topic, offsetsTopic} {
		for _, p := range c.cluster.Client().Topic(name).Partitions() {
			info, err := p.Info(ctx)
			s += fmt.Sprintf("%s/%d: %+v, %v\n", name, p.ID(), info, err)
		}
	}
	info, err := c.cluster.Client().Group("live").Info(ctx)
	return s + fmt.Sprintf("%+v, %v", info, err)
}

// high returns the partitions as they stand when nobody sends any more.
func (c *chaos) high() []samsa.PartitionInfo {
	ctx, cancel := context.WithTimeout(c.ctx, convergence)
	defer cancel()
	for {
		info, err := c.cluster.Client().Topic(topic).Info(ctx)
		require.NoError(c.t, err)
		settled := true
		for _, p := range info.Partitions {
			settled = settled && p.HighWatermark == p.End
		}
		if settled {
			return info.Partitions
		}
		time.Sleep(10 * time.Millisecond)
		require.NoError(c.t, ctx.Err(), "the high watermarks do not reach the ends: %+v", info.Partitions)
	}
}

// catchUp waits until the group has processed everything.
func (c *chaos) catchUp(high []samsa.PartitionInfo) {
	begin := time.Now()
	for {
		missing := ""
		c.group.mu.Lock()
		for _, p := range high {
			if done := c.group.frontier[p.ID]; done < p.HighWatermark {
				missing += fmt.Sprintf(" partition %d: %d of %d;", p.ID, done, p.HighWatermark)
			}
		}
		c.group.mu.Unlock()
		if missing == "" {
			c.caughtUp = time.Since(begin)
			c.note("the group has caught up after %v", c.caughtUp)
			return
		}
		if time.Since(begin) > catchingUp || c.t.Failed() {
			c.complain("the group does not process everything:%s\n%s", missing, c.standing())
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// check compares what was promised with what a fresh group reads, and what is on
// the disks.
func (c *chaos) check(high []samsa.PartitionInfo) {
	final := c.readAll(high)
	c.ledger.ordered()
	c.ledger.mu.Lock()
	for id, rec := range c.ledger.acked {
		if got, ok := final[place{rec.Partition, rec.Offset}]; !ok || got != id {
			c.complain("lost: %v was acknowledged at %v, where there is %v (%v)", id, place{rec.Partition, rec.Offset}, got, ok)
		}
	}
	for at, id := range final {
		if err := c.ledger.failed[id]; err != nil {
			c.complain("%v stands at %v, and its send failed for certain: %v", id, at, err)
		}
	}
	c.ledger.mu.Unlock()
	c.group.mu.Lock()
	for at, id := range c.group.seen {
		if got, ok := final[at]; !ok || got != id {
			c.complain("%v was read at %v, where there is %v (%v) in the end", id, at, got, ok)
		}
	}
	c.group.mu.Unlock()
	c.waitISR(c.ctx) // nobody may have fallen out again
	info, err := c.cluster.Client().Topic(offsetsTopic).Info(c.ctx)
	require.NoError(c.t, err)
	c.checkAlive()
	require.NoError(c.t, c.cluster.Close())
	c.checkCopies(topic, high)
	c.checkCopies(offsetsTopic, info.Partitions)
}

// readAll has a fresh group read everything.
func (c *chaos) readAll(high []samsa.PartitionInfo) map[place]ident {
	ctx, cancel := context.WithTimeout(c.ctx, convergence)
	defer cancel()
	consumer, err := c.cluster.Client().NewConsumer(samsa.ConsumerConfig{Group: "fresh", Topics: []string{topic}})
	require.NoError(c.t, err)
	left, next := 0, make(map[samsa.PartitionID]samsa.Offset)
	for _, p := range high {
		left += int(p.HighWatermark)
	}
	final := make(map[place]ident)
	if left == 0 {
		c.complain("nothing was written")
		return final
	}
	for rec, err := range consumer.Records(ctx) {
		require.NoError(c.t, err)
		at := place{rec.Partition, rec.Offset}
		if rec.Offset != next[rec.Partition] {
			c.complain("the fresh group got %v, and should have got %d", at, next[rec.Partition])
		}
		next[rec.Partition] = rec.Offset + 1
		id, whole := identOf(rec.Value)
		if !whole {
			c.complain("at %v stands what nobody sent: %x", at, rec.Value)
		}
		final[at] = id
		if len(final) == left {
			break
		}
	}
	if len(final) != left {
		c.complain("the fresh group has read %d of %d records", len(final), left)
	}
	require.NoError(c.t, consumer.Close())
	return final
}

// checkCopies compares the replicas' logs, byte for byte, up to the high
// watermarks. The brokers must be down.
func (c *chaos) checkCopies(name string, high []samsa.PartitionInfo) {
	for _, p := range high {
		var first []byte
		for _, id := range p.Replicas {
			all := c.readCopy(id, filepath.Join("samsa", fmt.Sprintf("%s-%d", name, p.ID)), p.HighWatermark)
			if id == p.Replicas[0] {
				first = all
			}
			if !bytes.Equal(first, all) {
				c.complain("%s/%d: the copies of brokers %d and %d differ: %d and %d bytes", name, p.ID, p.Replicas[0], id, len(first), len(all))
			}
		}
	}
}

func (c *chaos) readCopy(id samsa.BrokerID, dir string, end samsa.Offset) []byte {
	l, _, err := log.Open(c.cluster.Disk(id), dir, log.Config{})
	require.NoError(c.t, err)
	var all []byte
	for at := l.Start(); at < end; {
		data, err := l.Read(at, end, 1<<20)
		require.NoError(c.t, err, "%s of broker %d", dir, id)
		all = append(all, data...)
		for len(data) > 0 {
			var b log.Batch
			b, data, err = log.SplitBatch(data)
			require.NoError(c.t, err)
			at = b.Next()
		}
	}
	require.NoError(c.t, l.Close())
	return all
}
