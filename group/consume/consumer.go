package consume

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// lastWords is how long the way out may take: the last commit, and leaving the group.
const lastWords = 5 * time.Second

// A Record is one that has been read. Its slices share the memory of its batch:
// they may be kept, and must not be written to.
type Record struct {
	Topic     string
	Partition partition.PartitionID
	Epoch     log.Epoch
	log.Record
}

// A Consumer reads records. It begins to, and joins its group, with the first
// loop or Poll, and goes on until Close. One loop or Poll runs at a time; all other
// methods may be called from any goroutine.
type Consumer struct {
	cfg     Config
	cluster Cluster
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup // every goroutine of this consumer

	wake   chan struct{} // room for one: the loop should look again
	kick   chan struct{} // room for one: run should look again
	idle   chan struct{} // room for one: no loop body runs
	commit chan struct{} // room for one: whose it is, commits

	mu       sync.Mutex // guards all below; never held across a call that may wait
	started  bool
	closing  bool
	closed   chan struct{} // nil until Close; closed when it is done
	inUse    bool          // a loop or a Poll is under way
	unused   chan struct{} // not nil: somebody waits for the end of it
	body     bool          // the caller may be processing records
	deaf     bool          // Close has not waited until the loop's body came back
	hands    []*part       // those of which the caller has records
	holding  bool          // no record may be handed out: a change waits for its turn, or has it
	fault    error         // for the next who asks for records
	parts    []*part       // all that is read, in the order in which it came
	turn     int           // where in parts the loop looks first
	fetching fetching
	locating bool
	member   membership // of a group
}

// New returns a consumer, or says all that is wrong with cfg. It starts nothing.
func New(cfg Config, cluster Cluster) (*Consumer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Consumer{
		cfg: cfg, cluster: cluster,
		wake: make(chan struct{}, 1), kick: make(chan struct{}, 1), idle: make(chan struct{}, 1),
		commit: make(chan struct{}, 1),
	}
	c.member.left = make(chan struct{})
	c.fetching.flights = make(map[partition.BrokerID]*flight)
	c.ctx, c.stop = context.WithCancel(context.Background())
	if cfg.Group != "" {
		c.member.session = group.NewSession(group.SessionConfig{
			Group: cfg.Group, Member: cfg.Member, Topics: cfg.Topics,
			Session: cfg.SessionTimeout, Rebalance: cfg.RebalanceTimeout,
			Assignor: cfg.Assignor, Rack: cfg.Rack, Client: cfg.Client,
		})
	}
	return c, nil
}

// Records returns a loop over what is read, one record at a time. The loop ends
// without an error when ctx ends; with an error the record is zero, and the loop
// is over.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := c.begin(); err != nil {
			yield(Record{}, err)
			return
		}
		var fault error
		func() {
			defer c.end(ctx) // after a panic too
			fault = c.loop(ctx, yield)
		}()
		if fault != nil {
			yield(Record{}, fault)
		}
	}
}

// loop hands out records until there is cause to stop. It returns what the caller
// must be told, if anything.
func (c *Consumer) loop(ctx context.Context, yield func(Record, error) bool) error {
	for {
		got, err := c.next(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		rec := Record{Topic: got.part.place.Topic, Partition: got.part.place.Partition, Epoch: got.batch.Epoch()}
		stopped := false
		for r, err := range got.batch.Records() {
			if err != nil {
				c.corrupt(got, err)
				break
			}
			if r.Offset < got.from {
				continue
			}
			if stopped = !c.hand(ctx, got, r.Offset); stopped {
				break
			}
			rec.Record = r
			if !yield(rec, nil) {
				return nil
			}
		}
		if !stopped {
			c.used(got)
		}
	}
}

// Poll returns up to max records as soon as there is one. It says that those of
// the Poll before are processed. Its error is that of ctx, if that has ended.
func (c *Consumer) Poll(ctx context.Context, max int) ([]Record, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	defer c.release()
	for {
		got, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		recs, err := c.collect(got, max)
		if len(recs) > 0 || err != nil {
			return recs, err
		}
	}
}

// Seek makes offset the next one to be read of a partition.
func (c *Consumer) Seek(place Place, offset log.Offset) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ErrClosed
	}
	p := c.find(place)
	if p == nil || p.revoking {
		return &Error{place, ErrNotAssigned}
	}
	if offset < 0 {
		return &Error{place, fmt.Errorf("%w: offset %d", partition.OutOfRange, offset)}
	}
	p.start(mark{offset, log.NoEpoch})
	p.inHand = false
	signal(c.kick)
	signal(c.wake)
	return nil
}

// Pause stops the delivery of partitions, until Resume or until they are revoked.
func (c *Consumer) Pause(places ...Place) error { return c.pause(places, true) }

// Resume undoes Pause.
func (c *Consumer) Resume(places ...Place) error { return c.pause(places, false) }

func (c *Consumer) pause(places []Place, paused bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ErrClosed
	}
	for _, place := range places {
		p := c.find(place)
		if p == nil {
			return &Error{place, ErrNotAssigned}
		}
		p.paused = paused
	}
	signal(c.kick)
	signal(c.wake)
	return nil
}

// Assigned returns the partitions that are read now, in the order in which they came.
func (c *Consumer) Assigned() []Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	var places []Place
	for _, p := range c.parts {
		if !p.revoking {
			places = append(places, p.place)
		}
	}
	return places
}

// Close waits for a loop that is under way to come back for its next record,
// commits what is finished, and leaves the group; for 5 s at most, and while ctx
// lasts. It returns when nothing runs any more. It must not be called from a loop
// body or a call-back.
func (c *Consumer) Close(ctx context.Context) error {
	c.mu.Lock()
	if done := c.closed; done != nil {
		c.mu.Unlock()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	done := make(chan struct{})
	c.closed, c.closing = done, true
	started := c.started
	signal(c.wake)
	c.mu.Unlock()
	defer close(done)

	var err error
	if started {
		ctx, cancel := context.WithTimeout(ctx, lastWords)
		defer cancel()
		err = c.leave(ctx)
	}
	c.stop()
	c.running.Wait()
	return err
}

// begin makes the caller the one who asks for records.
func (c *Consumer) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		return ErrClosed
	case c.inUse:
		return ErrInUse
	}
	c.inUse = true
	if !c.started {
		c.started = true
		c.running.Go(c.run)
	}
	return nil
}

// release is the end of begin.
func (c *Consumer) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inUse = false
	if c.unused != nil {
		close(c.unused)
		c.unused = nil
	}
}

// end is the end of a loop: what is in hand is not finished, and what is, is
// committed.
func (c *Consumer) end(ctx context.Context) {
	defer c.release()
	c.mu.Lock()
	c.giveBack()
	c.mu.Unlock()
	if c.member.session == nil || c.cfg.Manual {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := c.commitDue(ctx, nil); err != nil {
		c.cfg.Logger.Warn("last commit of a loop", "group", c.cfg.Group, "err", err)
	}
}

// find returns the part of a place, or nil; the caller holds mu.
func (c *Consumer) find(place Place) *part {
	i := slices.IndexFunc(c.parts, func(p *part) bool { return p.place == place })
	if i < 0 {
		return nil
	}
	return c.parts[i]
}

// signal leaves a token, if there is none yet.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
