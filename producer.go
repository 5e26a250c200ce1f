package samsa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/samsalog/samsa/partition/produce"
)

// A ProducerConfig says how a producer gathers and sends. The zero value waits for
// every in-sync replica, and never waits to fill a batch.
type ProducerConfig struct {
	// Acks says when a record counts as sent.
	//
	// Zero is AcksAll.
	Acks Acks

	// Linger is how long the first record for an idle partition waits for company.
	// While a batch is on its way the next one gathers in any case.
	//
	// Zero means not at all.
	Linger time.Duration

	// BatchBytes is the size at which a batch is full, before it is compressed.
	//
	// Zero means 512 KiB.
	BatchBytes int

	// BufferBytes bounds what waits to be sent or answered. Above it the send
	// calls block until there is room, or ctx ends.
	//
	// Zero means 32 MiB.
	BufferBytes int

	// DeliveryTimeout bounds how long a record is tried, once there is room for it in
	// the buffer. The first record for a topic may wait as long before that, until
	// the topic is known.
	//
	// Zero means 30 s.
	DeliveryTimeout time.Duration

	// Partitioner chooses a record's partition.
	//
	// Nil means [ByKey].
	Partitioner Partitioner

	// Compression of batches: [Gzip], [Snappy] or [Zstd]. They travel and are stored
	// compressed, and are inflated by who reads them. A batch that would not get
	// smaller is left as it is. The more records are in a batch the smaller it gets:
	// Linger may help.
	//
	// Zero is [NoCompression].
	Compression Compression

	// Idempotent asks that a batch whose outcome was unknown stands in the log once
	// at most. It is not supported yet.
	//
	// Zero is off.
	Idempotent bool
}

// A Producer sends records. All its methods may be called at any time, from any
// goroutine. Records of one goroutine for one partition keep their order.
type Producer struct {
	client *Client
	p      *produce.Producer
}

// NewProducer makes a producer. Close it when it is no longer needed.
func (c *Client) NewProducer(cfg ProducerConfig) (*Producer, error) {
	var missing []error
	if err := cfg.Compression.Check(); err != nil {
		missing = append(missing, fmt.Errorf("Compression: %w: %w", ErrUnsupported, err))
	}
	if cfg.Idempotent {
		missing = append(missing, fmt.Errorf("Idempotent: %w", ErrUnsupported))
	}
	if err := errors.Join(missing...); err != nil {
		return nil, fmt.Errorf("samsa: bad ProducerConfig: %w", err)
	}
	p, err := produce.New(produce.Config{
		Acks: cfg.Acks, Linger: cfg.Linger, BatchBytes: cfg.BatchBytes, BufferBytes: cfg.BufferBytes,
		DeliveryTimeout: cfg.DeliveryTimeout, Partitioner: cfg.Partitioner, Compression: cfg.Compression,
	}, c.cluster)
	if err != nil {
		return nil, fmt.Errorf("samsa: %w", err)
	}
	out := &Producer{client: c, p: p}
	if err := c.own(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Send sends one record and waits until it is as safe as Acks asks. The record
// that it returns has its place filled in. ctx bounds buffering and delivery; when
// it ends after the record has left, the error matches [ErrOutcomeUnknown] and
// ctx.Err(). rec's slices are the caller's again when Send returns.
func (p *Producer) Send(ctx context.Context, rec Record) (Record, error) {
	placed, err := p.p.SendSync(ctx, rec.toProduce())
	if err != nil {
		return Record{}, wrapSent(err)
	}
	return rec.placed(placed), nil
}

// SendAsync sends one record. done, which may be nil, is called exactly once, in
// order a partition, also if the record is refused at once. It is told the record's
// topic, place and time; key, value and headers are left out, since their memory is
// the caller's again when SendAsync returns. It must not block: it may call
// SendAsync, while Send, SendAll, Flush and Close would wait for themselves.
// SendAsync blocks only while the buffer is full.
func (p *Producer) SendAsync(ctx context.Context, rec Record, done func(Record, error)) {
	p.p.Send(ctx, rec.toProduce(), receiver(done))
}

// A receiver is who is told of a record of SendAsync.
type receiver func(Record, error)

// Receive implements [produce.Receiver].
func (done receiver) Receive(placed produce.Placed, err error) {
	switch {
	case done == nil:
	case err != nil:
		done(Record{}, wrapSent(err))
	default:
		done(Record{Topic: placed.Topic}.placed(placed), nil)
	}
}

// A BatchError says which records of a SendAll were not confirmed.
type BatchError struct {
	Errs []error // one a record, in their order; nil: it was sent
}

func (e *BatchError) Error() string {
	text, failed := "", e.Unwrap()
	if len(failed) > 0 {
		text = ": " + strings.TrimPrefix(failed[0].Error(), "samsa: ")
	}
	return fmt.Sprintf("samsa: %d of %d records were not confirmed%s", len(failed), len(e.Errs), text)
}

// Unwrap returns the errors of the records that have one.
func (e *BatchError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// SendAll sends records and waits for all of them. It returns them with their
// places filled in; where one was not confirmed that is the zero Record, and the error is
// a [*BatchError]. It is no transaction: each record fares by itself.
func (p *Producer) SendAll(ctx context.Context, recs []Record) ([]Record, error) {
	sent, errs := make([]Record, len(recs)), make([]error, len(recs))
	all := make(chan struct{}, len(recs))
	for i, rec := range recs {
		p.p.Send(ctx, rec.toProduce(), produce.ReceiverFunc(func(placed produce.Placed, err error) {
			if err != nil {
				errs[i] = wrapSent(err)
			} else {
				sent[i] = recs[i].placed(placed)
			}
			all <- struct{}{}
		}))
	}
	for range recs {
		<-all
	}
	for _, err := range errs {
		if err != nil {
			return sent, &BatchError{Errs: errs}
		}
	}
	return sent, nil
}

// Flush waits until every record sent before has been answered, or ctx ends.
func (p *Producer) Flush(ctx context.Context) error { return wrapped("flush", p.p.Flush(ctx)) }

// Close waits until all that was sent has been answered or given up, which the
// delivery timeout bounds, and refuses what comes later. Again: no effect.
func (p *Producer) Close() error {
	p.client.disown(p)
	return wrapSent(p.p.Close(context.Background()))
}

// abandon gives up what is still on its way: its client is going.
func (p *Producer) abandon() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.p.Close(ended); !errors.Is(err, context.Canceled) {
		return wrapSent(err)
	}
	return nil
}

func wrapSent(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, produce.ErrClosed):
		return fmt.Errorf("samsa: %w: %w", err, ErrClosed)
	}
	return fmt.Errorf("samsa: %w", err)
}
