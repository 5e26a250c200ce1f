package control

import "github.com/samsalog/samsa/partition"

// deleteTopic removes a topic.
type deleteTopic struct {
	wish
	in DeleteTopic
}

func (r *deleteTopic) judge(p *plan) (Reply, bool) {
	t := p.c.table
	topic, ok := t.TopicByID(r.in.Topic)
	if r.in.Topic == (partition.UUID{}) {
		topic, ok = t.Topic(r.in.Name)
		r.in.Topic = topic.ID // another of that name is not meant
	}
	switch {
	case !ok && r.deposed(t):
		return r.answer(partition.NotController), true
	case !ok && r.in.Topic == (partition.UUID{}):
		return r.answer(partition.UnknownTopic), true
	case !ok: // it was there: this request, or an earlier sending of it, has removed it
		return r.done(t, "")
	case topic.Config.Name == OffsetsTopic:
		return r.refuse(partition.InvalidTopic, "the topic is Samsa's own"), true
	case r.tries >= maxTries:
		return r.answer(partition.NotAttempted), true
	case p.full() || p.topicTouched(topic):
		return Reply{}, false
	}
	p.add(partition.DeleteTopic{Topic: topic.ID}, 20)
	p.altered[topic.ID] = true
	for n := range topic.Partitions {
		p.touched[partition.ID{Topic: topic.ID, Partition: partition.PartitionID(n)}] = nil
	}
	return Reply{}, false
}

// topicTouched reports whether the entry changes a topic or one of its partitions.
func (p *plan) topicTouched(topic partition.Topic) bool {
	for n := range topic.Partitions {
		if p.isTouched(partition.ID{Topic: topic.ID, Partition: partition.PartitionID(n)}) {
			return true
		}
	}
	return p.altered[topic.ID]
}

// addPartitions gives a topic more partitions, spread with those that it has.
type addPartitions struct {
	wish
	in AddPartitions
}

func (r *addPartitions) judge(p *plan) (Reply, bool) {
	t := p.c.table
	topic, refusal, ok := r.topic(t, r.in.Topic)
	if !ok {
		return refusal, true
	}
	cfg := topic.Config
	have := len(topic.Partitions)
	cfg.Partitions = r.in.Total
	switch {
	case r.in.Total == have:
		return r.done(t, "")
	case cfg.Name == OffsetsTopic:
		return r.refuse(partition.InvalidTopic, "the topic is Samsa's own"), true
	case r.in.Total < have:
		return r.refuse(partition.InvalidTopic, "it has %d partitions, and they cannot be taken away", have), true
	case r.tries >= maxTries:
		return r.answer(partition.NotAttempted), true
	}
	if err := cfg.Validate(); err != nil {
		return r.refuse(partition.InvalidTopic, "%s", textOf(err)), true
	}
	// Where the copies go depends on who is there.
	if p.full() || len(p.brokers) > 0 || p.topicTouched(topic) {
		return Reply{}, false
	}
	present := make([][]partition.BrokerID, have)
	for n, s := range topic.Partitions {
		if present[n] = s.Replicas; s.Target != nil {
			present[n] = s.Target
		}
	}
	placed, refusal, ok := r.place(p, cfg.Replicas, present)
	if !ok {
		return refusal, true
	}
	states, members, size, ok := p.begin(placed)
	if !ok {
		return r.refuse(partition.InvalidReplicas, noActive), true
	}
	p.add(partition.AddPartitions{Topic: topic.ID, Expect: have, Partitions: states, Members: members}, 32+size)
	p.altered[topic.ID] = true
	return Reply{}, false
}

func (r *addPartitions) place(p *plan, replicas int, present [][]partition.BrokerID) ([][]partition.BrokerID, Reply, bool) {
	brokers := p.keepers()
	if len(brokers) < replicas {
		return nil, r.refuse(partition.InvalidReplicas, "%s", tooFew(replicas, brokers)), false
	}
	placed, err := partition.PlaceMore(p.fittest(brokers, replicas), present, r.in.Total-len(present), replicas, p.partitions())
	if err != nil {
		return nil, r.refuse(partition.InvalidReplicas, "%s", textOf(err)), false
	}
	return placed, Reply{}, true
}

// alterTopic changes a topic's configuration (rule C8).
type alterTopic struct {
	wish
	in AlterTopic
}

func (r *alterTopic) judge(p *plan) (Reply, bool) {
	t := p.c.table
	topic, refusal, ok := r.topic(t, r.in.Topic)
	if !ok {
		return refusal, true
	}
	cfg, why := topic.Config.With(r.in.Config)
	switch {
	case why != nil:
		return r.refuse(partition.InvalidTopic, "%s", textOf(why)), true
	case cfg == topic.Config:
		return r.done(t, "")
	case cfg.Name == OffsetsTopic:
		return r.refuse(partition.InvalidTopic, "the topic is Samsa's own"), true
	case r.tries >= maxTries:
		return r.answer(partition.NotAttempted), true
	}
	if err := cfg.Validate(); err != nil {
		return r.refuse(partition.InvalidTopic, "%s", textOf(err)), true
	}
	if cfg.MinISR > topic.Config.MinISR {
		for n, s := range topic.Partitions {
			if len(s.ISR) < cfg.MinISR {
				return r.refuse(partition.NotEnoughReplicas, "MinISR of %d: partition %d has %v in sync", cfg.MinISR, n, s.ISR), true
			}
		}
	}
	// Each partition may be changed once in an entry, and this changes them all.
	if p.full() || len(p.brokers) > 0 || p.topicTouched(topic) {
		return Reply{}, false
	}
	p.add(partition.ChangeTopic{Topic: topic.ID, Expect: topic.Config, Config: cfg}, 160)
	p.altered[topic.ID] = true
	if cfg.MinISR != topic.Config.MinISR {
		for n := range topic.Partitions {
			id := partition.ID{Topic: topic.ID, Partition: partition.PartitionID(n)}
			p.touched[id] = nil
			p.dirty = append(p.dirty, id)
		}
	}
	return Reply{}, false
}
