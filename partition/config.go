package partition

import (
	"fmt"
	"strings"
	"time"
)

// The defaults that depend on nothing, and the bounds.
const (
	defaultRetention     = 7 * 24 * time.Hour
	defaultMemoryBytes   = 256 << 20 // RetentionBytes of a broker in memory
	defaultSegmentBytes  = 64 << 20
	defaultMaxBatchBytes = 1 << 20

	maxName       = 249 // with a partition's number behind it, a file name
	maxPartitions = 10_000
	minSegment    = 1 << 10
	maxSegment    = 1 << 30 // an index has 31 bits for a position
	minBatch      = 256
	maxBatch      = 64 << 20
)

// MaxAhead is how far a record's time may lie in the future, by its leader's clock:
// retention by age would keep it, and all in one segment with it, until then.
const MaxAhead = time.Hour

// MaxReplicas is how many copies of a partition there may be.
const MaxReplicas = 64

// Durability says what an acks=all reply promises.
type Durability uint8

const (
	// Synced: fsynced on every in-sync replica, and on at least MinISR of them.
	Synced Durability = iota
	// Replicated: written to the file (page cache) of every in-sync replica. It
	// survives the death of processes, and MinISR-1 power cuts. It needs Replicas
	// of at least 3 and MinISR of at least 2.
	Replicated
	// Unsynced: as Replicated, at any number of replicas. For tests and caches.
	Unsynced
)

// A TopicConfig says how a topic is kept. Name apart, the zero value is safe and
// complete: it keeps data before speed, for seven days.
type TopicConfig struct {
	// Name is 1 to 249 of the characters a-z A-Z 0-9 . _ -, is not "." or "..", and
	// differs from any other topic's by more than case. It has no default.
	Name string

	// Partitions is how many ways the topic is split; order holds within one.
	//
	// Zero means 1.
	Partitions int

	// Replicas is how many brokers keep a copy of each partition.
	//
	// Zero means one for each broker that keeps copies, or for each such voter if they
	// are more, up to 3.
	Replicas int

	// MinISR is how many in-sync copies an acks=all write needs. One more broker
	// lost than Replicas - MinISR stops such writes, until one is back.
	//
	// Zero means 2, or 1 if Replicas is 1.
	MinISR int

	// Retention is how long a record is kept, at least; whole segments go.
	//
	// Zero means 7 days. -1 means for ever.
	Retention time.Duration

	// RetentionBytes is how much of a partition is kept, at least.
	//
	// Zero means no limit, or 256 MiB for a broker in memory. -1 means no limit.
	RetentionBytes int64

	// SegmentBytes is the size at which a new segment file is begun. A batch is
	// never split.
	//
	// Zero means 64 MiB.
	SegmentBytes int64

	// MaxBatchBytes is the largest batch that the topic takes, as it travels. The
	// records of a compressed one may inflate to 16 times as much, and to 64 MiB.
	//
	// Zero means 1 MiB.
	MaxBatchBytes int

	// Compact keeps the newest record of each key instead of dropping by age. A topic
	// that is there can be made to, and then stays so: off would have what is kept for
	// ever go by age.
	//
	// Zero is off, and, of a change, leaves it as it is.
	Compact bool

	// Durability says what an acks=all reply promises.
	//
	// Zero is Synced: fsynced on every in-sync replica, and on at least MinISR.
	Durability Durability
}

// WithDefaults returns c with each zero field replaced by its default, in a
// cluster of that many brokers, or voters if they are more.
func (c TopicConfig) WithDefaults(brokers int, inMemory bool) TopicConfig {
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if c.Replicas == 0 {
		c.Replicas = max(1, min(3, brokers))
	}
	if c.MinISR == 0 {
		c.MinISR = max(1, min(2, c.Replicas))
	}
	if c.Retention == 0 {
		c.Retention = defaultRetention
	}
	if c.RetentionBytes == 0 {
		c.RetentionBytes = -1
		if inMemory {
			c.RetentionBytes = defaultMemoryBytes
		}
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = defaultMaxBatchBytes
	}
	return c
}

