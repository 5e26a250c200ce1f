package samsa_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// inCluster runs a test with n brokers in a bubble.
func inCluster(t *testing.T, n int, run func(ctx context.Context, t *testing.T, c *samsatest.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		c := samsatest.Start(t, n)
		for _, id := range c.Brokers() {
			c.Disk(id).Delay(200 * time.Microsecond) // or no time would pass under load
		}
		run(ctx, t, c)
	})
}

func brokers(list ...samsa.BrokerID) []samsa.BrokerID { return list }

// onDisk returns the names in a broker's directory that have to do with a topic.
func onDisk(t *testing.T, c *samsatest.Cluster, id samsa.BrokerID, topic string) []string {
	names, err := c.Disk(id).ReadDir("samsa")
	require.NoError(t, err)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, topic) })
}

// until waits until so says yes, in a bubble.
func until(ctx context.Context, t *testing.T, what string, so func() bool) {
	for !so() {
		require.NoError(t, ctx.Err(), what)
		time.Sleep(time.Millisecond)
	}
}

// A shutdown hands everything over before the broker goes: producers and consumers
// see no error, and it takes no heartbeat's time.
func TestShutdownUnderLoad(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Partitions: 6}))
		l := startLoad(ctx, t, client, 4)
		consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "g", Topics: []string{orders}})
		require.NoError(t, err)
		reading, stop := context.WithCancel(ctx)
		var read sync.WaitGroup
		read.Go(func() {
			for _, err := range consumer.Records(reading) {
				if err != nil {
					t.Errorf("consumer: %v", err)
				}
			}
		})
		for _, id := range c.Brokers() {
			l.until(l.acked.Load() + 50)
			b := c.Broker(id)
			begun := time.Now()
			require.NoError(t, b.Shutdown(ctx))
			took := time.Since(begun)
			t.Logf("broker %d, controller %d: shut down in %v", id, client.Cluster().Controller, took)
			require.LessOrEqual(t, took, 100*time.Millisecond, "broker %d", id)
			for _, p := range mustInfo(ctx, t, client, orders).Partitions {
				require.NotEqual(t, id, p.Leader)
			}
			l.until(l.acked.Load() + 50)
			require.NoError(t, c.Kill(id)) // which has stopped
			require.NoError(t, c.Restart(ctx, id))
			require.NoError(t, c.WaitISR(ctx, orders, 3))
		}
		acked := l.finish()
		stop()
		read.Wait()
		require.NoError(t, consumer.Close())
		checkRead(ctx, t, client, "after", acked)
	})
}

func mustInfo(ctx context.Context, t *testing.T, client *samsa.Client, topic string) samsa.TopicInfo {
	info, err := client.Topic(topic).Info(ctx)
	require.NoError(t, err)
	return info
}

func TestTransferLeader(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders}))
		l := startLoad(ctx, t, client, 2)
		p := client.Topic(orders).Partition(0)
		before, err := p.Info(ctx)
		require.NoError(t, err)
		for _, to := range slices.Backward(before.Replicas) {
			l.until(l.acked.Load() + 20)
			require.NoError(t, client.TransferLeader(ctx, orders, 0, to))
			require.NoError(t, client.TransferLeader(ctx, orders, 0, to), "again is a success")
			info, err := p.Info(ctx)
			require.NoError(t, err)
			require.Equal(t, to, info.Leader)
		}
		require.NoError(t, client.TransferLeader(ctx, orders, 0, before.Replicas[2]))
		require.NoError(t, client.TransferLeader(ctx, orders, 0, 0))
		info, err := p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, before.Replicas[0], info.Leader, "the preferred one")
		require.Equal(t, before.Epoch+5, info.Epoch, "one epoch a change of leader")

		dead := before.Replicas[1]
		require.NoError(t, c.Kill(dead))
		until(ctx, t, "the broker is fenced", func() bool { return client.Cluster().Brokers[dead-1].Fenced })
		err = client.TransferLeader(ctx, orders, 0, dead)
		require.ErrorIs(t, err, samsa.ErrIneligible)
		require.ErrorContains(t, err, fmt.Sprintf("broker %d is fenced", dead))
		err = client.TransferLeader(ctx, orders, 0, 9)
		require.ErrorIs(t, err, samsa.ErrIneligible)
		require.ErrorContains(t, err, "keeps no copy")
		require.ErrorIs(t, client.TransferLeader(ctx, "none", 0, 1), samsa.ErrUnknownTopic)
		require.ErrorIs(t, client.TransferLeader(ctx, orders, 7, 1), samsa.ErrUnknownPartition)
		checkRead(ctx, t, client, "g", l.finish())
	})
}

