package partition

import (
	"fmt"
	"time"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/transport/wire"
)

// An entry of the metadata log holds records:
//
//	version  1 byte, 1
//	count    uvarint
//	count times:
//	  type   1 byte
//	  fields in the order of the struct
//
//	type 1 RegisterBroker   broker, ids
//	     2 ChangeBroker     id int32, epoch int64, fenced bool, standing
//	     3 CreateTopic      topic, members
//	     4 ChangeTopic      id 16 bytes, config, config
//	     5 ChangePartition  id, state, members
//	     6 DeleteTopic      id 16 bytes
//	     7 AddPartitions    id 16 bytes, expect int64, uvarint and that many states, members
//
//	broker   id int32, epoch int64, addr string, rack string, directory 16 bytes,
//	         incarnation 16 bytes, fenced bool, standing, voter only bool
//	standing 1 byte: bit 0 stopping, bit 1 full
//	topic    id 16 bytes, config, uvarint and that many states
//	config   name string, partitions int64, replicas int64, min ISR int64, retention
//	         int64 of nanoseconds, retention bytes int64, segment bytes int64, max batch
//	         bytes int64, compact bool, durability 1 byte
//	state    replicas, origin, target, ISR, ELR, last known ELR: each uvarint and that
//	         many int32; leader int32, epoch int32, partition epoch int32, recovering bool,
//	         lossy epoch int32
//	id       topic 16 bytes, partition int32
//	ids      uvarint and that many of id
//	members  uvarint and that many of id int32, epoch int64
//
// A record type is kept for ever once it is released. A change of its fields is a
// new type; the version stands for this frame around them.
const recordsVersion = 1

const (
	typeRegisterBroker = iota + 1
	typeChangeBroker
	typeCreateTopic
	typeChangeTopic
	typeChangePartition
	typeDeleteTopic
	typeAddPartitions
)

// Bounds of what is decoded. They are far above what is ever written.
const (
	limitText    = 4 << 10
	limitList    = 1 << 20
	limitMembers = 1 << 12 // replicas of a partition, and what is a set of them
	leastState   = 6 + 3*4 + 1 + 4
	leastBroker  = 4 + 8 + 1 + 1 + 16 + 16 + 1 + 1 + 1
	leastID      = 16 + 4
	leastMember  = 4 + 8
	leastTopic   = 16 + 1 + 7*8 + 1 + 1 + 1
)

// EncodeRecords returns what an entry of the metadata log says.
func EncodeRecords(recs []Record) []byte {
	var w wire.Writer
	w.Uint8(recordsVersion)
	w.Count(len(recs))
	for _, rec := range recs {
		switch r := rec.(type) {
		case RegisterBroker:
			w.Uint8(typeRegisterBroker)
			r.Broker.Encode(&w)
			encodeList(&w, r.Suspect, ID.Encode)
		case ChangeBroker:
			w.Uint8(typeChangeBroker)
			w.Int32(int32(r.ID))
			w.Int64(int64(r.Epoch))
			w.Bool(r.Fenced)
			w.Uint8(standing(r.Stopping, r.Full))
		case CreateTopic:
			w.Uint8(typeCreateTopic)
			r.Topic.encode(&w)
			encodeList(&w, r.Members, Member.Encode)
		case ChangeTopic:
			w.Uint8(typeChangeTopic)
			w.ID(r.Topic)
			r.Expect.encode(&w)
			r.Config.encode(&w)
		case ChangePartition:
			w.Uint8(typeChangePartition)
			r.ID.Encode(&w)
			r.State.Encode(&w)
			encodeList(&w, r.Members, Member.Encode)
		case DeleteTopic:
			w.Uint8(typeDeleteTopic)
			w.ID(r.Topic)
		case AddPartitions:
			w.Uint8(typeAddPartitions)
			w.ID(r.Topic)
			w.Int64(int64(r.Expect))
			encodeList(&w, r.Partitions, (*State).Encode)
			encodeList(&w, r.Members, Member.Encode)
		}
	}
	return w.Bytes()
}

// DecodeRecords is the inverse of [EncodeRecords]. A version or a type that this
// release does not know gives an error that matches [Unsupported].
func DecodeRecords(b []byte) ([]Record, error) {
	d := newDecoder(b)
	if v := d.Uint8(); d.Err() == nil && v != recordsVersion {
		return nil, &Error{Code: Unsupported, Text: fmt.Sprintf("metadata entry of version %d", v)}
	}
	n := d.Count(limitList, 1)
	recs := make([]Record, 0, min(n, 1024))
	for range n {
		kind := d.Uint8()
		if d.failed() {
			break
		}
		rec, ok := d.record(kind)
		if !ok {
			return nil, &Error{Code: Unsupported, Text: fmt.Sprintf("metadata record of type %d", kind)}
		}
		recs = append(recs, rec)
	}
	if err := d.Done(); err != nil {
		return nil, fmt.Errorf("metadata entry: %w", err)
	}
	return recs, nil
}

