package control

import (
	"slices"

	"github.com/samsalog/samsa/partition"
)

// administer has an operator ask for something.
func (w *world) administer() {
	var all []partition.ID
	for id := range w.table.All() {
		all = append(all, id)
	}
	if len(all) == 0 {
		return
	}
	id := all[w.rng.IntN(len(all))]
	topic, _ := w.table.TopicByID(id.Topic)
	s := w.state(id)
	switch w.rng.IntN(12) {
	case 0:
		w.send(DeleteTopic{w.next(), partition.DeleteTopicRequest{Name: topic.Config.Name}})
	case 1:
		w.send(AddPartitions{w.next(), partition.AddPartitionsRequest{Topic: id.Topic, Total: len(topic.Partitions) + w.rng.IntN(2)}})
	case 2, 3:
		cfg := partition.TopicConfig{MinISR: 1 + w.rng.IntN(3), Retention: -1}
		w.send(AlterTopic{w.next(), partition.AlterTopicRequest{Topic: id.Topic, Config: cfg}})
	case 4, 5, 6:
		// The internal topic has three replicas or gets them.
		to := ids(1, 2, 3, 4)
		w.rng.Shuffle(len(to), func(i, j int) { to[i], to[j] = to[j], to[i] })
		w.send(Reassign{w.next(), partition.ReassignRequest{ID: id, Replicas: to[:max(1, min(len(s.Replicas), 3))]}})
	case 7:
		w.send(Reassign{w.next(), partition.ReassignRequest{ID: id}})
	case 8, 9, 10:
		to := partition.BrokerID(w.rng.IntN(5))
		w.send(Transfer{w.next(), partition.TransferRequest{ID: id, To: to}})
	case 11:
		if s.Leader == partition.NoBroker {
			w.send(ElectUnclean{w.next(), partition.ElectRequest{ID: id, To: partition.BrokerID(w.rng.IntN(5))}})
		}
	}
}

// freshWish is fresh for what an operator asks.
func freshWish(w *world, in Input) Input {
	switch in := in.(type) {
	case DeleteTopic:
		in.Token = w.next()
		return in
	case AddPartitions:
		in.Token = w.next()
		return in
	case AlterTopic:
		in.Token = w.next()
		return in
	case Reassign:
		in.Token, in.Replicas = w.next(), slices.Clone(in.Replicas)
		return in
	case Transfer:
		in.Token = w.next()
		return in
	case ElectUnclean:
		in.Token = w.next()
		return in
	}
	return in
}
