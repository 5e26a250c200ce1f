package quorum

import (
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// A Host is what an [Engine] works for, and what its orders go to. It is called
// from within the engine's own methods, in an order that is part of the protocol. It
// neither waits nor calls the engine.
type Host interface {
	// Send takes a message on its way. When the receiver's answer comes back, or it
	// is known that none will, the engine hears of it by [Engine.Answered]. False: the
	// message is lost already, and nothing more is said of it.
	//
	// Messages to one broker should arrive in the order of their sending. Any may be
	// lost, late or repeated.
	Send(m Message) bool

	// Apply takes one committed entry, in the order of index, from 1. Data is nil for
	// an entry with which a leader begins its term. It may be kept, and not written to.
	Apply(index log.Offset, data []byte)

	// Decided tells, once, what became of a proposal: the index at which it has been
	// applied here, or an error as [Quorum.Propose] has them. The status already
	// agrees with it when Work returns.
	Decided(token Token, index log.Offset, err error)

	// Wake asks that [Engine.Wake] be called once that time has passed, in place of
	// what was asked for before. Below zero: not at all.
	Wake(after time.Duration)
}

// A Token names one proposal among those of one engine.
type Token uint64

// A Message is a call of another broker: its [Engine.Step] takes the bytes and
// returns the answer.
type Message struct {
	To   partition.BrokerID
	Addr string // where To is to be found

	kind    uint8
	round   int            // of a hello
	hello   []byte         // encoded
	cluster partition.UUID // of a post
	raft    uint64         // the voter that a post is for
	letters [][]byte       // raft messages of a post, encoded
}

// Bytes returns what the receiver is to be given.
func (m Message) Bytes() []byte {
	if m.kind == kindHello {
		return m.hello
	}
	return encodePost(m.cluster, m.raft, m.letters)
}
