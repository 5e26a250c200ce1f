package quorum

import (
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
)

// An Applier is what the entries are for. What it makes of them depends on the
// entries alone, so that all members make the same of them.
type Applier interface {
	// Apply takes one committed entry, in the order of index. The first has index 1, or
	// follows a snapshot. Data is nil for an entry that is the quorum's own, such as the one with
	// which a leader begins its term. It may be kept, and not written to.
	Apply(index log.Offset, data []byte)

	// Snapshot returns what has been made of all entries applied so far, in bytes that
	// are not written to any more. An error puts the snapshot off.
	Snapshot() ([]byte, error)

	// Restore puts what another Snapshot returned, after the entry at that index, in the
	// place of everything. An error is final for this member.
	Restore(index log.Offset, state []byte) error
}

// A Host is what an [Engine] works for, and what its orders go to. It is called
// from within the engine's own methods, in an order that is part of the protocol. It
// neither waits nor calls the engine.
type Host interface {
	Applier

	// Send takes a message on its way. When the receiver's answer comes back, or it
	// is known that none will, the engine hears of it by [Engine.Answered]. False: the
	// message is lost already, and nothing more is said of it.
	//
	// Messages to one broker should arrive in the order of their sending. Any may be
	// lost, late or repeated.
	Send(m Message) bool

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
	body    []byte         // of all but a post
	mark    mark           // of a chunk: the snapshot
	at      int64          // of a chunk: where it begins
	cluster partition.UUID // of a post
	from    Member         // of a post
	raft    uint64         // the voter that a post is for
	letters [][]byte       // raft messages of a post, encoded
	snap    bool           // one of them announces a snapshot
}

// Bytes returns what the receiver is to be given.
func (m Message) Bytes() []byte {
	if m.kind == kindPost {
		return encodePost(m.cluster, m.raft, m.from, m.letters)
	}
	return m.body
}
