package samsa

// A Stats is what a broker holds at one moment. It needs no metrics library.
type Stats struct {
	Replicas int // partitions of which the broker keeps a copy
	Leading  int // those that it leads
	Parked   int // requests that wait for records: one a follower or reader, and partition
}

// Stats returns the counts of this moment.
func (b *Broker) Stats() Stats { return Stats(b.node.Stats()) }
