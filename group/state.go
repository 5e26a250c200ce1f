package group

// A GroupEpoch numbers what a group's members, subscriptions and topics have been.
// The assignment epoch is the group epoch that the present target was computed for.
type GroupEpoch int32

// A State is how far one member has come towards its target.
type State uint8

// The states of a member (KIP-848).
const (
	Stable     State = iota // it has been given all of its target, and owes nothing
	Unrevoked               // it has to give something up first
	Unreleased              // others have yet to give up some of its target
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Stable:
		return "stable"
	case Unrevoked:
		return "unrevoked"
	case Unreleased:
		return "unreleased"
	}
	return "unknown"
}

// A Status sums up a group's members.
type Status uint8

// The statuses of a group.
const (
	Empty       Status = iota // no members
	Assigning                 // the target is older than the group epoch
	Reconciling               // some member is not yet stable at the assignment epoch
	Settled                   // every member is
)

// String returns the status's name.
func (s Status) String() string {
	switch s {
	case Empty:
		return "empty"
	case Assigning:
		return "assigning"
	case Reconciling:
		return "reconciling"
	case Settled:
		return "stable"
	}
	return "unknown"
}
