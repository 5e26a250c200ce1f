package quorum

import (
	"errors"
	"fmt"

	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Messages between voters, version 1. Each begins with the version and its kind;
// raft's own messages are opaque bytes within a post.
const messageVersion = 1

const (
	kindHello   = 1  // asked and answered with
	kindPost    = 2  // raft messages, in order
	kindReceipt = 3  // the answer to a post, and to a failure
	kindChunk   = 4  // asks for a piece of a snapshot
	kindPiece   = 5  // the answer to a chunk
	kindFailure = 6  // a snapshot that was announced cannot be had
	kindFetch   = 7  // asks for committed entries
	kindNews    = 8  // the answer to a fetch, and sent unasked to those who fetched
	kindHave    = 9  // the answer to news
	kindOrder   = 10 // asks the leader to change the voters
	kindOutcome = 11 // the answer to an order
)

// What a receipt says.
const (
	taken   = 0
	refused = 1 // of another cluster, or to another voter than the one who lives here
)

// Bounds of what is taken from a peer. A raft message of ours is at most
// maxMessage bytes of entries, or one entry, and a frame.
const (
	maxMessage  = 1 << 20
	maxPosted   = 256
	maxPostSize = 4*maxMessage + MaxEntryBytes
	maxNews     = 1 << 16 // entries

	// Of a snapshot, and of the entries of news unless one is longer: a slow link must bring
	// it before the next poll, or within the time of a call.
	pieceSize = 256 << 10
)

// errMalformed is of a message that does not parse.
var errMalformed = errors.New("quorum: malformed message")

// errNewer is of a message of a release that is newer than this one.
var errNewer = errors.New("quorum: message of a newer release")

// A hello is how a voter introduces itself, and what it answers to a hello.
type hello struct {
	ID        partition.BrokerID
	Directory partition.UUID
	Voters    []partition.BrokerID // as configured, rising
	formation                      // zero: none yet
}

// A post carries raft messages from one voter to another.
type post struct {
	cluster  partition.UUID
	to       uint64
	from     Member
	messages []*pb.Message
}

func envelope(kind uint8) *wire.Writer {
	var w wire.Writer
	w.Uint8(messageVersion)
	w.Uint8(kind)
	return &w
}

func openEnvelope(msg []byte) (kind uint8, body []byte, err error) {
	if len(msg) < 2 {
		return 0, nil, errMalformed
	}
	if msg[0] > messageVersion {
		return 0, nil, fmt.Errorf("%w: version %d", errNewer, msg[0])
	}
	return msg[1], msg[2:], nil
}

func encodeHello(h hello) []byte {
	w := envelope(kindHello)
	w.Int32(int32(h.ID))
	w.ID(h.Directory)
	w.Count(len(h.Voters))
	for _, id := range h.Voters {
		w.Int32(int32(id))
	}
	w.ID(h.Cluster)
	encodeMembers(w, h.Members)
	return w.Bytes()
}

func decodeHello(body []byte) (hello, error) {
	r := wire.NewReader(body)
	h := hello{ID: partition.BrokerID(r.Int32()), Directory: r.ID()}
	for range r.Count(maxVoters, 4) {
		h.Voters = append(h.Voters, partition.BrokerID(r.Int32()))
	}
	h.Cluster = r.ID()
	h.Members = decodeMembers(r)
	if err := r.Done(); err != nil {
		return hello{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if h.ID < 1 || h.Directory == (partition.UUID{}) {
		return hello{}, fmt.Errorf("%w: hello of nobody", errMalformed)
	}
	if h.Cluster == (partition.UUID{}) && len(h.Members) == 0 {
		return h, nil
	}
	if err := h.formation.check(); err != nil {
		return hello{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return h, nil
}

// encodePost wraps raft messages that have been encoded one by one.
func encodePost(cluster partition.UUID, to uint64, from Member, messages [][]byte) []byte {
	size := 128
	for _, m := range messages {
		size += len(m) + 10
	}
	w := wire.NewWriter(make([]byte, 0, size))
	w.Uint8(messageVersion)
	w.Uint8(kindPost)
	w.ID(cluster)
	w.Int64(int64(to))
	encodeMember(w, from)
	w.Count(len(messages))
	for _, m := range messages {
		w.Blob(m)
	}
	return w.Bytes()
}

func decodePost(body []byte) (post, error) {
	r := wire.NewReader(body)
	p := post{cluster: r.ID(), to: uint64(r.Int64()), from: decodeMember(r)}
	for range r.Count(maxPosted, 1) {
		m := new(pb.Message)
		if err := proto.Unmarshal(r.Blob(maxPostSize), m); err != nil {
			return post{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if !welcome(m) || m.GetTo() != p.to {
			return post{}, fmt.Errorf("%w: raft message of type %s", errMalformed, m.GetType())
		}
		p.messages = append(p.messages, m)
	}
	if err := r.Done(); err != nil {
		return post{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return p, nil
}

// welcome reports whether a peer may send such a message. Proposals and raft's
// messages to itself never come from outside, and snapshots without their state.
func welcome(m *pb.Message) bool {
	switch m.GetType() {
	case pb.MsgSnap:
		meta := m.GetSnapshot().GetMetadata()
		if meta.GetIndex() < firstOf || meta.GetIndex() > maxIndex-maxMessage || meta.GetTerm() < 1 ||
			meta.GetTerm() > m.GetTerm() || len(m.GetSnapshot().GetData()) > 0 {
			return false
		}
	case pb.MsgApp, pb.MsgAppResp, pb.MsgHeartbeat, pb.MsgHeartbeatResp,
		pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp, pb.MsgTimeoutNow:
	default:
		return false
	}
	if m.GetTerm() > maxTerm || m.GetIndex() > maxIndex-maxMessage || m.GetCommit() > maxIndex {
		return false
	}
	next := m.GetIndex()
	for _, e := range m.GetEntries() {
		next++
		if e.GetIndex() != next || e.GetTerm() == 0 || e.GetTerm() > m.GetTerm() {
			return false
		}
	}
	return true
}

func encodeReceipt(code uint8) []byte { return []byte{messageVersion, kindReceipt, code} }

// wasTaken reads the answer to a post.
func wasTaken(answer []byte) bool {
	kind, body, err := openEnvelope(answer)
	return err == nil && kind == kindReceipt && len(body) == 1 && body[0] == taken
}
