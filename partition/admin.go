package partition

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/transport/wire"
)

// What an operator asks of the controller. All are answered with a
// [ChangeResponse], and asking again for what has been done is a success. Seen is the
// offset of the newest metadata that the asker has: a controller that has less has
// been deposed.
type (
	// DeleteTopicRequest removes a topic: the one of that id, or, if that is zero, the
	// one of that name.
	DeleteTopicRequest struct {
		Seen  log.Offset
		Name  string
		Topic UUID
	}

	// AddPartitionsRequest gives a topic more partitions, so that it has Total.
	AddPartitionsRequest struct {
		Seen  log.Offset
		Topic UUID
		Total int
	}

	// AlterTopicRequest changes the configuration of a topic; zero fields stay.
	AlterTopicRequest struct {
		Seen   log.Offset
		Topic  UUID
		Config TopicConfig
	}

	// ReassignRequest moves a partition to other replicas, in order of preference.
	// None: what is under way is cancelled.
	ReassignRequest struct {
		Seen     log.Offset
		ID       ID
		Replicas []BrokerID
	}

	// TransferRequest makes another replica the leader. NoBroker: the preferred one.
	TransferRequest struct {
		Seen log.Offset
		ID   ID
		To   BrokerID
	}

	// ElectRequest has a replica elected that may be incomplete, where no other can be.
	// NoBroker: the most complete of those that are there.
	ElectRequest struct {
		Seen log.Offset
		ID   ID
		To   BrokerID
	}

	// VoterRequest gives a broker a vote, or takes it: one of Add and Remove is set.
	VoterRequest struct {
		Seen        log.Offset
		Add, Remove BrokerID
	}

	// ChangeResponse: with OK, the metadata offset at which it is done. Text says more
	// of a refusal; with OK of an election it says what may be lost.
	ChangeResponse struct {
		Code       Code
		Text       string
		Offset     log.Offset
		Controller BrokerID // with NotController: who is, or NoBroker
	}
)

// Encode appends m to a message.
func (m *DeleteTopicRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	w.String(m.Name)
	w.ID(m.Topic)
}

// DecodeDeleteTopicRequest is the inverse of Encode.
func DecodeDeleteTopicRequest(b []byte) (DeleteTopicRequest, error) {
	d := newDecoder(b)
	m := DeleteTopicRequest{Seen: d.offset(), Name: d.String(limitText), Topic: d.ID()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *AddPartitionsRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	w.ID(m.Topic)
	w.Int64(int64(m.Total))
}

// DecodeAddPartitionsRequest is the inverse of Encode.
func DecodeAddPartitionsRequest(b []byte) (AddPartitionsRequest, error) {
	d := newDecoder(b)
	m := AddPartitionsRequest{Seen: d.offset(), Topic: d.ID(), Total: d.integer()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *AlterTopicRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	w.ID(m.Topic)
	m.Config.encode(w)
}

// DecodeAlterTopicRequest is the inverse of Encode. The config is not validated.
func DecodeAlterTopicRequest(b []byte) (AlterTopicRequest, error) {
	d := newDecoder(b)
	m := AlterTopicRequest{Seen: d.offset(), Topic: d.ID(), Config: d.config()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *ReassignRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	m.ID.Encode(w)
	encodeBrokerIDs(w, m.Replicas)
}

// DecodeReassignRequest is the inverse of Encode.
func DecodeReassignRequest(b []byte) (ReassignRequest, error) {
	d := newDecoder(b)
	m := ReassignRequest{Seen: d.offset(), ID: DecodeID(&d.Reader), Replicas: decodeBrokerIDs(&d.Reader)}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *TransferRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	m.ID.Encode(w)
	w.Int32(int32(m.To))
}

// DecodeTransferRequest is the inverse of Encode.
func DecodeTransferRequest(b []byte) (TransferRequest, error) {
	d := newDecoder(b)
	m := TransferRequest{Seen: d.offset(), ID: DecodeID(&d.Reader), To: d.brokerID()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *VoterRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	w.Int32(int32(m.Add))
	w.Int32(int32(m.Remove))
}

// DecodeVoterRequest is the inverse of Encode.
func DecodeVoterRequest(b []byte) (VoterRequest, error) {
	d := newDecoder(b)
	m := VoterRequest{Seen: d.offset(), Add: d.brokerID(), Remove: d.brokerID()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *ElectRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.Seen))
	m.ID.Encode(w)
	w.Int32(int32(m.To))
}

// DecodeElectRequest is the inverse of Encode.
func DecodeElectRequest(b []byte) (ElectRequest, error) {
	d := newDecoder(b)
	m := ElectRequest{Seen: d.offset(), ID: DecodeID(&d.Reader), To: d.brokerID()}
	return m, d.Done()
}

// Encode appends m to a message. A long Text is cut.
func (m *ChangeResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.String(m.Text[:min(len(m.Text), limitText)])
	w.Int64(int64(m.Offset))
	w.Int32(int32(m.Controller))
}

// DecodeChangeResponse is the inverse of Encode.
func DecodeChangeResponse(b []byte) (ChangeResponse, error) {
	d := newDecoder(b)
	m := ChangeResponse{Code: d.code(), Text: d.String(limitText), Offset: d.offset(), Controller: d.brokerID()}
	return m, d.Done()
}
