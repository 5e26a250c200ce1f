package quorum

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Role is what a voter does in the quorum.
type Role uint8

// The roles. Zero is a voter that belongs to no cluster yet.
const (
	Forming   Role = iota // new: waits until all configured voters are there
	Stranger              // configured as a voter, and none: it follows as an Observer does
	Follower              // follows the leader, or waits for one
	Candidate             // asks for votes
	Leader                // leads
	Learner               // gets all entries, and its vote once it has them
	Observer              // not configured as a voter: follows what is committed
)

func (r Role) String() string {
	switch r {
	case Forming:
		return "forming"
	case Stranger:
		return "stranger"
	case Follower:
		return "follower"
	case Candidate:
		return "candidate"
	case Leader:
		return "leader"
	case Learner:
		return "learner"
	case Observer:
		return "observer"
	}
	return "unknown"
}

// A Status is the quorum as one voter sees it at one moment. Its slices are not
// to be written to.
type Status struct {
	Self    partition.BrokerID
	Cluster partition.UUID // zero until the cluster is formed
	Voters  []Voter        // by rising ID: the agreed ones, or the configured ones while Forming

	// Learners are on the way to become voters, by rising ID. One of the ID of a voter is
	// going to take its place.
	Learners []Voter
	// Strangers are configured as voters and are none, as far as they were heard of lately,
	// by rising ID. [Engine.ChangeVoters] lets them in.
	Strangers []Member

	Role Role
	Term log.Epoch // -1 while nothing is known of a cluster

	Leader     partition.BrokerID // NoBroker if none is known
	LeaderAddr string             // empty if none is known

	// Leading says that this voter leads and has applied an entry of its own term,
	// and so everything that was committed before: it may act as controller.
	Leading bool

	Applied log.Offset // index of the newest entry applied here; 0: none
	Commit  log.Offset // index up to which entries are known to be committed; 0: none

	// Problem says, for people, what keeps the cluster from being formed, or this
	// voter from taking part. Empty: nothing that is known.
	Problem string
}

// formed reports whether the voter belongs to a cluster.
func (s Status) formed() bool { return s.Cluster != (partition.UUID{}) }

// alike reports whether a and b say the same to somebody who waits for a change.
// Indexes move all the time and do not count.
func (s Status) alike(b Status) bool {
	return s.Cluster == b.Cluster && s.Role == b.Role && s.Term == b.Term && s.Leader == b.Leader &&
		s.LeaderAddr == b.LeaderAddr && s.Leading == b.Leading && s.Problem == b.Problem && slices.Equal(s.Voters, b.Voters) &&
		slices.Equal(s.Learners, b.Learners) && slices.Equal(s.Strangers, b.Strangers)
}
