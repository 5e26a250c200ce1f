package samsa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/span"
	"github.com/samsalog/samsa/transport/wire"
)

// errMoved ends a call whose broker no longer is the one to ask.
var errMoved = errors.New("samsa: the leader has changed")

// A view is what a client knows of the cluster: a broker's own tables, or a copy.
type view interface {
	Topic(name string) (partition.Topic, bool)
	TopicByID(id partition.UUID) (partition.Topic, bool)
	Topics() []partition.Topic
	State(id partition.ID) (partition.State, bool)
	Broker(id partition.BrokerID) (partition.Broker, bool)
	Brokers() []partition.Broker
	Controller() partition.BrokerID
	Voters() []partition.BrokerID
	Cluster() partition.UUID
	// Changed returns the offset of the newest metadata, and a channel that is closed
	// at the next change.
	Changed() (log.Offset, <-chan struct{})
}

// A link reaches brokers.
type link func(ctx context.Context, b partition.Broker, f transport.Frame) (transport.Frame, error)

// A cluster routes the calls of one client: to the leader of a partition, to the
// coordinator of a group, to the controller. It is what the producers' and the
// consumers' shells work with.
type cluster struct {
	view   view
	link   link
	logger *slog.Logger
	ctx    context.Context // ends with the client
	close  context.CancelFunc
	ended  sync.WaitGroup

	mu    sync.Mutex // guards all below
	spans span.Stock
	// The calls under way, each to a broker that was the right one when it left, with
	// what tells whether it still is. They end with the client.
	flights map[*span.Span]func() bool
}

func newCluster(v view, l link, logger *slog.Logger) *cluster {
	c := &cluster{view: v, link: l, logger: logger, flights: make(map[*span.Span]func() bool)}
	c.ctx, c.close = context.WithCancel(context.Background())
	c.ended.Go(c.watch)
	return c
}

// watch ends the calls that newer metadata shows to be at the wrong place: a
// broker that was cut off says nothing, and would be waited for in vain.
func (c *cluster) watch() {
	for {
		_, changed := c.view.Changed()
		ended := c.ctx.Err() != nil
		c.mu.Lock()
		for s, right := range c.flights {
			if ended {
				s.End(ErrClosed)
			} else if !right() {
				s.End(errMoved)
			}
		}
		if ended {
			c.spans.Clear()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		select {
		case <-changed:
		case <-c.ctx.Done():
		}
	}
}

// call sends one request to one broker, for as long as right says that it is the
// one to ask.
func (c *cluster) call(ctx context.Context, to partition.BrokerID, f transport.Frame, right func() bool) (transport.Frame, error) {
	b, ok := c.view.Broker(to)
	if !ok {
		return transport.Frame{}, fmt.Errorf("broker %d is not known: %w", to, transport.ErrRefused)
	}
	c.mu.Lock()
	s := c.spans.Take(ctx)
	c.flights[s] = right
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.flights, s)
		c.spans.Give(s)
		c.mu.Unlock()
	}()
	switch {
	case c.ctx.Err() != nil:
		return transport.Frame{}, fmt.Errorf("%w: %w", ErrClosed, transport.ErrRefused)
	case ctx.Err() != nil:
		return transport.Frame{}, fmt.Errorf("%w: %w", context.Cause(ctx), transport.ErrRefused)
	case !right():
		return transport.Frame{}, fmt.Errorf("%w: %w", errMoved, transport.ErrRefused)
	}
	got, err := c.link(s.Ctx, b, f)
	if err == nil && got.Kind != f.Kind {
		err = fmt.Errorf("samsa: broker %d answered kind %d with kind %d", to, f.Kind, got.Kind)
	}
	return got, err
}

func encoded(kind transport.Kind, encode func(*wire.Writer)) transport.Frame {
	w := wire.NewWriter(nil)
	encode(w)
	return transport.Frame{Kind: kind, Head: w.Bytes()}
}

// until waits until look has what it looks for, or ctx ends. look is asked again
// at each change of the metadata.
func (c *cluster) until(ctx context.Context, look func() bool) error {
	for {
		_, changed := c.view.Changed()
		if look() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
}

// leader waits until a partition has a leader. The id came out of the metadata, so
// that a topic which is not there has been deleted.
func (c *cluster) leader(ctx context.Context, id partition.ID) (st partition.State, err error) {
	if st, ok := c.view.State(id); ok && st.Leader != partition.NoBroker {
		return st, nil // as nearly always
	}
	deleted := false
	err = c.until(ctx, func() bool {
		_, known := c.view.TopicByID(id.Topic)
		deleted = !known
		st, known = c.view.State(id)
		return deleted || known && st.Leader != partition.NoBroker
	})
	if deleted {
		return st, ErrUnknownTopic
	}
	return st, err
}

// leads returns a test of whether the leadership that st tells of still stands.
func (c *cluster) leads(id partition.ID, st partition.State) func() bool {
	leader, epoch := st.Leader, st.Epoch
	return func() bool {
		now, ok := c.view.State(id)
		return ok && now.Leader == leader && now.Epoch == epoch
	}
}

// moved waits, for a moment, until the metadata shows another leadership than that
// of a broker who is not there: no attempt before can succeed.
func (c *cluster) moved(ctx context.Context, id partition.ID, st partition.State) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	still := c.leads(id, st)
	_ = c.until(ctx, func() bool { return !still() })
}

// catchUp waits, for a moment, until this client's metadata is as new as that of a
// broker that turned it away.
func (c *cluster) catchUp(ctx context.Context, id partition.ID, code partition.Code, epoch log.Epoch) {
	if code != partition.NotLeader && code != partition.FencedEpoch {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	_ = c.until(ctx, func() bool {
		st, ok := c.view.State(id)
		return ok && st.Epoch >= epoch
	})
}

// isLeader tells whether a broker still leads a partition, as far as is known.
func (c *cluster) isLeader(id partition.ID, broker partition.BrokerID) func() bool {
	return func() bool {
		st, ok := c.view.State(id)
		return ok && st.Leader == broker
	}
}

// pause waits for metadata newer than when changed was asked for, or a moment. It
// returns why there is no going on.
func (c *cluster) pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ctx.Done():
		return ErrClosed
	}
	return nil
}
