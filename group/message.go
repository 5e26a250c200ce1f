package group

import (
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// A MemberEpoch numbers the states of one member. Members take theirs from the
// group's assignment epoch, so it rises over all of them alike.
type MemberEpoch = offsets.MemberEpoch

// The epochs of a heartbeat that are no member's.
const (
	Join  MemberEpoch = 0  // the sender holds nothing, and wants to be a member
	Leave MemberEpoch = -1 // the sender holds nothing any more, and goes
)

// A Version numbers what a coordinator has told one member. It rises with every
// change of the member's epoch or partitions. A member sends back the newest that it has
// acted on: only then does its report of what it owns prove a revocation.
type Version int64

type (
	// HeartbeatRequest is all that a member ever says to its coordinator (KIP-848). A
	// coordinator that has nothing to say parks it, for the heartbeat interval at most;
	// a newer one of the same member takes its place, and it is answered empty.
	HeartbeatRequest struct {
		Group  string
		Member string      // made by the member, unique for ever
		Epoch  MemberEpoch // Join, Leave, or the one that it was given
		// Sequence rises with each request of one member, beginning with 1. It tells late
		// and repeated requests from new ones.
		Sequence int64
		Version  Version // newest that the member has acted on; 0 with Join

		// Owned is all that the member holds: what it delivers or has delivered and not
		// yet given up, at least all that Version assigned to it. Nil: not said.
		Owned []partition.ID

		Topics      []string // subscription; nil: as before
		SessionMs   int32    // fenced after so long a silence; 0: the coordinator's default, -1: as before
		RebalanceMs int32    // fenced after so long a revocation; likewise
		Instance    string   // static membership; empty: none
		Assignor    string   // empty: the coordinator's default
		Rack        string
		Client      string // a name for people
	}

	// HeartbeatResponse: with OK, Epoch is the member's. Assignment is nil if there is
	// nothing new since the request's Version.
	HeartbeatResponse struct {
		Code       partition.Code
		Epoch      MemberEpoch
		IntervalMs int32 // how long a heartbeat is parked at most
		// The member may deliver for SessionMs after the sending of this request.
		SessionMs int32
		// RebalanceMs is positive while the coordinator waits for a revocation: so long
		// after the sending of the request that was first told of it, the member
		// must be sure that the coordinator knows it to be done. Zero: it waits for none.
		RebalanceMs int32
		Assignment  *Assignment
	}

	// Assignment is what a member may hold. It must give up all else that it holds, and
	// say so, before it gets more.
	Assignment struct {
		Version    Version
		Partitions []partition.ID // in the order of offsets.CompareID
	}

	// DescribeRequest asks a coordinator about one group.
	DescribeRequest struct{ Group string }
	// DescribeResponse: Code may be UnknownGroup.
	DescribeResponse struct {
		Code partition.Code
		Info Info
	}
	// Info is what an operator wants to know of a group.
	Info struct {
		Group           string
		Status          Status
		Epoch           GroupEpoch
		AssignmentEpoch GroupEpoch
		Members         []MemberInfo          // by rising id
		Commits         []offsets.FetchAnswer // by rising id of the partition
	}
	// MemberInfo is what an operator wants to know of a member.
	MemberInfo struct {
		ID       string
		Client   string
		Rack     string
		Epoch    MemberEpoch
		State    State
		Topics   []string
		Assigned []partition.ID // what it may hold now
		Revoking []partition.ID // what it has yet to give up
		Target   []partition.ID // what it shall hold
	}

	// ListRequest asks for the groups of one partition of __consumer_offsets.
	ListRequest struct{ Partition partition.PartitionID }
	// ListResponse names the groups in rising order.
	ListResponse struct {
		Code   partition.Code
		Groups []string
	}
)

// MaxName bounds the name of a group, and of a member for people, in bytes.
const MaxName = 249

// Bounds of what a decoder, and the coordinator, accept.
const (
	maxName    = 1024
	maxTopics  = 1 << 16
	maxMembers = 1 << 16
	maxList    = 1 << 20
)

// Encode appends the message to w.
func (m *HeartbeatRequest) Encode(w *wire.Writer) {
	w.String(m.Group)
	w.String(m.Member)
	w.Int32(int32(m.Epoch))
	w.Int64(m.Sequence)
	w.Int64(int64(m.Version))
	w.Bool(m.Owned != nil)
	partition.EncodeIDs(w, m.Owned)
	w.Bool(m.Topics != nil)
	encodeStrings(w, m.Topics)
	w.Int32(m.SessionMs)
	w.Int32(m.RebalanceMs)
	w.String(m.Instance)
	w.String(m.Assignor)
	w.String(m.Rack)
	w.String(m.Client)
}

// DecodeHeartbeatRequest decodes a whole message.
func DecodeHeartbeatRequest(b []byte) (HeartbeatRequest, error) {
	r := wire.NewReader(b)
	m := HeartbeatRequest{
		Group:    r.String(maxName),
		Member:   r.String(maxName),
		Epoch:    MemberEpoch(r.Int32()),
		Sequence: r.Int64(),
		Version:  Version(r.Int64()),
	}
	m.Owned = optional(r.Bool(), partition.DecodeIDs(r, maxList))
	m.Topics = optional(r.Bool(), decodeStrings(r, maxTopics))
	m.SessionMs = r.Int32()
	m.RebalanceMs = r.Int32()
	m.Instance = r.String(maxName)
	m.Assignor = r.String(maxName)
	m.Rack = r.String(maxName)
	m.Client = r.String(maxName)
	return m, r.Done()
}

// Encode appends the message to w.
func (m *HeartbeatResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Epoch))
	w.Int32(m.IntervalMs)
	w.Int32(m.SessionMs)
	w.Int32(m.RebalanceMs)
	w.Bool(m.Assignment != nil)
	if m.Assignment != nil {
		w.Int64(int64(m.Assignment.Version))
		partition.EncodeIDs(w, m.Assignment.Partitions)
	}
}