func (d *decoder) record(kind uint8) (Record, bool) {
	switch kind {
	case typeRegisterBroker:
		return RegisterBroker{Broker: DecodeBroker(&d.Reader), Suspect: decodeList(d, limitList, leastID, DecodeID)}, true
	case typeChangeBroker:
		r := ChangeBroker{ID: BrokerID(d.Int32()), Epoch: BrokerEpoch(d.Int64()), Fenced: d.Bool()}
		r.Stopping, r.Full = readStanding(&d.Reader)
		return r, true
	case typeCreateTopic:
		return CreateTopic{Topic: d.topic(), Members: decodeList(d, limitList, leastMember, DecodeMember)}, true
	case typeChangeTopic:
		return ChangeTopic{Topic: d.ID(), Expect: d.config(), Config: d.config()}, true
	case typeChangePartition:
		return ChangePartition{
			ID: DecodeID(&d.Reader), State: DecodeState(&d.Reader),
			Members: decodeList(d, limitMembers, leastMember, DecodeMember),
		}, true
	case typeDeleteTopic:
		return DeleteTopic{Topic: d.ID()}, true
	case typeAddPartitions:
		return AddPartitions{
			Topic: d.ID(), Expect: d.integer(), Partitions: d.states(),
			Members: decodeList(d, limitList, leastMember, DecodeMember),
		}, true
	default:
		return nil, false
	}
}

// Encode appends id to a message.
func (id ID) Encode(w *wire.Writer) {
	w.ID(id.Topic)
	w.Int32(int32(id.Partition))
}

// DecodeID takes an [ID] off the front of a message.
func DecodeID(r *wire.Reader) ID {
	return ID{Topic: r.ID(), Partition: PartitionID(r.Int32())}
}

// EncodeIDs appends a list of ids to a message.
func EncodeIDs(w *wire.Writer, ids []ID) { encodeList(w, ids, ID.Encode) }

// DecodeIDs takes a list of at most limit ids off the front of a message.
func DecodeIDs(r *wire.Reader, limit int) []ID {
	return wire.List(r, limit, leastID, func() ID { return DecodeID(r) })
}

// Encode appends m to a message.
func (m Member) Encode(w *wire.Writer) {
	w.Int32(int32(m.ID))
	w.Int64(int64(m.Epoch))
}

// DecodeMember takes a [Member] off the front of a message.
func DecodeMember(r *wire.Reader) Member {
	return Member{ID: BrokerID(r.Int32()), Epoch: BrokerEpoch(r.Int64())}
}

// Encode appends s to a message.
func (s State) Encode(w *wire.Writer) {
	for _, set := range [][]BrokerID{s.Replicas, s.Origin, s.Target, s.ISR, s.ELR, s.LastKnownELR} {
		encodeBrokerIDs(w, set)
	}
	w.Int32(int32(s.Leader))
	w.Int32(int32(s.Epoch))
	w.Int32(int32(s.PartitionEpoch))
	w.Bool(s.Recovering)
	w.Int32(int32(s.LossyEpoch))
}

// DecodeState takes a [State] off the front of a message. It is not validated.
func DecodeState(r *wire.Reader) State {
	return State{
		Replicas:       decodeBrokerIDs(r),
		Origin:         decodeBrokerIDs(r),
		Target:         decodeBrokerIDs(r),
		ISR:            decodeBrokerIDs(r),
		ELR:            decodeBrokerIDs(r),
		LastKnownELR:   decodeBrokerIDs(r),
		Leader:         BrokerID(r.Int32()),
		Epoch:          log.Epoch(r.Int32()),
		PartitionEpoch: PartitionEpoch(r.Int32()),
		Recovering:     r.Bool(),
		LossyEpoch:     log.Epoch(r.Int32()),
	}
}

func encodeBrokerIDs(w *wire.Writer, ids []BrokerID) {
	w.Count(len(ids))
	for _, id := range ids {
		w.Int32(int32(id))
	}
}

func decodeBrokerIDs(r *wire.Reader) []BrokerID {
	n := r.Count(limitMembers, 4)
	if n == 0 {
		return nil
	}
	ids := make([]BrokerID, n)
	for i := range ids {
		ids[i] = BrokerID(r.Int32())
	}
	return ids
}

