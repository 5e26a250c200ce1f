package partition

// A Record is one change of the cluster's metadata, as the controllers agree on
// it. The set is closed. Records are outcomes, not commands: applying one is a
// pure fold over a [Table], and one whose condition no longer holds changes nothing.
type Record interface{ record() }

type (
	// RegisterBroker: Broker is registered, fenced; its Epoch is the offset of the
	// entry that holds this record, whatever the field says. It replaces what stood under its ID.
	// In every partition of Suspect the broker leaves ISR and ELR, and stays in
	// LastKnownELR; if it led, nobody does. It is skipped if the entry has registered
	// that broker before.
	RegisterBroker struct {
		Broker  Broker
		Suspect []ID
	}

	// ChangeBroker sets the standing of one incarnation of a broker. It is skipped
	// if the broker is not registered under Epoch.
	ChangeBroker struct {
		ID       BrokerID
		Epoch    BrokerEpoch
		Fenced   bool
		Stopping bool
		Full     bool
	}

	// CreateTopic makes a topic with all its partitions. It is skipped if its name,
	// but for case, or its id is taken, if a member is not as named, if a replica is
	// not registered, or if one that stands in an ISR is fenced or not among Members.
	CreateTopic struct {
		Topic   Topic
		Members []Member // every replica
	}

	// ChangeTopic gives a topic another configuration of the same name, number of
	// partitions and durability. If MinISR is another the ELR of its partitions is
	// cleared: who was in it goes to LastKnownELR, unless the ISR suffices now; and the
	// partition epoch of each rises, so that whoever knows the new epoch knows the new
	// value. It is skipped if the topic is not there, if Expect is not its present
	// configuration, or if MinISR would rise above the ISR of a partition.
	ChangeTopic struct {
		Topic  UUID
		Expect TopicConfig
		Config TopicConfig
	}

	// DeleteTopic removes a topic with all its partitions; its id is never used again.
	// It is skipped if the topic is not there.
	DeleteTopic struct{ Topic UUID }

	// AddPartitions gives a topic that has Expect partitions more of them, behind those.
	// It is skipped if the topic is not there or has another number, or for what would
	// skip a CreateTopic of the same partitions.
	AddPartitions struct {
		Topic      UUID
		Expect     int
		Partitions []*State
		Members    []Member // every replica
	}

	// ChangePartition replaces a partition's state. It is skipped unless the
	// partition's epoch is State.PartitionEpoch-1, each of Members is registered under
	// its epoch and unfenced, they name all that it adds to the ISR or elects, and State
	// may follow the present one: it is valid, the leader epoch is the same or one more,
	// and more if the leader changes.
	ChangePartition struct {
		ID      ID
		State   State
		Members []Member // those that the change adds to the ISR or elects
	}
)

func (RegisterBroker) record()  {}
func (ChangeBroker) record()    {}
func (CreateTopic) record()     {}
func (ChangeTopic) record()     {}
func (ChangePartition) record() {}
func (DeleteTopic) record()     {}
func (AddPartitions) record()   {}

// A Member is a broker in one incarnation.
type Member struct {
	ID    BrokerID
	Epoch BrokerEpoch
}
