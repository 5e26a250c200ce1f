// Hello sends a record and reads it back.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/samsalog/samsa"
)

func main() {
	ctx := context.Background()
	broker, err := samsa.Open(ctx, samsa.Config{}) // in memory; Config{Dir: "data"} keeps it
	check(err)
	defer func() { check(broker.Close()) }()
	client := broker.Client()
	check(client.CreateTopic(ctx, samsa.TopicConfig{Name: "rides", Partitions: 6}))

	producer, err := client.NewProducer(samsa.ProducerConfig{})
	check(err)
	rec, err := producer.Send(ctx, samsa.Record{Topic: "rides", Key: []byte("Soho"), Value: []byte("to the airport")})
	check(err) // nil: the record is safe
	fmt.Printf("sent to partition %d at offset %d\n", rec.Partition, rec.Offset)

	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "matching", Topics: []string{"rides"}})
	check(err)
	for rec, err := range consumer.Records(ctx) { // without end: it waits for more
		check(err)
		fmt.Printf("from %s: %s\n", rec.Key, rec.Value)
		check(consumer.Commit(ctx, rec)) // done with this one
		break
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
