package node

import (
	"context"
	"errors"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/quorum"
)

// candidate returns a broker as one that may get a vote: as the voters have met it, or
// as it registered last.
func (n *Node) candidate(id partition.BrokerID) (quorum.Member, bool) {
	for _, m := range n.quorum.Status().Strangers {
		if m.ID == id {
			return m, true
		}
	}
	known, ok := n.Broker(id)
	return quorum.Member{ID: id, Directory: known.Directory, Addr: known.Addr}, ok
}

// HandleVoter changes the voters, if this broker knows who leads them. What is so
// already is a success, so that it may be asked for again when no answer came.
func (n *Node) HandleVoter(ctx context.Context, req partition.VoterRequest) partition.ChangeResponse {
	c := quorum.Change{Remove: req.Remove}
	if req.Add != partition.NoBroker {
		offset, _ := n.Changed()
		m, ok := n.candidate(req.Add)
		switch {
		case !ok && offset < req.Seen:
			return partition.ChangeResponse{Code: partition.NotController} // it may be there
		case !ok:
			return partition.ChangeResponse{Code: partition.InvalidVoters, Text: "the broker is not registered"}
		}
		c.Add = m
	}
	_, err := n.quorum.ChangeVoters(ctx, c)
	switch {
	case err == nil, errors.Is(err, quorum.ErrNoChange):
		return partition.ChangeResponse{}
	case errors.Is(err, quorum.ErrBadChange):
		return partition.ChangeResponse{Code: partition.InvalidVoters, Text: err.Error()}
	}
	return partition.ChangeResponse{Code: partition.NotAttempted} // or its outcome is unknown: ask again
}
