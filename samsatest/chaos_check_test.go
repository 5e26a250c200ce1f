package samsatest_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/samsatest/internal/history"
	"github.com/stretchr/testify/require"
)

const offsetsTopic = "__consumer_offsets"

// converge waits until the cluster is whole again.
func (c *chaos) converge() {
	c.operating.Wait()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, convergence)
	defer cancel()
	for _, p := range c.cluster.Client().Topic(topic).Partitions() {
		require.NoError(c.t, p.AwaitReassigned(ctx), "%s", c.standing())
	}
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
	info, err := c.cluster.Client().Group(live).Info(ctx)
	return s + fmt.Sprintf("%+v, %v", info, err)
}

// high returns the partitions as they stand when nobody sends any more.
func (c *chaos) high() []samsa.PartitionInfo {
	ctx, cancel := context.WithTimeout(c.ctx, convergence)
	defer cancel()
	for {
		looks := c.looks(c.cluster.Client().Topic(topic).Partitions())
		info, err := c.cluster.Client().Topic(topic).Info(ctx)
		require.NoError(c.t, err)
		settled := true
		for i, p := range info.Partitions {
			c.sawHigh(looks[i], p)
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
		c.book.tell(func(h *history.History) error {
			for _, p := range high {
				if done := h.Processed(live, partitionOf(topic, p.ID)); done < p.HighWatermark {
					missing += fmt.Sprintf(" partition %d: %d of %d;", p.ID, done, p.HighWatermark)
				}
			}
			return nil
		})
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
	logs := c.readAll(high)
	maps.Copy(logs, c.remade.logs)
	c.book.tell(func(h *history.History) error {
		for _, err := range h.End(logs) {
			c.complain("%v", err)
		}
		return nil
	})
	c.waitISR(c.ctx) // nobody may have fallen out again
	info, err := c.cluster.Client().Topic(offsetsTopic).Info(c.ctx)
	require.NoError(c.t, err)
	c.checkAlive()
	c.checkEnd()
	c.checkCopies(topic, high)
	c.checkCopies(offsetsTopic, info.Partitions)
}

// checkEnd closes the cluster and checks that nothing of it is left: no request, no
// open file, no word or write an hour later. A goroutine that is left fails the
// bubble.
func (c *chaos) checkEnd() {
	client := c.cluster.Client()
	require.NoError(c.t, c.cluster.Close())
	c.closed.Store(true)
	if n := client.Stats(); n.Calls > 0 || n.Open > 0 {
		c.complain("the client is closed, and has %d calls under way and %d producers and consumers", n.Calls, n.Open)
	}
	writes := make(map[samsa.BrokerID]int)
	for _, id := range c.cluster.Brokers() {
		c.leftNothing(id, c.cluster.Broker(id))
		writes[id] = c.cluster.Disk(id).Mutations()
	}
	time.Sleep(time.Hour)
	for id, n := range writes {
		if now := c.cluster.Disk(id).Mutations(); now != n {
			c.complain("broker %d has been closed, and writes", id)
		}
	}
	if n := c.words.Load(); n > 0 {
		c.complain("all is closed, and something has been said %d times", n)
	}
}

// readAll has a fresh group read everything, and returns what stands there.
func (c *chaos) readAll(high []samsa.PartitionInfo) map[history.Log][]ident {
	ctx, cancel := context.WithTimeout(c.ctx, convergence)
	defer cancel()
	consumer, err := c.cluster.Client().NewConsumer(samsa.ConsumerConfig{Group: "fresh", Topics: []string{topic}})
	require.NoError(c.t, err)
	left := 0
	for _, p := range high {
		left += int(p.HighWatermark)
	}
	final := make(map[history.Log][]ident)
	if left == 0 {
		c.complain("nothing was written")
		return final
	}
	reader := history.Reader{Name: "the last reader", Group: "fresh"}
	for rec, err := range consumer.Records(ctx) {
		require.NoError(c.t, err)
		c.book.read(reader, rec)
		c.book.done(reader, rec)
		id, _ := identOf(rec.Value)
		at := partitionOf(topic, rec.Partition)
		if final[at] = append(final[at], id); len(final[at]) != int(rec.Offset)+1 {
			c.complain("the fresh group got %v as the record %d of its partition", placeOf(rec), len(final[at]))
		}
		if left--; left == 0 {
			break
		}
	}
	if left > 0 {
		c.complain("the fresh group has still to read %d records", left)
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
