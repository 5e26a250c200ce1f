package control

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// The messages between a broker and the controller.
type (
	// RegisterRequest asks for a broker epoch. Broker.Epoch, Fenced, Stopping and Full
	// are the controller's to say, and do not travel. What makes a partition suspect must be
	// remembered until a registration that names it has been answered: a broker that
	// dies before that finds nothing amiss the next time. Broker.Incarnation counts the
	// lives of the directory; see [partition.UUID.WithLife].
	RegisterRequest struct {
		Broker    partition.Broker
		PrevEpoch partition.BrokerEpoch // from the mark of a clean stop; 0: there is none
		Suspect   []partition.ID        // partitions whose log is damaged or has lost bytes
	}

	// RegisterResponse: with OK, the broker epoch. DuplicateBroker: another
	// directory holds the id and is not fenced; try again. StaleBroker: a later life of
	// the same directory is registered.
	RegisterResponse struct {
		Code       partition.Code
		Epoch      partition.BrokerEpoch
		Controller partition.BrokerID // with NotController: who is, or NoBroker
	}

	// HeartbeatRequest: a broker lives. It is sent at intervals, and at once when
	// what it says has changed.
	HeartbeatRequest struct {
		Broker    partition.BrokerID
		Epoch     partition.BrokerEpoch
		Applied   log.Offset // of the newest metadata entry that the broker has applied
		WantFence bool       // it cannot serve
		WantStop  bool       // it wants to stop, once others lead what it leads
		Full      bool       // its disk has no room for records
	}

	// HeartbeatResponse: with UnknownBroker and StaleBroker the broker must register
	// (again). One that wants to stop is answered when it may: it is fenced then.
	HeartbeatResponse struct {
		Code       partition.Code
		Fenced     bool
		Offset     log.Offset         // of the newest metadata entry
		Controller partition.BrokerID // as in RegisterResponse
	}

	// LogEndsRequest asks one incarnation of a broker how far its logs of some
	// partitions go.
	LogEndsRequest struct {
		Broker partition.BrokerID
		Epoch  partition.BrokerEpoch
		IDs    []partition.ID
	}

	// LogEndsResponse: a broker of another epoch answers StaleBroker. A partition
	// that it cannot speak for yet is left out, and will be asked for again.
	LogEndsResponse struct {
		Code   partition.Code
		Broker partition.BrokerID
		Epoch  partition.BrokerEpoch
		Ends   []LogEnd
	}

	// LogEnd is how far one replica's log goes.
	LogEnd struct {
		ID        partition.ID
		LastEpoch partition.Epoch // of its last batch
		End       log.Offset      // flushed, or written if the topic is not Synced
		Damaged   bool            // acknowledged records may be missing: it must not be elected unasked
		Unusable  bool            // there is no log that opens: it cannot lead at all
	}
)

// MaxRack bounds what says where a broker stands, in bytes: one with more could not
// register.
const MaxRack = 1 << 8

const (
	maxAddr = 1 << 10
	maxIDs  = 1 << 20
	idSize  = 20
)

// Encode appends the request to w.
func (m *RegisterRequest) Encode(w *wire.Writer) {
	w.Int32(int32(m.Broker.ID))
	w.String(m.Broker.Addr)
	w.String(m.Broker.Rack)
	w.ID(m.Broker.Directory)
	w.ID(m.Broker.Incarnation)
	w.Bool(m.Broker.VoterOnly)
	w.Int64(int64(m.PrevEpoch))
	partition.EncodeIDs(w, m.Suspect)
}

// DecodeRegisterRequest is the inverse of [RegisterRequest.Encode].
func DecodeRegisterRequest(b []byte) (RegisterRequest, error) {
	r := wire.NewReader(b)
	m := RegisterRequest{
		Broker: partition.Broker{
			ID:          partition.BrokerID(r.Int32()),
			Addr:        r.String(maxAddr),
			Rack:        r.String(MaxRack),
			Directory:   r.ID(),
			Incarnation: r.ID(),
			VoterOnly:   r.Bool(),
		},
		PrevEpoch: partition.BrokerEpoch(r.Int64()),
		Suspect:   partition.DecodeIDs(r, maxIDs),
	}
	return m, r.Done()
}

