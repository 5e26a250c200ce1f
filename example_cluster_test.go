package samsa_test

import (
	"context"
	"fmt"
	"log"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/transport"
)

// Three brokers of one process, and a client that needs none of them in particular.
func Example_cluster() {
	if err := cluster(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// brokers 3, replicas 3
	// offset 0
	// offset 1, with one broker less
}

func cluster(ctx context.Context) error {
	network := transport.NewNetwork()
	voters := []samsa.Voter{{ID: 1, Addr: "a"}, {ID: 2, Addr: "b"}, {ID: 3, Addr: "c"}}
	var brokers []*samsa.Broker
	for _, v := range voters { // none waits for the others
		broker, err := samsa.Open(ctx, samsa.Config{ID: v.ID, Addr: v.Addr, Voters: voters, Transport: network})
		if err != nil {
			return err
		}
		defer broker.Close() // after Shutdown it does nothing
		brokers = append(brokers, broker)
	}
	client, err := samsa.Dial(ctx, samsa.DialConfig{Addrs: []string{"a", "b", "c"}, Transport: network})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.CreateTopic(ctx, samsa.TopicConfig{Name: "orders"}); err != nil { // waits for the brokers
		return err
	}
	info, err := client.Topic("orders").Partition(0).Info(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("brokers %d, replicas %d\n", len(client.Cluster().Brokers), len(info.Replicas))

	producer, err := client.NewProducer(samsa.ProducerConfig{})
	if err != nil {
		return err
	}
	rec, err := producer.Send(ctx, samsa.Record{Topic: "orders", Value: []byte("tea")})
	if err != nil {
		return err
	}
	fmt.Printf("offset %d\n", rec.Offset)

	if err := brokers[info.Leader-1].Shutdown(ctx); err != nil { // another leads before it goes
		return err
	}
	rec, err = producer.Send(ctx, samsa.Record{Topic: "orders", Value: []byte("milk")})
	if err != nil {
		return err
	}
	fmt.Printf("offset %d, with one broker less\n", rec.Offset)
	return nil
}