func TestAddPartitions(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Partitions: 2}))
		l := startLoad(ctx, t, client, 2)
		l.until(50)
		require.NoError(t, client.AddPartitions(ctx, orders, 6))
		require.NoError(t, client.AddPartitions(ctx, orders, 6), "again is a success")
		info := mustInfo(ctx, t, client, orders)
		require.Equal(t, 6, info.Config.Partitions)
		leads := make(map[samsa.BrokerID]int)
		for _, p := range info.Partitions {
			leads[p.Leader]++
		}
		require.Equal(t, map[samsa.BrokerID]int{1: 2, 2: 2, 3: 2}, leads)
		until(ctx, t, "the producer of old uses the new partitions", func() bool {
			info, err := client.Topic(orders).Partition(5).Info(ctx)
			return err == nil && info.End > 0
		})
		acked := l.finish()

		producer, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
		require.NoError(t, err)
		rec, err := producer.Send(ctx, samsa.Record{Topic: orders, Partition: 5, Value: make([]byte, 8)})
		require.NoError(t, err)
		require.Equal(t, samsa.PartitionID(5), rec.Partition)
		checkRead(ctx, t, client, "g", acked)

		for total, text := range map[int]string{5: "cannot be taken away", 10_001: "10000", 0: "cannot be taken away", -1: "cannot"} {
			err := client.AddPartitions(ctx, orders, total)
			require.ErrorIs(t, err, samsa.ErrInvalidTopic)
			require.ErrorContains(t, err, text)
		}
		require.ErrorIs(t, client.AddPartitions(ctx, "none", 2), samsa.ErrUnknownTopic)
	})
}

// A topic that is made again under its name has nothing to do with the one before,
// not even for a broker that slept through all of it (KIP-516, KAFKA-9539).
func TestDeleteAndCreateAgain(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		cfg := samsa.TopicConfig{Name: orders, Partitions: 2}
		require.NoError(t, client.CreateTopic(ctx, cfg))
		producer, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
		require.NoError(t, err)
		send := func(value string) samsa.Record {
			rec, err := producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte(value)})
			require.NoError(t, err)
			return rec
		}
		for i := range 10 {
			send(fmt.Sprint("old ", i))
		}
		slept := mustInfo(ctx, t, client, orders).Partitions[0].Replicas[1]
		require.NoError(t, c.Kill(slept))
		require.NoError(t, client.DeleteTopic(ctx, orders))
		require.ErrorIs(t, client.DeleteTopic(ctx, orders), samsa.ErrUnknownTopic)
		require.NotContains(t, client.Topics(), orders)
		require.NoError(t, client.CreateTopic(ctx, cfg))

		_, err = producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte("for the old one")})
		require.ErrorIs(t, err, samsa.ErrUnknownTopic)
		require.NotErrorIs(t, err, samsa.ErrOutcomeUnknown)
		first := send("new")
		require.Zero(t, first.Offset, "the new topic begins at 0, and a producer of the old one finds it")
		require.NoError(t, c.Restart(ctx, slept))
		require.NoError(t, c.WaitISR(ctx, orders, 3))
		for _, id := range c.Brokers() {
			until(ctx, t, "the old copies are removed", func() bool { return len(onDisk(t, c, id, orders)) == 2 })
		}
		// Whoever leads, there is the one record.
		for _, id := range c.Brokers() {
			require.NoError(t, client.TransferLeader(ctx, orders, 0, id))
			info, err := client.Topic(orders).Partition(0).Info(ctx)
			require.NoError(t, err)
			require.Equal(t, samsa.Offset(1), info.End)
			for rec, err := range client.Topic(orders).Partition(0).Records(ctx, 0) {
				require.NoError(t, err)
				require.Equal(t, "new", string(rec.Value))
				break
			}
		}
	})
}

func TestAlterTopic(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Replicas: 3, MinISR: 1}))
		require.NoError(t, client.AlterTopic(ctx, samsa.TopicConfig{Name: orders, MinISR: 2, Retention: -1}))
		cfg := mustInfo(ctx, t, client, orders).Config
		require.Equal(t, 2, cfg.MinISR)
		require.Equal(t, time.Duration(-1), cfg.Retention)
		require.NoError(t, client.AlterTopic(ctx, cfg), "what it is already")

		require.NoError(t, c.Kill(3))
		require.NoError(t, c.WaitISR(ctx, orders, 2))
		err := client.AlterTopic(ctx, samsa.TopicConfig{Name: orders, MinISR: 3})
		require.ErrorIs(t, err, samsa.ErrNotEnoughReplicas)
		require.ErrorContains(t, err, "in sync")
		for text, change := range map[string]samsa.TopicConfig{
			"AddPartitions": {Partitions: 2}, "Reassign": {Replicas: 2}, "Durability": {Durability: 2}, "SegmentBytes": {SegmentBytes: 1 << 20},
			"MinISR is 4": {MinISR: 4},
		} {
			change.Name = orders
			err := client.AlterTopic(ctx, change)
			require.ErrorIs(t, err, samsa.ErrInvalidTopic, text)
			require.ErrorContains(t, err, text)
		}
		require.ErrorIs(t, client.AlterTopic(ctx, samsa.TopicConfig{Name: "none", MinISR: 1}), samsa.ErrUnknownTopic)
	})
}

