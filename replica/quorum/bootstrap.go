package quorum

import (
	"fmt"
	"slices"

	"github.com/samsalog/samsa/partition"
)

// A former decides how a cluster is formed, once. It is pure: it is told what is
// heard, and returns what must be done about it.
//
// A cluster is founded by the configured voter of lowest id, when all configured
// voters have said that they are new, each in an answer to a question asked after
// the last of them had come up. So at most one founder acts; what it fixes it has
// kept durably before it tells anybody; and a voter keeps at most one formation.
type former struct {
	self    Member
	fresh   partition.UUID       // the id of the cluster, should this voter found one
	ids     []partition.BrokerID // of the configured voters, rising
	peers   []candidate          // the others of them, by rising id
	formed  formation            // zero: none yet
	strange partition.UUID       // the cluster that exists without this voter; zero: none known

	round      int  // of questions; see candidate
	confirming bool // all peers are known: they are asked once more
	campaign   bool // this voter has founded the cluster and shall lead it first
}

// A candidate is what one voter knows of another while the cluster is formed.
type candidate struct {
	id        partition.BrokerID
	addr      string
	directory partition.UUID // zero: not heard of, or lost again
	round     int            // the newest round of questions that it has answered
	joined    bool           // it has kept the formation that this voter has
	other     bool           // it is configured with other voters
}

// A step is what a former wants done, in the order of the fields.
type step struct {
	Keep     bool   // keep the formation durably, now, before anything is answered
	Ask      bool   // greet all peers at once
	Campaign bool   // a majority is there: campaign
	Problem  string // what is in the way; empty: nothing known
}

// newFormer returns the former of a voter that has kept formed, which is zero if
// it is new. All directories of peers are unknown.
func newFormer(self Member, voters []Voter, fresh partition.UUID, formed formation) *former {
	f := &former{self: self, fresh: fresh, formed: formed}
	for _, v := range voters {
		f.ids = append(f.ids, v.ID)
		if v.ID == self.ID {
			f.self.Addr = v.Addr
			continue
		}
		f.peers = append(f.peers, candidate{id: v.ID, addr: v.Addr})
	}
	return f
}

// isFormed reports whether this voter belongs to a cluster.
func (f *former) isFormed() bool { return f.formed.Cluster != (partition.UUID{}) }

// isStranger reports whether a cluster exists to which this voter cannot belong.
func (f *former) isStranger() bool { return f.strange != (partition.UUID{}) }

// greeting is what the others are to be told.
func (f *former) greeting() hello {
	return hello{ID: f.self.ID, Directory: f.self.Directory, Voters: f.ids, formation: f.formed}
}

// begin returns the first step of all.
func (f *former) begin() step {
	if f.isFormed() {
		return step{}
	}
	if len(f.peers) == 0 {
		return f.found()
	}
	return step{Ask: true, Problem: f.missing()}
}

// heard takes a peer's hello. Round is that of the question which it answers;
// zero: it came unasked.
func (f *former) heard(h hello, round int) step {
	p := f.peer(h.ID)
	if p == nil {
		return step{Problem: f.missing()} // a stranger to the configuration has no say
	}
	if p.directory != h.Directory {
		p.directory = h.Directory // it is another one now: what it answers counts anew
		f.confirming = false
	}
	p.round = max(p.round, round)
	p.other = !slices.Equal(h.Voters, f.ids)
	p.joined = f.isFormed() && h.Cluster == f.formed.Cluster && f.formed.holds(h.ID, h.Directory)
	switch {
	case f.isFormed():
		return f.mayCampaign()
	case h.Cluster != (partition.UUID{}):
		return f.join(h.formation)
	}
	return f.mayFound()
}

// lost is told when a peer could not be reached.
func (f *former) lost(id partition.BrokerID) step {
	if p := f.peer(id); p != nil && !f.isFormed() {
		p.directory = partition.UUID{}
		f.confirming = false
	}
	return step{Problem: f.missing()}
}

// exists takes the word of anybody that there is a cluster, which this voter may be
// part of all the same.
func (f *former) exists(cluster partition.UUID) step {
	if !f.isFormed() && !f.isStranger() {
		f.strange = cluster
	}
	return step{Problem: f.missing()}
}

// join takes what another has kept, if this voter is part of it.
func (f *former) join(formed formation) step {
	if !formed.holds(f.self.ID, f.self.Directory) {
		return f.exists(formed.Cluster)
	}
	f.formed, f.strange = formed, partition.UUID{}
	return step{Keep: true, Ask: true} // who founded it waits to hear of a majority
}

func (f *former) mayFound() step {
	if f.missing() != "" || f.self.ID != f.ids[0] {
		return step{Problem: f.missing()}
	}
	if !f.confirming {
		f.confirming = true
		f.round++
		return step{Ask: true}
	}
	for _, p := range f.peers {
		if p.round < f.round {
			return step{}
		}
	}
	return f.found()
}

func (f *former) found() step {
	members := []Member{f.self}
	for _, p := range f.peers {
		members = append(members, Member{ID: p.id, Directory: p.directory, Addr: p.addr})
	}
	slices.SortFunc(members, func(a, b Member) int { return int(a.ID) - int(b.ID) })
	formed := formation{Cluster: f.fresh, Members: members}
	if err := formed.check(); err != nil {
		return step{Problem: err.Error()}
	}
	f.formed, f.campaign = formed, true
	s := f.mayCampaign()
	s.Keep, s.Ask = true, true
	return s
}

// mayCampaign lets the founder campaign, once, when enough have kept the
// formation to elect it: an earlier campaign would be refused by those who have not.
func (f *former) mayCampaign() step {
	joined := 1
	for _, p := range f.peers {
		if p.joined {
			joined++
		}
	}
	if !f.campaign || joined <= len(f.formed.Members)/2 {
		return step{}
	}
	f.campaign = false
	return step{Campaign: true}
}

// missing says whom the cluster waits for.
func (f *former) missing() string {
	if f.isFormed() {
		return ""
	}
	if f.isStranger() {
		return fmt.Sprintf("cluster %s was formed without this directory: "+
			"it has no vote until an operator lets it in", f.strange)
	}
	for _, p := range f.peers {
		if p.directory == (partition.UUID{}) {
			return fmt.Sprintf("voter %d has not been heard of yet", p.id)
		}
	}
	for _, p := range f.peers {
		if p.other {
			return fmt.Sprintf("voter %d is configured with other voters", p.id)
		}
	}
	return ""
}

func (f *former) peer(id partition.BrokerID) *candidate {
	for i := range f.peers {
		if f.peers[i].id == id {
			return &f.peers[i]
		}
	}
	return nil
}
