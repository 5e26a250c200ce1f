package samsa

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/samsalog/samsa/group/consume"
)

// A Start says where to read a partition for which nothing has been committed. The
// zero value is [StartEarliest].
type Start struct {
	latest bool
	at     time.Time
}

// Where to begin.
var (
	// StartEarliest: at the oldest record that is kept.
	StartEarliest = Start{}
	// StartLatest: behind the newest record at that moment.
	StartLatest = Start{latest: true}
)

// StartAt begins at the first record at or after a time, or behind the newest if there
// is none.
func StartAt(t time.Time) Start { return Start{at: t} }

// A ConsumerConfig says what a consumer reads. It needs Group and Topics, or
// Partitions.
type ConsumerConfig struct {
	// Group is the consumer group: its members share the partitions of Topics, and
	// what they have finished is committed. A topic that is not there is waited for.
	Group  string
	Topics []string

	// Partitions are read without a group, all of them by this consumer, and waited
	// for if they are not there.
	Partitions []TopicPartition

	// Start says where to begin where nothing has been committed, and where to go on
	// when the records at an offset are gone.
	//
	// Zero is StartEarliest.
	Start Start

	// Manual leaves committing to the caller: nothing is committed but by Commit.
	//
	// Zero commits what is finished, each CommitInterval and on the way out.
	Manual bool

	// CommitInterval is how often what is finished is committed.
	//
	// Zero means 1 s.
	CommitInterval time.Duration

	// Client is a name for people, in Group.Info, of 249 bytes at most, as Group.
	//
	// Empty is none.
	Client string

	// SessionTimeout is how long the group does without a sign of life before it gives
	// this member's partitions away.
	//
	// Zero means 30 s.
	SessionTimeout time.Duration

	// RebalanceTimeout is how long the group waits for a loop body to finish before
	// it gives a partition away.
	//
	// Zero means 60 s.
	RebalanceTimeout time.Duration

	// Assignor shares out the partitions. Only "uniform" is supported yet.
	//
	// Empty means uniform.
	Assignor string

	// InstanceID makes the member static. It is not supported yet.
	//
	// Empty is none.
	InstanceID string

	// OnAssigned tells of partitions that came, OnRevoked of those that are being
	// given back, after what is finished has been committed, OnLost of those that have
	// been given to others already. None runs beside a loop body, so that a Close which
	// does not get the body back calls none; each holds the consumer up.
	//
	// Nil is none.
	OnAssigned, OnRevoked, OnLost func([]TopicPartition)
}

// A Consumer reads records. One loop or Poll runs at a time; the other methods may
// be called at any time, from any goroutine.
type Consumer struct {
	client *Client
	c      *consume.Consumer
}

// NewConsumer makes a consumer. It joins its group with its first loop or Poll.
// Close it when it is no longer needed.
func (c *Client) NewConsumer(cfg ConsumerConfig) (*Consumer, error) {
	var missing []error
	if cfg.InstanceID != "" {
		missing = append(missing, fmt.Errorf("InstanceID: %w", ErrUnsupported))
	}
	if cfg.Assignor != "" && cfg.Assignor != "uniform" {
		missing = append(missing, fmt.Errorf("Assignor %q: %w", cfg.Assignor, ErrUnsupported))
	}
	if err := errors.Join(missing...); err != nil {
		return nil, fmt.Errorf("samsa: bad ConsumerConfig: %w", err)
	}
	in := consume.Config{
		Group: cfg.Group, Topics: cfg.Topics, Manual: cfg.Manual, CommitInterval: cfg.CommitInterval,
		Client: cfg.Client, Assignor: cfg.Assignor,
		SessionTimeout: cfg.SessionTimeout, RebalanceTimeout: cfg.RebalanceTimeout,
		OnAssigned: places(cfg.OnAssigned), OnRevoked: places(cfg.OnRevoked), OnLost: places(cfg.OnLost),
		Logger: c.cluster.logger,
	}
	if cfg.Group != "" {
		in.Member = newUUID().String()
	}
	if cfg.Start.latest {
		in.Start = consume.Latest
	}
	if !cfg.Start.at.IsZero() {
		in.Start, in.Since = consume.AtTime, millis(cfg.Start.at)
	}
	for _, p := range cfg.Partitions {
		in.Partitions = append(in.Partitions, consume.Place(p))
	}
	inner, err := consume.New(in, c.cluster)
	if err != nil {
		return nil, fmt.Errorf("samsa: %w", err)
	}
	out := &Consumer{client: c, c: inner}
	if err := c.own(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Records returns a loop over the records, one at a time, and waits for more.
//
// Asking for the next record says that the last one is processed: it is committed
// in the background and on the way out. Leaving the loop by break, return or a
// panic says that the current one is not, and it will be delivered again, unless
// Commit(ctx, rec) has said otherwise before. When ctx ends the loop ends without
// an error, and what is finished is still committed, within 5 s. If err is not nil
// the record is zero and the loop is over. Transient faults are retried, not
// yielded. One loop at a time: another one gets [ErrInUse].
func (c *Consumer) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for rec, err := range c.c.Records(ctx) {
			if err != nil {
				yield(Record{}, c.wrap(err))
				return
			}
			if !yield(fromConsume(rec), nil) {
				return
			}
		}
	}
}

