package samsa

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/replica/control"
	"github.com/samsalog/samsa/replica/quorum"
	"github.com/samsalog/samsa/transport"
)

// A Voter is a member of the quorum that agrees on the cluster's metadata.
type Voter = quorum.Voter

// A Config says how a broker works. The zero value is one broker, alone, in
// memory. There is no listener unless Addr is given, and never a signal handler, a
// global, an exit or a line on a terminal.
type Config struct {
	// ID names the broker, for good.
	//
	// Zero means 1. It must not be negative.
	ID BrokerID

	// Dir is the directory for all of the broker's data. It belongs to this broker,
	// which keeps it locked while it is open.
	//
	// Empty means memory, unless FS is given.
	Dir string

	// FS is the disk. Dir is locked if it is a [log.Locker].
	//
	// Nil means the operating system's if Dir is given, and memory if not.
	FS log.FS

	// Addr is where other brokers and clients reach this one, as Transport has it.
	//
	// Empty means nowhere: a broker alone.
	Addr string

	// Transport connects the brokers.
	//
	// Nil means none: a broker alone.
	Transport transport.Transport

	// Voters are the brokers that agree on the metadata, the same list at each: one,
	// three or five. Two brokers cannot fail over safely. It counts at the first start;
	// after that the list that was agreed on wins. A broker that it does not name joins
	// the others' cluster, without a vote: see [Client.AddVoter].
	//
	// Empty means this broker alone.
	Voters []Voter

	// VoterOnly says that the broker keeps no copies of partitions: it votes, and may
	// be the controller. It is how two brokers with data fail over safely.
	//
	// False: it keeps copies.
	VoterOnly bool

	// Rack says where the broker stands, so that replicas are spread over racks.
	//
	// Empty means that it is not said.
	Rack string

	// SessionTimeout is how long the controller waits for a silent broker before it
	// fences it. A broker whose link breaks is fenced at once.
	//
	// Zero means 3 s.
	SessionTimeout time.Duration

	// HeartbeatInterval is how often a broker tells the controller that it lives.
	//
	// Zero means 500 ms, or a sixth of SessionTimeout if that is given.
	HeartbeatInterval time.Duration

	// ElectionTimeout is how long the quorum waits for a silent leader, at least,
	// and up to twice as long.
	//
	// Zero means 1 s.
	ElectionTimeout time.Duration

	// Logger takes what an operator may want to know.
	//
	// Nil is silent.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.ID == 0 {
		c.ID = 1
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 3 * time.Second
	}
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = c.SessionTimeout / 6
	}
	if c.ElectionTimeout == 0 {
		c.ElectionTimeout = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate reports every problem of a complete config at once.
func (c Config) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.ID < 0 {
		add("ID is %d; broker ids begin at 1", c.ID)
	}
	if (c.Addr == "") != (c.Transport == nil) {
		add("Addr %q and Transport go together: give both or none", c.Addr)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"SessionTimeout", c.SessionTimeout}, {"HeartbeatInterval", c.HeartbeatInterval}, {"ElectionTimeout", c.ElectionTimeout}} {
		if d.value < time.Millisecond {
			add("%s is %v; it must be 1ms or more", d.field, d.value)
		}
	}
	if c.HeartbeatInterval > c.SessionTimeout/2 {
		add("HeartbeatInterval is %v; it must be at most half of SessionTimeout, %v", c.HeartbeatInterval, c.SessionTimeout)
	}
	if len(c.Rack) > control.MaxRack {
		add("Rack has %d bytes; the limit is %d", len(c.Rack), control.MaxRack)
	}
	for i, v := range c.Voters {
		if v.ID < 1 || slices.ContainsFunc(c.Voters[:i], func(w Voter) bool { return w.ID == v.ID || w.Addr == v.Addr }) {
			add("Voters names broker %d at %q twice, or its id below 1", v.ID, v.Addr)
		}
		if v.ID == c.ID && v.Addr != c.Addr {
			add("Addr is %q; Voters has %q for broker %d", c.Addr, v.Addr, v.ID)
		}
	}
	if len(c.Voters) > 0 && c.Transport == nil {
		add("Voters needs a Transport")
	}
	if len(errs) > 0 {
		return fmt.Errorf("samsa: bad Config: %w", errors.Join(errs...))
	}
	return nil
}

// A DialConfig says how a client without a broker reaches a cluster.
type DialConfig struct {
	// Addrs are brokers to ask first; one that answers is enough.
	Addrs []string

	// Transport is the cluster's.
	Transport transport.Transport

	// Logger takes what an operator may want to know.
	//
	// Nil is silent.
	Logger *slog.Logger
}
