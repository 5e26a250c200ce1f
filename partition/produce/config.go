package produce

import (
	"errors"
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Config says how a producer gathers and sends. The zero value is safe and
// complete: it waits for every in-sync replica, and never waits to fill a batch.
type Config struct {
	// Acks says when a record counts as sent.
	//
	// Zero is AcksAll: committed, as the topic's durability has it.
	Acks partition.Acks

	// Linger is how long the first record for an idle partition waits for company.
	// A partition with a batch on its way gathers the next meanwhile in any case.
	//
	// Zero means not at all.
	Linger time.Duration

	// BatchBytes is the size at which a batch is full, before it is compressed. A
	// larger record travels alone; the topic's MaxBatchBytes is the limit to that.
	//
	// Zero means 512 KiB.
	BatchBytes int

	// BufferBytes bounds what waits to be sent or answered, over all partitions.
	// Above it a send call blocks until there is room.
	//
	// Zero means 32 MiB.
	BufferBytes int

	// DeliveryTimeout bounds how long a batch is tried, from its first record on.
	//
	// Zero means 30 s.
	DeliveryTimeout time.Duration

	// AttemptTimeout bounds one attempt of a batch, and how long a leader may wait
	// for the in-sync replicas. It should be longer than a lagging replica is
	// waited for, or a batch is written twice for nothing.
	//
	// Zero means 15 s.
	AttemptTimeout time.Duration

	// Compression of batches. One that would not get smaller is left as it is.
	//
	// Zero is none.
	Compression log.Compression

	// Partitioner chooses a record's partition.
	//
	// Nil means partition.ByKey. A record of which the partitioner has no opinion
	// stays with the others of its kind on one partition until their batch leaves.
	Partitioner partition.Partitioner
}

func (c Config) withDefaults() Config {
	if c.BatchBytes == 0 {
		c.BatchBytes = 512 << 10
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = 32 << 20
	}
	if c.DeliveryTimeout == 0 {
		c.DeliveryTimeout = 30 * time.Second
	}
	if c.AttemptTimeout == 0 {
		c.AttemptTimeout = 15 * time.Second
	}
	if c.Partitioner == nil {
		c.Partitioner = partition.ByKey
	}
	return c
}

// validate reports every problem of a complete config at once.
func (c Config) validate() error {
	var errs []error
	if c.Acks < partition.AcksAll || c.Acks > partition.AcksNone {
		errs = append(errs, fmt.Errorf("Acks has no level %d", c.Acks))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Linger", c.Linger}, {"DeliveryTimeout", c.DeliveryTimeout}, {"AttemptTimeout", c.AttemptTimeout}} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v", d.name, d.value))
		}
	}
	if c.BatchBytes < 0 {
		errs = append(errs, fmt.Errorf("BatchBytes is %d", c.BatchBytes))
	}
	if c.BufferBytes < 0 {
		errs = append(errs, fmt.Errorf("BufferBytes is %d", c.BufferBytes))
	}
	if err := c.Compression.Check(); err != nil {
		errs = append(errs, fmt.Errorf("Compression: %w: %w", partition.Unsupported, err))
	}
	if len(errs) > 0 {
		return fmt.Errorf("produce: bad config: %w", errors.Join(errs...))
	}
	return nil
}
