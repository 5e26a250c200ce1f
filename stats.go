package samsa

import (
	"slices"

	"github.com/samsalog/samsa/partition"
)

// A Stats is what a broker holds at one moment. It needs no metrics library.
type Stats struct {
	Replicas int // partitions of which the broker keeps a copy
	Leading  int // those that it leads
	Parked   int // requests that wait for records: one a follower or reader, and partition
}

// Stats returns the counts of this moment.
func (b *Broker) Stats() Stats { return Stats(b.node.Stats()) }

// A ClientStats is what a client knows and does at one moment.
type ClientStats struct {
	Topics          int // Samsa's own too, as in all that follow
	Partitions      int
	UnderReplicated int // partitions of which a replica is not in sync
	BelowMinISR     int // those that take no acks=all writes
	Offline         int // those without a leader
	Open            int // producers and consumers of this client
	Calls           int // requests of this client that are under way
}

// Stats returns the counts of this moment. It asks nobody.
func (c *Client) Stats() ClientStats {
	s := ClientStats{}
	for _, t := range c.cluster.view.Topics() {
		s.Topics++
		s.Partitions += len(t.Partitions)
	}
	info := c.Cluster()
	s.UnderReplicated, s.BelowMinISR, s.Offline = len(info.UnderReplicated), len(info.BelowMinISR), len(info.Offline)
	c.mu.Lock()
	s.Open = len(c.open)
	c.mu.Unlock()
	c.cluster.mu.Lock()
	s.Calls = len(c.cluster.flights)
	c.cluster.mu.Unlock()
	return s
}

// A ClusterInfo is a cluster as one client sees it. Its lists of partitions are by
// topic and number, and hold Samsa's own too.
type ClusterInfo struct {
	ID              string   // of the cluster, for good; empty until it is formed
	Controller      BrokerID // 0: none is known
	Voters          []BrokerID
	Brokers         []BrokerInfo     // by rising ID
	UnderReplicated []TopicPartition // a replica is not in sync
	BelowMinISR     []TopicPartition // fewer than MinISR are: acks=all writes are refused
	Offline         []TopicPartition // there is no leader
}

// A BrokerInfo is one registered broker.
type BrokerInfo struct {
	ID        BrokerID
	Epoch     int64 // of this incarnation
	Addr      string
	Rack      string
	Fenced    bool // it may neither lead nor stand in an ISR
	Stopping  bool // it is being shut down
	Full      bool // its disk has no room for records
	VoterOnly bool // it keeps no copies of partitions
	Replicas  int  // partitions that it shall keep a copy of
	Leading   int  // partitions that it leads
}

// Cluster returns who is in the cluster and how its partitions are, as far as this
// client knows. It asks nobody.
func (c *Client) Cluster() ClusterInfo {
	v := c.cluster.view
	info := ClusterInfo{Controller: v.Controller(), Voters: slices.Clone(v.Voters())}
	if id := v.Cluster(); id != (partition.UUID{}) {
		info.ID = id.String()
	}
	for _, b := range v.Brokers() {
		info.Brokers = append(info.Brokers, BrokerInfo{
			ID: b.ID, Epoch: int64(b.Epoch), Addr: b.Addr, Rack: b.Rack,
			Fenced: b.Fenced, Stopping: b.Stopping, Full: b.Full, VoterOnly: b.VoterOnly,
		})
	}
	for _, t := range v.Topics() {
		for n, s := range t.Partitions {
			info.count(TopicPartition{t.Config.Name, PartitionID(n)}, t.Config.MinISR, s)
		}
	}
	return info
}

// count takes in one partition.
func (info *ClusterInfo) count(p TopicPartition, minISR int, s *partition.State) {
	for i := range info.Brokers {
		b := &info.Brokers[i]
		if slices.Contains(s.Replicas, b.ID) {
			b.Replicas++
		}
		if s.Leader == b.ID {
			b.Leading++
		}
	}
	if len(s.ISR) < len(s.Replicas) {
		info.UnderReplicated = append(info.UnderReplicated, p)
	}
	if len(s.ISR) < min(minISR, len(s.Replicas)) {
		info.BelowMinISR = append(info.BelowMinISR, p)
	}
	if s.Leader == partition.NoBroker {
		info.Offline = append(info.Offline, p)
	}
}
