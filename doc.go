// Package samsa is a partitioned, replicated log that a Go program imports:
// topics, partitions, keys, leader/ISR replication, consumer groups and offsets,
// without a server beside the program.
//
// A [Broker] keeps data and serves it. Brokers form a cluster over a pluggable
// transport: many in one process, in a unit test, or one in each of many services.
// A [Client] uses the cluster, through a broker of its own process
// ([Broker.Client]) or from outside ([Dial]).
//
//	broker, err := samsa.Open(ctx, samsa.Config{Dir: "data"})
//	client := broker.Client()
//	err = client.CreateTopic(ctx, samsa.TopicConfig{Name: "rides", Partitions: 6})
//
//	producer, err := client.NewProducer(samsa.ProducerConfig{})
//	rec, err := producer.Send(ctx, samsa.Record{Topic: "rides", Key: zone, Value: ride})
//
//	consumer, err := client.NewConsumer(samsa.ConsumerConfig{Group: "payment", Topics: []string{"rides"}})
//	for rec, err := range consumer.Records(ctx) { ... }
//
// # What it promises
//
//   - An acks=all reply, the default, means that the record is fsynced on every
//     in-sync replica, and on at least MinISR of them. See [Durability].
//   - Records of one partition are read in the order of their offsets. Acknowledged
//     records of one producer stand there in the order in which they were sent.
//   - A group delivers each record at least once: asking for the next record says
//     that the last one is processed. See [Consumer.Records].
//   - An error that matches [ErrOutcomeUnknown] says that a record may be in the
//     log; any other error of a send says that it is not, and never will be.
//
// # What it does not promise
//
// A record may be delivered again after a failure, and a batch whose outcome was
// unknown may stand in the log twice. Two brokers cannot fail over safely: take three voters.
//
// # Words
//
// Offset, epoch (leader epoch), partition epoch, broker epoch, high watermark, log
// end, flushed end, log start, ISR, ELR, MinISR, batch, segment, controller,
// quorum, voter, group epoch, member epoch, assignor, commit (of an offset): the
// words of Kafka, with its meanings.
//
// # The house
//
// Package log keeps one partition's records on one disk; partition says what a
// partition is and who may lead it; replica keeps copies alike; group and offsets
// say who reads what and how far it got; transport connects brokers; samsatest is
// for the tests of programs that use Samsa.
package samsa
