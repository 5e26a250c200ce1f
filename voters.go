package samsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/samsalog/samsa/replica/quorum"
)

// A QuorumStatus is the voters' agreement as one broker sees it.
type QuorumStatus = quorum.Status

// Quorum returns how the quorum stands: who votes, who is on the way to, who is
// configured as a voter and is none, who leads, and what is in the way.
func (b *Broker) Quorum() QuorumStatus { return b.quorum.Status() }

// AddVoter gives a registered broker a vote on the metadata. It returns when that is
// agreed on; the broker votes once it has all metadata, as [Broker.Quorum] shows. A voter
// that lost its disk is let in again by this: it takes the place of the one that it
// was, and until then has no vote. It may be called at any broker of the cluster.
//
// One voter is added at a time. An error that matches [ErrOutcomeUnknown] leaves open
// whether it was; after any other it was not.
func (b *Broker) AddVoter(ctx context.Context, id BrokerID) error {
	m, ok := b.candidate(id)
	if !ok {
		return fmt.Errorf("samsa: add voter %d: the broker is not registered", id)
	}
	return b.changeVoters(ctx, "add", id, quorum.Change{Add: m})
}

// RemoveVoter takes a broker's vote on the metadata; it stays as a broker. With three
// voters, remove one before another is added only if it is dead: two of three suffice,
// but not one of two. It may be called at any broker of the cluster. The errors
// are those of [Broker.AddVoter].
func (b *Broker) RemoveVoter(ctx context.Context, id BrokerID) error {
	return b.changeVoters(ctx, "remove", id, quorum.Change{Remove: id})
}

func (b *Broker) changeVoters(ctx context.Context, verb string, id BrokerID, c quorum.Change) error {
	_, err := b.quorum.ChangeVoters(ctx, c)
	switch {
	case errors.Is(err, quorum.ErrOutcomeUnknown):
		return fmt.Errorf("samsa: %s voter %d: %w: %w", verb, id, ErrOutcomeUnknown, err)
	case err != nil:
		return fmt.Errorf("samsa: %s voter %d: %w", verb, id, err)
	}
	return nil
}

// candidate returns a broker as it registered last, or as the voters have met it.
func (b *Broker) candidate(id BrokerID) (quorum.Member, bool) {
	for _, m := range b.quorum.Status().Strangers {
		if m.ID == id {
			return m, true
		}
	}
	known, ok := b.node.Broker(id)
	return quorum.Member{ID: id, Directory: known.Directory, Addr: known.Addr}, ok
}