// Poll returns up to max records, and at least one, as soon as there is one. It says
// that those of the Poll before are processed. When ctx ends, the error is ctx's.
func (c *Consumer) Poll(ctx context.Context, max int) ([]Record, error) {
	got, err := c.c.Poll(ctx, max)
	if err != nil {
		return nil, c.wrap(err)
	}
	recs := make([]Record, len(got))
	for i, rec := range got {
		recs[i] = fromConsume(rec)
	}
	return recs, nil
}

// Commit says that records are processed, and all before them in their partitions,
// and waits until that is committed. Without records it commits all that is
// finished. An error that matches [ErrOutcomeUnknown] leaves open whether it is.
func (c *Consumer) Commit(ctx context.Context, recs ...Record) error {
	in := make([]consume.Record, len(recs))
	for i, r := range recs {
		in[i].Topic, in[i].Partition, in[i].Epoch, in[i].Offset = r.Topic, r.Partition, r.Epoch, r.Offset
	}
	return c.wrap(c.c.Commit(ctx, in...))
}

// Seek makes offset the next one to be read of a partition that is assigned.
func (c *Consumer) Seek(p TopicPartition, offset Offset) error {
	return c.wrap(c.c.Seek(consume.Place(p), offset))
}

// SeekTime makes the first record at or after a time the next one to be read of each
// partition that is assigned now; where there is none, the next one to be committed.
// It waits for leaders until ctx ends; then some of the partitions may have been moved.
func (c *Consumer) SeekTime(ctx context.Context, t time.Time) error {
	return c.wrap(c.c.SeekTime(ctx, millis(t)))
}

// Pause stops the delivery of partitions until Resume, or until they are revoked.
func (c *Consumer) Pause(ps ...TopicPartition) error { return c.wrap(c.c.Pause(toPlaces(ps)...)) }

// Resume ends a pause.
func (c *Consumer) Resume(ps ...TopicPartition) error { return c.wrap(c.c.Resume(toPlaces(ps)...)) }

// Assigned returns the partitions that are this consumer's now.
func (c *Consumer) Assigned() []TopicPartition { return fromPlaces(c.c.Assigned()) }

// Close waits for a loop body to come back, commits what is finished and leaves the
// group, within 5 s. It must not be called from a loop body or a call-back, nor may
// Close of the client or the broker: they would wait for themselves. Again: no effect.
func (c *Consumer) Close() error {
	c.client.disown(c)
	return c.wrap(c.c.Close(context.Background()))
}

// abandon leaves without a word: the client is going. The group fences the member
// when its session ends, and others take over from what is committed.
func (c *Consumer) abandon() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.c.Close(ended) // its error is that of ended
	return nil
}

func (c *Consumer) wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, consume.ErrInUse):
		return ErrInUse
	case errors.Is(err, consume.ErrOutcomeUnknown) && errors.Is(err, consume.ErrClosed):
		return fmt.Errorf("samsa: %w: %w: %w", ErrOutcomeUnknown, ErrClosed, err)
	case errors.Is(err, consume.ErrOutcomeUnknown):
		return fmt.Errorf("samsa: %w: %w", ErrOutcomeUnknown, err)
	case errors.Is(err, consume.ErrClosed):
		return fmt.Errorf("samsa: consumer: %w", ErrClosed)
	}
	return fmt.Errorf("samsa: %w", err)
}

func fromConsume(r consume.Record) Record {
	return Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Epoch: r.Epoch, Time: time.UnixMilli(r.Timestamp),
		Key: r.Key, Value: r.Value, Headers: r.Headers,
	}
}

func places(f func([]TopicPartition)) func([]consume.Place) {
	if f == nil {
		return nil
	}
	return func(ps []consume.Place) { f(fromPlaces(ps)) }
}

func toPlaces(ps []TopicPartition) []consume.Place {
	out := make([]consume.Place, len(ps))
	for i, p := range ps {
		out[i] = consume.Place(p)
	}
	return out
}

func fromPlaces(ps []consume.Place) []TopicPartition {
	out := make([]TopicPartition, len(ps))
	for i, p := range ps {
		out[i] = TopicPartition(p)
	}
	return out
}