// DecodeHeartbeatResponse decodes a whole message.
func DecodeHeartbeatResponse(b []byte) (HeartbeatResponse, error) {
	r := wire.NewReader(b)
	m := HeartbeatResponse{
		Code:        partition.Code(r.Int16()),
		Epoch:       MemberEpoch(r.Int32()),
		IntervalMs:  r.Int32(),
		SessionMs:   r.Int32(),
		RebalanceMs: r.Int32(),
	}
	if r.Bool() {
		m.Assignment = &Assignment{Version: Version(r.Int64()), Partitions: partition.DecodeIDs(r, maxList)}
	}
	return m, r.Done()
}

// Encode appends the message to w.
func (m *DescribeRequest) Encode(w *wire.Writer) { w.String(m.Group) }

// DecodeDescribeRequest decodes a whole message.
func DecodeDescribeRequest(b []byte) (DescribeRequest, error) {
	r := wire.NewReader(b)
	m := DescribeRequest{Group: r.String(maxName)}
	return m, r.Done()
}

// Encode appends the message to w.
func (m *DescribeResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.String(m.Info.Group)
	w.Uint8(uint8(m.Info.Status))
	w.Int32(int32(m.Info.Epoch))
	w.Int32(int32(m.Info.AssignmentEpoch))
	w.Count(len(m.Info.Members))
	for i := range m.Info.Members {
		encodeMember(w, &m.Info.Members[i])
	}
	w.Count(len(m.Info.Commits))
	for i := range m.Info.Commits {
		m.Info.Commits[i].Encode(w)
	}
}

// DecodeDescribeResponse decodes a whole message.
func DecodeDescribeResponse(b []byte) (DescribeResponse, error) {
	r := wire.NewReader(b)
	m := DescribeResponse{Code: partition.Code(r.Int16())}
	m.Info.Group = r.String(maxName)
	m.Info.Status = Status(r.Uint8())
	m.Info.Epoch = GroupEpoch(r.Int32())
	m.Info.AssignmentEpoch = GroupEpoch(r.Int32())
	m.Info.Members = wire.List(r, maxMembers, 12, func() MemberInfo { return decodeMember(r) })
	m.Info.Commits = wire.List(r, maxList, 42, func() offsets.FetchAnswer { return offsets.ReadFetchAnswer(r) })
	return m, r.Done()
}

func encodeMember(w *wire.Writer, m *MemberInfo) {
	w.String(m.ID)
	w.String(m.Client)
	w.String(m.Rack)
	w.Int32(int32(m.Epoch))
	w.Uint8(uint8(m.State))
	encodeStrings(w, m.Topics)
	partition.EncodeIDs(w, m.Assigned)
	partition.EncodeIDs(w, m.Revoking)
	partition.EncodeIDs(w, m.Target)
}

func decodeMember(r *wire.Reader) MemberInfo {
	return MemberInfo{
		ID:       r.String(maxName),
		Client:   r.String(maxName),
		Rack:     r.String(maxName),
		Epoch:    MemberEpoch(r.Int32()),
		State:    State(r.Uint8()),
		Topics:   decodeStrings(r, maxTopics),
		Assigned: partition.DecodeIDs(r, maxList),
		Revoking: partition.DecodeIDs(r, maxList),
		Target:   partition.DecodeIDs(r, maxList),
	}
}

// Encode appends the message to w.
func (m *ListRequest) Encode(w *wire.Writer) { w.Int32(int32(m.Partition)) }

// DecodeListRequest decodes a whole message.
func DecodeListRequest(b []byte) (ListRequest, error) {
	r := wire.NewReader(b)
	m := ListRequest{Partition: partition.PartitionID(r.Int32())}
	return m, r.Done()
}

// Encode appends the message to w.
func (m *ListResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	encodeStrings(w, m.Groups)
}

// DecodeListResponse decodes a whole message.
func DecodeListResponse(b []byte) (ListResponse, error) {
	r := wire.NewReader(b)
	m := ListResponse{Code: partition.Code(r.Int16()), Groups: decodeStrings(r, maxList)}
	return m, r.Done()
}
