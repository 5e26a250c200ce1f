package samsa

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport"
)

// localView is a broker's own metadata.
type localView struct{ b *Broker }

func (v localView) Topic(name string) (partition.Topic, bool) { return v.b.node.Topic(name) }
func (v localView) TopicByID(id partition.UUID) (partition.Topic, bool) {
	return v.b.node.TopicByID(id)
}
func (v localView) Topics() []partition.Topic                             { return v.b.node.Topics() }
func (v localView) State(id partition.ID) (partition.State, bool)         { return v.b.node.State(id) }
func (v localView) Broker(id partition.BrokerID) (partition.Broker, bool) { return v.b.node.Broker(id) }
func (v localView) Brokers() []partition.Broker                           { return v.b.node.Brokers() }
func (v localView) Controller() partition.BrokerID                        { return v.b.quorum.Status().Leader }
func (v localView) Cluster() partition.UUID                               { return v.b.quorum.Status().Cluster }
func (v localView) Voters() []partition.BrokerID {
	var ids []partition.BrokerID
	for _, voter := range v.b.quorum.Status().Voters {
		ids = append(ids, voter.ID)
	}
	return ids
}
func (v localView) Changed() (log.Offset, <-chan struct{}) { return v.b.node.Changed() }

// localLink reaches the broker itself by a function call.
func localLink(b *Broker) link {
	return func(ctx context.Context, to partition.Broker, f transport.Frame) (transport.Frame, error) {
		if to.ID == b.cfg.ID {
			return b.serve(ctx, f)
		}
		return b.call(ctx, to.Addr, f)
	}
}

// A remoteView is a copy of the cluster's metadata that follows it: one request is
// always parked at some broker until there is something newer.
type remoteView struct {
	seeds  []string
	link   transport.Node
	logger *slog.Logger

	mu      sync.RWMutex // guards all below
	image   partition.Image
	topics  map[partition.UUID]int // index into image.Topics
	changed chan struct{}
}

func newRemoteView(seeds []string, l transport.Node, logger *slog.Logger) *remoteView {
	return &remoteView{
		seeds: seeds, link: l, logger: logger, image: partition.Image{Offset: -1},
		topics: make(map[partition.UUID]int), changed: make(chan struct{}),
	}
}

// first gets the first image, from whoever answers.
func (v *remoteView) first(ctx context.Context) error {
	var errs []error
	for i := 0; ; i++ {
		addr := v.seeds[i%len(v.seeds)]
		err := v.ask(ctx, addr, 0)
		if _, known := v.Changed(); err == nil && known != nil && len(v.Brokers()) > 0 {
			return nil
		}
		if err != nil {
			errs = append(errs[:min(len(errs), len(v.seeds)-1)], err)
		}
		if i%len(v.seeds) == len(v.seeds)-1 {
			timer := time.NewTimer(10 * time.Millisecond)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return errors.Join(append(errs, context.Cause(ctx))...)
			}
		}
	}
}

// run keeps the image new until ctx ends.
func (v *remoteView) run(ctx context.Context) {
	failures := 0
	for i := 0; ctx.Err() == nil; {
		addrs := v.addrs()
		err := v.ask(ctx, addrs[i%len(addrs)], fetchWait)
		if err == nil {
			failures = 0
			continue
		}
		// One that is cut off answers, and has no news: another may have some.
		v.logger.Debug("metadata", "broker", addrs[i%len(addrs)], "error", err)
		i++
		if failures++; failures < len(addrs) {
			continue
		}
		timer := time.NewTimer(min(10*time.Millisecond*time.Duration(failures), 250*time.Millisecond))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// addrs are the brokers to ask, those that are known to serve first.
func (v *remoteView) addrs() []string {
	var up, rest []string
	for _, b := range v.Brokers() {
		if b.Fenced {
			rest = append(rest, b.Addr)
		} else {
			up = append(up, b.Addr)
		}
	}
	for _, s := range v.seeds {
		if !slices.Contains(up, s) && !slices.Contains(rest, s) {
			rest = append(rest, s)
		}
	}
	return append(up, rest...)
}

func (v *remoteView) ask(ctx context.Context, addr string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	offset, _ := v.Changed()
	req := partition.MetadataRequest{After: offset, Controller: v.Controller(), MaxWaitMs: int32(wait / time.Millisecond)}
	got, err := v.link.Call(ctx, transport.Addr(addr), encoded(kindMetadata, req.Encode))
	if err != nil {
		return err
	}
	image, err := partition.DecodeImage(got.Head)
	if err != nil {
		return err
	}
	if !v.take(image) && image.Controller == partition.NoBroker {
		return errNoNews
	}
	return nil
}

// errNoNews stands for the answer of a broker that knows nothing new, and no
// controller either.
var errNoNews = errors.New("no news, and no controller")

// take replaces the image by a newer one. The controller may have changed without
// a record, so an image of the same age counts too; and ages of two clusters say
// nothing: who forgot everything, and began another, is to be believed. It reports
// whether that was news.
func (v *remoteView) take(image partition.Image) (news bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch image.Cluster {
	case v.image.Cluster:
		if image.Offset < v.image.Offset || image.Offset == v.image.Offset && image.Controller == v.image.Controller {
			return false
		}
	case partition.UUID{}:
		return false // it is not in the cluster yet
	}
	v.image = image
	clear(v.topics)
	for i, t := range image.Topics {
		v.topics[t.ID] = i
	}
	close(v.changed)
	v.changed = make(chan struct{})
	return true
}

func (v *remoteView) Topic(name string) (partition.Topic, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	i, ok := slices.BinarySearchFunc(v.image.Topics, name, func(t partition.Topic, name string) int {
		switch {
		case t.Config.Name < name:
			return -1
		case t.Config.Name > name:
			return 1
		}
		return 0
	})
	if !ok {
		return partition.Topic{}, false
	}
	return v.image.Topics[i], true
}

func (v *remoteView) TopicByID(id partition.UUID) (partition.Topic, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	i, ok := v.topics[id]
	if !ok {
		return partition.Topic{}, false
	}
	return v.image.Topics[i], true
}

func (v *remoteView) Topics() []partition.Topic {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.image.Topics
}

func (v *remoteView) State(id partition.ID) (partition.State, bool) {
	t, ok := v.TopicByID(id.Topic)
	if !ok || id.Partition < 0 || int(id.Partition) >= len(t.Partitions) {
		return partition.State{}, false
	}
	return *t.Partitions[id.Partition], true
}

func (v *remoteView) Broker(id partition.BrokerID) (partition.Broker, bool) {
	for _, b := range v.Brokers() {
		if b.ID == id {
			return b, true
		}
	}
	return partition.Broker{}, false
}

func (v *remoteView) Brokers() []partition.Broker {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.image.Brokers
}

func (v *remoteView) Controller() partition.BrokerID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.image.Controller
}

func (v *remoteView) Voters() []partition.BrokerID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.image.Voters
}

func (v *remoteView) Cluster() partition.UUID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.image.Cluster
}

func (v *remoteView) Changed() (log.Offset, <-chan struct{}) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.image.Offset, v.changed
}

var _ view = localView{}
