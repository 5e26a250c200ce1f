package partition

import (
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/transport/wire"
)

// A message is its fields in the order of the struct: the named integers in the
// bytes of their types, lists behind a uvarint, the rest as in codec.go.

// Least bytes of the elements of lists.
const (
	leastReadPartition = leastID + 4 + 8 + 4
	leastReadAnswer    = 2 + 8 + 8 + 4 + 4
	leastFollower      = 4 + 8
)

// Encode appends m to a message.
func (m *ProduceRequest) Encode(w *wire.Writer) {
	w.Grow(leastID + 4 + 1 + 4)
	m.ID.Encode(w)
	w.Int32(int32(m.Epoch))
	w.Uint8(uint8(m.Acks))
	w.Int32(m.TimeoutMs)
}

// DecodeProduceRequest is the inverse of Encode, as are all functions of its kind.
// Their errors match [wire.ErrMalformed].
func DecodeProduceRequest(b []byte) (ProduceRequest, error) {
	d := newDecoder(b)
	m := ProduceRequest{ID: DecodeID(&d.Reader), Epoch: d.epoch(), Acks: Acks(d.Uint8()), TimeoutMs: d.Int32()}
	if m.Acks < AcksAll || m.Acks > AcksNone {
		d.refuse("%v", m.Acks)
	}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *ProduceResponse) Encode(w *wire.Writer) {
	w.Grow(2 + 8 + 4 + 4)
	w.Int16(int16(m.Code))
	w.Int64(int64(m.First))
	w.Int32(int32(m.Epoch))
	w.Int32(int32(m.Leader))
}

// DecodeProduceResponse is the inverse of Encode.
func DecodeProduceResponse(b []byte) (ProduceResponse, error) {
	d := newDecoder(b)
	m := ProduceResponse{Code: d.code(), First: d.offset(), Epoch: d.epoch(), Leader: d.brokerID()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *ReadRequest) Encode(w *wire.Writer) {
	w.Int32(m.MaxWaitMs)
	w.Int32(m.MinBytes)
	w.Int32(m.MaxBytes)
	w.Count(len(m.Partitions))
	for _, p := range m.Partitions {
		p.ID.Encode(w)
		w.Int32(int32(p.Epoch))
		w.Int64(int64(p.From))
		w.Int32(p.MaxBytes)
	}
}

// DecodeReadRequest is the inverse of Encode.
func DecodeReadRequest(b []byte) (ReadRequest, error) {
	d := newDecoder(b)
	m := ReadRequest{MaxWaitMs: d.Int32(), MinBytes: d.Int32(), MaxBytes: d.Int32()}
	m.Partitions = decodeList(d, limitList, leastReadPartition, func(r *wire.Reader) ReadPartition {
		return ReadPartition{ID: DecodeID(r), Epoch: d.epoch(), From: d.offset(), MaxBytes: d.Int32()}
	})
	return m, d.Done()
}

// Encode appends m to a message.
func (m *ReadResponse) Encode(w *wire.Writer) {
	w.Count(len(m.Partitions))
	for _, p := range m.Partitions {
		w.Int16(int16(p.Code))
		w.Int64(int64(p.HighWatermark))
		w.Int64(int64(p.Start))
		w.Int32(int32(p.Epoch))
		w.Int32(int32(p.Leader))
	}
}

// DecodeReadResponse is the inverse of Encode.
func DecodeReadResponse(b []byte) (ReadResponse, error) {
	d := newDecoder(b)
	var m ReadResponse
	m.Partitions = decodeList(d, limitList, leastReadAnswer, func(*wire.Reader) ReadAnswer {
		return ReadAnswer{
			Code: d.code(), HighWatermark: d.offset(), Start: d.offset(), Epoch: d.epoch(), Leader: d.brokerID(),
		}
	})
	return m, d.Done()
}

// Encode appends m to a message.
func (m *InfoRequest) Encode(w *wire.Writer) { m.ID.Encode(w) }

// DecodeInfoRequest is the inverse of Encode.
func DecodeInfoRequest(b []byte) (InfoRequest, error) {
	d := newDecoder(b)
	m := InfoRequest{ID: DecodeID(&d.Reader)}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *InfoResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Epoch))
	w.Int32(int32(m.Leader))
	w.Int64(int64(m.Start))
	w.Int64(int64(m.HighWatermark))
	w.Int64(int64(m.End))
	w.Count(len(m.Followers))
	for _, f := range m.Followers {
		w.Int32(int32(f.ID))
		w.Int64(int64(f.Held))
	}
	w.String(m.Damage[:min(len(m.Damage), limitText)])
}

// DecodeInfoResponse is the inverse of Encode.
func DecodeInfoResponse(b []byte) (InfoResponse, error) {
	d := newDecoder(b)
	m := InfoResponse{
		Code: d.code(), Epoch: d.epoch(), Leader: d.brokerID(),
		Start: d.offset(), HighWatermark: d.offset(), End: d.offset(),
	}
	m.Followers = decodeList(d, limitMembers, leastFollower, func(*wire.Reader) FollowerAnswer {
		return FollowerAnswer{ID: d.brokerID(), Held: d.offset()}
	})
	m.Damage = d.String(limitText)
	return m, d.Done()
}