// Encode appends the response to w.
func (m *RegisterResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int64(int64(m.Epoch))
	w.Int32(int32(m.Controller))
}

// DecodeRegisterResponse is the inverse of [RegisterResponse.Encode].
func DecodeRegisterResponse(b []byte) (RegisterResponse, error) {
	r := wire.NewReader(b)
	m := RegisterResponse{
		Code:       partition.Code(r.Int16()),
		Epoch:      partition.BrokerEpoch(r.Int64()),
		Controller: partition.BrokerID(r.Int32()),
	}
	return m, r.Done()
}

// Encode appends the request to w.
func (m *HeartbeatRequest) Encode(w *wire.Writer) {
	w.Int32(int32(m.Broker))
	w.Int64(int64(m.Epoch))
	w.Int64(int64(m.Applied))
	w.Bool(m.WantFence)
	w.Bool(m.WantStop)
	w.Bool(m.Full)
}

// DecodeHeartbeatRequest is the inverse of [HeartbeatRequest.Encode].
func DecodeHeartbeatRequest(b []byte) (HeartbeatRequest, error) {
	r := wire.NewReader(b)
	m := HeartbeatRequest{
		Broker:    partition.BrokerID(r.Int32()),
		Epoch:     partition.BrokerEpoch(r.Int64()),
		Applied:   log.Offset(r.Int64()),
		WantFence: r.Bool(),
		WantStop:  r.Bool(),
		Full:      r.Bool(),
	}
	return m, r.Done()
}

// Encode appends the response to w.
func (m *HeartbeatResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Bool(m.Fenced)
	w.Int64(int64(m.Offset))
	w.Int32(int32(m.Controller))
}

// DecodeHeartbeatResponse is the inverse of [HeartbeatResponse.Encode].
func DecodeHeartbeatResponse(b []byte) (HeartbeatResponse, error) {
	r := wire.NewReader(b)
	m := HeartbeatResponse{
		Code:       partition.Code(r.Int16()),
		Fenced:     r.Bool(),
		Offset:     log.Offset(r.Int64()),
		Controller: partition.BrokerID(r.Int32()),
	}
	return m, r.Done()
}

// Encode appends the request to w.
func (m *LogEndsRequest) Encode(w *wire.Writer) {
	w.Int32(int32(m.Broker))
	w.Int64(int64(m.Epoch))
	partition.EncodeIDs(w, m.IDs)
}

// DecodeLogEndsRequest is the inverse of [LogEndsRequest.Encode].
func DecodeLogEndsRequest(b []byte) (LogEndsRequest, error) {
	r := wire.NewReader(b)
	m := LogEndsRequest{
		Broker: partition.BrokerID(r.Int32()),
		Epoch:  partition.BrokerEpoch(r.Int64()),
		IDs:    partition.DecodeIDs(r, maxIDs),
	}
	return m, r.Done()
}

// Encode appends the response to w.
func (m *LogEndsResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Broker))
	w.Int64(int64(m.Epoch))
	w.Count(len(m.Ends))
	for _, e := range m.Ends {
		e.ID.Encode(w)
		w.Int32(int32(e.LastEpoch))
		w.Int64(int64(e.End))
		w.Bool(e.Damaged)
		w.Bool(e.Unusable)
	}
}

// DecodeLogEndsResponse is the inverse of [LogEndsResponse.Encode].
func DecodeLogEndsResponse(b []byte) (LogEndsResponse, error) {
	r := wire.NewReader(b)
	m := LogEndsResponse{
		Code:   partition.Code(r.Int16()),
		Broker: partition.BrokerID(r.Int32()),
		Epoch:  partition.BrokerEpoch(r.Int64()),
	}
	const size = idSize + 4 + 8 + 1 + 1
	m.Ends = wire.List(r, maxIDs, size, func() LogEnd {
		return LogEnd{
			ID:        partition.DecodeID(r),
			LastEpoch: partition.Epoch(r.Int32()),
			End:       log.Offset(r.Int64()),
			Damaged:   r.Bool(),
			Unusable:  r.Bool(),
		}
	})
	return m, r.Done()
}
