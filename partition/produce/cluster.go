package produce

import (
	"context"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Cluster is what a producer needs from above. Its calls may overlap.
type Cluster interface {
	// Topic returns what is known of a topic, and waits for metadata that has it
	// until ctx ends. The producer keeps the answer until a leader denies the topic.
	Topic(ctx context.Context, name string) (Topic, error)

	// Produce makes one attempt to append batch at the present leader of req.ID;
	// it waits until a leader is known, and fills in req.Epoch. It returns soon after
	// ctx has ended, and when newer metadata shows that an answer can no longer come.
	//
	// An error means that there was no answer: the outcome is unknown, unless the
	// error matches [ErrNotSent]. Nobody may keep batch once Produce has returned
	// without an error; after an error it is never written to again.
	Produce(ctx context.Context, req partition.ProduceRequest, batch log.Batch) (partition.ProduceResponse, error)
}

// A Topic is what a producer must know of one.
type Topic struct {
	ID            partition.UUID
	Partitions    int
	MaxBatchBytes int  // the largest batch that a leader takes; 0: 1 MiB
	Keyed         bool // each record must have a key
}

// A Record is one to be sent. Its slices are copied before a send call returns.
type Record struct {
	Topic     string
	Partition partition.PartitionID // counts with the partitioner partition.Manual alone
	Timestamp int64                 // milliseconds since the Unix epoch
	Key       []byte                // nil: none
	Value     []byte                // nil: a tombstone
	Headers   []log.Header
}

// A Receiver is told what has become of a record.
type Receiver interface {
	Receive(placed Placed, err error)
}

// A ReceiverFunc is a function that is told.
type ReceiverFunc func(placed Placed, err error)

// Receive implements [Receiver].
func (f ReceiverFunc) Receive(placed Placed, err error) { f(placed, err) }

// Placed says where a record has come to stand. After an error only Partition
// counts, and that only if the record got as far as being given one.
type Placed struct {
	Topic     string // as it was sent to
	Partition partition.PartitionID
	Offset    log.Offset
	Epoch     log.Epoch
	Timestamp int64
}