// Encode appends m to a message.
func (m *FindTimeRequest) Encode(w *wire.Writer) {
	m.ID.Encode(w)
	w.Int64(m.Time)
}

// DecodeFindTimeRequest is the inverse of Encode.
func DecodeFindTimeRequest(b []byte) (FindTimeRequest, error) {
	d := newDecoder(b)
	m := FindTimeRequest{ID: DecodeID(&d.Reader), Time: d.Int64()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *FindTimeResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Epoch))
	w.Int32(int32(m.Leader))
	w.Bool(m.Found)
	w.Int64(int64(m.Offset))
}

// DecodeFindTimeResponse is the inverse of Encode.
func DecodeFindTimeResponse(b []byte) (FindTimeResponse, error) {
	d := newDecoder(b)
	m := FindTimeResponse{Code: d.code(), Epoch: d.epoch(), Leader: d.brokerID(), Found: d.Bool(), Offset: d.offset()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *DeleteBeforeRequest) Encode(w *wire.Writer) {
	m.ID.Encode(w)
	w.Int64(int64(m.Before))
}

// DecodeDeleteBeforeRequest is the inverse of Encode.
func DecodeDeleteBeforeRequest(b []byte) (DeleteBeforeRequest, error) {
	d := newDecoder(b)
	m := DeleteBeforeRequest{ID: DecodeID(&d.Reader), Before: d.offset()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *DeleteBeforeResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Epoch))
	w.Int32(int32(m.Leader))
	w.Int64(int64(m.Start))
}

// DecodeDeleteBeforeResponse is the inverse of Encode.
func DecodeDeleteBeforeResponse(b []byte) (DeleteBeforeResponse, error) {
	d := newDecoder(b)
	m := DeleteBeforeResponse{Code: d.code(), Epoch: d.epoch(), Leader: d.brokerID(), Start: d.offset()}
	return m, d.Done()
}

// Encode appends m to a message.
func (m *MetadataRequest) Encode(w *wire.Writer) {
	w.Int64(int64(m.After))
	w.Int32(int32(m.Controller))
	w.Int32(m.MaxWaitMs)
}

// DecodeMetadataRequest is the inverse of Encode.
func DecodeMetadataRequest(b []byte) (MetadataRequest, error) {
	d := newDecoder(b)
	m := MetadataRequest{After: d.offset(), Controller: BrokerID(d.Int32()), MaxWaitMs: d.Int32()}
	return m, d.Done()
}

// Encode appends m to a message. Every partition must have a state.
func (m *Image) Encode(w *wire.Writer) {
	w.ID(m.Cluster)
	w.Int64(int64(m.Offset))
	w.Int32(int32(m.Controller))
	encodeBrokerIDs(w, m.Voters)
	encodeList(w, m.Brokers, Broker.Encode)
	encodeList(w, m.Topics, Topic.encode)
}

// DecodeImage is the inverse of Encode.
func DecodeImage(b []byte) (Image, error) {
	d := newDecoder(b)
	m := Image{Cluster: d.ID(), Offset: d.offset(), Controller: d.brokerID(), Voters: decodeBrokerIDs(&d.Reader)}
	m.Brokers = decodeList(d, limitList, leastBroker, DecodeBroker)
	m.Topics = decodeList(d, limitList, leastTopic, func(*wire.Reader) Topic { return d.topic() })
	return m, d.Done()
}

// Encode appends m to a message.
func (m *CreateTopicRequest) Encode(w *wire.Writer) { m.Config.encode(w) }

// DecodeCreateTopicRequest is the inverse of Encode. The config is not validated.
func DecodeCreateTopicRequest(b []byte) (CreateTopicRequest, error) {
	d := newDecoder(b)
	m := CreateTopicRequest{Config: d.config()}
	return m, d.Done()
}

// Encode appends m to a message. A long Text is cut.
func (m *CreateTopicResponse) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.String(m.Text[:min(len(m.Text), limitText)])
	w.ID(m.Topic)
	w.Int64(int64(m.Offset))
	w.Int32(int32(m.Controller))
}

// DecodeCreateTopicResponse is the inverse of Encode.
func DecodeCreateTopicResponse(b []byte) (CreateTopicResponse, error) {
	d := newDecoder(b)
	m := CreateTopicResponse{
		Code: d.code(), Text: d.String(limitText), Topic: d.ID(), Offset: d.offset(), Controller: d.brokerID(),
	}
	return m, d.Done()
}

func (d *decoder) code() Code         { return Code(d.Int16()) }
func (d *decoder) epoch() Epoch       { return Epoch(d.Int32()) }
func (d *decoder) offset() log.Offset { return log.Offset(d.Int64()) }
func (d *decoder) brokerID() BrokerID { return BrokerID(d.Int32()) }
