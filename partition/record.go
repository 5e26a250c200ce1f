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
	}

	// CreateTopic makes a topic with all its partitions. It is skipped if its name,
	// but for case, or its id is taken, if a member is not as named, if a replica is
	// not registered, or if one that stands in an ISR is fenced or not among Members.
	CreateTopic struct {
		Topic   Topic
		Members []Member // every replica
	}

	// ChangeTopic sets a topic's MinISR, and clears the ELR of its partitions: who was
	// in it goes to LastKnownELR, unless the ISR suffices now. The partition epoch of
	// each rises, so that whoever knows the new epoch knows the new value. It is skipped
	// if the topic is not there, if Expect is not its present MinISR, or if it would
	// rise above the ISR of a partition.
	ChangeTopic struct {
		Topic  UUID
		Expect int
		MinISR int
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

// A Member is a broker in one incarnation.
type Member struct {
	ID    BrokerID
	Epoch BrokerEpoch
}
