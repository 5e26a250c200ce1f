package replica

import (
	"slices"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/transport/wire"
)

// Bounds of what is taken from a link, far above what a cluster has.
const (
	maxPartitions = 1 << 16 // in one fetch
	maxReplicas   = 1 << 10 // of one partition

	headBytes   = 4 + 8 + 8 + 4 + 4 + 4 + 1 + 8 + 5 // of a fetch, before its partitions, at most
	idBytes     = 16 + 4
	fetchBytes  = idBytes + 4 + 8 + 4 + 8 + 8 + 4 + 8 + 8
	answerBytes = idBytes + 2 + 1 + 4 + 8 + 8 + 8 + 8 + 8
	memberBytes = 4 + 8
)

// Encode appends the message to w.
func (m *FetchRequest) Encode(w *wire.Writer) {
	w.Grow(headBytes + len(m.Partitions)*fetchBytes)
	w.Int32(int32(m.From))
	w.Int64(int64(m.BrokerEpoch))
	w.Int64(m.Sequence)
	w.Int32(m.MaxWaitMs)
	w.Int32(m.MinBytes)
	w.Int32(m.MaxBytes)
	w.Bool(m.Cold)
	w.Int64(m.After)
	w.Count(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		writeID(w, p.ID)
		w.Int32(int32(p.Epoch))
		w.Int64(int64(p.Fetch))
		w.Int32(int32(p.LastEpoch))
		w.Int64(int64(p.Ack))
		w.Int64(int64(p.Start))
		w.Int32(p.MaxBytes)
		w.Int64(int64(p.HighWatermark))
		w.Int64(int64(p.Removed))
	}
}

// DecodeFetchRequest takes a message that Encode has made.
func DecodeFetchRequest(b []byte) (m FetchRequest, err error) {
	err = m.Decode(b)
	return m, err
}

// Decode is [DecodeFetchRequest] into m, whose memory it uses again.
func (m *FetchRequest) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = FetchRequest{
		From:        partition.BrokerID(r.Int32()),
		BrokerEpoch: partition.BrokerEpoch(r.Int64()),
		Sequence:    r.Int64(),
		MaxWaitMs:   r.Int32(),
		MinBytes:    r.Int32(),
		MaxBytes:    r.Int32(),
		Cold:        r.Bool(),
		After:       r.Int64(),
		Partitions:  m.Partitions[:0],
	}
	n := r.Count(maxPartitions, fetchBytes)
	m.Partitions = slices.Grow(m.Partitions, n)[:n]
	for i := range m.Partitions {
		m.Partitions[i] = FetchPartition{
			ID:            readID(r),
			Epoch:         log.Epoch(r.Int32()),
			Fetch:         log.Offset(r.Int64()),
			LastEpoch:     log.Epoch(r.Int32()),
			Ack:           log.Offset(r.Int64()),
			Start:         log.Offset(r.Int64()),
			MaxBytes:      r.Int32(),
			HighWatermark: log.Offset(r.Int64()),
			Removed:       log.Offset(r.Int64()),
		}
	}
	return r.Done()
}

// Encode appends the message to w.
func (m *FetchResponse) Encode(w *wire.Writer) {
	w.Grow(headBytes + len(m.Partitions)*answerBytes)
	w.Int16(int16(m.Code))
	w.Bool(m.Lost)
	w.Count(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		writeID(w, p.ID)
		w.Int16(int16(p.Code))
		w.Bool(p.Diverging)
		w.Int32(int32(p.DivergingEpoch))
		w.Int64(int64(p.DivergingEnd))
		w.Int64(int64(p.HighWatermark))
		w.Int64(int64(p.Start))
		w.Int64(int64(p.End))
		w.Int64(int64(p.Removed))
	}
}

// DecodeFetchResponse takes a message that Encode has made.
func DecodeFetchResponse(b []byte) (m FetchResponse, err error) {
	err = m.Decode(b)
	return m, err
}

