package consume

import (
	"context"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
)

// A Cluster is what a consumer needs from above. Its calls may overlap, return
// soon after their context has ended, and make one attempt each: the consumer
// tries again by itself. An error means that there was no answer.
type Cluster interface {
	// Topics returns what is known of the named topics, in that order; an unknown one
	// has no partitions. It does not wait. The channel is closed when the metadata has
	// changed.
	Topics(names []string) ([]Topic, <-chan struct{})

	// Leaders returns the present leaders of partitions, in that order, as far as
	// they are known. It does not wait. The channel is closed when the metadata has
	// changed.
	Leaders(ids []partition.ID) ([]Leader, <-chan struct{})

	// Read sends a request to a broker. Data holds the batches of each partition, in
	// the order of the request; the consumer hands them out and keeps them, so nobody
	// may write to them. Who sees NotLeader, FencedEpoch or UnknownEpoch go by in an
	// answer asks for newer metadata on its own account.
	Read(ctx context.Context, from partition.BrokerID, req partition.ReadRequest) (resp partition.ReadResponse, data [][]byte, err error)

	// Info asks a broker for the offsets of a partition that it leads.
	Info(ctx context.Context, from partition.BrokerID, req partition.InfoRequest) (partition.InfoResponse, error)

	// FindTime asks a broker for a record of a partition that it leads, by its time.
	FindTime(ctx context.Context, from partition.BrokerID, req partition.FindTimeRequest) (partition.FindTimeResponse, error)

	// Heartbeat goes to the coordinator of the group.
	Heartbeat(ctx context.Context, req group.HeartbeatRequest) (group.HeartbeatResponse, error)
	// Commit goes to the coordinator of the group.
	Commit(ctx context.Context, req offsets.CommitRequest) (offsets.CommitResponse, error)
	// FetchOffsets goes to the coordinator of the group.
	FetchOffsets(ctx context.Context, req offsets.FetchRequest) (offsets.FetchResponse, error)
}

// A Topic is what a consumer must know of one.
type Topic struct {
	Name       string
	ID         partition.UUID
	Partitions int // 0: the topic is not known
}

// A Leader is a partition's leader.
type Leader struct {
	Broker partition.BrokerID // NoBroker: there is none, or it is not known
	Epoch  log.Epoch
}
