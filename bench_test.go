package samsa_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/transport"
	"github.com/stretchr/testify/require"
)

// openThree opens three brokers in memory, with the default Config, one after another.
func openThree(ctx context.Context, b testing.TB) (*transport.Network, []*samsa.Broker) {
	network := transport.NewNetwork()
	voters := []samsa.Voter{{ID: 1, Addr: "a"}, {ID: 2, Addr: "b"}, {ID: 3, Addr: "c"}}
	var brokers []*samsa.Broker
	for _, v := range voters {
		broker, err := samsa.Open(ctx, samsa.Config{ID: v.ID, Addr: v.Addr, Transport: network, Voters: voters})
		require.NoError(b, err)
		brokers = append(brokers, broker)
	}
	return network, brokers
}

func percentile(all []time.Duration, p int) float64 {
	slices.Sort(all)
	return float64(all[min(len(all)*p/100, len(all)-1)].Microseconds()) / 1000
}

// BenchmarkStart times three Open, CreateTopic with 3 replicas, and the first record
// with acks=all, in memory. Limit: 20 ms.
func BenchmarkStart(b *testing.B) {
	ctx := b.Context()
	var all []time.Duration
	for b.Loop() {
		began := time.Now()
		_, brokers := openThree(ctx, b)
		client := brokers[0].Client()
		require.NoError(b, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Replicas: 3}))
		producer, err := client.NewProducer(samsa.ProducerConfig{})
		require.NoError(b, err)
		_, err = producer.Send(ctx, samsa.Record{Topic: "t", Value: []byte("v")})
		require.NoError(b, err)
		all = append(all, time.Since(began))
		for {
			info, err := client.Topic("t").Partition(0).Info(ctx)
			require.NoError(b, err)
			if len(info.ISR) == 3 {
				break
			}
		}
		for _, broker := range brokers {
			require.NoError(b, broker.Close())
		}
	}
	b.ReportMetric(percentile(all, 50), "p50-ms")
	b.ReportMetric(percentile(all, 99), "p99-ms")
}

// BenchmarkKill times how long a partition takes no record with acks=all after its
// leader was killed: from the last acknowledgement before to the first after. The leader may run
// the controller too; then an election comes on top.
func BenchmarkKill(b *testing.B) {
	for _, controller := range []bool{false, true} {
		b.Run(fmt.Sprintf("controller=%v", controller), func(b *testing.B) {
			var all []time.Duration
			for b.Loop() {
				all = append(all, killOnce(b, controller))
			}
			b.ReportMetric(percentile(all, 50), "p50-ms")
			b.ReportMetric(percentile(all, 99), "p99-ms")
		})
	}
}

func killOnce(b *testing.B, controller bool) time.Duration {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	network, brokers := openThree(ctx, b)
	defer func() {
		for _, broker := range brokers {
			_ = broker.Close()
		}
	}()
	client, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: []string{"a", "b", "c"}, Transport: network})
	require.NoError(b, err)
	defer client.Close()
	for _, broker := range brokers {
		require.NoError(b, broker.Ready(ctx))
	}
	require.NoError(b, client.CreateTopic(ctx, samsa.TopicConfig{Name: "t", Partitions: 3, Replicas: 3}))
	victim := samsa.PartitionInfo{ID: -1}
	for _, p := range client.Topic("t").Partitions() {
		info, err := p.Info(ctx)
		require.NoError(b, err)
		if (info.Leader == client.Cluster().Controller) == controller {
			victim = info
		}
	}
	require.GreaterOrEqual(b, int(victim.ID), 0)
	producer, err := client.NewProducer(samsa.ProducerConfig{Partitioner: samsa.Manual})
	require.NoError(b, err)
	send := func() {
		_, err := producer.Send(ctx, samsa.Record{Topic: "t", Partition: victim.ID, Value: []byte("v")})
		require.NoError(b, err)
	}
	for range 100 {
		send()
	}
	last := time.Now()
	network.Detach(transport.Addr([]string{"a", "b", "c"}[victim.Leader-1]))
	send()
	return time.Since(last)
}
