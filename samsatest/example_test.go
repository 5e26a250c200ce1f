package samsatest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
)

// What was acknowledged is there when the broker that took it is not. In a test
// [samsatest.Start] makes the cluster, and closes it.
func Example() {
	if err := killTheLeader(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// another leads
	// tea
}

func killTheLeader(ctx context.Context) error {
	cluster, err := samsatest.New(ctx, samsatest.Config{Brokers: 3})
	if err != nil {
		return err
	}
	defer cluster.Close()
	client := cluster.Client()
	if err := client.CreateTopic(ctx, samsa.TopicConfig{Name: "orders"}); err != nil {
		return err
	}
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	if err != nil {
		return err
	}
	if _, err := producer.Send(ctx, samsa.Record{Topic: "orders", Value: []byte("tea")}); err != nil {
		return err
	}

	first, err := cluster.Leader(ctx, "orders", 0)
	if err != nil {
		return err
	}
	if err := cluster.Kill(first); err != nil {
		return err
	}
	for rec, err := range client.Topic("orders").Partition(0).Records(ctx, 0) {
		if err != nil {
			return err
		}
		now, err := cluster.Leader(ctx, "orders", 0)
		if err != nil {
			return err
		}
		if now != first {
			fmt.Println("another leads")
		}
		fmt.Printf("%s\n", rec.Value)
		break
	}
	if err := cluster.Restart(ctx, first); err != nil {
		return err
	}
	return cluster.WaitISR(ctx, "orders", 3)
}
