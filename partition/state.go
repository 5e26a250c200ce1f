package partition

// A State is what the controllers have agreed on about one partition. It is a
// value: a change makes a new one, and nobody writes to its slices.
type State struct {
	Replicas       []BrokerID // in order of preference
	ISR            []BrokerID // in rising order, as are the two below
	ELR            []BrokerID // out of the ISR, and provably complete
	LastKnownELR   []BrokerID // those that were last in ISR or ELR, and are suspect
	Leader         BrokerID   // NoBroker: none
	Epoch          Epoch      // one more at each change of leader
	PartitionEpoch PartitionEpoch
}

// A Broker is one registered broker.
type Broker struct {
	ID          BrokerID
	Epoch       BrokerEpoch
	Addr        string // where its transport node answers
	Rack        string
	Directory   UUID // of its data
	Incarnation UUID // of its process
	Fenced      bool // it may neither lead nor stand in an ISR
	Stopping    bool // in controlled shutdown
}

// A Topic is a topic's identity and settled configuration.
type Topic struct {
	ID         UUID
	Config     TopicConfig
	Partitions []*State // by PartitionID; each pointed-to State is immutable
}
