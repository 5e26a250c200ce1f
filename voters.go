package samsa

import (
	"context"
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
// was, and until then has no vote.
//
// One voter is added at a time. An impossible change matches [ErrInvalidVoters].
func (c *Client) AddVoter(ctx context.Context, id BrokerID) error {
	return c.changeVoters(ctx, fmt.Sprintf("add voter %d", id), partition.VoterRequest{Add: id})
}

// RemoveVoter takes a broker's vote on the metadata; it stays as a broker. With three
// voters, remove one before another is added only if it is dead: two of three suffice,
// but not one of two. The errors are those of [Client.AddVoter].
func (c *Client) RemoveVoter(ctx context.Context, id BrokerID) error {
	return c.changeVoters(ctx, fmt.Sprintf("remove voter %d", id), partition.VoterRequest{Remove: id})
}

func (c *Client) changeVoters(ctx context.Context, what string, req partition.VoterRequest) error {
	if max(req.Add, req.Remove) < 1 {
		return fmt.Errorf("samsa: %s: %w: broker ids begin at 1", what, ErrInvalidVoters)
	}
	_, err := c.cluster.change(ctx, what, kindVoter, func(seen log.Offset, w *wire.Writer) {
		req.Seen = seen
		req.Encode(w)
	})
	return err
}
