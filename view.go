package samsa

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/node"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport"
)

// localView is a broker's own metadata: the node's tables, and what its voter knows.
type localView struct {
	*node.Node
	quorum *quorum.Quorum
}

func (v localView) Controller() partition.BrokerID { return v.quorum.Status().Leader }
func (v localView) Cluster() partition.UUID        { return v.quorum.Status().Cluster }
func (v localView) Voters() []partition.BrokerID {
	var ids []partition.BrokerID
	for _, voter := range v.quorum.Status().Voters {
		ids = append(ids, voter.ID)
	}
	return ids
}

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

	known   atomic.Pointer[known]
	silence int // how many were asked since one of the known cluster has answered
}

// A known is what an image said. Nobody changes it.
type known struct {
	*partition.Table
	image   partition.Image
	changed chan struct{} // closed when there is a newer one
}

func newRemoteView(seeds []string, l transport.Node, logger *slog.Logger) *remoteView {
	v := &remoteView{seeds: seeds, link: l, logger: logger}
	v.known.Store(&known{partition.NewTable(), partition.Image{Offset: -1}, make(chan struct{})})
	return v
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
	v.silence++
	got, err := v.link.Call(ctx, transport.Addr(addr), encoded(kindMetadata, req.Encode))
	if err != nil {
		return err
	}
	image, err := partition.DecodeImage(got.Head)
	if err != nil {
		return err
	}
	news, err := v.take(image)
	if err == nil && !news && (image.Controller == partition.NoBroker || image.Offset < offset) {
		return errNoNews
	}
	return err
}

// errNoNews stands for the answer of a broker that knows nothing new, and no
// controller either, or less than others did.
var errNoNews = errors.New("no news, and no controller or old ones")

// take replaces what is known by an image that is newer, and reports whether it was. Brokers
// that forgot everything, and began another cluster, are to be believed once nobody is left
// of the known one. One call at a time.
func (v *remoteView) take(image partition.Image) (news bool, err error) {
	now := v.known.Load()
	news, err = image.News(now.image)
	if err == nil {
		v.silence = 0
	}
	if err == nil && !news || err != nil && v.silence < len(v.addrs()) {
		return false, err
	}
	table, err := partition.Restore(image)
	if err != nil {
		return false, err
	}
	v.known.Store(&known{table, image, make(chan struct{})})
	close(now.changed)
	return true, nil
}

func (v *remoteView) Topic(name string) (partition.Topic, bool) { return v.known.Load().Topic(name) }
func (v *remoteView) TopicByID(id partition.UUID) (partition.Topic, bool) {
	return v.known.Load().TopicByID(id)
}
func (v *remoteView) Topics() []partition.Topic { return v.known.Load().image.Topics }
func (v *remoteView) State(id partition.ID) (partition.State, bool) {
	if s, ok := v.known.Load().Partition(id); ok {
		return *s, true
	}
	return partition.State{}, false
}
func (v *remoteView) Broker(id partition.BrokerID) (partition.Broker, bool) {
	return v.known.Load().Broker(id)
}
func (v *remoteView) Brokers() []partition.Broker    { return v.known.Load().image.Brokers }
func (v *remoteView) Controller() partition.BrokerID { return v.known.Load().image.Controller }
func (v *remoteView) Voters() []partition.BrokerID   { return v.known.Load().image.Voters }
func (v *remoteView) Cluster() partition.UUID        { return v.known.Load().image.Cluster }
func (v *remoteView) Changed() (log.Offset, <-chan struct{}) {
	now := v.known.Load()
	return now.image.Offset, now.changed
}

var _ view = localView{}
