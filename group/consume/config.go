package consume

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Place is a partition as a caller names it.
type Place struct {
	Topic     string
	Partition partition.PartitionID
}

func (p Place) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// Start says where to read a partition for which there is no committed offset, or
// whose offset is not there any more.
type Start uint8

const (
	// Earliest: at the oldest record that is kept.
	Earliest Start = iota
	// Latest: behind the newest record at that moment.
	Latest
	// At: at Config.From, without a group. That records are gone is then an error,
	// which matches partition.OutOfRange.
	At
	// AtTime: at the first record at or after Config.Since. Where records are gone it
	// goes on as Earliest does.
	AtTime
)

// A Config says what a consumer reads and how. It needs a Group and Topics, or
// Partitions without a group.
type Config struct {
	// Group shares the partitions of Topics among its members and keeps what is
	// committed. It needs Topics.
	Group  string
	Topics []string

	// Partitions are read without a group, all by this consumer. Nothing is committed.
	Partitions []Place

	// Start says where to begin without a committed offset, and where to go on when
	// the records at an offset are gone: removed by retention, or cut from the log by
	// an election that gave up data.
	//
	// Zero is Earliest.
	Start Start

	// From is where the Start At begins, in each of Partitions.
	From log.Offset

	// Since is where the Start AtTime begins, in milliseconds since the Unix epoch.
	Since int64

	// Manual leaves committing to the caller: nothing is committed but by Commit.
	//
	// Zero commits what is finished, in the background and on the way out.
	Manual bool

	// CommitInterval is how often what is finished is committed.
	//
	// Zero means 1 s.
	CommitInterval time.Duration

	// Member is this consumer's id within its group, never used before or after by
	// another. Client says to people who that is, Rack where.
	//
	// Empty means a random Member, and nothing said.
	Member, Client, Rack string

	// Assignor names how the group shares out partitions.
	//
	// Empty means the coordinator's default.
	Assignor string

	// SessionTimeout is how long the group does without a heartbeat before it gives
	// the member's partitions away. RebalanceTimeout is how long it waits for the
	// loop to let go of partitions.
	//
	// Zero means 30 s, and 60 s.
	SessionTimeout, RebalanceTimeout time.Duration

	// MaxWait bounds how long a read waits for records. It is woken by data, so a
	// shorter wait gains nothing.
	//
	// Zero means 500 ms.
	MaxWait time.Duration

	// FetchBytes bounds one answer of a broker, BufferBytes what has been fetched and
	// not yet handed out. A larger batch comes alone. Compressed batches count as
	// they travel: of each partition the one that is being handed out is inflated.
	//
	// Zero means 1 MiB, and 8 MiB.
	FetchBytes, BufferBytes int

	// OnAssigned, OnRevoked and OnLost tell of partitions that came, are being given
	// back (what is finished has been committed), or have been given to others
	// already. None runs beside a loop body, so that a Close which does not get the body
	// back calls none; each holds up the consumer.
	OnAssigned, OnRevoked, OnLost func([]Place)

	// Logger is told of faults that are retried.
	//
	// Nil is silent.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.CommitInterval == 0 {
		c.CommitInterval = time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 30 * time.Second
	}
	if c.RebalanceTimeout == 0 {
		c.RebalanceTimeout = 60 * time.Second
	}
	if c.MaxWait == 0 {
		c.MaxWait = 500 * time.Millisecond
	}
	if c.FetchBytes == 0 {
		c.FetchBytes = 1 << 20
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = 8 << 20
	}
	if c.Member == "" {
		c.Member = rand.Text()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate reports every problem of a complete config at once.
func (c Config) validate() error {
	var errs []error
	switch {
	case c.Group != "" && len(c.Partitions) > 0:
		errs = append(errs, errors.New("Group and Partitions exclude each other"))
	case c.Group == "" && len(c.Partitions) == 0:
		errs = append(errs, errors.New("Group and Topics are needed, or Partitions"))
	case c.Group == "" && len(c.Topics) > 0:
		errs = append(errs, errors.New("Topics need a Group"))
	case c.Group != "" && len(c.Topics) == 0:
		errs = append(errs, errors.New("Group needs Topics"))
	}
	if c.Start == At && c.Group != "" {
		errs = append(errs, fmt.Errorf("Start at offset %d needs Partitions", c.From))
	}
	if c.From < 0 {
		errs = append(errs, fmt.Errorf("From is %w: offset %d", partition.OutOfRange, c.From))
	}
	if c.Start > AtTime {
		errs = append(errs, fmt.Errorf("Start has no value %d: %w", c.Start, partition.Unsupported))
	}
	if errs = append(append(errs, c.checkNames()...), c.checkAmounts()...); len(errs) > 0 {
		return fmt.Errorf("consume: bad config: %w", errors.Join(errs...))
	}
	return nil
}

// checkNames finds those that nothing can have: what they name would be waited for.
func (c Config) checkNames() (errs []error) {
	for _, name := range c.Topics {
		errs = append(errs, partition.CheckName(name))
	}
	for _, p := range c.Partitions {
		errs = append(errs, partition.CheckName(p.Topic))
		if p.Partition < 0 {
			errs = append(errs, fmt.Errorf("partition %v: %w", p, partition.UnknownPartition))
		}
	}
	for _, n := range []struct{ field, name string }{{"Group", c.Group}, {"Client", c.Client}} {
		if len(n.name) > group.MaxName {
			errs = append(errs, fmt.Errorf("%s has %d bytes; the limit is %d", n.field, len(n.name), group.MaxName))
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// checkAmounts finds times that the brokers cannot be told, and sizes below zero.
func (c Config) checkAmounts() (errs []error) {
	const longest = math.MaxInt32 * time.Millisecond
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"CommitInterval", c.CommitInterval}, {"SessionTimeout", c.SessionTimeout},
		{"RebalanceTimeout", c.RebalanceTimeout}, {"MaxWait", c.MaxWait},
	} {
		if d.value < time.Millisecond || d.value > longest {
			errs = append(errs, fmt.Errorf("%s is %v; it may be 1ms to %v", d.field, d.value, longest))
		}
	}
	for _, n := range []struct {
		field string
		value int
	}{{"FetchBytes", c.FetchBytes}, {"BufferBytes", c.BufferBytes}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d", n.field, n.value))
		}
	}
	return errs
}
