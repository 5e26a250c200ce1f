package node

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

func record(value string) log.Record { return log.Record{Value: []byte(value)} }

func TestLedKeepsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, id, n := stuck(t)
		r := n.replica(id)
		l := &Led{r: r, epoch: r.standing.Load().epoch}
		require.Equal(t, r.standing.Load().epoch, l.Epoch())
		end, err := l.Append([]log.Record{record("a"), record("b")})
		require.NoError(t, err)
		require.Equal(t, log.Offset(2), end)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.Wait(ctx, end), context.DeadlineExceeded)
		require.NoError(t, l.Wait(t.Context(), 0))
		c.net.Heal()
		require.NoError(t, l.Wait(t.Context(), end))
		var got []string
		require.NoError(t, l.Scan(t.Context(), func(rec log.Record) error {
			got = append(got, string(rec.Value))
			return nil
		}))
		require.Equal(t, []string{"a", "b"}, got)
		require.ErrorIs(t, l.Scan(t.Context(), func(log.Record) error { return errKilled }), errKilled)
		require.Zero(t, n.Stats().Parked-parkedFollowers(n))
	})
}

// Compaction leaves batches without records, which belong to nobody.
func TestScanPassesBatchesWithoutRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		c.until("leader", func() bool { return c.leader(id) != nil })
		n := c.node(1)
		r := n.replica(id)
		l := &Led{r: r, epoch: r.standing.Load().epoch}
		empty := garbage(log.Zstd)[:log.BatchOverhead]
		binary.BigEndian.PutUint32(empty[8:], log.BatchOverhead-12)
		binary.BigEndian.PutUint32(empty[23:], 9) // the last of ten offsets
		binary.BigEndian.PutUint32(empty[57:], 0)
		binary.BigEndian.PutUint32(empty[17:], crc32.Checksum(empty[21:], crc32.MakeTable(crc32.Castagnoli)))
		for _, b := range []log.Batch{empty, empty, batch(2, 1), empty, batch(1, 1), empty} {
			o := n.produceOp(l.epoch, partition.AcksNone, b) // past the checks of what a client sends
			r.await(time.Now(), o, o.appended)
			require.Equal(t, partition.OK, o.code)
			n.free(o)
		}
		r.flushInTurn()
		require.NoError(t, l.Wait(t.Context(), 43))
		var got []log.Offset
		require.NoError(t, l.Scan(t.Context(), func(rec log.Record) error {
			got = append(got, rec.Offset)
			return nil
		}))
		require.Equal(t, []log.Offset{20, 21, 32}, got)
	})
}

func TestLedRefusesWhatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		require.NoError(t, c.stop(1)) // so that an epoch is over
		c.start(1)
		c.until("leader", func() bool { return c.leader(id) != nil })
		n := c.node(1)
		r := n.replica(id)
		l := &Led{r: r, epoch: r.standing.Load().epoch}
		_, err := l.Append(nil)
		require.ErrorIs(t, err, partition.CorruptBatch)
		_, err = l.Append([]log.Record{record(string(make([]byte, 2<<20)))})
		require.ErrorIs(t, err, partition.BatchTooLarge)
		_, err = l.Append([]log.Record{record("fits")})
		require.NoError(t, err, "the node lives")

		other := &Led{r: r, epoch: l.epoch - 1}
		_, err = other.Append([]log.Record{record("late")})
		require.ErrorIs(t, err, partition.FencedEpoch)
		require.ErrorIs(t, other.Wait(t.Context(), 1), partition.NotLeader)
		require.ErrorIs(t, other.Scan(t.Context(), nil), partition.NotLeader)

		waited := make(chan error, 1)
		go func() { waited <- l.Wait(t.Context(), 100) }()
		time.Sleep(time.Second)
		require.NoError(t, c.stop(1))
		require.ErrorIs(t, <-waited, partition.NotLeader)
	})
}

// OnRole is told of each reign once, in order, and of its end.
func TestRolesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []log.Epoch
		c := newCluster(t, 1)
		require.NoError(t, c.stop(1))
		cfg := c.config(1)
		cfg.OnRole = func(_ partition.ID, topic string, led *Led) {
			mu.Lock()
			defer mu.Unlock()
			if led == nil {
				told = append(told, log.NoEpoch)
				return
			}
			told = append(told, led.Epoch())
		}
		n, err := Open(cfg)
		require.NoError(t, err)
		c.run(1, n)
		c.ready(1)
		id := c.create(partition.TopicConfig{Name: "rides"})
		require.Equal(t, partition.OK, n.Produce(t.Context(), all(id), batch(1, 10)).Code)
		require.NoError(t, c.stop(1))
		require.Equal(t, []log.Epoch{0, log.NoEpoch}, told)
	})
}
