package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/samsalog/samsa/partition"
)

// OffsetsTopic is the internal topic of the groups. It is made at the first use of
// a group, perhaps before all brokers are there: so it starts with the replicas
// that can be had, and gets more as brokers register.
const OffsetsTopic = "__consumer_offsets"

const (
	offsetsPartitions = 8
	offsetsReplicas   = 3
	offsetsMinISR     = 2 // once every partition has such an ISR
)

// create makes a topic.
type create struct {
	in    CreateTopic
	tries int
}

func (r *create) ofBroker() bool { return false }
func (r *create) tried()         { r.tries++ }

func (r *create) answer(code partition.Code) Reply { return r.refuse(code, "") }

func (r *create) refuse(code partition.Code, text string) Reply {
	return Reply{r.in.Token, partition.CreateTopicResponse{Code: code, Text: text}}
}

func (r *create) judge(p *plan) (Reply, bool) {
	if reply, done := r.exists(p.c.table); done {
		return reply, true
	}
	if r.in.Topic == (partition.UUID{}) {
		return r.answer(partition.Malformed), true
	}
	if r.tries >= maxTries {
		return r.answer(partition.Internal), true
	}
	// Where the copies go depends on who is there.
	if p.full() || len(p.brokers) > 0 || p.nameTaken(r.in.Config.Name) {
		return Reply{}, false
	}
	brokers := p.keepers()
	cfg, replicas, reply, ok := r.settled(p, brokers)
	if !ok {
		return reply, true
	}
	if len(brokers) < replicas {
		return r.refuse(partition.InvalidReplicas, tooFew(replicas, brokers)), true
	}
	placed, err := partition.Place(p.fittest(brokers, replicas), cfg.Partitions, replicas, p.partitions())
	if err != nil {
		return r.refuse(partition.InvalidReplicas, err.Error()), true
	}
	return r.propose(p, cfg, placed)
}

// exists answers if the topic is there, or another whose name differs by case alone.
func (r *create) exists(t *partition.Table) (Reply, bool) {
	name := r.in.Config.Name
	if topic, ok := t.Topic(name); ok {
		code := partition.OK
		if name != OffsetsTopic && !topic.Config.Matches(r.in.Config) {
			code = partition.TopicExists
		}
		return Reply{r.in.Token, partition.CreateTopicResponse{Code: code, Topic: topic.ID, Offset: t.Offset()}}, true
	}
	if topic, ok := t.TopicLike(name); ok {
		return r.refuse(partition.InvalidTopic, fmt.Sprintf("name %q differs from topic %q by case alone", name, topic.Config.Name)), true
	}
	return Reply{}, false
}

// settled fills in what the configuration leaves open. replicas is how many copies
// a partition gets now.
func (r *create) settled(p *plan, brokers []partition.Broker) (cfg partition.TopicConfig, replicas int, refusal Reply, ok bool) {
	internal := r.in.Config.Name == OffsetsTopic
	if internal {
		cfg, replicas = offsetsConfig(r.in.Config, len(p.activeOf(brokers)), p.c.cfg.InMemory)
	} else {
		// Voters that keep no copies are known as such once they are registered.
		others := len(p.c.table.Brokers()) - len(brokers)
		cfg = r.in.Config.WithDefaults(max(p.c.cfg.Voters-others, len(brokers)), p.c.cfg.InMemory)
		replicas = cfg.Replicas
	}
	if err := cfg.Validate(); err != nil {
		return cfg, 0, r.refuse(partition.InvalidTopic, textOf(err)), false
	}
	return cfg, replicas, Reply{}, true
}

// textOf returns what an error says beyond its code, which travels beside it.
func textOf(err error) string {
	if e, ok := errors.AsType[*partition.Error](err); ok && e.Text != "" {
		return e.Text
	}
	return err.Error()
}

// offsetsConfig settles the internal topic. Only how many partitions it has may be chosen.
func offsetsConfig(want partition.TopicConfig, active int, inMemory bool) (cfg partition.TopicConfig, replicas int) {
	cfg = partition.TopicConfig{
		Name:           OffsetsTopic,
		Partitions:     want.Partitions,
		Replicas:       offsetsReplicas,
		MinISR:         1,
		Retention:      -1,
		RetentionBytes: -1,
		SegmentBytes:   want.SegmentBytes,
		Compact:        true,
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = offsetsPartitions
	}
	if active >= offsetsMinISR {
		cfg.MinISR = offsetsMinISR // all of them will be in the ISR at once
	}
	return cfg.WithDefaults(offsetsReplicas, inMemory), max(1, min(active, offsetsReplicas))
}

// propose makes the topic.
func (r *create) propose(p *plan, cfg partition.TopicConfig, placed [][]partition.BrokerID) (Reply, bool) {
	states, members, size, ok := p.begin(placed)
	if !ok {
		return r.refuse(partition.InvalidReplicas, noActive), true
	}
	topic := partition.Topic{ID: r.in.Topic, Config: cfg, Partitions: states}
	p.add(partition.CreateTopic{Topic: topic, Members: members}, 128+size)
	p.names[strings.ToLower(cfg.Name)] = true
	return Reply{}, false
}

