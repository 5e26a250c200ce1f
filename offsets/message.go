package offsets

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// The messages between a client and the coordinator of its group.
type (
	// CommitRequest commits places of one group. A member gives its id and the epoch
	// that it has; anybody else may commit for a group without members, with
	// NoMember.
	CommitRequest struct {
		Group       string
		Member      string
		MemberEpoch MemberEpoch
		// Sequence rises with each commit of one member: one that arrives after a newer
		// one is answered TimedOut and changes nothing. Zero: not told apart.
		Sequence   int64
		Partitions []PartitionCommit
	}
	// PartitionCommit: Offset is the next record to read, Epoch the leader epoch of
	// the last one read.
	PartitionCommit struct {
		ID       partition.ID
		Offset   log.Offset
		Epoch    log.Epoch
		Metadata string
	}

	// CommitResponse: with OK, a code for each partition of the request, in its order;
	// StaleMember: the member does not hold it, or not since that epoch. With any
	// other code nothing was committed, but for NotCoordinator and TimedOut, which
	// leave the outcome open.
	CommitResponse struct {
		Code       partition.Code
		Partitions []partition.Code
	}

	// FetchRequest asks for a group's commits: of Partitions, or all if that is nil.
	// Member and MemberEpoch as in CommitRequest; NoMember asks unchecked.
	FetchRequest struct {
		Group       string
		Member      string
		MemberEpoch MemberEpoch
		Partitions  []partition.ID
	}
	// FetchResponse answers in the order of the request; if that named none, by rising
	// id, and only what is found.
	FetchResponse struct {
		Code       partition.Code
		Partitions []FetchAnswer
	}
	// FetchAnswer: Commit is the zero value unless Found.
	FetchAnswer struct {
		ID     partition.ID
		Found  bool
		Commit Commit
	}
)

// Bounds of what a decoder accepts.
const (
	maxName       = 1024    // of a group or a member
	maxPartitions = 1 << 20 // of one message
)

// Encode appends the message to w.
func (m *CommitRequest) Encode(w *wire.Writer) {
	w.String(m.Group)
	w.String(m.Member)
	w.Int32(int32(m.MemberEpoch))
	w.Int64(m.Sequence)
	w.Count(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		p.ID.Encode(w)
		w.Int64(int64(p.Offset))
		w.Int32(int32(p.Epoch))
		w.String(p.Metadata)
	}
}

// DecodeCommitRequest decodes a whole message.
func DecodeCommitRequest(b []byte) (CommitRequest, error) {
	r := wire.NewReader(b)
	m := CommitRequest{
		Group:       r.String(maxName),
		Member:      r.String(maxName),
		MemberEpoch: MemberEpoch(r.Int32()),
		Sequence:    r.Int64(),
	}
	m.Partitions = wire.List(r, maxPartitions, 33, func() PartitionCommit {
		return PartitionCommit{
			ID:       partition.DecodeID(r),
			Offset:   log.Offset(r.Int64()),
			Epoch:    log.Epoch(r.Int32()),
			Metadata: r.String(MaxMetadata),
		}
	})
	return m, r.Done()
}

// Encode appends the message to w.
func (m *CommitResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Count(len(m.Partitions))
	for _, code := range m.Partitions {
		w.Int16(int16(code))
	}
}

// DecodeCommitResponse decodes a whole message.
func DecodeCommitResponse(b []byte) (CommitResponse, error) {
	r := wire.NewReader(b)
	m := CommitResponse{Code: partition.Code(r.Int16())}
	m.Partitions = wire.List(r, maxPartitions, 2, func() partition.Code { return partition.Code(r.Int16()) })
	return m, r.Done()
}

// Encode appends the message to w.
func (m *FetchRequest) Encode(w *wire.Writer) {
	w.String(m.Group)
	w.String(m.Member)
	w.Int32(int32(m.MemberEpoch))
	w.Bool(m.Partitions != nil)
	partition.EncodeIDs(w, m.Partitions)
}

// DecodeFetchRequest decodes a whole message.
func DecodeFetchRequest(b []byte) (FetchRequest, error) {
	r := wire.NewReader(b)
	m := FetchRequest{
		Group:       r.String(maxName),
		Member:      r.String(maxName),
		MemberEpoch: MemberEpoch(r.Int32()),
	}
	some := r.Bool()
	m.Partitions = partition.DecodeIDs(r, maxPartitions)
	if some && m.Partitions == nil {
		m.Partitions = []partition.ID{}
	} else if !some {
		m.Partitions = nil
	}
	return m, r.Done()
}

// Encode appends the message to w.
func (m *FetchResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Count(len(m.Partitions))
	for i := range m.Partitions {
		m.Partitions[i].Encode(w)
	}
}

// DecodeFetchResponse decodes a whole message.
func DecodeFetchResponse(b []byte) (FetchResponse, error) {
	r := wire.NewReader(b)
	m := FetchResponse{Code: partition.Code(r.Int16())}
	m.Partitions = wire.List(r, maxPartitions, 42, func() FetchAnswer { return ReadFetchAnswer(r) })
	return m, r.Done()
}

// Encode appends the answer to w.
func (a *FetchAnswer) Encode(w *wire.Writer) {
	a.ID.Encode(w)
	w.Bool(a.Found)
	w.Int64(int64(a.Commit.Offset))
	w.Int32(int32(a.Commit.Epoch))
	w.String(a.Commit.Metadata)
	w.Int64(a.Commit.Timestamp)
}

// ReadFetchAnswer takes one answer off r, as a part of a greater message.
func ReadFetchAnswer(r *wire.Reader) FetchAnswer {
	return FetchAnswer{
		ID:    partition.DecodeID(r),
		Found: r.Bool(),
		Commit: Commit{
			Offset:    log.Offset(r.Int64()),
			Epoch:     log.Epoch(r.Int32()),
			Metadata:  r.String(MaxMetadata),
			Timestamp: r.Int64(),
		},
	}
}
