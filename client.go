package samsa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport"
)

// A Client uses a cluster. It comes from [Broker.Client] or [Dial], and the two
// differ in nothing but their way to the brokers. Its calls wait for leaders by
// themselves; all of them may overlap.
//
// A call that changes a topic, a partition or the voters waits for a controller. It
// returns once the cluster has agreed and this client sees it. When ctx ends first it may
// be done or not: ask again. What is so already is no error, but for [Client.DeleteTopic].
type Client struct {
	cluster *cluster
	release func() // what Dial made; nil for a broker's own client

	mu     sync.Mutex // guards all below
	closed bool
	open   map[closer]struct{} // producers and consumers
}

// A closer is something that ends with the client, and gives up what it is about.
type closer interface{ abandon() error }

func newClient(c *cluster) *Client { return &Client{cluster: c, open: make(map[closer]struct{})} }

// Dial connects to a cluster without being a broker. The client survives the
// death of any broker, also of those in Addrs, as long as the cluster lives. ctx
// bounds Dial alone.
func Dial(ctx context.Context, cfg DialConfig) (*Client, error) {
	if cfg.Transport == nil || len(cfg.Addrs) == 0 || slices.Contains(cfg.Addrs, "") {
		return nil, fmt.Errorf("samsa: dial %q: Transport and Addrs are needed, none of them empty", cfg.Addrs)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := cfg.Transport.Join("", nil)
	if err != nil {
		return nil, fmt.Errorf("samsa: dial: %w", err)
	}
	v := newRemoteView(cfg.Addrs, l, cfg.Logger)
	if err := v.first(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("samsa: dial %q: %w", cfg.Addrs, err), l.Close())
	}
	c := newClient(newCluster(v, func(ctx context.Context, to partition.Broker, f transport.Frame) (transport.Frame, error) {
		return l.Call(ctx, transport.Addr(to.Addr), f)
	}, cfg.Logger))
	c.cluster.ended.Go(func() { v.run(c.cluster.ctx) })
	c.release = func() { _ = l.Close() }
	return c, nil
}

// Close closes the client's producers and consumers, and for a dialled client its
// connections. Records that are still on their way are given up: flush first.
// Again: no effect.
func (c *Client) Close() error {
	c.mu.Lock()
	open := c.open
	c.closed, c.open = true, nil
	c.mu.Unlock()
	var errs []error
	for o := range open {
		errs = append(errs, o.abandon())
	}
	c.cluster.close()
	c.cluster.ended.Wait()
	if c.release != nil {
		c.release()
	}
	return errors.Join(errs...)
}

// own has o closed with the client.
func (c *Client) own(o closer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.open[o] = struct{}{}
	return nil
}

func (c *Client) disown(o closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, o)
}

// CreateTopic makes a topic. It waits until as many brokers are registered as there
// are to be replicas, and until each partition has a leader. If the topic
// is there with the same configuration it returns nil; zero fields match anything.
// With another one the error matches [ErrTopicExists].
func (c *Client) CreateTopic(ctx context.Context, cfg TopicConfig) error {
	if err := notOwn(cfg.Name); err != nil {
		return wrapped("create topic", err)
	}
	return c.cluster.createTopic(ctx, cfg)
}

// Topics returns the names of all topics in rising order, without Samsa's own.
func (c *Client) Topics() []string {
	var names []string
	for _, t := range c.cluster.view.Topics() {
		if t.Config.Name != control.OffsetsTopic {
			names = append(names, t.Config.Name)
		}
	}
	return names
}

// Topic returns a handle of a topic, which need not exist.
func (c *Client) Topic(name string) *Topic { return &Topic{c: c.cluster, name: name} }

// Group returns a handle of a consumer group, which need not exist.
func (c *Client) Group(name string) *Group { return &Group{c: c.cluster, name: name} }