const noActive = "no active broker for one of the partitions"

func tooFew(replicas int, brokers []partition.Broker) string {
	return fmt.Sprintf("%d replicas wanted, %d brokers are registered", replicas, len(brokers))
}

// begin returns the first states of new partitions, with their active replicas as
// ISR: their logs are empty, so everybody is in sync. size is about what they take
// in an entry.
func (p *plan) begin(placed [][]partition.BrokerID) (states []*partition.State, members []partition.Member, size int, ok bool) {
	hosts := make(map[partition.BrokerID]bool)
	for _, replicas := range placed {
		s := partition.State{Replicas: replicas}
		for _, id := range replicas {
			hosts[id] = true
			if p.active(id) {
				s.ISR = append(s.ISR, id)
			}
		}
		if len(s.ISR) == 0 {
			return nil, nil, 0, false
		}
		s.Leader = s.ISR[0] // the first in order of preference
		slices.Sort(s.ISR)
		states = append(states, &s)
		size += 20 + 4*(len(s.Replicas)+len(s.ISR))
	}
	members, ok = p.members(slices.Sorted(maps.Keys(hosts)))
	return states, members, size + 12*len(members), ok
}

// keepers returns the brokers that keep copies.
func (p *plan) keepers() []partition.Broker {
	return slices.DeleteFunc(p.c.table.Brokers(), func(b partition.Broker) bool { return b.VoterOnly })
}

// fittest returns want of brokers or more: those with room if they are enough, else those
// that are active, else all. A copy on a fenced broker is no copy yet.
func (p *plan) fittest(brokers []partition.Broker, want int) []partition.Broker {
	active := p.activeOf(brokers)
	roomy := slices.DeleteFunc(slices.Clone(active), func(b partition.Broker) bool { return !p.roomy(b.ID) })
	switch {
	case len(roomy) >= want:
		return roomy
	case len(active) >= want:
		return active
	}
	return brokers
}

// activeOf returns the active ones of brokers.
func (p *plan) activeOf(brokers []partition.Broker) []partition.Broker {
	var active []partition.Broker
	for _, b := range brokers {
		if p.active(b.ID) {
			active = append(active, b)
		}
	}
	return active
}

// partitions counts all partitions: where the next topic's placement starts, so
// that small topics do not all begin at the same broker.
func (p *plan) partitions() int {
	n := len(p.names)
	for _, topic := range p.c.table.Topics() {
		n += len(topic.Partitions)
	}
	return n
}

// raise gives the internal topic the replicas that it still lacks, and its full
// MinISR in the entry in which every partition's ISR has reached it (rule C8).
func (p *plan) raise() {
	topic, ok := p.c.table.Topic(OffsetsTopic)
	if !ok || p.full() || p.altered[topic.ID] {
		return
	}
	brokers := p.activeOf(p.keepers())
	want := min(topic.Config.Replicas, len(brokers))
	load := make(map[partition.BrokerID]int)
	for _, s := range topic.Partitions {
		for _, id := range s.Replicas {
			load[id]++
		}
	}
	ready := true
	for n, s := range topic.Partitions {
		id := partition.ID{Topic: topic.ID, Partition: partition.PartitionID(n)}
		if !p.isTouched(id) && s.Target == nil && len(s.Replicas) < want {
			p.change(id, s, partition.Change{ISR: s.ISR, Replicas: grown(s.Replicas, want, brokers, load)})
		}
		s = p.state(id)
		ready = ready && s != nil && p.inSync(s) >= offsetsMinISR
	}
	if ready && topic.Config.MinISR < offsetsMinISR {
		raised := topic.Config
		raised.MinISR = offsetsMinISR
		p.add(partition.ChangeTopic{Topic: topic.ID, Expect: topic.Config, Config: raised}, 160)
	}
}

// inSync counts the active members of an ISR.
func (p *plan) inSync(s *partition.State) (n int) {
	for _, id := range s.ISR {
		if p.active(id) {
			n++
		}
	}
	return n
}

// grown adds brokers to replicas until there are want of them: those in racks of
// their own first, then those that hold the fewest. It counts them in load.
func grown(replicas []partition.BrokerID, want int, brokers []partition.Broker, load map[partition.BrokerID]int) []partition.BrokerID {
	replicas = slices.Clone(replicas)
	racks := make(map[string]bool)
	for _, b := range brokers {
		if slices.Contains(replicas, b.ID) {
			racks[b.Rack] = true
		}
	}
	for len(replicas) < want {
		best := -1
		for i, b := range brokers {
			if slices.Contains(replicas, b.ID) {
				continue
			}
			if best < 0 || better(b, brokers[best], racks, load) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		b := brokers[best]
		replicas = append(replicas, b.ID)
		racks[b.Rack] = true
		load[b.ID]++
	}
	return replicas
}

func better(a, b partition.Broker, racks map[string]bool, load map[partition.BrokerID]int) bool {
	if racks[a.Rack] != racks[b.Rack] {
		return !racks[a.Rack]
	}
	return load[a.ID] < load[b.ID] // as many: the lower id, which comes first
}