// Encode appends b to a message.
func (b Broker) Encode(w *wire.Writer) {
	w.Int32(int32(b.ID))
	w.Int64(int64(b.Epoch))
	w.String(b.Addr)
	w.String(b.Rack)
	w.ID(b.Directory)
	w.ID(b.Incarnation)
	w.Bool(b.Fenced)
	w.Uint8(standing(b.Stopping, b.Full))
	w.Bool(b.VoterOnly)
}

// DecodeBroker takes a [Broker] off the front of a message.
func DecodeBroker(r *wire.Reader) Broker {
	b := Broker{
		ID:          BrokerID(r.Int32()),
		Epoch:       BrokerEpoch(r.Int64()),
		Addr:        r.String(limitText),
		Rack:        r.String(limitText),
		Directory:   r.ID(),
		Incarnation: r.ID(),
		Fenced:      r.Bool(),
	}
	b.Stopping, b.Full = readStanding(r)
	b.VoterOnly = r.Bool()
	return b
}

const (
	flagStopping = 1 << iota
	flagFull
)

// standing packs what a broker that is not fenced may yet lack.
func standing(stopping, full bool) (v uint8) {
	if stopping {
		v |= flagStopping
	}
	if full {
		v |= flagFull
	}
	return v
}

func readStanding(r *wire.Reader) (stopping, full bool) {
	v := r.Flags(flagStopping | flagFull)
	return v&flagStopping != 0, v&flagFull != 0
}

func (t Topic) encode(w *wire.Writer) {
	w.ID(t.ID)
	t.Config.encode(w)
	encodeList(w, t.Partitions, (*State).Encode)
}

func (d *decoder) topic() Topic {
	return Topic{ID: d.ID(), Config: d.config(), Partitions: d.states()}
}

func (d *decoder) states() []*State {
	return decodeList(d, limitList, leastState, func(r *wire.Reader) *State {
		s := DecodeState(r)
		return &s
	})
}

func (c TopicConfig) encode(w *wire.Writer) {
	w.String(c.Name)
	w.Int64(int64(c.Partitions))
	w.Int64(int64(c.Replicas))
	w.Int64(int64(c.MinISR))
	w.Int64(int64(c.Retention))
	w.Int64(c.RetentionBytes)
	w.Int64(c.SegmentBytes)
	w.Int64(int64(c.MaxBatchBytes))
	w.Bool(c.Compact)
	w.Uint8(uint8(c.Durability))
}

func (d *decoder) config() TopicConfig {
	return TopicConfig{
		Name:           d.String(limitText),
		Partitions:     d.integer(),
		Replicas:       d.integer(),
		MinISR:         d.integer(),
		Retention:      time.Duration(d.Int64()),
		RetentionBytes: d.Int64(),
		SegmentBytes:   d.Int64(),
		MaxBatchBytes:  d.integer(),
		Compact:        d.Bool(),
		Durability:     Durability(d.Uint8()),
	}
}

// A decoder is a reader that can also find fault with a value.
type decoder struct {
	wire.Reader
	err error
}

func newDecoder(b []byte) *decoder { return &decoder{Reader: *wire.NewReader(b)} }

func (d *decoder) failed() bool { return d.err != nil || d.Err() != nil }

// refuse notes a value that may not be; the first one counts.
func (d *decoder) refuse(format string, args ...any) {
	if !d.failed() {
		d.err = fmt.Errorf("%w: %s", wire.ErrMalformed, fmt.Sprintf(format, args...))
	}
}

// Done hides the reader's: it reports the first fault of either kind.
func (d *decoder) Done() error {
	if d.err != nil {
		return d.err
	}
	return d.Reader.Done()
}

// integer takes eight bytes that must fit an int, which has four on some machines.
func (d *decoder) integer() int {
	v := d.Int64()
	if int64(int(v)) != v {
		d.refuse("%d is too large", v)
	}
	return int(v)
}

func encodeList[T any](w *wire.Writer, list []T, encode func(T, *wire.Writer)) {
	w.Count(len(list))
	for _, v := range list {
		encode(v, w)
	}
}

// decodeList takes a list of elements of at least that many bytes each. An empty
// one is nil.
func decodeList[T any](d *decoder, limit, least int, decode func(*wire.Reader) T) []T {
	n := d.Count(limit, least)
	if n == 0 {
		return nil
	}
	list := make([]T, n)
	for i := range list {
		list[i] = decode(&d.Reader)
	}
	return list
}
