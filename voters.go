package samsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport/wire"
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
	m, ok := b.node.Candidate(id)
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

// AddVoter does what [Broker.AddVoter] does, from wherever the client is, and in the
// manner of an operator's other calls: asked for again it returns nil. An impossible
// change matches [ErrInvalidVoters].
func (c *Client) AddVoter(ctx context.Context, id BrokerID) error {
	return c.changeVoters(ctx, fmt.Sprintf("add voter %d", id), partition.VoterRequest{Add: id})
}

// RemoveVoter does what [Broker.RemoveVoter] does, in the manner of [Client.AddVoter].
func (c *Client) RemoveVoter(ctx context.Context, id BrokerID) error {
	return c.changeVoters(ctx, fmt.Sprintf("remove voter %d", id), partition.VoterRequest{Remove: id})
}

func (c *Client) changeVoters(ctx context.Context, what string, req partition.VoterRequest) error {
	_, err := c.cluster.change(ctx, what, kindVoter, func(seen log.Offset, w *wire.Writer) {
		req.Seen = seen
		req.Encode(w)
	})
	return err
}
