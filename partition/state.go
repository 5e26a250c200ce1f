package partition

// A State is what the controllers have agreed on about one partition. It is a
// value: a change makes a new one, and nobody writes to its slices.
type State struct {
	Replicas       []BrokerID // in order of preference; those that shall go come last
	Origin         []BrokerID // the replicas before the reassignment under way; nil: there is none
	Target         []BrokerID // the replicas after it; nil with Origin
	ISR            []BrokerID // in rising order, as are the two below
	ELR            []BrokerID // out of the ISR, and provably complete
	LastKnownELR   []BrokerID // those that were last in ISR or ELR, and are suspect
	Leader         BrokerID   // NoBroker: none
	Epoch          Epoch      // one more at each change of leader
	PartitionEpoch PartitionEpoch

	// Recovering says that an operator had a replica elected that may be incomplete,
	// and that no leader has reported since. Until then the ISR is that leader alone.
	Recovering bool

	// LossyEpoch is the leader epoch that began with the last election which may have
	// given records up, being Balanced or Unclean. Before its leader is elected it is one
	// above Epoch. Zero: there was none.
	LossyEpoch Epoch
}

// Adding returns the replicas that a reassignment under way brings, in rising order.
func (s State) Adding() []BrokerID { return minus(s.Target, s.Origin) }

// Removing returns the replicas that go once those that it adds are in sync, in
// rising order.
func (s State) Removing() []BrokerID {
	if s.Target == nil {
		return nil
	}
	return minus(s.Replicas, s.Target)
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
	Full        bool // its disk has no room for records: it leads and joins nothing while others can
	VoterOnly   bool // it keeps no copies of partitions
}

// A Topic is a topic's identity and settled configuration.
type Topic struct {
	ID         UUID
	Config     TopicConfig
	Partitions []*State // by PartitionID; each pointed-to State is immutable
}