// With the last complete replica gone for good an operator may give up what it
// alone had. Nothing does so unasked.
func TestElectUnclean(t *testing.T) {
	var said lines
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		c, err := samsatest.New(ctx, samsatest.Config{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Replicas: 2, MinISR: 1}))
		p := client.Topic(orders).Partition(0)
		info, err := p.Info(ctx)
		require.NoError(t, err)
		last, behind := info.Replicas[0], info.Replicas[1]
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(t, err)
		send := func() {
			_, err := producer.Send(ctx, samsa.Record{Topic: orders, Value: []byte("v")})
			require.NoError(t, err)
		}
		send()
		require.NoError(t, c.Kill(behind))
		require.NoError(t, c.WaitISR(ctx, orders, 1))
		send()
		require.NoError(t, c.Kill(last))
		require.NoError(t, c.Restart(ctx, behind))
		require.NoError(t, c.Broker(behind).Ready(ctx))
		time.Sleep(time.Minute)
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Zero(t, info.Leader, "nobody is elected unasked")
		require.Equal(t, []samsa.TopicPartition{{Topic: orders}}, client.Cluster().Offline)

		_, err = client.ElectUnclean(ctx, orders, 0, last)
		require.ErrorIs(t, err, samsa.ErrIneligible)
		loss, err := client.ElectUnclean(ctx, orders, 0, 0)
		require.NoError(t, err)
		require.Contains(t, loss, fmt.Sprintf("broker %d leads with a log that ends at 1", behind))
		require.Contains(t, loss, fmt.Sprintf("that only brokers [%d] hold are lost", last))
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, behind, info.Leader)
		require.Equal(t, samsa.Offset(1), info.HighWatermark)
		until(ctx, t, "the leader reports", func() bool {
			info, err := p.Info(ctx)
			return err == nil && !info.Recovering
		})
		loss, err = client.ElectUnclean(ctx, orders, 0, 0)
		require.NoError(t, err)
		require.Contains(t, loss, "nobody had to be elected")

		send()
		require.NoError(t, c.Restart(ctx, last)) // with a record of its own that is no more
		require.NoError(t, c.WaitISR(ctx, orders, 2))
		require.NoError(t, client.TransferLeader(ctx, orders, 0, last))
		info, err = p.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, samsa.Offset(2), info.End)
	})
	for _, text := range []string{`level=ERROR msg="unclean election" partition=orders-0`, `level=ERROR msg="partition offline"`, `level=WARN msg="ISR shrunk"`,
		`msg="ISR expanded"`, `msg="leader changed"`, `level=WARN msg="broker fenced: link broken"`, `msg="broker unfenced"`} {
		require.Contains(t, said.String(), text)
	}
}

// lines takes what a logger says.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestClusterTellsHowItIs(t *testing.T) {
	inCluster(t, 3, func(ctx context.Context, t *testing.T, c *samsatest.Cluster) {
		client := c.Client()
		require.NoError(t, client.CreateTopic(ctx, samsa.TopicConfig{Name: orders, Partitions: 3, Replicas: 3, MinISR: 2}))
		info := client.Cluster()
		require.Len(t, info.ID, 32)
		require.Equal(t, brokers(1, 2, 3), info.Voters)
		require.Contains(t, info.Voters, info.Controller)
		require.Empty(t, info.UnderReplicated)
		for _, b := range info.Brokers {
			require.Equal(t, 3, b.Replicas)
			require.Equal(t, 1, b.Leading)
		}
		require.Equal(t, info, c.Broker(1).Client().Cluster(), "a broker's client sees the same")
		require.Equal(t, samsa.ClientStats{Topics: 1, Partitions: 3}, client.Stats())

		require.NoError(t, c.Kill(2))
		until(ctx, t, "under-replicated partitions", func() bool { return len(client.Cluster().UnderReplicated) == 3 })
		require.Empty(t, client.Cluster().BelowMinISR)
		require.True(t, client.Cluster().Brokers[1].Fenced)
		require.Equal(t, 3, client.Stats().UnderReplicated)
		for _, p := range mustInfo(ctx, t, client, orders).Partitions {
			require.Len(t, p.Lag, 2)
		}
	})
}