// Validate reports every problem of a complete config at once, so that a user
// fixes them in one go. The error matches [InvalidTopic].
func (c TopicConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	within := func(field string, v, low, high int64) {
		if v < low || v > high {
			bad("%s is %d; it may be %d to %d", field, v, low, high)
		}
	}
	if !nameIsLegal(c.Name) {
		bad("%s", illegal(c.Name))
	}
	within("Partitions", int64(c.Partitions), 1, maxPartitions)
	within("Replicas", int64(c.Replicas), 1, MaxReplicas)
	if c.MinISR < 1 || c.MinISR > max(1, c.Replicas) {
		bad("MinISR is %d of %d replicas", c.MinISR, c.Replicas)
	}
	if c.Retention != -1 && c.Retention < time.Millisecond {
		bad("Retention is %v; it may be 1ms or more, or -1 for ever", c.Retention)
	}
	if c.RetentionBytes != -1 && c.RetentionBytes < 1 {
		bad("RetentionBytes is %d; it may be 1 or more, or -1 for no limit", c.RetentionBytes)
	}
	within("SegmentBytes", c.SegmentBytes, minSegment, maxSegment)
	within("MaxBatchBytes", int64(c.MaxBatchBytes), minBatch, maxBatch)
	if c.Durability > Unsynced {
		bad("Durability has no level %d", uint8(c.Durability))
	}
	if c.Durability == Replicated && (c.Replicas < 3 || c.MinISR < 2) {
		bad("Durability Replicated needs 3 replicas and MinISR 2; they are %d and %d", c.Replicas, c.MinISR)
	}
	if len(errs) > 0 {
		return &Error{Code: InvalidTopic, Text: oneLine(errs)}
	}
	return nil
}

// With returns c with the fields of change that are not zero, for a topic that is
// there. What such a topic cannot change is refused with an error that matches
// [InvalidTopic].
func (c TopicConfig) With(change TopicConfig) (TopicConfig, error) {
	var errs []error
	fixed := func(same bool, field, instead string) {
		if !same {
			errs = append(errs, fmt.Errorf("%s of a topic that is there %s", field, instead))
		}
	}
	fixed(matches(c.Name, change.Name), "Name", "cannot be changed")
	fixed(matches(c.Partitions, change.Partitions), "Partitions", "are added with AddPartitions")
	fixed(matches(c.Replicas, change.Replicas), "Replicas", "are changed with Reassign, a partition at a time")
	fixed(matches(c.Durability, change.Durability), "Durability", "cannot be changed")
	fixed(matches(c.SegmentBytes, change.SegmentBytes), "SegmentBytes", "cannot be changed")
	fixed(matches(c.MaxBatchBytes, change.MaxBatchBytes), "MaxBatchBytes", "cannot be changed")
	if len(errs) > 0 {
		return c, &Error{Code: InvalidTopic, Text: oneLine(errs)}
	}
	if change.MinISR != 0 {
		c.MinISR = change.MinISR
	}
	if change.Retention != 0 {
		c.Retention = change.Retention
	}
	if change.RetentionBytes != 0 {
		c.RetentionBytes = change.RetentionBytes
	}
	c.Compact = c.Compact || change.Compact
	return c, nil
}

// succeeds reports whether a topic of the configuration before may have c from now
// on: what c may not change is the same.
func (c TopicConfig) succeeds(before TopicConfig) bool {
	return c.Name == before.Name && c.Partitions == before.Partitions && c.Durability == before.Durability
}

// Matches reports whether a topic that is kept as c says satisfies who asked for
// want: a zero field of want is satisfied by anything.
func (c TopicConfig) Matches(want TopicConfig) bool {
	return matches(c.Name, want.Name) &&
		matches(c.Partitions, want.Partitions) &&
		matches(c.Replicas, want.Replicas) &&
		matches(c.MinISR, want.MinISR) &&
		matches(c.Retention, want.Retention) &&
		matches(c.RetentionBytes, want.RetentionBytes) &&
		matches(c.SegmentBytes, want.SegmentBytes) &&
		matches(c.MaxBatchBytes, want.MaxBatchBytes) &&
		matches(c.Compact, want.Compact) &&
		matches(c.Durability, want.Durability)
}

func matches[T comparable](have, want T) bool {
	var zero T
	return want == zero || want == have
}

// String returns the level's name.
func (d Durability) String() string {
	switch d {
	case Synced:
		return "synced"
	case Replicated:
		return "replicated"
	case Unsynced:
		return "unsynced"
	default:
		return fmt.Sprintf("durability %d", uint8(d))
	}
}

func nameIsLegal(name string) bool {
	if name == "" || len(name) > maxName || name == "." || name == ".." {
		return false
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}

// CheckName returns nil if a topic may have that name. If not, the error matches
// [InvalidTopic].
func CheckName(name string) error {
	if nameIsLegal(name) {
		return nil
	}
	return &Error{Code: InvalidTopic, Text: illegal(name)}
}

func illegal(name string) string {
	return fmt.Sprintf("Name %.300q is not 1 to %d of a-z A-Z 0-9 . _ -, or is . or ..", name, maxName)
}

// foldName is what two names have in common that differ by case alone.
func foldName(name string) string { return strings.ToLower(name) }

func oneLine(errs []error) string {
	text := make([]string, len(errs))
	for i, err := range errs {
		text[i] = err.Error()
	}
	return strings.Join(text, "; ")
}
