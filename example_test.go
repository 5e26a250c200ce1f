package samsa_test

import (
	"context"
	"fmt"
	"log"

	"github.com/samsalog/samsa"
)

// One broker, in memory: send to a topic, then read it back as a group.
func Example() {
	if err := hello(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ada: tea
	// ada: milk
}

func hello(ctx context.Context) error {
	broker, err := samsa.Open(ctx, samsa.Config{}) // no Dir: nothing touches the disk
	if err != nil {
		return err
	}
	defer broker.Close()
	client := broker.Client()
	if err := client.CreateTopic(ctx, samsa.TopicConfig{Name: "orders", Partitions: 3}); err != nil {
		return err
	}
	producer, err := client.NewProducer(samsa.ProducerConfig{})
	if err != nil {
		return err
	}
	for _, order := range []string{"tea", "milk"} {
		rec := samsa.Record{Topic: "orders", Key: []byte("ada"), Value: []byte(order)}
		if _, err := producer.Send(ctx, rec); err != nil { // returns when it is safe
			return err
		}
	}
	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "kitchen", Topics: []string{"orders"}})
	if err != nil {
		return err
	}
	served := 0
	for rec, err := range consumer.Records(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", rec.Key, rec.Value)
		if served++; served == 2 {
			return consumer.Commit(ctx, rec) // to leave the loop says "not processed"
		}
	}
	return nil
}