// Decode is [DecodeFetchResponse] into m, whose memory it uses again.
func (m *FetchResponse) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = FetchResponse{Code: partition.Code(r.Int16()), Lost: r.Bool(), Partitions: m.Partitions[:0]}
	n := r.Count(maxPartitions, answerBytes)
	m.Partitions = slices.Grow(m.Partitions, n)[:n]
	for i := range m.Partitions {
		m.Partitions[i] = FetchAnswer{
			ID:             readID(r),
			Code:           partition.Code(r.Int16()),
			Diverging:      r.Bool(),
			DivergingEpoch: log.Epoch(r.Int32()),
			DivergingEnd:   log.Offset(r.Int64()),
			HighWatermark:  log.Offset(r.Int64()),
			Start:          log.Offset(r.Int64()),
			End:            log.Offset(r.Int64()),
			Removed:        log.Offset(r.Int64()),
		}
	}
	return r.Done()
}

// Encode appends the message to w.
func (m *AlterISR) Encode(w *wire.Writer) {
	w.Int32(int32(m.From))
	w.Int64(int64(m.BrokerEpoch))
	writeID(w, m.ID)
	w.Int32(int32(m.Epoch))
	w.Int32(int32(m.PartitionEpoch))
	w.Count(len(m.ISR))
	for _, member := range m.ISR {
		w.Int32(int32(member.ID))
		w.Int64(int64(member.Epoch))
	}
	w.Bool(m.Recovered)
}

// DecodeAlterISR takes a message that Encode has made.
func DecodeAlterISR(b []byte) (AlterISR, error) {
	r := wire.NewReader(b)
	m := AlterISR{
		From:           partition.BrokerID(r.Int32()),
		BrokerEpoch:    partition.BrokerEpoch(r.Int64()),
		ID:             readID(r),
		Epoch:          log.Epoch(r.Int32()),
		PartitionEpoch: partition.PartitionEpoch(r.Int32()),
	}
	if n := r.Count(maxReplicas, memberBytes); n > 0 {
		m.ISR = make([]partition.Member, n)
	}
	for i := range m.ISR {
		m.ISR[i] = partition.Member{ID: partition.BrokerID(r.Int32()), Epoch: partition.BrokerEpoch(r.Int64())}
	}
	m.Recovered = r.Bool()
	return m, r.Done()
}

// Encode appends the message to w.
func (m *AlterISRAnswer) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Controller))
	m.State.Encode(w)
}

// DecodeAlterISRAnswer takes a message that Encode has made.
func DecodeAlterISRAnswer(b []byte) (AlterISRAnswer, error) {
	r := wire.NewReader(b)
	m := AlterISRAnswer{
		Code: partition.Code(r.Int16()), Controller: partition.BrokerID(r.Int32()), State: partition.DecodeState(r),
	}
	return m, r.Done()
}

// Encode appends the message to w.
func (m *Discard) Encode(w *wire.Writer) {
	w.Int32(int32(m.From))
	w.Int64(int64(m.BrokerEpoch))
	writeID(w, m.ID)
	w.Int32(int32(m.Epoch))
}

// DecodeDiscard takes a message that Encode has made.
func DecodeDiscard(b []byte) (Discard, error) {
	r := wire.NewReader(b)
	m := Discard{
		From: partition.BrokerID(r.Int32()), BrokerEpoch: partition.BrokerEpoch(r.Int64()),
		ID: readID(r), Epoch: log.Epoch(r.Int32()),
	}
	return m, r.Done()
}

// Encode appends the message to w.
func (m *DiscardAnswer) Encode(w *wire.Writer) {
	w.Int16(int16(m.Code))
	w.Int32(int32(m.Controller))
}

// DecodeDiscardAnswer takes a message that Encode has made.
func DecodeDiscardAnswer(b []byte) (DiscardAnswer, error) {
	r := wire.NewReader(b)
	m := DiscardAnswer{Code: partition.Code(r.Int16()), Controller: partition.BrokerID(r.Int32())}
	return m, r.Done()
}

func writeID(w *wire.Writer, id partition.ID) {
	w.ID(id.Topic)
	w.Int32(int32(id.Partition))
}

func readID(r *wire.Reader) partition.ID {
	return partition.ID{Topic: r.ID(), Partition: partition.PartitionID(r.Int32())}
}
