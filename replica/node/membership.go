package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/transport/wire"
)

// retryPause is how long a broker waits after a refusal that no event will end.
const retryPause = 20 * time.Millisecond

// runMembership keeps the broker registered, and known to be alive.
func (n *Node) runMembership() {
	for n.ctx.Err() == nil {
		_, elected := n.quorum.Watch()
		var again bool
		var err error
		if n.Epoch() == 0 {
			again, err = n.register()
		} else {
			again, err = n.heartbeat()
		}
		if err != nil && n.ctx.Err() == nil {
			n.logger.Debug("controller", "broker", n.self, "error", err)
		}
		if again {
			continue
		}
		pause := time.NewTimer(retryPause)
		select {
		case <-elected:
		case <-pause.C:
		case <-n.ctx.Done():
		}
		pause.Stop()
	}
}

// register reports whether the next step may follow at once.
func (n *Node) register() (bool, error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.CallTimeout)
	defer cancel()
	req := control.RegisterRequest{
		Broker: partition.Broker{
			ID: n.self, Addr: n.cfg.Addr, Rack: n.cfg.Rack, Directory: n.directory, Incarnation: n.cfg.Incarnation,
			VoterOnly: n.cfg.VoterOnly,
		},
		PrevEpoch: n.cleanEpoch, Suspect: n.suspects,
	}
	w := wire.NewWriter(nil)
	req.Encode(w)
	sent := time.Now()
	got, err := n.askController(ctx, Message{Kind: KindRegister, Head: w.Bytes()})
	if err != nil {
		return false, err
	}
	resp, err := control.DecodeRegisterResponse(got.Head)
	if err != nil {
		return false, err
	}
	if resp.Code != partition.OK {
		return false, fmt.Errorf("register: %w", resp.Code)
	}
	if err := n.reported(); err != nil {
		n.failStorage(err)
		return false, err
	}
	n.epoch.Store(int64(resp.Epoch))
	n.renew(sent) // the heartbeat that lets it lead is answered late: all is well, and it is parked
	n.logger.Info("broker registered", "broker", n.self, "epoch", resp.Epoch, "suspect", len(n.suspects))
	n.touch()
	return true, n.awaitMetadata(ctx, log.Offset(resp.Epoch))
}

// reported lets the suspects' logs forget what they had to be remembered for: the
// controller knows it now.
func (n *Node) reported() error {
	for _, l := range n.lossy {
		if err := l.Reported(); err != nil {
			return err
		}
	}
	n.lossy = nil
	return nil
}

// awaitMetadata waits until this broker's image is at least that new.
func (n *Node) awaitMetadata(ctx context.Context, offset log.Offset) error {
	for {
		have, changed := n.Changed()
		if have >= offset {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// heartbeat reports whether the next one may follow at once: the controller keeps
// each for the interval, unless there is something to say.
func (n *Node) heartbeat() (bool, error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.HeartbeatInterval+n.cfg.CallTimeout)
	defer cancel()
	n.mu.Lock()
	n.hurry, n.hurried = cancel, false
	n.mu.Unlock()
	applied, changed := n.Changed()
	req := control.HeartbeatRequest{Broker: n.self, Epoch: n.Epoch(), Applied: applied, WantStop: n.leaving.Load(), Full: n.full()}
	w := wire.NewWriter(nil)
	req.Encode(w)
	sent := time.Now()
	got, err := n.askController(ctx, Message{Kind: KindHeartbeat, Head: w.Bytes()})
	if err != nil {
		return n.wasHurried(), err
	}
	resp, err := control.DecodeHeartbeatResponse(got.Head)
	if err != nil {
		return false, err
	}
	if resp.Code == partition.OK {
		n.renew(sent)
	}
	switch {
	case resp.Code == partition.StaleBroker:
		n.Fail(ErrSuperseded)
		return false, ErrSuperseded
	case resp.Code == partition.UnknownBroker:
		n.epoch.Store(0)
		return true, resp.Code
	case resp.Code != partition.OK:
		return false, resp.Code
	case resp.Fenced:
		// What it asks for comes as a record; ask again when one has come.
		pause := time.NewTimer(retryPause)
		defer pause.Stop()
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	return true, nil
}

// hurryUp has the next heartbeat sent at once, for there is news that it tells. The
// lock is held.
func (n *Node) hurryUp() {
	if n.hurry != nil {
		n.hurried = true
		n.hurry()
	}
}

func (n *Node) wasHurried() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.hurried && n.ctx.Err() == nil
}

// someoneStops reports whether a broker waits to be let go until all have applied
// what there is. The lock is held.
func (n *Node) someoneStops() bool {
	return slices.ContainsFunc(n.table.Brokers(), func(b partition.Broker) bool { return b.Stopping && !b.Fenced })
}

// renew extends the lease by what was sent to the controller at that time, and has been
// answered.
func (n *Node) renew(sent time.Time) {
	n.lease.Store(int64(sent.Add(n.cfg.SessionTimeout).Sub(n.born)))
}

// InTouch reports whether the controller has heard of this broker within a session.
// It counts from the sending, and the controller from the receipt of a heartbeat: so
// a broker that is cut off knows before others take its place that what it leads may be led
// elsewhere. Appends need no such lease, for without its ISR a leader commits nothing; whoever
// answers from memory does.
func (n *Node) InTouch() bool { return int64(time.Since(n.born)) < n.lease.Load() }

// askController sends one message to the controller, who may be this very broker.
func (n *Node) askController(ctx context.Context, m Message) (Message, error) {
	st := n.quorum.Status()
	switch st.Leader {
	case partition.NoBroker:
		return Message{}, errNotController
	case n.self:
		return n.Handle(ctx, m)
	}
	got, err := n.peers.Call(ctx, st.LeaderAddr, m)
	if errors.Is(err, ErrUnreachable) {
		n.quorum.Gone(st.Leader) // the voters need not wait for its silence
	}
	return got, err
}

// HandOver has others lead in this broker's place, and returns when it is fenced:
// it leads nothing any more, and everybody who is there knows. The quorum's lead goes
// first, so that it is another controller that lets this broker go. A broker alone has
// nobody to hand over to.
func (n *Node) HandOver(ctx context.Context) error {
	n.quorum.StepAside(ctx)
	if len(n.Brokers()) < 2 || n.Epoch() == 0 {
		return nil
	}
	// In this order: a heartbeat that has not seen the wish can be hurried.
	n.leaving.Store(true)
	n.mu.Lock()
	n.hurryUp() // the heartbeat that is parked says the opposite
	n.mu.Unlock()
	for {
		_, changed := n.Changed()
		if b, _ := n.Broker(n.self); b.Fenced && !n.leadsAny() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.ctx.Done():
			return context.Cause(n.ctx)
		}
	}
}

func (n *Node) leadsAny() bool {
	for _, r := range n.hosted() {
		if st, ok := n.State(r.id); ok && st.Leader == n.self {
			return true
		}
	}
	return false
}
